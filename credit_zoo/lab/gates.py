"""Whether a laboratory is one in which reward matters: the gates of a policy on a twin, from records.

    python -m credit_zoo.gates probe=leaderboard/gates/probes/geometry3k.json

(a) sharpening  what `uniform` reaches by training, less the best of the untrained policy at T = 0.3 and at 0, the
                latter on the probe's and on the runs' own questions
(b) reward      `sharpen`, which sees no reward, and `random_sparse`, which credits tokens by chance, less `uniform`
(c) credit      the best oracle above `uniform`: by the instrument in efficiency, in training by mean training accuracy
(d) picture     accuracy on blank pictures, less what one constant answer or a guess among the choices gives
(e) mixed       the share of groups with right and wrong answers before training
(f) time        the seconds of a run of `uniform`, its measurements included

Differences are in points of percent and paired by seed: of the final accuracy over seeds and questions, of mean
training accuracy over the steps (the area under the curve) over seeds, by Student's t. (a) and (f) look at the
training whose runs of `uniform` get furthest, one of three seeds before one of fewer, (b) and (c) at that with the most
runs of all rules. Of several oracles the best is told, and its interval is not widened for that choice. A gate without
its measurement is open.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np

from credit_zoo.cli import as_arguments
from credit_zoo.credit import load as load_credit
from credit_zoo.errors import UsageError
from credit_zoo.lab.gate_record import SCHEMA, Gate, GateRecord, gates_text, save_gates
from credit_zoo.lab.probe_record import ProbeRecord, load
from credit_zoo.results import (
    CorruptRecord,
    RunRecord,
    load_all,
    logs_every_step,
    mean_interval,
    origin,
    paired,
    repeatable,
    side_by_side,
    utc_now,
)

MARGIN = 25.0  # points that training has to reach beyond a lower temperature
EFFICIENCY = 1.5  # of the oracle, in the unit of uniform's
MIXED = 50.0  # percent of the groups
SECONDS = 360.0
SEEDS = 3  # of uniform: a training with as many goes before one with fewer
Seeds: TypeAlias = Mapping[int, RunRecord]
Runs: TypeAlias = Mapping[str, Seeds]


@dataclass(frozen=True)
class Gates:
    """Where the measurements lie, and where the record goes."""

    probe: str = "leaderboard/probes/geometry3k.json"  # the probe of the policy, which names twin and weights
    results: str = "leaderboard/results"  # folder of the records of runs from these weights
    credit: str = "none"  # the instrument's record of this policy; none: gate (c) rests on training alone
    steps: int = 0  # of the runs that count; 0: the furthest for (a) and (f), most runs for (b) and (c)
    out: str | None = None  # file of the record; none: print only


def runs_of(folder: Path, probe: ProbeRecord, steps: int, furthest: bool = False) -> Runs:
    """The runs from the probe's weights on its twin, by rule and seed, all of one length and one training that has runs
    of `uniform`: that with the most runs, or that whose runs of `uniform` get furthest.
    """
    found = [run for run in load_all(folder)[0] if _trained(run, probe)]
    chosen = [runs for runs in side_by_side(found) if steps in (0, _steps(runs)) and "uniform" in runs]
    if not chosen:
        return {}
    if furthest:
        # One lucky seed is no reason to look at a training.
        return max(chosen, key=lambda side: (min(len(side["uniform"]), SEEDS), reached(side["uniform"], probe.bench)))
    return max(chosen, key=lambda side: sum(map(len, side.values())))


def _trained(run: RunRecord, probe: ProbeRecord) -> bool:
    """Whether it was trained from the probe's weights on its twin, and measured there."""
    measured = any((one.bench, one.stage) == (probe.bench, "after") for one in run.evaluations)
    trained = run.training is not None and run.training.source.bench == probe.bench
    return run.model.revision == probe.weights and trained and measured


