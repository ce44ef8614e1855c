"""The measurements as a picture: a step of ours and of others, and how it grows. Needs matplotlib (in `[dev]`)."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from credit_zoo.errors import UsageError
from credit_zoo.speed.table import Found

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def draw(found: Found, out: Path) -> None:
    """Writes the picture of what there is."""
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError:
        raise UsageError("the picture is drawn by matplotlib: pip install matplotlib") from None
    figure = Figure(figsize=(8, 8), dpi=100, layout="constrained")  # the README shows 800 pixels
    grid = figure.add_gridspec(3, 1, height_ratios=(4, 3.5, 0.6))
    above, below, foot = (figure.add_subfigure(grid[row]) for row in range(3))
    _bars(above.subplots(), found)
    ladders = found["growth"]["found"] if "growth" in found else {}
    times, peaks = below.subplots(1, 2)
    _ladders(times, ladders, "seconds", "time of a step")
    _ladders(peaks, ladders, "peak", "peak memory of a step")
    foot.legend(*times.get_legend_handles_labels(), loc="center", ncols=3, fontsize=11, frameon=False)
    figure.savefig(out)


def _bars(axes: "Axes", found: Found) -> None:
    lengths: dict[str, float] = {}
    if "trl" in found:
        lengths["TRL"] = found["trl"]["found"]["training"]["median"]
    rows: list[dict[str, Any]] = found["steps"]["found"]["rows"] if "steps" in found else []
    lengths |= {row["name"]: row["ratio"]["median"] for row in rows}
    names = list(lengths)
    bars = axes.barh(names[::-1], [lengths[name] for name in names[::-1]], color="C0")
    axes.bar_label(bars, fmt="%.2f", padding=3, fontsize=10)
    axes.axvline(1, color="black", linewidth=0.8)
    axes.margins(x=0.08)
    axes.set_xlabel("time of a training step, uniform = 1", fontsize=11)
    axes.tick_params(labelsize=10)


def _ladders(axes: "Axes", ladders: dict[str, Any], key: str, title: str) -> None:
    for name, one in ladders.items():
        sizes, values = one["sizes"], one[key]
        axes.loglog([s / sizes[0] for s in sizes], [v / values[0] for v in values], marker="o", ms=4, label=name)
    axes.loglog([1, 64], [1, 64], color="black", linewidth=0.8, linestyle=":", label="linear")
    axes.set_xlabel("size, smallest = 1", fontsize=11)
    axes.set_ylabel("smallest = 1", fontsize=11)
    axes.set_title(title, fontsize=12)
    axes.tick_params(labelsize=11)
    axes.grid(alpha=0.3)
