import json
import math
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from records import a_record, a_training, an_evaluation, an_identity

from credit_zoo.errors import UsageError
from credit_zoo.results import provenance
from credit_zoo.results import store as results
from credit_zoo.results.provenance import Machine, Origin, repeatable
from credit_zoo.results.record import Category, Decoding, Model, Piece, TrainingSource, Weights
from credit_zoo.results.store import CorruptRecord, first_runs, load, load_all, record_path, write

words = st.text(min_size=1, max_size=12)
numbers = st.floats(allow_nan=False, allow_infinity=False)
shares = st.floats(0, 1)
scalars = st.none() | st.booleans() | st.integers() | numbers | words
options = st.dictionaries(words, scalars | st.lists(scalars, max_size=3).map(tuple), max_size=4)
pieces = st.builds(Piece, words, options)


@st.composite
def evaluations(draw):
    scores = draw(st.lists(shares, min_size=1, max_size=6))
    value = math.fsum(scores) / len(scores)
    return an_evaluation(
        scores,
        value=value,
        bench=draw(words),
        twin=draw(st.booleans()),
        greedy=draw(st.none() | shares),
        pass_at_n=draw(st.none() | shares),
        categories=draw(st.sampled_from([{}, {"a|b": Category(value, len(scores))}])),
    )


@st.composite
def records(draw):
    steps = sorted(draw(st.sets(st.integers(1, 50), max_size=4)))
    training = a_training(
        steps=50,
        settings=draw(options),
        counters=draw(st.dictionaries(words, st.integers(0, 10**12), max_size=2)),
        curve=tuple({"step": step, "reward": draw(numbers)} for step in steps),
    )
    return a_record(
        seed=draw(st.integers(0, 2**63)),
        shaper=draw(pieces),
        base=draw(pieces),
        gin=draw(st.text()),
        model=Model(draw(words), draw(words), draw(st.integers(1, 10**12))),
        training=training,
        evaluations=(draw(evaluations()),),
        command=tuple(draw(st.lists(words, max_size=3))),
    )


@given(records())
@settings(max_examples=40)
def test_what_is_written_is_read(tmp_path_factory, record):
    folder = tmp_path_factory.mktemp("results")
    path = write(record, folder)
    assert load(path) == record
    assert path.resolve().is_relative_to(folder.resolve())
    assert load_all(folder) == ([record], [])


def test_the_path_names_the_run_and_two_runs_of_one_kind_do_not_collide(tmp_path):
    first, second = a_record(), a_record(run_id="20260131120000-other")
    assert record_path(first) == Path("geometry3k/own-small/grpo/pepo/seed0-20260131120000-pepo-0.json")
    assert write(first, tmp_path) != write(second, tmp_path)


@pytest.mark.parametrize("name", ["../../up", "/root", "..", ".", "a/b\\c", "´"])
def test_no_name_leads_out_of_the_folder(tmp_path, name):
    record = a_record(model=Model(name, "r", 1), base=Piece(name, {}))
    path = write(record, tmp_path)
    assert path.resolve().is_relative_to(tmp_path.resolve())
    assert len(path.relative_to(tmp_path).parts) == 5


def test_an_untrained_model_has_a_record_too(tmp_path):
    record = a_record(shaper=None, base=None, training=None)
    path = write(record, tmp_path)
    assert path.relative_to(tmp_path).parts[:4] == ("untrained", "own-small", "none", "none")
    assert load(path) == record


def test_a_record_is_never_overwritten(tmp_path):
    path = write(a_record(), tmp_path)
    content = path.read_bytes()
    with pytest.raises(UsageError, match="never overwritten"):
        write(a_record(seconds=1.0), tmp_path)
    assert path.read_bytes() == content


def test_scores_stand_on_one_line_and_so_does_a_step(tmp_path):
    lines = write(a_record(), tmp_path).read_text().splitlines()
    assert '"correctness": [0.0, 0.5, 1.0, 0.5],' in [line.strip() for line in lines]
    assert '{"step": 2, "reward": 0.5, "entropy": 1.25}' in [line.strip() for line in lines]


