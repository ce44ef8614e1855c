"""Efficiency against what training gained: known ranks, seeds in pairs, and thresholds by hand."""

import dataclasses

import pytest
from records import a_credit_record, a_record, a_training, estimate

from credit_zoo.credit import RuleCredit
from credit_zoo.lab.gates import area
from credit_zoo.leaderboard.prediction import prediction_text, predictions, steps_to
from credit_zoo.results.record import Model

RULES = ("good", "fair", "poor", "bad")


def a_run(rule, seed, accuracies, weights="0" * 12):
    curve = tuple({"step": step, "accuracy": one} for step, one in enumerate(accuracies, start=1))
    training = dataclasses.replace(a_training(weights=None), steps=len(curve), curve=curve)
    return a_record(rule, seed, training=training, model=Model("habits", weights, 1))


def a_measurement(efficiencies):
    first = a_credit_record().rules[0]
    rules = [RuleCredit(name, "0" * 16, False, 1.0, 0.5, 1.0, {"efficiency": estimate(value, 0.001)})
             for name, value in efficiencies.items()]  # fmt: skip
    return a_credit_record(rules=(first, *rules))


def runs(gains, seeds=(1, 2, 3)):
    """Six steps; uniform is at 0.2, the seeds differ by more than the rules do."""
    found = [a_run("uniform", seed, [0.2 + 0.1 * seed] * 6) for seed in seeds]
    return found + [a_run(rule, seed, [0.2 + 0.1 * seed + gain] * 6) for rule, gain in gains.items() for seed in seeds]


def test_a_rule_that_the_instrument_ranks_higher_gains_more_or_not():
    measured = a_measurement(dict(zip(RULES, (1.4, 1.1, 0.8, 0.5), strict=True)))
    (same,) = predictions([measured], runs(dict(zip(RULES, (0.04, 0.02, -0.02, -0.04), strict=True))))
    assert same.rank == pytest.approx(1) and (same.low, same.high) == pytest.approx((1, 1))
    assert same.p == pytest.approx(1 / 24)  # one of 4! orders
    assert [pair.rule for pair in same.pairs] == list(RULES)
    assert same.pairs[0].gain == pytest.approx(4) and set(same.pairs[0].gains) == {1, 2, 3}
    (reverse,) = predictions([measured], runs(dict(zip(RULES, (-0.04, -0.02, 0.02, 0.04), strict=True))))
    assert reverse.rank == pytest.approx(-1) and reverse.p == pytest.approx(1)
    swapped = predictions([measured], runs(dict(zip(RULES, (0.02, 0.04, -0.02, -0.04), strict=True))))[0]
    assert swapped.rank == pytest.approx(0.8)  # 1 - 6 * 2 / (4 * 15)


def test_runs_from_other_weights_and_rules_that_were_not_measured_are_left_out():
    measured = a_measurement(dict(zip(RULES, (1.4, 1.1, 0.8, 0.5), strict=True)))
    gains = dict.fromkeys(RULES, 0.0)
    assert predictions([measured], runs({name: gains[name] for name in RULES[:3]} | {"unknown": 0.1})) == []
    others = [dataclasses.replace(run, model=Model("habits", "1" * 12, 1)) for run in runs(gains)]
    assert predictions([measured], others) == []
    (found,) = predictions([measured], runs(gains))
    assert found.rank == 0 and found.p == 1  # all gains equal say nothing


def test_steps_to_a_threshold_and_the_area_by_hand():
    run = a_run("uniform", 1, [0.0, 0.2, 0.4, 0.6, 0.8, 1.0])
    assert area(run) == pytest.approx(50)
    assert steps_to(run, 40) == 5 and steps_to(run, 41) == 6 and steps_to(run, 61) == float("inf")


def test_the_text_names_what_was_compared():
    measured = a_measurement(dict(zip(RULES, (1.4, 1.1, 0.8, 0.5), strict=True)))
    text = prediction_text(predictions([measured], runs(dict(zip(RULES, (0.04, 0.02, -0.02, -0.04), strict=True)))))
    assert "Rank correlation of efficiency and gain 1.00 [1.00, 1.00], p = 0.042" in text
    assert "| good | 1.40 +- 0.00 | +4.00 [+4.00, +4.00] | 3 | 5 |" in text


def test_runs_that_no_table_compares_change_nothing_whatever_their_order():
    """Other settings of a rule, another base, the real set, another version of the loop, and a longer training without
    `uniform`: none of them is the same training.
    """
    measured = a_measurement(dict(zip(RULES, (1.4, 1.1, 0.8, 0.5), strict=True)))
    own = runs(dict(zip(RULES, (0.04, 0.02, -0.02, -0.04), strict=True)))
    strange = [
        replaced(run, "strange", accuracy=0.9)
        for run in own
        if run.seed < 3 and run.shaper.name in ("good", "uniform")
        for replaced in (other_settings, other_base, real_set, other_loop)
    ]
    without = [a_run(rule, seed, [0.9] * 7) for rule in RULES for seed in range(1, 6)]
    (alone,) = predictions([measured], own)
    for order in (own + strange + without, without + strange[::-1] + own):
        assert predictions([measured], order) == [alone]


def changed(run, mark, accuracy, **changes):
    curve = tuple({**step, "accuracy": accuracy} for step in run.training.curve)
    training = dataclasses.replace(changes.pop("training", run.training), curve=curve)
    return dataclasses.replace(run, run_id=f"{run.run_id}-{mark}", training=training, **changes)


def other_settings(run, mark, accuracy):
    shaper = dataclasses.replace(run.shaper, settings={**run.shaper.settings, "alpha": 0.7})
    return changed(run, f"{mark}-settings", accuracy, shaper=shaper)


def other_base(run, mark, accuracy):
    return changed(run, f"{mark}-base", accuracy, base=dataclasses.replace(run.base, code="f" * 16))


def real_set(run, mark, accuracy):
    source = dataclasses.replace(run.training.source, twin=False)
    return changed(run, f"{mark}-real", accuracy, training=dataclasses.replace(run.training, source=source))


def other_loop(run, mark, accuracy):
    identity = dataclasses.replace(run.identity, loop_version=run.identity.loop_version + 1)
    return changed(run, f"{mark}-loop", accuracy, identity=identity)


def test_a_curve_of_other_steps_is_not_compared():
    """A rule that logged its late steps alone would gain what everyone gains by training longer."""
    measured = a_measurement(dict(zip(RULES, (1.4, 1.1, 0.8, 0.5), strict=True)))
    rising = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]
    own = [a_run(rule, seed, rising) for rule in ("uniform", *RULES) for seed in (1, 2, 3)]
    late = dataclasses.replace(own[3].training, curve=own[3].training.curve[3:])
    cut = [dataclasses.replace(run, training=late) if run.shaper.name == "good" else run for run in own]
    assert predictions([measured], cut) == [], "three rules are left"
    noted = ({"step": 0, "reward": 1.0}, *own[3].training.curve)
    more = dataclasses.replace(own[3], training=dataclasses.replace(own[3].training, curve=noted))
    assert area(more) == area(own[3]), "an entry without accuracy is no step"


def test_of_random_orders_p_is_never_0():
    names = [f"rule{number:02d}" for number in range(12)]
    gains = {name: 0.01 * place for place, name in enumerate(names)}
    measured = a_measurement({name: 1 + 0.1 * place for place, name in enumerate(names)})
    (found,) = predictions([measured], runs(gains))
    assert found.rank == pytest.approx(1) and found.p == pytest.approx(1 / 20_001)
    assert "p &lt; 0.001 by permutation" in prediction_text([found])
