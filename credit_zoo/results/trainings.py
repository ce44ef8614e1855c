"""Trainings side by side: runs that are alike in all but rule and seed, as every comparison needs them."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TypeAlias

from credit_zoo.results.record import RunRecord, Training
from credit_zoo.results.store import first_runs, key_of

BySeed: TypeAlias = Mapping[int, RunRecord]
SideBySide: TypeAlias = Mapping[str, BySeed]


def side_by_side(records: Sequence[RunRecord]) -> list[SideBySide]:
    """Of runs that share base, model, questions, steps, settings and identity: by the rule's name and the seed.

    Of a rule with several settings, or several versions of its code, the one with most seeds counts, of equals the
    newest: runs of both under one name would be a mixture of two rules.
    """
    setups: dict[str, dict[str, dict[str, dict[int, RunRecord]]]] = defaultdict(lambda: defaultdict(dict))
    for run in first_runs(records):
        if run.training is not None and run.shaper is not None:
            arms = setups[_setup(run, run.training)][run.shaper.name]
            arms.setdefault(key_of(run.shaper), {})[run.seed] = run
    return [{name: max(arms.values(), key=_rank) for name, arms in rules.items()} for rules in setups.values()]


def _setup(run: RunRecord, training: Training) -> str:
    return key_of(
        run.contract_version, run.base, run.model, training.source, training.steps, training.shared, run.identity
    )


def _rank(runs: BySeed) -> tuple[int, str]:
    return len(runs), max(run.created for run in runs.values())


def logs_every_step(run: RunRecord) -> bool:
    """Whether the accuracy of every step of a training is on record, and of nothing else: curves of other steps have
    areas that do not compare.
    """
    made = run.training
    return made is not None and [entry.get("step") for entry in made.curve if "accuracy" in entry] == list(
        range(1, made.steps + 1)
    )