@pytest.mark.parametrize("call", ["replace", "fsync"])
def test_a_failure_while_writing_leaves_nothing(tmp_path, monkeypatch, call):
    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(results.os, call, fail)
    with pytest.raises(OSError, match="disk full"):
        write(a_record(), tmp_path)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_record_gets_its_name_in_one_step_and_whole(tmp_path, monkeypatch):
    rename, seen = os.replace, []

    def watch(source, target):
        seen.append((Path(source), json.loads(Path(source).read_text()), target.exists()))
        rename(source, target)

    monkeypatch.setattr(results.os, "replace", watch)
    path = write(a_record(), tmp_path)
    [(part, content, was_there)] = seen
    assert part.parent == path.parent and part.suffix != ".json" and not was_there
    assert content == json.loads(path.read_text())
    assert [one for one in path.parent.iterdir()] == [path]


ENDLESS_WRITER = """
import sys
from pathlib import Path
from records import a_record
from credit_zoo.results import write
for seed in range(10**6):
    write(a_record(seed=seed, gin="x" * 30_000_000), Path(sys.argv[1]))
"""


@pytest.mark.parametrize("whole", [0, 2])
def test_killed_in_the_middle_of_a_write_only_whole_records_stand(tmp_path, whole):
    process = subprocess.Popen([sys.executable, "-c", ENDLESS_WRITER, str(tmp_path)], cwd=Path(__file__).parent)
    deadline = time.monotonic() + 60
    while sum(path.is_file() for path in tmp_path.rglob("*seed*")) <= whole and time.monotonic() < deadline:
        assert process.poll() is None
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    found, problems = load_all(tmp_path)
    assert problems == []
    assert len(found) == len(list(tmp_path.rglob("*.json"))) <= whole + 1


def damaged(tmp_path, change):
    """A written record whose content was changed, as a file."""
    path = write(a_record(), tmp_path)
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    return path


def put(*place_and_value):
    *place, last, value = place_and_value

    def change(content):
        for key in place:
            content = content[key]
        content[last] = value

    return change


def drop(*place):
    def change(content):
        for key in place[:-1]:
            content = content[key]
        del content[place[-1]]

    return change


