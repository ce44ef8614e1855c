"""Measurements of a run: what was measured is not asked again, and a sample of a set is a fair one."""

import gzip
import json
import re
from collections import Counter
from pathlib import Path

import pytest
from conftest import tiny_policy
from PIL import Image

from credit_zoo.cli.arguments import parse
from credit_zoo.evaluation.generations import GenerationLog, read_generations
from credit_zoo.experiment.config import resolve
from credit_zoo.policy.export import export_policy
from credit_zoo.question import Score, Source
from credit_zoo.questions.picture_questions import PictureQuestions
from credit_zoo.questions.question_streams import DataConfig, FramedQuestions, SetQuestions, open_questions, told
from credit_zoo.questions.subset import ALL_OF_A_TWIN, choose, stratified, without_pictures
from credit_zoo.registry import BENCHMARKS
from credit_zoo.rescore import main as command
from credit_zoo.results.store import load_all
from credit_zoo.rollout.worker import RolloutWorker
from credit_zoo.run import main

SIZES = (
    *("scale=smoke", "eval.questions=3", "eval.samples=2", "eval.max_tokens=6", "eval.batch=2"),
    *("steps=1", "train.prompts=2", "sampling.group=2", "sampling.max_tokens=6"),
)
MEASURED = ("bench=geometry3k,mathvista", "eval_only=true", "baseline=blank_image", *SIZES[:5])


def places(policy, folder):
    """Where a run reads and writes."""
    model = export_policy(policy, folder / "model")
    return [f"model.path={model}", f"results={folder}/leaderboard/results", f"out={folder}/runs"]


@pytest.fixture
def words(tiny, tmp_path):
    return places(tiny, tmp_path)


@pytest.fixture
def asked(monkeypatch):
    """The ids of the questions that a model is asked, one for each response."""
    found, generate = [], RolloutWorker.generate

    def noted(self, questions, prompts, sampling, draws):
        found.extend(question.id for question in questions for _ in range(sampling.group))
        return generate(self, questions, prompts, sampling, draws)

    monkeypatch.setattr(RolloutWorker, "generate", noted)
    return found


class Killed(BaseException):
    """A kill that no code catches."""


@pytest.fixture
def kill(monkeypatch):
    """Ends what runs at the n-th time that answers are written; without n nothing is ended any more."""
    calls, given, logs = [], GenerationLog.add, []

    def add(self, kind, answers):
        given(self, kind, answers)
        logs.append(self)
        calls.append(kind)
        if len(calls) == stop[0]:
            for log in logs:  # as the end of a process does
                log._file.close()
            raise Killed

    stop = [0]
    monkeypatch.setattr(GenerationLog, "add", add)

    def at(number=0):
        stop[0] = number
        calls.clear()
        logs.clear()

    return at


