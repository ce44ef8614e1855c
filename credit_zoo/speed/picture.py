"""The measurements as a picture: a step of ours and of others, and how it grows. Needs matplotlib (in `[dev]`)."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from credit_zoo.registry import UsageError
from credit_zoo.speed.table import Found

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw(found: Found, out: Path) -> None:
    """Writes the picture of what there is."""
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError:
        raise UsageError("the picture is drawn by matplotlib: pip install matplotlib") from None
    figure = Figure(figsize=(12.5, 3.8), dpi=110, layout="constrained")
    bars, times, peaks = figure.subplots(1, 3)
    _bars(bars, found)
    ladders = found["growth"]["found"] if "growth" in found else {}
    _ladders(times, ladders, "seconds", "time of a step, first rung = 1")
    _ladders(peaks, ladders, "peak", "peak memory of a step, first rung = 1")
    figure.savefig(out)


def _bars(axes: "Axes", found: Found) -> None:
    lengths: dict[str, float] = {}
    if "trl" in found:
        one = found["trl"]["found"]["seconds"]
        lengths["TRL"] = one["TRL, training"]["median"] / one["ours, training"]["median"]
    rows: list[dict[str, Any]] = found["steps"]["found"]["rows"] if "steps" in found else []
    lengths |= {row["name"]: row["ratio"]["median"] for row in rows}
    names = list(lengths)
    axes.barh(names[::-1], [lengths[name] for name in names[::-1]], color="C0")
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_xlabel("time of a training step, uniform = 1")
    axes.tick_params(axis="y", labelsize=7)


def _ladders(axes: "Axes", ladders: dict[str, Any], key: str, title: str) -> None:
    for name, one in ladders.items():
        sizes, values = one["sizes"], one[key]
        axes.loglog([s / sizes[0] for s in sizes], [v / values[0] for v in values], marker="o", ms=3, label=name)
    axes.loglog([1, 64], [1, 64], color="black", linewidth=0.8, linestyle=":", label="linear")
    axes.set_xlabel("size, first rung = 1")
    axes.set_title(title, fontsize=10)
    axes.legend(fontsize=7)
    axes.grid(alpha=0.3)