def final(run: RunRecord, bench: str) -> tuple[float, ...]:
    """The accuracy of every question after training."""
    after = [one for one in run.evaluations if (one.bench, one.stage) == (bench, "after")]
    if len(after) != 1:
        raise UsageError(f"run {run.run_id} did not measure {bench} once after training")
    return after[0].correctness


def reached(runs: Seeds, bench: str) -> float:
    """Accuracy after training, the mean over runs."""
    return float(np.mean([np.mean(final(run, bench)) for run in runs.values()]))


def area(run: RunRecord) -> float:
    """Mean training accuracy over the steps, in percent."""
    assert run.training is not None
    return 100 * float(np.mean([step["accuracy"] for step in run.training.curve if "accuracy" in step]))


def area_difference(rule: Seeds, reference: Seeds) -> tuple[float, float, float, int]:
    """The mean paired difference of areas with its 95% interval over seeds, infinite for one seed, and the seeds: those
    whose runs logged every step.
    """
    rule, reference = ({seed: run for seed, run in side.items() if logs_every_step(run)} for side in (rule, reference))
    seeds = sorted(set(rule) & set(reference))
    return *mean_interval([area(rule[seed]) - area(reference[seed]) for seed in seeds]), len(seeds)


def sharpening(probe: ProbeRecord, runs: Runs) -> Gate:
    """Gate (a)."""
    uniform = runs.get("uniform", {})
    what = f"uniform after {_steps(runs) or 'some'} steps less T=0.3 or greedy, the best of them"
    needs = f">= {MARGIN:g}"
    cold = [one.value for one in probe.temperatures if one.temperature < 0.5]
    cold += [
        one.greedy
        for run in uniform.values()
        for one in run.evaluations
        if (one.bench, one.stage) == (probe.bench, "before") and one.greedy is not None
    ]
    if not uniform:
        return _open("a", what, needs)
    value = round(100 * (reached(uniform, probe.bench) - max(cold)), 2)
    return Gate("a", what, value, None, None, needs, value >= MARGIN, len(uniform))


def reward(probe: ProbeRecord, runs: Runs, name: str) -> tuple[Gate, Gate]:
    """Gate (b) of one control: by final accuracy, and by the area under the curve."""
    key, (rule, uniform) = f"b {name}", (runs.get(name, {}), runs.get("uniform", {}))
    whats = (f"{name} less uniform, final accuracy", f"{name} less uniform, mean training accuracy")
    needs = "< 0, interval and all"
    if not set(rule) & set(uniform):
        return _open(key, whats[0], needs), _open(f"{key} area", whats[1], needs)
    scores = [
        {seed: 100.0 * np.array(final(run, probe.bench)) for seed, run in side.items()} for side in (rule, uniform)
    ]
    found = paired(scores[0], scores[1])
    seen = found.interval
    value, low, high, seeds = area_difference(rule, uniform)
    whole = Gate(key, whats[0], *_rounded(seen.value, seen.low, seen.high), needs, seen.high < 0, len(found.seeds))
    return whole, Gate(f"{key} area", whats[1], *_rounded(value, low, high), needs, _below(high), seeds)


def credit(settings: Gates, runs: Runs) -> tuple[Gate, Gate]:
    """Gate (c): by the instrument, and in training."""
    what, needs = "the oracle's efficiency, uniform's is 1", f">= {EFFICIENCY:g}"
    instrument = _open("c instrument", what, needs)
    if settings.credit != "none":
        value, low, high = efficiency(Path(settings.credit))
        instrument = Gate("c instrument", what, value, low, high, needs, value >= EFFICIENCY)
    what, needs = "{} less uniform, mean training accuracy", "> 0, interval and all"
    uniform = runs.get("uniform", {})
    gains = {
        name: area_difference(rule, uniform)
        for name, rule in runs.items()
        if name.startswith("oracle") and set(rule) & set(uniform)
    }
    if not gains:
        return instrument, _open("c training", what.format("an oracle"), needs)
    best = max(gains, key=lambda name: gains[name][0])
    value, low, high, seeds = gains[best]
    return instrument, Gate("c training", what.format(best), *_rounded(value, low, high), needs, _below(-low), seeds)