after = ("evaluations", 1)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        pytest.param(drop("seed"), "lacks seed", id="a key is missing"),
        pytest.param(drop(*after, "decoding", "top_k"), r"evaluations\[1\].decoding: lacks top_k", id="a deep one is"),
        pytest.param(put("colour", 1), "has unknown colour", id="an unknown key"),
        pytest.param(put("machine", "disk", 1), "machine: has unknown disk", id="a deep unknown key"),
        pytest.param(put("schema", 3), "schema: 3 is newer", id="a schema of the future"),
        pytest.param(put("schema", 0), "schema 0", id="no such schema"),
        pytest.param(put("seed", "0"), "seed: must be a whole number, got '0'", id="text for a number"),
        pytest.param(put("seed", 1.0), "seed: must be a whole number", id="a float for a whole number"),
        pytest.param(put("seed", True), "seed: must be a whole number", id="true for a number"),
        pytest.param(put("seed", -1), "seed must be in", id="a negative seed"),
        pytest.param(put("origin", "dirty", 1), "origin.dirty: must be true or false", id="a number for true"),
        pytest.param(put("origin", "commit", None), "commit and dirty", id="dirty without commit"),
        pytest.param(put("gin", None), "gin: must be text", id="null for text"),
        pytest.param(put("command", "run"), "command: must be a list", id="text for a list"),
        pytest.param(put("model", []), "model: must be a mapping", id="a list for a mapping"),
        pytest.param(put("model", "parameters", 0), "model.parameters", id="a model without parameters"),
        pytest.param(put("base", None), "together or not at all", id="a shaper without base"),
        pytest.param(
            put("shaper", "settings", {"a": {"b": 1}}), "shaper.settings.a: must be a plain", id="deep setting"
        ),
        pytest.param(put("status", "running"), "status: must be one of complete", id="an unfinished run"),
        pytest.param(put("created", "yesterday"), "created must read like", id="a time in words"),
        pytest.param(put("run_id", "../x"), "run_id", id="a run id with a path"),
        pytest.param(drop("identity"), "lacks identity", id="no identity"),
        pytest.param(drop("shaper", "code"), "shaper: lacks code", id="a rule without its code"),
        pytest.param(drop("identity", "dtype"), "identity: lacks dtype", id="an identity without its numbers"),
        pytest.param(put("supersedes", ["20260131120000-pepo-0"]), "names .* itself", id="a run in its own place"),
        pytest.param(put("notes", ["two\nlines"]), "a note is one line", id="a long note"),
        pytest.param(put("evaluations", []), "at least one measurement", id="nothing measured"),
        pytest.param(put(*after, "stage", "during"), r"evaluations\[1\].stage: must be one of", id="no such stage"),
        pytest.param(put(*after, "stage", "before"), "none twice", id="one measurement twice"),
        pytest.param(put(*after, "value", 0.51), "mean of correctness", id="another headline"),
        pytest.param(put(*after, "value", 50.0), r"evaluations\[1\]: value must be in", id="a value in percent"),
        pytest.param(put(*after, "correctness", [0.5] * 3), "must have 4 entries", id="too few scores"),
        pytest.param(put(*after, "correctness", [2.0, 0, 0, 0]), r"correctness\[0\]", id="a score out of range"),
        pytest.param(put(*after, "correctness", [None] * 4), r"correctness\[0\]: must be a finite", id="null scores"),
        pytest.param(put(*after, "greedy", "x"), r"evaluations\[1\].greedy: must be a finite", id="text for a share"),
        pytest.param(put(*after, "truncated", 1.5), "truncated must be", id="a share over 1"),
        pytest.param(put(*after, "categories", "all", "count", 3), "add up to 4", id="categories that lack one"),
        pytest.param(put(*after, "decoding", "top_p", 0), "decoding.top_p", id="top_p of nothing"),
        pytest.param(put("training", "curve", 0, "step", 2), "ascending", id="a step twice"),
        pytest.param(put("training", "curve", 1, "step", 3), "at most 2", id="a step after the last"),
        pytest.param(drop("training", "curve", 0, "step"), "needs a step", id="a curve entry without step"),
        pytest.param(
            put("training", "curve", 0, "reward", None), r"training.curve\[0\].reward", id="null in the curve"
        ),
        pytest.param(put("training", "counters", "kept_prompts", -1), "counters.kept_prompts", id="a negative count"),
        pytest.param(put("training", "weights", "ess", 2.0), "weights.ess", id="an ess over 1"),
        pytest.param(put("training", "weights", "p05", 1.05), "percentiles must ascend", id="percentiles in disorder"),
        pytest.param(put("training", "source", "rows", -1), "training.source: rows", id="trained on less than nothing"),
    ],
)
def test_a_damaged_record_is_refused_with_file_and_field(tmp_path, change, named):
    path = damaged(tmp_path, change)
    with pytest.raises(CorruptRecord, match=named) as refused:
        load(path)
    assert str(path) in str(refused.value)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_numbers_that_are_none_are_refused(tmp_path, number):
    path = write(a_record(), tmp_path)
    path.write_text(path.read_text().replace('"seconds": 12.5', f'"seconds": {number}'))
    with pytest.raises(CorruptRecord, match=path.name):
        load(path)


@pytest.mark.parametrize("content", [b"", b"[]", b"null", b"\xff\xfe", b"[" * 100_000, b'{"schema": true}'])
def test_a_file_that_is_no_record_is_refused(tmp_path, content):
    path = tmp_path / "x.json"
    path.write_bytes(content)
    with pytest.raises(CorruptRecord, match=r"x\.json"):
        load(path)


@given(st.floats(0, 0.999))
def test_a_truncated_record_is_refused(tmp_path_factory, share):
    path = write(a_record(), tmp_path_factory.mktemp("results"))
    content = path.read_text().rstrip()
    path.write_text(content[: int(share * len(content))])
    with pytest.raises(CorruptRecord, match="cannot be read"):
        load(path)


