"""A picture of learning: the training accuracy of every rule, from the records.

    python -m credit_zoo.curves [results=FOLDER] [against=cost] [out=FILE]

One panel for each setup (questions, model, base, steps, settings), one line for each rule: the mean over seeds of the
training accuracy of the last 10 steps, in a band from the lowest seed to the highest. Of many rules those are named
that end highest and lowest; a setup of one rule is shown only where none compares several. Against cost: the passes of
the policy over a token, in millions (`_cost`).
Needs matplotlib (in `[dev]`).
"""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from credit_zoo.errors import UsageError
from credit_zoo.leaderboard.locations import page_folder, records_folder
from credit_zoo.registry import SHAPERS
from credit_zoo.results import (
    REFERENCE,
    RunRecord,
    Training,
    digest,
    distinct_labels,
    first_runs,
    kind,
    load_all,
    plain,
)
from credit_zoo.sampled_signals import passes_beside_sampling

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WINDOW = 10  # steps
LEARNING_CURVES = "learning.svg"  # against cost, beside the leaderboard's page
NAMED = 9  # lines of a panel, `uniform` among them; the others are grey and have no name
LEARNING = 3  # passes: forward, and backward at twice its cost
_WIDTH, _HEIGHT, _DPI = 8.0, 3.2, 100  # inches of a panel and its legend, pixels an inch: pages show 800 pixels
_LEGEND = 3.3  # inches, of the width
_STYLES = ("-", "--", "-.", ":")  # in turn, for whoever does not tell the colours apart


@dataclass(frozen=True)
class Line:
    """One rule: smoothed training accuracy in percent, `[S, N]` of S seeds at N places of the axis: steps, or cost."""

    name: str
    reference: bool
    steps: NDArray[np.float64]
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


def panels(records: Sequence[RunRecord], cost: bool = False) -> list[Panel]:
    """What the picture shows; a run that was not trained, or has no accuracy for 10 steps, is not in it, nor is one
    without a known cost where that is the axis.
    """
    found = [(record, smoothed(record.training)) for record in first_runs(records) if record.training]
    drawn = [(record, curve, _axis(record, cost)) for record, curve in found if curve]
    by_setup = _grouped([(_setup(record), (record, curve, axis)) for record, curve, axis in drawn if axis])
    titles = distinct_labels([json.loads(setup) for setup in by_setup])
    shown = [Panel(title, _lines(runs)) for title, runs in zip(titles, by_setup.values(), strict=True)]
    compared = [panel for panel in shown if len(panel.lines) > 1] or shown
    return sorted(compared, key=lambda panel: panel.title)


def _axis(record: RunRecord, cost: bool) -> Mapping[int, float]:
    """The place of every step on the axis; nothing where the cost is not known."""
    training = record.training
    assert training is not None
    return _cost(record) if cost else {int(entry["step"]): float(entry["step"]) for entry in training.curve}


def _cost(record: RunRecord) -> dict[int, float]:
    """How often, in millions, the policy has read or drawn a token by the end of each step: once to sample it; if it
    was kept, three times for each update that learns from it, and once for each extra pass of the rule.
    """
    training, shaper = record.training, record.shaper
    assert training is not None
    assert shaper is not None
    logged = [int(entry["step"]) for entry in training.curve]
    if logged != list(range(1, len(logged) + 1)) or shaper.name not in SHAPERS:
        return {}
    updates = int(training.settings.get("train.updates", 1))  # type: ignore[arg-type]
    facts, identity = SHAPERS[shaper.name].facts, record.identity
    told = identity is not None and identity.dtype == "float32" and identity.settings.get("rollout.engine") == "hf"
    each = LEARNING * updates + (passes_beside_sampling(facts) if told else facts.extra_passes)
    found, total = {}, 0.0
    for entry in training.curve:
        kept = entry.get("kept_tokens", entry.get("sampled_tokens"))
        if kept is None or "sampled_tokens" not in entry:
            return {}
        total += entry["sampled_tokens"] + each * kept
        found[int(entry["step"])] = total / 1e6
    return found


def _grouped(pairs: Sequence[tuple[str, Any]]) -> dict[str, list[Any]]:
    ordered = sorted(pairs, key=lambda pair: pair[0])
    return {key: [value for _, value in group] for key, group in groupby(ordered, key=lambda pair: pair[0])}


def _setup(record: RunRecord) -> str:
    """What must be equal for two runs to share a panel, as a piece for `distinct_labels`."""
    training = record.training
    assert training is not None
    source = plain(training.source)
    settings = {**plain(training.shared), **{f"source.{key}": value for key, value in source.items()}}
    settings |= {"contract": record.contract_version, "model": record.model.name, "revision": record.model.revision}
    identity = plain(record.identity)
    settings |= {**identity, **identity["settings"], "settings": None} if identity else {}
    name = f"trained on {source['bench']} ({kind(source)}), {training.steps} steps, from {record.model.name}"
    code = ""
    if record.base:
        name, code = f"{name}, {record.base.name}", record.base.code
        settings |= {f"base.{key}": value for key, value in record.base.settings.items()}
    name += "" if identity else ", recorded under schema 1"
    return json.dumps({"name": name, "settings": settings, "code": code}, sort_keys=True)


