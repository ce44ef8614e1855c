"""A picture of learning: the training accuracy of every rule, from the records.

    python -m credit_zoo.curves [results=FOLDER] [out=FILE]

One panel for each setup (questions, model, steps, settings), one line for each rule: the mean over seeds of the
training accuracy of the last 10 steps, in a band from the lowest seed to the highest. Needs matplotlib (in `[dev]`).
"""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from credit_zoo.errors import UsageError
from credit_zoo.leaderboard.locations import page_folder, records_folder
from credit_zoo.results import REFERENCE, RunRecord, Training, distinct_labels, kind, load_all, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WINDOW = 10  # steps
_WIDTH, _PER_ROW, _DPI = 8.0, 2, 100  # inches, panels, pixels an inch: the README shows 800 pixels
_AXES, _LEGEND_ROW = 3.0, 0.24  # inches: the height of a panel without its legend, and of a row of the legend


@dataclass(frozen=True)
class Line:
    """One rule: smoothed training accuracy in percent, `[S, N]` of S seeds at N steps."""

    name: str
    reference: bool
    steps: NDArray[np.int64]
    percent: NDArray[np.float64]


@dataclass(frozen=True)
class Panel:
    """The lines that a comparison may hold against each other."""

    title: str
    lines: tuple[Line, ...]


def smoothed(training: Training) -> dict[int, float]:
    """At each logged step the mean accuracy over the last 10 steps, from the first step that has as many behind it."""
    found = {int(entry["step"]): entry["accuracy"] for entry in training.curve if "accuracy" in entry}
    full = [step for step in found if step >= WINDOW]
    return {last: float(np.mean([found[step] for step in found if last - WINDOW < step <= last])) for last in full}


def panels(records: Sequence[RunRecord]) -> list[Panel]:
    """What the picture shows; a run that was not trained, or has no accuracy for 10 steps, is not in it."""
    drawn = [(record, smoothed(record.training)) for record in records if record.training]
    by_setup = _grouped([(_setup(record), (record, curve)) for record, curve in drawn if curve])
    titles = distinct_labels([json.loads(setup) for setup in by_setup])
    return [Panel(title, _lines(runs)) for title, runs in zip(titles, by_setup.values(), strict=True)]


def _grouped(pairs: Sequence[tuple[str, Any]]) -> dict[str, list[Any]]:
    ordered = sorted(pairs, key=lambda pair: pair[0])
    return {key: [value for _, value in group] for key, group in groupby(ordered, key=lambda pair: pair[0])}


def _setup(record: RunRecord) -> str:
    """What must be equal for two runs to share a panel, as a piece for `distinct_labels`."""
    training = record.training
    assert training is not None
    source = plain(training.source)
    settings = {**plain(training.settings), **{f"source.{key}": value for key, value in source.items()}}
    settings |= {"contract": record.contract_version, "model": record.model.name, "revision": record.model.revision}
    identity = plain(record.identity)
    settings |= {**identity, **identity["settings"], "settings": None} if identity else {}
    name = f"trained on {source['bench']} ({kind(source)}), {training.steps} steps"
    name += "" if identity else ", recorded under schema 1"
    return json.dumps({"name": name, "settings": settings}, sort_keys=True)


def _lines(runs: Sequence[tuple[RunRecord, Mapping[int, float]]]) -> tuple[Line, ...]:
    """One line for each rule and code under each base, `uniform` first; its steps are those of all its seeds."""
    by_rule = _grouped([(json.dumps(plain([record.base, record.shaper])), curve) for record, curve in runs])
    found = []
    for name, (rule, curves) in zip(_names(list(by_rule)), by_rule.items(), strict=True):
        steps = sorted(set.intersection(*(set(curve) for curve in curves)))
        percent = 100 * np.array([[curve[step] for step in steps] for curve in curves])
        title = f"{name} ({len(curves)} seed{'s' if len(curves) > 1 else ''})"
        found.append(Line(title, json.loads(rule)[1]["name"] == REFERENCE, np.array(steps), percent))
    return tuple(sorted(found, key=lambda line: (not line.reference, line.name)))


def _names(rules: Sequence[str]) -> list[str]:
    """The shortest labels that tell rules and bases apart."""
    bases, shapers = zip(*map(json.loads, rules), strict=True)
    names, beside = distinct_labels(shapers), distinct_labels(bases)
    return [f"{name}, {base}" if len(set(beside)) > 1 else name for name, base in zip(names, beside, strict=True)]


def draw(shown: Sequence[Panel], out: Path) -> None:
    """Writes the picture."""
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError:
        raise UsageError("the picture is drawn by matplotlib: pip install matplotlib") from None
    rows = [shown[start : start + _PER_ROW] for start in range(0, len(shown), _PER_ROW)]
    heights = [inches for row in rows for inches in (_AXES, _LEGEND_ROW * max(len(panel.lines) for panel in row))]
    figure = Figure(figsize=(_WIDTH, sum(heights)), dpi=_DPI, layout="constrained")
    places = figure.subplots(2 * len(rows), min(len(shown), _PER_ROW), squeeze=False, height_ratios=heights)
    for axes in places[1::2].ravel():  # the legends', below the panels
        axes.set_axis_off()
    for index, row in enumerate(rows):
        for axes, legend, panel in zip(places[2 * index], places[2 * index + 1], row, strict=False):
            _draw_panel(axes, panel)
            legend.legend(*axes.get_legend_handles_labels(), fontsize=11, loc="upper center", frameon=False)
    for axes in places[-2, len(rows[-1]) :]:
        axes.set_axis_off()
    figure.savefig(out)


def _draw_panel(axes: "Axes", panel: Panel) -> None:
    """The lines and their bands: those of `uniform` are black, one under another base dashed."""
    references = 0
    for index, line in enumerate(panel.lines):
        color, style = ("black", "--" if references else "-") if line.reference else (f"C{index % 10}", "-")
        references += line.reference
        axes.plot(line.steps, line.percent.mean(axis=0), style, color=color, linewidth=1.6, label=line.name)
        axes.fill_between(line.steps, line.percent.min(axis=0), line.percent.max(axis=0), color=color, alpha=0.12, lw=0)
    axes.set_title(panel.title, fontsize=12, wrap=True)
    axes.set_xlabel("step", fontsize=11)
    axes.set_ylabel(f"training accuracy [%],\nmean of {WINDOW} steps", fontsize=11)
    axes.tick_params(labelsize=11)
    axes.grid(alpha=0.3)


@dataclass(frozen=True)
class Curves:
    """Which records to draw, and where to."""

    results: str = "none"  # folder of records; none: leaderboard/results, or where there is none ./results
    out: str = "none"  # the picture; none: curves.png beside the leaderboard's page


def write_curves(settings: Curves) -> int:
    """Draws the picture; returns the exit status."""
    folder = records_folder(settings.results)
    out = page_folder(folder) / "curves.png" if settings.out == "none" else Path(settings.out)
    records, problems = load_all(folder)
    for problem in problems:
        print(f"left out: {problem}", file=sys.stderr)
    shown = panels(records)
    if not shown:
        raise UsageError(f"no record below {folder} has the accuracy of {WINDOW} steps of training")
    draw(shown, out)
    print(f"wrote {out}")
    return 0