def test_a_key_that_stands_twice_is_refused(tmp_path):
    path = write(a_record(), tmp_path)
    path.write_text(path.read_text().replace('"seed": 0,', '"seed": 0, "seed": 1,', 1))
    with pytest.raises(CorruptRecord, match="stands twice"):
        load(path)


def test_what_could_not_be_read_is_not_written(tmp_path):
    for record in (a_record(seconds=float("inf")), a_record(shaper=Piece("x", {"t": float("inf")}))):
        with pytest.raises(CorruptRecord, match="is not written"):
            write(record, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_corrupt_records_are_named_and_the_others_load(tmp_path):
    whole = write(a_record(seed=1), tmp_path)
    broken = damaged(tmp_path, drop("seed"))
    (tmp_path / "notes.txt").write_text("not a record")
    found, problems = load_all(tmp_path)
    assert found == [load(whole)]
    assert len(problems) == 1
    assert str(broken) in problems[0]


def test_a_run_that_was_reproduced_counts_once_and_is_no_problem(tmp_path):
    write(a_record(created="2026-02-01T00:00:00Z", run_id="a-later-run", seconds=1.0), tmp_path)
    early = write(a_record(run_id="z-earlier-run"), tmp_path)
    assert load_all(tmp_path) == ([load(early)], [])


def test_of_two_equal_runs_with_other_results_the_earlier_counts_and_both_are_named(tmp_path):
    other = (an_evaluation(truncated=0.5),)
    late = write(a_record(created="2026-02-01T00:00:00Z", run_id="a-later-run", evaluations=other), tmp_path)
    early = write(a_record(run_id="z-earlier-run"), tmp_path)
    found, problems = load_all(tmp_path)
    assert found == [load(early)]
    assert len(problems) == 1
    assert str(late) in problems[0] and str(early) in problems[0]


@pytest.mark.parametrize(
    "changes",
    [
        {"seed": 1},
        {"shaper": Piece("pepo", {"alpha": 0.1})},
        {"base": Piece("grpo", {"clip": 0.3})},
        {"model": Model("own/small", "other", 1_000_000)},
        {"contract_version": 2},
        {"shaper": Piece("pepo", {"alpha": 0.05}, "edited")},
        {"base": Piece("grpo", {"clip": 0.2}, "edited")},
        {"identity": None},
        {"identity": an_identity(loop_version=2)},
        {"identity": an_identity(dtype="bfloat16")},
        {"identity": an_identity(encoder="e2")},
        {"identity": an_identity(grader="rules v2")},
        {"identity": an_identity(settings={"model.lora_rank": 8, "prompt.style": "short"})},
        {"training": a_training(settings={"lr": 1e-5})},
        {"training": a_training(source=TrainingSource("geometry3k", 1, "train", False, "r", 100))},
        {"evaluations": (an_evaluation(bench_version=2),)},
        {"evaluations": (an_evaluation(code="edited"),)},
        {"evaluations": (an_evaluation(settings={"copy": "RefCOCO+"}),)},
        {"evaluations": (an_evaluation(decoding=Decoding(1.0, 1.0, 0, 128, 1234)),)},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_runs_that_differ_in_anything_that_matters_are_two(tmp_path, changes):
    write(a_record(), tmp_path)
    write(a_record(run_id="another-run", **changes), tmp_path)
    found, problems = load_all(tmp_path)
    assert len(found) == 2
    assert problems == []


OLD = {
    "shaper": {"name": "pepo", "settings": {"alpha": 0.05, "ramp": "linear"}},
    "base": {"name": "dapo", "settings": {"max_refills": 3}},
    "settings": {"train.schedule": "constant", "train.lr": 6e-05},
}


def of_schema_1(tmp_path, asked, kept):
    """A file as version 0.1 wrote it, with a step whose filter kept some of the prompts that were asked."""
    path = write(a_record(), tmp_path)
    content = json.loads(path.read_text())
    step = {"step": 1, "reward": 1.5, "accuracy": 0.75, "sampled_tokens": 900, "entropy": 0.1}
    counts = {"asked": asked, "kept": kept, "refills": 1}
    content |= {"schema": 1, "shaper": OLD["shaper"], "base": OLD["base"]}
    content["training"] |= {
        "settings": OLD["settings"],
        "counters": counts,
        "curve": [{**step, **counts}],
        "tokens": 900,
    }
    del content["training"]["source"]["code"], content["identity"], content["supersedes"]
    for evaluation in content["evaluations"]:
        del evaluation["code"], evaluation["settings"]
    path.write_text(json.dumps(content))
    return path


def test_a_record_of_schema_1_is_read_in_the_words_of_schema_2_and_its_identity_is_not_known(tmp_path):
    found = load(of_schema_1(tmp_path, asked=16, kept=16))
    assert (found.schema, found.identity, found.shaper.code, found.base.code) == (2, None, "", "")
    assert found.shaper.settings == {"alpha": 0.05, "shaper_schedule": "linear"}
    assert found.base.settings == {"max_resampling_rounds": 3}
    assert found.training.settings == {"train.lr_schedule": "constant", "train.lr": 6e-05}
    assert found.training.counters == {"sampled_prompts": 16, "kept_prompts": 16, "resampling_rounds": 1}
    assert found.training.tokens == 900
    (step,) = found.training.curve
    assert step["accuracy"] == step["kept_accuracy"] == 0.75, "nothing was dropped: both are the same"
    assert (step["sampled_prompts"], step["sampled_tokens"], step["entropy"]) == (16, 900, 0.1)


def test_what_schema_1_counted_after_a_filter_is_not_told_as_of_the_whole(tmp_path):
    training = load(of_schema_1(tmp_path, asked=43, kept=16)).training
    assert training.tokens is None
    assert training.counters["kept_tokens"] == 900 and training.counters["sampled_prompts"] == 43
    (step,) = training.curve
    assert not {"accuracy", "reward", "sampled_tokens"} & step.keys()
    assert (step["kept_accuracy"], step["kept_reward"], step["kept_tokens"]) == (0.75, 1.5, 900)


def test_an_old_record_that_is_written_anew_is_one_of_schema_2(tmp_path):
    old = load(of_schema_1(tmp_path, asked=43, kept=16))
    path = write(replace(old, run_id="another-run"), tmp_path)
    assert json.loads(path.read_text())["schema"] == 2
    assert load(path) == replace(old, run_id="another-run")


def test_the_records_of_the_repository_load():
    found, problems = load_all(Path(__file__).parents[1] / "leaderboard" / "results")
    assert found and problems == []
    dapo = [one for one in found if one.base and one.base.name == "dapo"]
    assert all(one.training.tokens is None for one in dapo if one.identity is None), "only what was kept was counted"


@pytest.mark.parametrize(
    ("whole", "broken"),
    [
        (r'"seconds": [0-9.]+', '"seconds": ' + "9" * 400),
        (r'"name": "[a-z]+"', r'"name": "\\ud800"'),
    ],
    ids=["a number beyond all floats", "half a pair of signs"],
)
def test_what_python_cannot_hold_or_show_is_named_as_damage(tmp_path, whole, broken):
    path = write(a_record(), tmp_path)
    changed, times = re.subn(whole, broken, path.read_text(), count=1)
    assert times == 1
    path.write_text(changed)
    found, (problem,) = load_all(tmp_path)
    assert found == [] and path.name in problem


def benches_of(record):
    return [(one.bench, one.stage) for one in record.evaluations]


def again(tmp_path, *evaluations, **changed):
    """The run of `a_record()` on record once more, a month later."""
    later = a_record(run_id="another-run", created="2026-02-01T00:00:00Z", evaluations=evaluations, **changed)
    write(later, tmp_path)


def test_a_run_that_is_repeated_on_more_benchmarks_is_one_run_with_more_benchmarks(tmp_path):
    first = a_record()
    write(first, tmp_path)
    again(tmp_path, *first.evaluations, an_evaluation(bench="mathvista"))
    (run,), problems = load_all(tmp_path)
    assert problems == []
    assert sorted(benches_of(run)) == sorted([*benches_of(first), ("mathvista", "after")])
    assert replace(run, evaluations=first.evaluations) == first


def test_a_repetition_with_other_scores_is_named_and_brings_nothing(tmp_path):
    first = a_record()
    write(first, tmp_path)
    other = an_evaluation(value=0.0, correctness=(0.0,) * first.evaluations[-1].questions)
    again(tmp_path, other, an_evaluation(bench="mathvista"))
    (run,), (problem,) = load_all(tmp_path)
    assert run == first
    assert "other results: the earlier one counts" in problem and "another-run" in problem


def test_a_run_repeated_on_another_benchmark_joins_if_it_learnt_the_same(tmp_path):
    first = a_record()
    write(first, tmp_path)
    again(tmp_path, an_evaluation(bench="mathvista"))
    (run,), _ = load_all(tmp_path)
    assert ("mathvista", "after") in benches_of(run) and benches_of(run)[0][0] != "mathvista"


def test_a_run_repeated_on_another_benchmark_stands_for_itself_if_it_learnt_otherwise(tmp_path):
    first = a_record()
    write(first, tmp_path)
    curve = tuple({**step, "reward": 0.123} for step in first.training.curve)
    again(tmp_path, an_evaluation(bench="mathvista"), training=replace(first.training, curve=curve))
    found, problems = load_all(tmp_path)
    assert problems == [] and len(found) == 2
    assert first_runs(found) == [first], "of the training itself the earliest tells"
    assert first_runs(found[::-1]) == [first]
    others = [a_record(seed=seed) for seed in range(3)]
    assert first_runs(others) == others


def test_a_repetition_that_reports_more_beside_the_same_scores_is_no_other_result(tmp_path):
    first = a_record()
    write(replace(first, evaluations=tuple(replace(one, greedy=None) for one in first.evaluations)), tmp_path)
    again(tmp_path, *(replace(one, greedy=0.5) for one in first.evaluations), an_evaluation(bench="mathvista"))
    (run,), problems = load_all(tmp_path)
    assert problems == [] and ("mathvista", "after") in benches_of(run)


def test_a_third_run_that_repeats_two_is_held_against_both(tmp_path):
    """The first measured one set, the second, which learnt otherwise, another; the third has other scores on that."""
    first, there = a_record(), an_evaluation(bench="mathvista")
    write(first, tmp_path)
    curve = tuple({**step, "reward": 0.123} for step in first.training.curve)
    again(tmp_path, there, training=replace(first.training, curve=curve))
    other = replace(there, value=0.0, correctness=(0.0,) * there.questions)
    third = a_record(run_id="third-run", created="2026-03-01T00:00:00Z", evaluations=(*first.evaluations, other))
    write(third, tmp_path)
    found, (problem,) = load_all(tmp_path)
    assert "third-run" in problem and "another-run" in problem
    assert sorted(run.run_id for run in found) == sorted([first.run_id, "another-run"])
    assert sum(one.bench == "mathvista" for run in found for one in run.evaluations) == 1, "a seed counts once"


def test_a_run_on_the_real_set_joins_that_on_its_twin(tmp_path):
    first = a_record()
    write(first, tmp_path)
    real = replace(first.evaluations[-1], twin=False, correctness=(0.0,) * first.evaluations[-1].questions, value=0.0)
    again(tmp_path, *first.evaluations, real)
    (run,), problems = load_all(tmp_path)
    assert problems == [] and {one.twin for one in run.evaluations} == {True, False}


def superseding(tmp_path, **changed):
    write(
        a_record(run_id="taker-run", created="2026-03-01T00:00:00Z", supersedes=(a_record().run_id,), **changed),
        tmp_path,
    )


def test_who_takes_a_run_s_place_counts_as_early_as_that_run(tmp_path):
    """Between both came a rerun with other scores, which counted for nothing and still does."""
    first = a_record()
    write(first, tmp_path)
    zero = an_evaluation(value=0.0, correctness=(0.0,) * first.evaluations[-1].questions)
    again(tmp_path, zero)
    half = replace(zero, value=0.5, correctness=(0.5,) * zero.questions)
    superseding(tmp_path, evaluations=(half,))
    (run,), (problem,) = load_all(tmp_path)
    assert run.run_id == "taker-run" and "another-run" in problem


def test_a_run_takes_the_place_of_one_like_it_alone_and_two_do_not_take_each_other_s(tmp_path):
    first = a_record()
    write(first, tmp_path)
    superseding(tmp_path, seed=first.seed + 1)
    found, (problem,) = load_all(tmp_path)
    assert {run.run_id for run in found} == {first.run_id, "taker-run"} and "another rule, base, set or seed" in problem
    both = tmp_path / "both"
    write(replace(first, supersedes=("taker-run",)), both)
    superseding(both)
    (run,), problems = load_all(both)
    assert run.run_id == "taker-run" and problems == []


@dataclass(frozen=True)
class Rule:
    alpha: float = 0.05
    temperature: float = float("inf")


def test_an_infinite_setting_is_kept_as_text(tmp_path):
    piece = Piece.of("rule", Rule())
    assert piece == Piece("rule", {"alpha": 0.05, "temperature": "inf"})
    assert load(write(a_record(shaper=piece), tmp_path)).shaper == piece


def test_every_part_of_a_record_is_frozen():
    parts = [a_record()]
    for part in parts:
        assert part.__dataclass_params__.frozen
        parts += [value for field in fields(part) if is_dataclass(value := getattr(part, field.name))]
    assert len(parts) > 7


def git(folder, *arguments):
    identity = ["-c", "user.name=a", "-c", "user.email=a@b.c"]
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


def test_the_state_of_a_checkout(tmp_path):
    package = tmp_path / "pack"
    package.mkdir()
    (package / "__init__.py").write_text("")
    assert provenance.git_state(package) == (None, None)
    git(tmp_path, "init")
    assert provenance.git_state(package) == (None, None)  # a checkout that does not hold the package says nothing
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "first")
    commit, dirty = provenance.git_state(package)
    assert len(commit) == 40 and dirty is False
    (tmp_path / "leaderboard").mkdir()
    (tmp_path / "leaderboard" / "x.json").write_text("{}")
    assert provenance.git_state(package) == (commit, False)
    (tmp_path / "new_rule.py").write_text("")
    assert provenance.git_state(package) == (commit, True)


def test_a_machine_and_its_packages():
    here = provenance.machine(threads=1)
    assert here.cpu and here.cores >= 1 and here.gpu is None
    assert provenance.package_versions()["numpy"]
    with pytest.raises(UsageError, match="must agree"):
        Machine("cpu", 1, 1, gpu="H100", gpus=0)


def test_run_ids_of_one_second_differ_and_are_accepted():
    now = provenance.utc_now()
    ids = {provenance.new_run_id(now) for _ in range(100)}
    assert len(ids) == 100
    for one in ids:
        assert a_record(run_id=one, created=now).run_id == one


def test_a_digest_knows_order_and_borders():
    assert provenance.digest(["ab", "c"]) == provenance.digest(["ab", "c"])
    assert len({provenance.digest(parts) for parts in (["ab", "c"], ["a", "bc"], ["c", "ab"], ["abc"], [])}) == 5


def test_weights_of_a_rounded_mean_are_accepted():
    assert Weights(std=0.0, ess=1 + 1e-7, p05=1.0, p50=1.0, p95=1.0).ess > 1
    assert Origin(None, None, {}).commit is None


def test_a_record_does_not_tell_where_files_lay_on_one_machine():
    words = (
        "shaper=pepo",
        "seed=1",
        "out=runs",
        "results=/somewhere/results",
        "data=/somewhere/puzzles",
        "data.reasoning=0.5",
    )
    assert repeatable(words) == ("shaper=pepo", "seed=1", "data=puzzles", "data.reasoning=0.5")
