"""The gates of a laboratory: their arithmetic by hand, what counts as a pair, what is open, and the record."""

import dataclasses

import pytest
from records import a_credit_record, a_record, a_training, an_evaluation, estimate

from credit_zoo.credit.record import Way
from credit_zoo.credit.record import save as save_credit
from credit_zoo.errors import UsageError
from credit_zoo.gates import main as start
from credit_zoo.lab.gate_record import Gate, gates_table, gates_text, load_gates
from credit_zoo.lab.gates import (
    Gates,
    area_difference,
    before_training,
    efficiency,
    gates_of,
    reward,
    runs_of,
    sharpening,
)
from credit_zoo.lab.gates import (
    credit as credit_gates,
)
from credit_zoo.lab.probe_record import Accuracy, AtTemperature, Mistakes, ProbeRecord, save
from credit_zoo.results.record import Model
from credit_zoo.results.store import CorruptRecord, write

SEEN = Accuracy(0.3, 0.28, 0.32, 0.4, 0.8, 0.75, 0.05, 0.04, 0.06, 0.07, None, 0.0)


@pytest.fixture
def probe():
    run = a_record("uniform")
    row = tuple(
        AtTemperature(*cells) for cells in ((1.0, 0.3, 0.28, 0.32), (0.3, 0.35, 0.3, 0.4), (0.0, 0.4, 0.3, 0.5))
    )
    return ProbeRecord(
        schema=2, created=run.created, command=("credit_zoo.probe",), bench="geometry3k", bench_version=1,
        twin_version=1, model="habits", weights="w1", settings={"questions": 4, "samples": 8, "note": ""},
        accuracy=SEEN, temperatures=row, mistakes=Mistakes(32, 20, 0.5, 0.5, 0.0, 0.0, 0.4, 0.4), spreads=(),
        separations=(), machine=run.machine, origin=run.origin, seconds=1.0,
    )  # fmt: skip


def a_run(rule, seed, final, curve, **changes):
    """A run from the probe's weights: the accuracy of four questions after it, and of every step."""
    steps = tuple({"step": step, "accuracy": share} for step, share in enumerate(curve, start=1))
    training = a_training(curve=steps, steps=len(curve), weights=None)
    evaluations = (an_evaluation(final),)
    model = Model("habits", "w1", 1)
    return a_record(
        rule, seed, training=training, evaluations=evaluations, model=model, seconds=100.0 + seed, **changes
    )


def sides(*runs):
    found = {}
    for run in runs:
        found.setdefault(run.shaper.name, {})[run.seed] = run
    return found


def test_what_training_reaches_is_compared_with_the_better_of_the_two_cold_policies(probe):
    runs = sides(a_run("uniform", 1, (1, 1, 1, 0), (0.3, 0.5)), a_run("uniform", 2, (1, 1, 0.5, 0), (0.3, 0.5)))
    gate = sharpening(probe, runs)  # (75 + 62.5) / 2 = 68.75, less 40, greedy
    assert (gate.value, gate.passed, gate.seeds) == (28.75, True, 2)
    assert sharpening(probe, sides(a_run("uniform", 1, (1, 1, 0, 0), (0.3,)))).passed is False  # 10 points
    known = an_evaluation((0, 0, 1, 1), stage="before", greedy=0.5)
    warm = dataclasses.replace(runs["uniform"][1], evaluations=(known, *runs["uniform"][1].evaluations))
    assert sharpening(probe, sides(warm)).value == 25  # 75 less 50: the same questions, greedy, before training
    assert sharpening(probe, {}).value is None and sharpening(probe, {}).passed is None


def test_areas_are_paired_by_seed_with_an_interval_by_student():
    uniform = {seed: a_run("uniform", seed, (1,), (0.4 + 0.1 * seed, 0.6)) for seed in (1, 2, 3)}
    lower = {1: a_run("sharpen", 1, (1,), (0.3, 0.6)), 2: a_run("sharpen", 2, (1,), (0.4, 0.4))}
    value, low, high, seeds = area_difference(lower, uniform)  # 45 - 55 = -10 and 40 - 60 = -20: sd 7.07, t 12.706
    assert (value, seeds) == (pytest.approx(-15), 2)
    assert (low, high) == (pytest.approx(-15 - 12.706 * 5, abs=1e-3), pytest.approx(-15 + 12.706 * 5, abs=1e-3))


