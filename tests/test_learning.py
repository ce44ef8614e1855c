"""The accuracy while learning is the area under the curve, compared by seed, beside what is measured at the end."""

import numpy as np
import pytest
from records import a_record, a_training, an_evaluation

from credit_zoo.leaderboard.answer import answer
from credit_zoo.leaderboard.learning import WHILE_LEARNING, while_learning, with_learning
from credit_zoo.leaderboard.matrix import matrices
from credit_zoo.leaderboard.tables import measurements, table
from credit_zoo.results import RunRecord, mean_interval

STEPS = 4


def learnt(rule: str, seed: int, accuracies: list[float], **changes: object) -> RunRecord:
    curve = tuple({"step": step, "accuracy": value} for step, value in enumerate(accuracies, 1))
    return a_record(rule, seed, training=a_training(steps=STEPS, curve=curve, settings={}), **changes)


def climbs(rule: str, gains: list[float]) -> list[RunRecord]:
    """A run a seed, whose accuracy is higher than that of seed 0 of `uniform` by the gain at every step."""
    return [learnt(rule, seed, [0.1 + gain, 0.2 + gain, 0.3 + gain, 0.4 + gain]) for seed, gain in enumerate(gains)]


def test_it_is_the_mean_over_the_steps_of_each_seed():
    found = while_learning([learnt("uniform", 3, [0.1, 0.2, 0.3, 0.6])])
    (arm,) = found.to_dict("records")
    assert arm["value"] == pytest.approx(0.3) and list(arm["by_seed"]) == [3]
    assert arm["by_seed"][3].tolist() == pytest.approx([0.3])


def test_runs_that_did_not_log_every_step_or_did_not_train_have_none():
    gap = (
        {"step": 1, "accuracy": 0.5},
        {"step": 2},
        {"step": 3, "accuracy": 0.5},
        {"step": 4, "accuracy": 0.5},
    )
    records = [
        a_record("pepo", 0, training=a_training(steps=STEPS, curve=gap)),
        a_record("pepo", 1, training=a_training(steps=STEPS, curve=gap[:1])),
        a_record(shaper=None, base=None, training=None),
    ]
    assert len(while_learning(records)) == 0 and len(while_learning([])) == 0


def test_its_differences_are_paired_by_seed_and_their_interval_is_over_seeds():
    """The seeds differ by tens of points, the rule by 5.0, 5.2, ... from `uniform` on each of them."""
    levels = [0.0, 0.1, 0.2, 0.3, 0.4, 0.15, 0.25, 0.35]
    gains = [0.050, 0.052, 0.054, 0.048, 0.046, 0.050, 0.051, 0.049]
    better = climbs("better", [level + gain for level, gain in zip(levels, gains, strict=True)])
    found = while_learning([*climbs("uniform", levels), *better])
    (arm,) = [arm for arm in found.to_dict("records") if arm["shaper"]["name"] == "better"]
    pair = arm["difference"]
    value, low, high = mean_interval(gains)
    assert pair.interval.value == pytest.approx(value) and pair.seeds == tuple(range(8))
    # A bootstrap over eight seeds against Student's t.
    assert (pair.interval.low, pair.interval.high) == pytest.approx((low, high), abs=0.1 * (high - low))
    assert arm["from_uniform"].told == 1


def test_steps_are_no_questions_that_could_be_drawn_anew():
    """A steep curve is no less certain than a flat one."""
    flat = [learnt("uniform", seed, [level] * 4) for seed, level in enumerate([0.3, 0.4, 0.5])]
    steep = [learnt("uniform", seed, [0.0, level, level, 2 * level]) for seed, level in enumerate([0.3, 0.4, 0.5])]
    (one,), (two,) = while_learning(flat).to_dict("records"), while_learning(steep).to_dict("records")
    assert (one["interval"].low, one["interval"].high) == pytest.approx((two["interval"].low, two["interval"].high))


def test_it_is_a_column_and_a_table_of_its_own_and_leaves_those_of_the_end_alone():
    scores = {rule: (level,) * 40 for rule, level in (("uniform", 0.5), ("late", 0.5))}
    records = [
        *climbs("uniform", [0.0, 0.1, 0.2]),
        *climbs("late", [0.1, 0.205, 0.295]),
    ]
    records = [
        learnt(one.shaper.name, one.seed, [step["accuracy"] for step in one.training.curve],
               evaluations=(an_evaluation(scores[one.shaper.name]),))
        for one in records
    ]  # fmt: skip
    board = table(measurements(records))
    both = with_learning(board, records)
    assert len(both) == 2 * len(board) and not any(WHILE_LEARNING in measure for measure in board["measure"])
    header, _, uniform, late = [line for line in matrices(both).splitlines() if line.startswith("| ")]
    assert header == (
        "| rule | geometry3k (twin), 4 steps, 3 seeds, 1 compared "
        "| geometry3k (twin), while learning, 4 steps, 3 seeds, 1 compared |"
    )
    assert "| 50.0 [" in uniform and uniform.count("35.0 [") == 1
    assert late.startswith("| late | +0.00 [+0.00, +0.00] | +10.00 [") and late.endswith("▲ |")
    text = answer(both, [])
    assert "**No rule is told from `uniform` after training** (1 rule" in text
    assert "While learning, **late** (in 1 of 1 table) is told above `uniform` (1 rule" in text
    assert (
        "- During 4 steps on geometry3k (twin) from `own/small` under grpo (of 1 rule), above `uniform`: late (+10.0 ["
        in text
    )


def test_whether_what_is_above_is_above_its_own_shuffle_is_among_the_first_things_said():
    lead, *_ = answer(with_learning(table(measurements([])), climbs("uniform", [0.0, 0.1, 0.2])), []).split("\n")
    assert "own shuffle" not in lead
    runs = [*climbs("uniform", [0.0, 0.1, 0.2]), *climbs("pepo", [0.1, 0.205, 0.295])]
    runs += climbs("permuted_pepo", [0.102, 0.201, 0.297])
    assert "None of these is told above its own shuffle" in answer(while_learning(runs), [])
    shuffled = climbs("permuted_pepo", list(np.array([0.0, 0.1, 0.2]) + 0.01))
    assert "Told above its own shuffle too: pepo (in 1 of 1 table)." in answer(
        while_learning([*runs[:6], *shuffled]), []
    )
