"""A picture of learning: the training accuracy of every rule, from the records.

    python -m credit_zoo.curves [--results DIR] [--out FILE]

One panel for each setup (questions, model, steps, settings), one line for each rule: the mean over seeds of the
training accuracy of the last 10 steps, in a band from the lowest seed to the highest. Needs matplotlib (in `[dev]`).
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from credit_zoo.registry import UsageError
from credit_zoo.results import REFERENCE, RunRecord, Training, distinct_labels, kind, load_all, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WINDOW = 10  # steps
_PANEL = (6.4, 4.0)  # inches


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
    figure = Figure(figsize=(_PANEL[0] * len(shown), _PANEL[1]), dpi=110, layout="constrained")
    for axes, panel in zip(figure.subplots(1, len(shown), squeeze=False)[0], shown, strict=True):
        _draw_panel(axes, panel)
    figure.savefig(out)


def _draw_panel(axes: "Axes", panel: Panel) -> None:
    for index, line in enumerate(panel.lines):
        color = "black" if line.reference else f"C{index % 10}"
        axes.plot(line.steps, line.percent.mean(axis=0), color=color, linewidth=1.5, label=line.name)
        axes.fill_between(line.steps, line.percent.min(axis=0), line.percent.max(axis=0), color=color, alpha=0.12, lw=0)
    axes.set_title(panel.title, fontsize=10, wrap=True)
    axes.set_xlabel("step")
    axes.set_ylabel(f"training accuracy, mean of {WINDOW} steps [%]")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, loc="lower right")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code: 0, or 2 for a request that cannot be met."""
    parser = argparse.ArgumentParser(prog="python -m credit_zoo.curves", description="Draw the learning curves.")
    parser.add_argument("--results", type=Path, default=Path("leaderboard/results"), help="folder of records")
    parser.add_argument("--out", type=Path, help="the picture (default: curves.png beside the folder of records)")
    given = parser.parse_args(arguments)
    out = given.out or given.results.parent / "curves.png"
    records, problems = load_all(given.results)
    for problem in problems:
        print(f"left out: {problem}", file=sys.stderr)
    try:
        shown = panels(records)
        if not shown:
            raise UsageError(f"no record below {given.results} has the accuracy of {WINDOW} steps of training")
        draw(shown, out)
    except UsageError as error:
        print(error, file=sys.stderr)
        return 2
    print(f"wrote {out}")
    return 0