def test_a_control_passes_where_the_whole_interval_lies_below_uniform(probe):
    uniform = [a_run("uniform", seed, (1, 1, 1, 1), (0.5, 0.9)) for seed in (1, 2, 3)]
    below = [a_run("sharpen", seed, (0.5, 0.5, 0.5, 0.5), (0.5, 0.5)) for seed in (1, 2, 3)]
    final, curve = reward(probe, sides(*uniform, *below), "sharpen")
    assert (final.value, final.passed, final.seeds) == (-50, True, 3)
    assert (curve.value, curve.passed) == (-20, True)
    level = [a_run("sharpen", seed, (1, 1, 1, 1), (0.5, 0.9)) for seed in (1, 2, 3)]
    assert [gate.passed for gate in reward(probe, sides(*uniform, *level), "sharpen")] == [False, False]
    one = reward(probe, sides(uniform[0], below[0]), "sharpen")[1]
    assert (one.value, one.low, one.passed) == (-20, None, None)  # one seed has no interval
    assert [gate.passed for gate in reward(probe, sides(*uniform), "random_sparse")] == [None, None]


def test_blank_pictures_are_compared_with_the_better_of_constant_and_guess(probe):
    blind, mixed = before_training(probe)
    assert (blind.value, blind.passed) == (-2, True) and (mixed.value, mixed.passed) == (75, True)
    choosing = dataclasses.replace(
        SEEN, blind=0.2, blind_low=0.18, blind_high=0.22, uniform_choice=0.5, with_choices=0.3
    )
    blind, _ = before_training(dataclasses.replace(probe, accuracy=choosing))
    assert (blind.value, blind.passed) == (5, False)  # 20 less half of the 30 with choices


def test_only_runs_from_the_probed_weights_on_its_twin_count_and_of_one_length(probe, tmp_path):
    kept = [a_run("uniform", seed, (0,), (0.5, 0.6)) for seed in (1, 2)] + [a_run("sharpen", 1, (1,), (0.5, 0.6))]
    longer = a_run("uniform", 3, (1,), (0.5, 0.6, 0.7))
    others = [dataclasses.replace(a_run("uniform", 4, (1,), (0.5, 0.6)), model=Model("small", "other", 1)), longer]
    for run in (*kept, *others):
        write(run, tmp_path)
    found = runs_of(tmp_path, probe, 0)
    assert {rule: sorted(seeds) for rule, seeds in found.items()} == {"uniform": [1, 2], "sharpen": [1]}
    assert sorted(runs_of(tmp_path, probe, 3)["uniform"]) == [3]
    assert sorted(runs_of(tmp_path, probe, 0, furthest=True)["uniform"]) == [1, 2]  # one seed gets further
    for seed in (7, 8):
        write(a_run("uniform", seed, (1,), (0.5, 0.6, 0.7)), tmp_path)
    assert sorted(runs_of(tmp_path, probe, 0, furthest=True)["uniform"]) == [3, 7, 8]
    assert runs_of(tmp_path, probe, 7) == {}
    elsewhere = dataclasses.replace(an_evaluation((1,)), bench="mathvista")
    write(dataclasses.replace(a_run("uniform", 6, (1,), (0.5,) * 9), evaluations=(elsewhere,)), tmp_path)
    assert runs_of(tmp_path, probe, 9) == {}  # trained here, measured elsewhere
    write(a_run("oracle_blame", 1, (1,), (0.5, 0.6)), tmp_path)  # four runs now, and three of the longer training
    assert sorted(runs_of(tmp_path, probe, 0)) == ["oracle_blame", "sharpen", "uniform"]  # where most was run