def records(folder):
    found, problems = load_all(folder / "leaderboard" / "results")
    assert problems == []
    return found


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The evaluations of a measurement that nobody disturbed, of the model that `words` name."""
    folder = tmp_path_factory.mktemp("whole")
    assert main([*MEASURED, *places(tiny_policy(), folder)]) == 0
    return records(folder)[0].evaluations


# Each benchmark is asked in 2 + 2 batches and its blank pictures in 2.
@pytest.mark.parametrize(("stop", "resume"), [(1, True), (3, False), (5, True), (6, False), (8, True), (12, False)])
def test_a_killed_measurement_asks_nothing_twice(whole, words, tmp_path, asked, kill, capsys, stop, resume):
    kill(stop)
    with pytest.raises(Killed):
        main([*MEASURED, *words])
    kill()
    capsys.readouterr()
    assert main([*MEASURED, *words, *(["resume=true"] if resume else [])]) == 0
    assert len(asked) == 2 * 3 * (2 + 1 + 2) and set(Counter(asked).values()) == {2 + 1 + 2}
    (found,) = records(tmp_path)
    assert found.evaluations == whole
    out = capsys.readouterr().out
    assert re.search(r"kept    geometry3k-\S+: \d+ (questions|answers)", out)
    assert ("resume  " in out) == resume
    (folder,) = (tmp_path / "runs").glob(f"{found.run_id}-*")
    kept = {path.name for path in (folder / "answers").iterdir()}
    assert kept == {f"{b}-{s}.jsonl.gz" for b in ("geometry3k", "mathvista") for s in ("after", "blank_image")}
    assert not list((tmp_path / "runs" / "unfinished").iterdir())


def test_a_finished_measurement_is_made_anew_by_the_next_run(words, asked):
    for _ in range(2):
        assert main([*MEASURED, *words]) == 0
    assert set(Counter(asked).values()) == {2 * (2 + 1 + 2)}


def test_answers_of_a_stopped_run_are_graded_anew(words, tmp_path, kill, capsys):
    kill(7)  # in the second benchmark
    with pytest.raises(Killed):
        main([*MEASURED, *words])
    (folder,) = (tmp_path / "runs").glob("*/answers")
    (part,) = (tmp_path / "runs" / "unfinished").glob("*.jsonl")
    logs = [str(path) for path in (*sorted(folder.iterdir()), part)]
    results = f"{tmp_path}/leaderboard/results"
    capsys.readouterr()
    assert command([*logs, "--results", results]) == 0
    lines = capsys.readouterr().out.splitlines()
    names = [" ".join(line.partition(":")[0].split()[1:]) for line in lines]
    assert names == ["geometry3k after", "geometry3k blank_image", "mathvista 1"]
    assert all("no record of the run" in line for line in lines)
    assert "3 questions" in lines[0] and "2 questions" in lines[2]
    assert command([logs[0], "--results", results, "--write"]) == 2
    assert "of which no record lies below" in capsys.readouterr().err


def test_blank_pictures_are_graded_anew_with_their_run(words, tmp_path, capsys):
    assert main([*MEASURED, *words]) == 0
    (old,), logs = records(tmp_path), sorted(str(path) for path in (tmp_path / "runs").glob("*/answers/*"))
    capsys.readouterr()
    assert command([*logs, "--results", f"{tmp_path}/leaderboard/results", "--write"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert sum("blank_image: 0.00 (rules" in line for line in lines) == 2
    assert len(list((tmp_path / "leaderboard").rglob("*.json"))) == 2
    assert records(tmp_path)[0].evaluations == old.evaluations


def test_all_seeds_of_the_same_weights_share_the_measurement_before(words, tmp_path, asked, capsys):
    assert main(["seed=0,1,2", *SIZES, *words]) == 0
    tested = Counter(name for name in asked if "-test-" in name)
    assert set(tested.values()) == {(1 + 3) * 3}, "before once and after three times: two samples and a greedy answer"
    out = capsys.readouterr().out
    assert len(re.findall(r"kept    geometry3k-before: 3 questions are taken over from \S+/before/", out)) == 2
    found = records(tmp_path)
    assert [record.evaluations[0] for record in found] == [found[0].evaluations[0]] * 3
    assert len(list((tmp_path / "runs").glob("*/answers/geometry3k-before.jsonl.gz"))) == 3


@pytest.mark.parametrize("word", ["eval.seed=7", "eval.samples=3", "eval.questions=4", "prompt.style=paper"])
def test_another_measurement_before_is_not_taken_over(words, capsys, word):
    sizes = [size for size in SIZES if size.partition("=")[0] != word.partition("=")[0]]
    assert main([*SIZES, *words]) == main([word, *sizes, *words]) == 0
    assert "taken over" not in capsys.readouterr().out


@pytest.mark.parametrize("word", ["eval.batch=3", "eval.tokens=40", "seed=9", "train.lr=0.5"])
def test_what_changes_no_answer_does_not_ask_again(words, capsys, word):
    sizes = [size for size in SIZES if size.partition("=")[0] != word.partition("=")[0]]
    assert main([*SIZES, *words]) == main([word, *sizes, *words]) == 0
    assert "kept    geometry3k-before: 3 questions are taken over" in capsys.readouterr().out


def test_a_kept_log_of_another_measurement_is_named_and_not_used(words, tmp_path, asked, kill, capsys):
    kill(6)
    with pytest.raises(Killed):
        main([*MEASURED, *words])
    kill()
    (log,) = (tmp_path / "runs").glob("*/answers/geometry3k-after.jsonl.gz")
    for other in (tmp_path / "runs" / "unfinished").glob("*.gz"):
        other.unlink()
    head, *rows = gzip.decompress(log.read_bytes()).decode().split("\n")
    head = json.dumps({"head": {**json.loads(head)["head"], "source": "another revision"}})
    log.write_bytes(gzip.compress("\n".join([head, *rows]).encode()))
    asked.clear()
    assert main([*MEASURED, *words, "resume=true"]) == 0
    assert "answers another measurement (source): asked again" in capsys.readouterr().out
    assert sum(name.startswith("geometry3k") for name in asked) >= 9
    assert read_generations(log)[0]["source"] != "another revision"


# --- which questions are asked -----------------------------------------------------------------------------------


def test_every_category_and_every_answer_in_it_keeps_its_share():
    labels = [(f"c{k}", answer) for k in range(20) for answer in "aab" for _ in range(40 if k else 4)]
    for seed in range(5):
        found = stratified(labels, 200, seed)
        assert found == sorted(set(found)) and len(found) == 200
        for label, there in (Counter(labels) + Counter(category for category, _ in labels)).items():
            chosen = sum(label in (labels[place], labels[place][0]) for place in found)
            assert abs(chosen - there * 200 / len(labels)) < 1


def test_a_sample_depends_on_its_seed_and_every_row_is_as_likely():
    labels = [("a", "x")] * 7 + [("b", "y")] * 3
    assert stratified(labels, 4, 1) == stratified(labels, 4, 1)
    counts = Counter(place for seed in range(2000) for place in stratified(labels, 4, seed))
    assert all(abs(counts[place] / 2000 - 0.4) < 0.05 for place in range(10))
    assert stratified(labels, 10, 5) == stratified(labels, 99, 5) == list(range(10))


CLASSES = 26


@pytest.fixture
def flowers(tmp_path):
    """A set in the order of its classes, with more rows than are asked."""
    folder, rows = tmp_path / "flowers", []
    (folder / "jpg").mkdir(parents=True)
    for kind in range(CLASSES):
        Image.new("RGB", (28, 28), (9 * kind, 90, 90)).save(folder / "jpg" / f"{kind}.png")
        for split in ("train", "test"):
            rows += [
                {"id": f"{kind}-{k}", "image": f"jpg/{kind}.png", "label": f"flower {chr(97 + kind)}", "split": split}
                for k in range(4)
            ]
    (folder / "annotations.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder


def measured_flowers(words, flowers, *more):
    typed = ["bench=flowers102", f"data={flowers}", "eval_only=true", "scale=smoke", "eval.samples=1"]
    return main([*typed, "eval.max_tokens=2", "eval.greedy=false", "eval.batch=64", *more, *words])


def test_a_sample_of_a_set_in_order_of_its_classes_holds_all_classes(words, tmp_path, flowers, asked, capsys):
    assert measured_flowers(words, flowers, f"eval.questions={CLASSES}") == 0
    assert len({name.split("-")[2] for name in asked}) == CLASSES == len(asked)
    assert "26 questions of split 'test', a sample by eval.seed=1234" in capsys.readouterr().out
    first = set(asked)
    asked.clear()
    assert measured_flowers(words, flowers, f"eval.questions={CLASSES}", "eval.seed=5") == 0
    assert set(asked) != first
    one, other = (record.evaluations[0] for record in records(tmp_path))
    assert one.question_ids != other.question_ids


@pytest.mark.parametrize("word", ["eval.questions=0", "eval.questions=9999", f"eval.questions={4 * CLASSES}"])
def test_all_rows_are_asked_where_there_are_no_more(words, tmp_path, flowers, asked, capsys, word):
    assert measured_flowers(words, flowers, word) == 0
    assert len(asked) == len(set(asked)) == 4 * CLASSES
    (found,) = records(tmp_path)
    assert found.evaluations[0].questions == 4 * CLASSES
    assert "a sample" not in capsys.readouterr().out


@pytest.mark.parametrize("scale", ["1gpu", "8gpu", "2x8gpu"])
def test_the_papers_scales_ask_all_of_a_set(scale):
    assert resolve(parse([f"scale={scale}"])).eval.questions == 0


def test_a_twin_is_asked_its_first_questions(tmp_path):
    twin = BENCHMARKS["geometry3k"].factory()
    stream = open_questions(twin, "test", None, DataConfig(), 1234, shuffle=False)
    assert [q.id for q in choose(stream, 3, 1234)] == [stream[k].id for k in range(3)]
    assert len(choose(stream, 0, 1234)) == ALL_OF_A_TWIN == 601


def test_fewer_questions_than_none_are_refused(words, capsys):
    assert main(["eval.questions=-1", *words]) == 2
    assert "eval.questions" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["puzzlevqa", "algopuzzlevqa", "logicvista", "mathverse"])
def test_questions_without_pictures_are_the_questions(zoo_data, name):
    bench = BENCHMARKS["puzzles" if "puzzle" in name else name].factory()
    rows, source = bench.load("all", zoo_data / "real" / name)
    assert isinstance(rows, PictureQuestions)
    stream = SetQuestions(rows, source)
    chosen = choose(stream, 12, 0)
    for lone, seen in zip(without_pictures(chosen), chosen, strict=True):
        assert lone.image is None and seen.image is not None
        assert without_pictures([seen]) == [lone]
    counts = Counter(q.category for q in without_pictures(choose(stream, len(rows) // 2, 0)))
    every = Counter(q.category for q in rows.questions)
    assert all(abs(counts[key] - every[key] * (len(rows) // 2) / len(rows)) < 1 for key in every)


def test_boxes_are_told_in_the_models_numbers_with_and_without_pictures(tmp_path):
    Image.new("RGB", (200, 100)).save(tmp_path / "a.png")
    row = {
        "id": 1,
        "image": "a.png",
        "expression": "left",
        "box": [20, 10, 60, 50],
        "split": "val",
        "dataset": "refcoco",
    }
    (tmp_path / "annotations.jsonl").write_text(json.dumps(row))
    rows, source = BENCHMARKS["refcoco"].factory().load("val", tmp_path)
    framed = FramedQuestions(SetQuestions(rows, source), "thousandths", lambda size: size)
    assert told(framed, 0).answer == framed[0].answer == "100,100,300,500"


class Miscounted:
    """A set of a plugin that does not say how many rows it has."""

    twin = None

    def load(self, split, data, skip_bad=False):
        twin = BENCHMARKS["geometry3k"].factory().twin
        return [twin.example("test", k).question for k in range(3)], Source("mine", False, "1", rows=0)

    def prompt(self, question):
        return question.text

    def score(self, question, response):
        return Score(0.0, None, False)


def test_rows_are_counted_not_believed():
    stream = open_questions(Miscounted(), "test", "anywhere", DataConfig(), 0, shuffle=False)
    assert len(choose(stream, 0, 0)) == stream.source.rows == 3


def test_a_temperature_row_stands_beside_the_headline_and_asks_only_for_what_it_lacks(words, asked):
    assert main([*words, "bench=geometry3k", "eval_only=true", *SIZES[:5], "eval.temperature_row=true"]) == 0
    ((record,), _) = load_all(next(Path(word[8:]) for word in words if word.startswith("results=")))
    (measured,) = record.evaluations
    row = measured.beside.temperatures
    assert list(row) == ["1", "0.6", "0.3", "0"]
    assert (row["1"], row["0"]) == (measured.value, measured.greedy)
    assert Counter(Counter(asked).values()) == {2 + 1 + 2 + 2: 3}  # the headline, greedy, two cooler passes