def efficiency(path: Path) -> tuple[float, float | None, float | None]:
    """The best oracle's efficiency with its interval, from a record of `python -m credit_zoo.credit`."""
    try:
        record = load_credit(path)
    except CorruptRecord as error:
        raise UsageError(f"credit={path} is no record of the instrument: {error}") from None
    found = [one.numbers.get(record.headline) for one in record.rules if one.name.startswith("oracle")]
    known = [one for one in found if one is not None]
    if not known:
        raise UsageError(f"credit={path} has no oracle: measure it with shapers=all, or shapers=oracle_exact")
    best = max(known, key=lambda one: one.value)
    return best.value, best.low, best.high


def before_training(probe: ProbeRecord) -> tuple[Gate, Gate]:
    """Gates (d) and (e)."""
    seen = probe.accuracy
    chance = max(seen.majority, seen.with_choices * (seen.uniform_choice or 0.0))
    value, low, high = (round(100 * (share - chance), 2) for share in (seen.blind, seen.blind_low, seen.blind_high))
    mixed = round(100 * seen.mixed, 2)
    return (
        Gate("d", "blank pictures less chance", value, low, high, "<= 0 within its interval", low <= 0),
        Gate("e", "mixed groups before training", mixed, None, None, f">= {MIXED:g}", mixed >= MIXED),
    )


def duration(runs: Runs) -> Gate:
    """Gate (f)."""
    what, needs = f"median seconds of a run of {_steps(runs) or 'some'} steps", f"<= {SECONDS:g}"
    uniform = runs.get("uniform", {})
    if not uniform:
        return _open("f", what, needs)
    value = round(float(np.median([run.seconds for run in uniform.values()])), 1)
    return Gate("f", what, value, None, None, needs, value <= SECONDS, len(uniform))


def _steps(runs: Runs) -> int | None:
    """The steps of runs that are all of one length."""
    return next((run.training.steps for side in runs.values() for run in side.values() if run.training), None)


def _below(high: float) -> bool | None:
    """Whether a whole interval lies below 0; None for one without an end, which a single seed has."""
    return None if math.isinf(high) else high < 0


def _open(key: str, what: str, needs: str) -> Gate:
    """A gate that nothing was measured for."""
    return Gate(key, what, None, None, None, needs, None)


def _rounded(value: float, low: float, high: float) -> tuple[float, float | None, float | None]:
    """To two decimals; an endless interval is none."""
    bounds = [None if math.isinf(bound) else round(bound, 2) for bound in (low, high)]
    return round(value, 2), bounds[0], bounds[1]


def gates_of(settings: Gates, arguments: Sequence[str]) -> GateRecord:
    """All gates of the probe's policy."""
    probe = load(Path(settings.probe))
    runs = runs_of(Path(settings.results), probe, settings.steps)
    furthest = runs_of(Path(settings.results), probe, settings.steps, furthest=True)
    blind, mixed = before_training(probe)
    gates = (
        sharpening(probe, furthest),
        *reward(probe, runs, "sharpen"),
        *reward(probe, runs, "random_sparse"),
        *credit(settings, runs),
        blind,
        mixed,
        duration(furthest),
    )
    both = [run for found in (runs, furthest) for side in found.values() for run in side.values()]
    ids = sorted({run.run_id for run in both})
    return GateRecord(
        SCHEMA, utc_now(), ("credit_zoo.gates", *repeatable(arguments)), probe.bench, probe.twin_version, probe.model,
        probe.weights, _steps(runs), tuple(ids), gates, origin(),
    )  # fmt: skip


def run_gates(settings: Gates) -> int:
    """Weighs, prints and writes; returns the exit status: 1 where a gate failed."""
    record = gates_of(settings, as_arguments(settings))
    print(gates_text(record))
    if settings.out is not None:
        save_gates(record, Path(settings.out))
        print(f"\nwrote {settings.out}")
    return 1 if record.failed else 0
