"""Charts as SVG within a page, in the page's own colours, light and dark; the same records give the same bytes."""

import re
import tempfile
from collections.abc import Callable, Iterable
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from credit_zoo.errors import UsageError
from credit_zoo.report.examples import BINS, Profile
from credit_zoo.results import Training

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# What matplotlib writes, and the page's name for it. The cycle of lines is that of Okabe and Ito, in the page's style.
_CYCLE = ("1f77b4", "ff7f0e", "2ca02c", "d62728", "9467bd", "8c564b", "e377c2", "7f7f7f", "bcbd22", "17becf")
_COLORS = {
    **{f"#{one}": f"var(--line-{place})" for place, one in enumerate(_CYCLE)},
    "#000000": "currentColor",
    "#262626": "currentColor",
    "#808080": "var(--quiet)",
    "#b0b0b0": "var(--rule)",
    "#d9d9d9": "var(--shade)",
    "#cccccc": "var(--rule)",
}
_WIDTH, _HEIGHT = 6.4, 2.6  # inches


def chart(name: str, title: str, draw: Callable[[Path], None]) -> str:
    """The SVG that `draw` writes to a path, to stand in a page; `name` sets its ids apart from those of other charts,
    `title` is what somebody hears who does not see it.
    """
    try:
        import matplotlib
    except ModuleNotFoundError:
        raise UsageError("charts are drawn by matplotlib: pip install 'credit_zoo[report]'") from None
    # A name may hold a dollar sign, which is no mathematics here.
    style = matplotlib.rc_context({"svg.fonttype": "none", "text.parse_math": False, "svg.hashsalt": name})
    with tempfile.TemporaryDirectory() as folder, style:
        path = Path(folder) / "chart.svg"
        draw(path)
        return inline(path.read_text(encoding="utf-8"), name, title)


def inline(svg: str, name: str, title: str) -> str:
    """An SVG file's text as a part of a page: no prologue, no date, no ground, ids of its own."""
    text = svg[svg.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    head, body = text.split(">", 1)
    box = re.search(r'viewBox="[^"]*"', head)
    width = re.search(r'width="([\d.]+)pt"', head)
    assert box is not None and width is not None, "matplotlib writes both"
    body = body.replace("fill: #ffffff", "fill: none")
    for color, told in _COLORS.items():
        body = body.replace(color, told)
    body = re.sub(r'\bid="', f'id="{name}-', body)
    body = re.sub(r'(xlink:href="|url\()#', rf"\1#{name}-", body)
    pixels = f"{float(width[1]) * 4 / 3:.0f}px"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" {box[0]} class="chart" '
        f'role="img" aria-label="{escape(title)}" style="--width:{pixels};width:{pixels}">{body.strip()}'
    )


def figure(rows: int = 1, columns: int = 1) -> tuple["Figure", list["Axes"]]:
    """A figure with its axes, one after the other. Its margins are fixed: to find them takes as long as to draw."""
    from matplotlib.figure import Figure

    width, height = _WIDTH if columns == 1 else 1.6 * _WIDTH, _HEIGHT * rows
    made = Figure(figsize=(width, height))
    left, foot, top = 0.7 / width, 0.45 / height, 1 - 0.1 / height
    made.subplots_adjust(left, foot, 1 - 0.1 / width, top, wspace=0.25, hspace=0.25)
    return made, list(made.subplots(rows, columns, squeeze=False).ravel())


def draw_profile(profile: Profile, shuffle: Profile | None, out: Path) -> None:
    """Weights by relative position, with a band between the quartiles, and by the kind of token."""
    made, (left, right) = figure(columns=2)
    place = (np.arange(BINS) + 0.5) / BINS
    left.axhline(1, color="0.5", linewidth=1, linestyle="--")
    left.plot(place, profile.mean, color="C0", linewidth=1.8, marker="o", markersize=4, label="mean W")
    left.fill_between(place, profile.low, profile.high, color="C0", alpha=0.2, linewidth=0)
    if shuffle is not None:
        left.plot(place, shuffle.mean, color="C1", linewidth=1.2, linestyle=":", label="its shuffle")
        left.legend(fontsize=9, frameon=False)
    left.set_xlim(0, 1)
    left.set_xlabel("position in the response", fontsize=9)
    left.set_ylabel("weight W", fontsize=9)
    kinds = {kind: value for kind, value in profile.kinds.items() if value is not None}
    right.barh(list(kinds)[::-1], [value - 1 for value in kinds.values()][::-1], left=1, color="C0", height=0.6)
    right.axvline(1, color="0.5", linewidth=1)
    right.set_xlim(*_around(1, kinds.values()))
    right.set_xlabel("mean weight W by the kind of token", fontsize=9)
    for axes in (left, right):
        axes.tick_params(labelsize=9)
        axes.grid(alpha=0.3)
    made.savefig(out)


def _around(middle: float, values: Iterable[float]) -> tuple[float, float]:
    """Limits of an axis that hold a neutral value and all others, with some room; no narrower than a tenth."""
    away = [value - middle for value in values]
    return middle + min(-0.05, 1.1 * min(away)), middle + max(0.05, 1.1 * max(away))


_CURVES = {"accuracy": "accuracy", "reward": "reward", "entropy": "entropy [nats]", "weight_std": "std of W"}


def draw_run(training: Training, out: Path) -> None:
    """What a run logged, by its steps: accuracy, reward, entropy, spread of the weights, as far as they are there."""
    shown = _logged(training)
    made, places = figure(rows=(len(shown) + 1) // 2, columns=min(len(shown), 2))
    for axes in places[len(shown) :]:
        axes.set_axis_off()
    for axes, name in zip(places, shown, strict=False):
        entries = [(entry["step"], entry[name]) for entry in training.curve if name in entry]
        axes.plot(*zip(*entries, strict=True), color="C0", linewidth=1.2)
        axes.set_xlabel("step", fontsize=9)
        axes.set_ylabel(_CURVES[name], fontsize=9)
        axes.tick_params(labelsize=9)
        axes.grid(alpha=0.3)
    made.savefig(out)


def has_curve(training: Training | None) -> bool:
    """Whether there is anything to draw of a run."""
    return training is not None and bool(_logged(training))


def _logged(training: Training) -> list[str]:
    """What changed over the run, of what is drawn."""
    seen = {name: {entry[name] for entry in training.curve if name in entry} for name in _CURVES}
    return [name for name, values in seen.items() if len(values) > 1]
