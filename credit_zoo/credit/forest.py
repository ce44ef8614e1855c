"""The forest plot: the efficiency of every rule with its interval, one panel a record, oracle and shuffle as lines."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from credit_zoo.credit.record import CreditRecord, ordered
from credit_zoo.credit.settings import REFERENCE
from credit_zoo.credit.verdicts import is_shuffle
from credit_zoo.errors import UsageError
from credit_zoo.results import digest

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ORACLE = "oracle_exact"
_WIDTH, _PER_ROW, _LINE, _FRAME = 5.2, 2, 0.24, 1.1  # inches: a panel's width, panels a row, a rule, title and axis
_MOST = 3.0  # times uniform: intervals beyond are cut


def draw(records: Sequence[CreditRecord], out: Path) -> None:
    """Writes the picture; the same records give the same bytes under the same version of matplotlib."""
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ModuleNotFoundError:
        raise UsageError("the picture is drawn by matplotlib: pip install matplotlib") from None
    rows = [records[start : start + _PER_ROW] for start in range(0, len(records), _PER_ROW)]
    heights = [_FRAME + _LINE * max(len(_shown(record)) for record in row) for row in rows]
    columns = min(len(records), _PER_ROW)
    figure = Figure(figsize=(_WIDTH * columns, sum(heights)), layout="constrained")
    places = figure.subplots(len(rows), columns, squeeze=False, height_ratios=heights)
    for place, axes in enumerate(places.ravel()):
        if place < len(records):
            _panel(axes, records[place])
        else:
            axes.set_axis_off()
    out.parent.mkdir(parents=True, exist_ok=True)
    with matplotlib.rc_context({"svg.hashsalt": "credit", "svg.fonttype": "none"}):
        figure.savefig(out, metadata={"Date": None, "Description": drawn(records)})


def drawn(records: Sequence[CreditRecord]) -> str:
    """A digest of all that the picture shows, which stands in it: it tells an old picture without drawing a new one."""
    return digest(repr((record.title, _shown(record), _shuffles(record))) for record in records)


def _shown(record: CreditRecord) -> list[tuple[str, bool, float, float, float]]:
    """Name, whether a control, value and interval of the rules with an efficiency, shuffles left out, best at last."""
    found = []
    for one in ordered(record):
        number = one.numbers.get(record.headline)
        if number is not None and not is_shuffle(one.name):
            found.append((one.name, one.control, number.value, number.low, number.high))
    return found[::-1]


def _panel(axes: "Axes", record: CreditRecord) -> None:
    shown = _shown(record)
    lines = {name: value for name, _, value, _, _ in shown}
    axes.axvline(lines.get(REFERENCE, 1.0), color="black", linewidth=1)
    if ORACLE in lines:
        axes.axvline(lines[ORACLE], color="C2", linewidth=1, linestyle="--")
    low, high = _shuffles(record)
    if low is not None and high is not None:
        axes.axvspan(low, high, color="0.85", zorder=0)
    for place, (_, control, value, least, most) in enumerate(shown):
        color = "0.5" if control else "C0"
        axes.plot([max(least, 0), min(most, _MOST)], [place, place], color=color, linewidth=1.6)
        axes.plot([min(max(value, 0), _MOST)], [place], "s" if control else "o", color=color, markersize=4)
    axes.set_yticks(range(len(shown)), [name for name, *_ in shown], fontsize=8)
    axes.set_xlim(0, max(min(max(most for *_, most in shown), _MOST), 1.2) * 1.05)
    axes.set_title(record.title, fontsize=9)
    axes.set_xlabel("efficiency x uniform [95%]; dashed: the oracle; shaded: the shuffles", fontsize=8)
    axes.grid(axis="x", alpha=0.3)


def _shuffles(record: CreditRecord) -> tuple[float | None, float | None]:
    """From the least to the greatest efficiency of a rule's own shuffle."""
    numbers = [one.numbers.get(record.headline) for one in record.rules if is_shuffle(one.name)]
    found = [one.value for one in numbers if one is not None]
    return (min(found), max(found)) if found else (None, None)