def _lines(runs: Sequence[tuple[RunRecord, Mapping[int, float], Mapping[int, float]]]) -> tuple[Line, ...]:
    """One line for each rule and code, `uniform` first; its steps are those of all its seeds."""
    by_rule = _grouped([(json.dumps(plain(one.rule)), (curve, axis)) for one, curve, axis in runs])
    found = []
    for name, (rule, seeds) in zip(distinct_labels(list(map(json.loads, by_rule))), by_rule.items(), strict=True):
        steps = sorted(set.intersection(*(set(curve) for curve, _ in seeds)))
        percent = 100 * np.array([[curve[step] for step in steps] for curve, _ in seeds])
        places = np.mean([[axis[step] for step in steps] for _, axis in seeds], axis=0)
        title = f"{name} ({len(seeds)} seed{'s' if len(seeds) > 1 else ''})"
        found.append(Line(title, json.loads(rule)["name"] == REFERENCE, places, percent))
    return tuple(sorted(found, key=lambda line: (not line.reference, line.name)))


def named(panel: Panel) -> tuple[Line, ...]:
    """The lines that have a name and a colour: `uniform`, and of the others those that end highest and lowest."""
    ends = {line.name: float(line.percent[:, -1].mean()) if line.percent.size else 0.0 for line in panel.lines}
    order = sorted((line for line in panel.lines if not line.reference), key=lambda line: (-ends[line.name], line.name))
    away = [*order[: NAMED // 2], *order[NAMED // 2 :][-(NAMED // 2) :]]
    shown = {line.name for line in panel.lines if line.reference} | {line.name for line in away}
    return tuple(line for line in panel.lines if line.name in shown)


def draw(shown: Sequence[Panel], out: Path, cost: bool = False) -> None:
    """Writes the picture; the same records give the same bytes under the same version of matplotlib."""
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ModuleNotFoundError:
        raise UsageError("the picture is drawn by matplotlib: pip install matplotlib") from None
    figure = Figure(figsize=(_WIDTH, _HEIGHT * len(shown)), dpi=_DPI, layout="constrained")
    places = figure.subplots(len(shown), 2, squeeze=False, width_ratios=(_WIDTH - _LEGEND, _LEGEND))
    for (axes, beside), panel in zip(places, shown, strict=True):
        _draw_panel(axes, panel, cost)
        beside.set_axis_off()
        legend = beside.legend(
            *axes.get_legend_handles_labels(),
            fontsize=9.5,
            loc="center left",
            bbox_to_anchor=(0.0, 0.5),
            borderaxespad=0,
        )
        legend.set_in_layout(False)
        legend.set_frame_on(False)
    with matplotlib.rc_context({"svg.hashsalt": "curves", "svg.fonttype": "none"}):
        told = {"Date": None, "Description": drawn(shown)}
        figure.savefig(out, metadata=told if out.suffix == ".svg" else None)


def drawn(shown: Sequence[Panel]) -> str:
    """A digest of all that the picture shows, which stands in an SVG: it tells an old one without drawing a new one."""
    lines = [(panel.title, line) for panel in shown for line in panel.lines]
    parts = [(title, line.name, line.steps.round(6).tolist(), line.percent.round(6).tolist()) for title, line in lines]
    return digest(map(repr, parts))


def _draw_panel(axes: "Axes", panel: Panel, cost: bool) -> None:
    """The lines and their bands; `uniform` is black, and of many some are grey."""
    shown = named(panel)
    for line in panel.lines:
        if line.name not in {one.name for one in shown}:
            axes.plot(line.steps, line.percent.mean(axis=0), color="0.8", linewidth=0.8, zorder=0)
    for index, line in enumerate(shown):
        color, style = ("black", "-") if line.reference else (f"C{index % 10}", _STYLES[index % len(_STYLES)])
        axes.plot(line.steps, line.percent.mean(axis=0), style, color=color, linewidth=1.6, label=line.name)
        axes.fill_between(line.steps, line.percent.min(axis=0), line.percent.max(axis=0), color=color, alpha=0.12, lw=0)
    axes.set_title(panel.title, fontsize=12, wrap=True)
    axes.set_xlabel("cost [million passes over a token]" if cost else "step", fontsize=11)
    axes.set_ylabel(f"training accuracy [%],\nmean of {WINDOW} steps", fontsize=11)
    axes.tick_params(labelsize=11)
    axes.grid(alpha=0.3)


@dataclass(frozen=True)
class Curves:
    """Which records to draw, and where to."""

    results: str = "none"  # folder of records; none: leaderboard/results, or where there is none ./results
    against: Literal["step", "cost"] = "step"  # what the curves are drawn over
    out: str = "none"  # the picture; none: curves.png or learning.svg (of cost) beside the leaderboard's page


def write_curves(settings: Curves) -> int:
    """Draws the picture; returns the exit status."""
    folder = records_folder(settings.results)
    cost = settings.against == "cost"
    own = page_folder(folder) / (LEARNING_CURVES if cost else "curves.png")
    out = own if settings.out == "none" else Path(settings.out)
    records, problems = load_all(folder)
    for problem in problems:
        print(f"left out: {problem}", file=sys.stderr)
    shown = panels(records, cost)
    if not shown:
        raise UsageError(f"no record below {folder} has the accuracy of {WINDOW} steps of training")
    draw(shown, out, cost)
    print(f"wrote {out}")
    return 0