def test_the_record_is_read_as_written_and_tells_what_failed_and_what_is_open(probe, tmp_path, capsys):
    save(probe, tmp_path / "probe.json")
    write(a_run("uniform", 1, (1, 1, 1, 0), (0.5, 0.6)), tmp_path / "results")
    credit = tmp_path / "credit.json"
    save_credit(a_credit_record(), credit)
    words = [
        f"probe={tmp_path}/probe.json",
        f"results={tmp_path}/results",
        f"credit={credit}",
        f"out={tmp_path}/g.json",
    ]
    assert start(words) == 0
    record = load_gates(tmp_path / "g.json")
    assert record.failed == () and "b sharpen" in record.open and record.weights == "w1"
    assert {gate.key: gate.value for gate in record.gates if gate.passed} == {
        "a": 35.0, "c instrument": 1.5, "d": -2.0, "e": 75.0, "f": 101.0,
    }  # fmt: skip
    assert "(e) mixed groups before training: 75.0 passed; needs >= 50" in capsys.readouterr().out
    assert "| geometry3k | habits | 2 | 35.0 passed | open |" in gates_table([record])
    assert gates_table([]) == "No gates yet.\n" and "(a)" in gates_text(record)
    (tmp_path / "g.json").write_text("{}")
    with pytest.raises(CorruptRecord, match=r"g\.json is not the record of gates"):
        load_gates(tmp_path / "g.json")


def test_the_oracle_is_weighed_by_the_headline_of_the_instrument(probe, tmp_path):
    """Where the closed form sees hardly any right answer, what was measured along it is noise."""
    numbers = {"efficiency": estimate(91.0), "by_uniform_efficiency": estimate(0.7)}
    oracle = dataclasses.replace(a_credit_record().rules[-1], numbers=numbers)
    save_credit(a_credit_record(rules=(oracle,), way=Way(1e-6, 0.3, 0.99, {})), tmp_path / "c.json")
    assert efficiency(tmp_path / "c.json")[0] == 0.7
    save_credit(a_credit_record(rules=a_credit_record().rules[:1]), tmp_path / "c.json")
    with pytest.raises(UsageError, match="has no oracle"):
        efficiency(tmp_path / "c.json")


def test_the_best_of_the_oracles_is_weighed_in_training():
    uniform = [a_run("uniform", seed, (1,), (0.4, 0.5)) for seed in (1, 2)]
    worse = [a_run("oracle_first_error", seed, (1,), (0.4, 0.3)) for seed in (1, 2)]
    better = [a_run("oracle_blame", seed, (1,), (0.4, 0.6)) for seed in (1, 2)]
    other = [a_run("damped_negatives", seed, (1,), (0.9, 0.9)) for seed in (1, 2)]  # no oracle
    gate = credit_gates(Gates(), sides(*uniform, *worse, *better, *other))[1]
    assert (gate.what, gate.value, gate.passed) == ("oracle_blame less uniform, mean training accuracy", 5.0, True)
    gate = credit_gates(Gates(), sides(*uniform, *worse))[1]
    assert (gate.value, gate.passed) == (-10.0, False)
    assert credit_gates(Gates(), sides(*uniform, *other))[1].passed is None


def test_a_failed_gate_ends_with_status_1(probe, tmp_path):
    few = dataclasses.replace(probe, accuracy=dataclasses.replace(SEEN, mixed=0.2))
    save(few, tmp_path / "probe.json")
    assert start([f"probe={tmp_path}/probe.json", f"results={tmp_path}"]) == 1


def test_what_cannot_be_weighed_is_answered_with_a_sentence(probe, tmp_path):
    save(probe, tmp_path / "probe.json")
    (tmp_path / "c.json").write_text("{}")
    settings = Gates(str(tmp_path / "probe.json"), str(tmp_path / "none"), str(tmp_path / "c.json"))
    with pytest.raises(UsageError, match="is no record of the instrument"):
        gates_of(settings, [])
    with pytest.raises(UsageError, match="only where a value was measured"):
        Gate("a", "x", None, None, None, "y", True)
