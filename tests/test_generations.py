"""Kept answers: a killed measurement goes on where it was, a grader is run again without a model."""

import copy
import gzip
import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import torch
from steps import Meeting

from credit_zoo.errors import UsageError
from credit_zoo.evaluation import harness, rescore
from credit_zoo.evaluation.baselines import as_response, best_constant_answer, random_answers
from credit_zoo.evaluation.generations import GenerationLog, read_generations, read_head
from credit_zoo.evaluation.grading import Completions, grade
from credit_zoo.evaluation.harness import EvalConfig, measure
from credit_zoo.question import Question
from credit_zoo.questions.prompt_format import PromptConfig
from credit_zoo.registry import BENCHMARKS
from credit_zoo.rescore import main as command
from credit_zoo.results.store import load_all
from credit_zoo.rollout.processes import ProcessGroup
from credit_zoo.rollout.sampling import SamplingParams, chances
from credit_zoo.rollout.worker import RolloutWorker
from credit_zoo.run import main

HEAD = {"bench": "geometry3k", "model": "m", "twin": True}
GEOMETRY = BENCHMARKS["geometry3k"].factory()
TWIN = [GEOMETRY.twin.example("test", index).question for index in range(7)]
SAID = Completions((as_response("5"), as_response("6")), (False, True))
FEW = EvalConfig(7, 3, max_tokens=10, batch=2, greedy=True)


def question(number, answer="5", **changed):
    return replace(Question(f"q{number}", None, "Find x.", answer, "math", meta={"origin": "Geometry3K"}), **changed)


def worker_of(policy):
    return RolloutWorker(policy, GEOMETRY, PromptConfig(style="short"))


def named(*said):
    """Answers with the places of the first questions."""
    return list(enumerate(said))


def test_answers_come_back_as_they_were_given(tmp_path):
    asked = [question(0), question(1, "B", kind="choice", choices=("A", "B"))]
    log = GenerationLog(tmp_path, HEAD, asked)
    log.add("sampled", [(1, SAID), (0, SAID)])
    log.add("greedy", named(*[Completions(("\u2028 line ends stay inside",), (False,))] * 2))
    log.keep(tmp_path / "kept.jsonl.gz")
    head, questions, sampled, greedy = read_generations(tmp_path / "kept.jsonl.gz")
    assert head["bench"] == "geometry3k"
    assert (questions, sampled) == (asked, [SAID, SAID])
    assert greedy == [Completions(("\u2028 line ends stay inside",), (False,))] * 2
    assert [file.name for file in tmp_path.iterdir()] == ["kept.jsonl.gz"]


@pytest.mark.parametrize("text", ["6", "\u00e9"])  # of which a byte is left, too
def test_what_follows_a_torn_line_is_asked_again(tmp_path, text):
    asked, said = [question(n) for n in range(3)], Completions((text,), (False,))
    log = GenerationLog(tmp_path, HEAD, asked)
    log.add("sampled", named(SAID, SAID, said))
    (file,) = tmp_path.iterdir()
    log._file.close()
    content = file.read_bytes()
    file.write_bytes(content[: content.rindex(text.encode()) + 1])
    again = GenerationLog(tmp_path, HEAD, asked)
    assert again.done["sampled"] == {0: SAID, 1: SAID}
    again.add("sampled", [(2, SAID)])
    again.keep(tmp_path / "kept.gz")
    assert read_generations(tmp_path / "kept.gz")[2] == [SAID] * 3
    assert [file.name for file in tmp_path.iterdir()] == ["kept.gz"]


def test_another_measurement_and_a_second_writer_have_logs_of_their_own(tmp_path):
    asked = [question(0), question(1)]
    first = GenerationLog(tmp_path, HEAD, asked)
    first.add("sampled", named(SAID))
    assert not GenerationLog(tmp_path, HEAD, asked).done["sampled"]
    assert not GenerationLog(tmp_path, {**HEAD, "model": "other"}, asked).done["sampled"]
    assert not GenerationLog(tmp_path, HEAD, asked[:1]).done["sampled"]
    assert len(first.done["sampled"]) == 1


@pytest.mark.parametrize("stop", range(1, 8))
def test_a_measurement_stopped_anywhere_and_begun_again_is_the_undisturbed_one(tiny, tmp_path, monkeypatch, stop):
    worker = worker_of(tiny)
    whole = measure(worker, TWIN, FEW, "t")
    given, calls = GenerationLog.add, []

    def killed(self, kind, answers):
        calls.append(kind)
        if len(calls) == stop:
            given(self, kind, answers[:1])  # as much as reached the disk
            raise KeyboardInterrupt
        given(self, kind, answers)

    monkeypatch.setattr(GenerationLog, "add", killed)
    log = GenerationLog(tmp_path, HEAD, TWIN)
    with pytest.raises(KeyboardInterrupt):
        measure(worker, TWIN, FEW, "t", log)
    log._file.close()
    monkeypatch.setattr(GenerationLog, "add", given)
    again = GenerationLog(tmp_path, HEAD, TWIN)
    left = sum(map(len, again.done.values()))
    assert left == sum((2, 2, 2, 1, 2, 2, 2)[: stop - 1]) + 1
    assert measure(worker, TWIN, FEW, "t", again) == whole
    assert sum(map(len, again.done.values())) == 14


# --- several processes: threads that tell each other something, as processes do ----------------------------------


class Counted(RolloutWorker):
    """A worker that notes the responses that it has sampled, and to which questions."""

    def __init__(self, *parts):
        super().__init__(*parts)
        self.__dict__ |= {"sampled": [], "ids": []}

    def generate(self, questions, prompts, sampling, draws):
        responses = super().generate(questions, prompts, sampling, draws)
        self.sampled.extend(q.id for q in questions for _ in range(sampling.group))
        self.ids.append(responses.ids)
        return responses


def shared_measure(policy, size, folder, settings=FEW, questions=TWIN):
    """The results and the workers of processes that measure together."""
    workers = [Counted(copy.deepcopy(policy), GEOMETRY, PromptConfig(style="short")) for _ in range(size)]
    meeting = Meeting(size)

    def one(rank):
        processes = ProcessGroup(rank, size, lambda own: meeting.share(rank, own))
        log = GenerationLog(folder, HEAD, questions, processes)
        result = measure(workers[rank], questions, settings, "t", log, None, processes)
        log.keep(folder / "kept.gz")
        return result

    with ThreadPoolExecutor(size) as threads:
        return list(threads.map(one, range(size))), workers


@pytest.mark.parametrize("size", [1, 2, 3])
def test_processes_share_the_questions_and_find_what_one_finds(tiny, tmp_path, size):
    results, workers = shared_measure(tiny, size, tmp_path)
    assert results == [measure(worker_of(tiny), TWIN, FEW, "t")] * size
    asked = [name for worker in workers for name in worker.sampled]
    assert Counter(asked) == {q.id: FEW.samples + 1 for q in TWIN}, "every answer once, by one of them"
    assert max(len(worker.sampled) for worker in workers) <= -(-len(TWIN) // size) * (FEW.samples + 1)
    assert [file.name for file in tmp_path.iterdir()] == ["kept.gz"]
    assert [len(part) for part in read_generations(tmp_path / "kept.gz")[1:]] == [7, 7, 7]


def test_two_processes_ask_32_samples_not_64(tiny, tmp_path):
    questions = [GEOMETRY.twin.example("test", index).question for index in range(8)]
    settings = replace(FEW, samples=4, greedy=False, max_tokens=4)
    _, workers = shared_measure(tiny, 2, tmp_path, settings, questions)
    assert [len(worker.sampled) for worker in workers] == [16, 16]


def test_parts_of_two_processes_go_on_in_one_and_in_three(tiny, tmp_path):
    whole = measure(worker_of(tiny), TWIN, FEW, "t")
    answers = GenerationLog(tmp_path / "whole", HEAD, TWIN)
    measure(worker_of(tiny), TWIN, FEW, "t", answers)
    for size in (1, 3):
        folder = tmp_path / str(size)
        for places in ((0, 2, 4), (1, 3)):  # what two processes had written
            part = GenerationLog(folder, HEAD, TWIN)
            part.add("sampled", [(place, answers.done["sampled"][place]) for place in places])
            part._file.close()
            for file in part._left:
                file.close()
        results, workers = shared_measure(tiny, size, folder)
        assert results == [whole] * size
        assert sum(len(worker.sampled) for worker in workers) == 2 * FEW.samples + 7
        assert [file.name for file in folder.iterdir()] == ["kept.gz"]


# --- what is drawn for an answer -----------------------------------------------------------------------------------


def texts(policy, questions=TWIN, **settings):
    """The sampled texts by question."""
    chosen = replace(FEW, greedy=False, **settings)
    asking = harness._Asking(worker_of(policy), questions, questions, chosen, "t", None, ProcessGroup())
    return {one.id: said.texts for one, said in zip(questions, asking.answers("sampled"), strict=True)}


def test_a_measurement_does_not_depend_on_how_questions_are_batched(tiny):
    worker = worker_of(tiny)
    whole = measure(worker, TWIN, FEW, "t")
    assert measure(worker, TWIN, replace(FEW, batch=7), "t") == whole
    assert measure(worker, TWIN, replace(FEW, batch=7, tokens=1), "t") == whole


def test_more_samples_and_more_questions_leave_the_first_ones_as_they_are(tiny):
    few, more = texts(tiny, TWIN[2:5], samples=2), texts(tiny, samples=5)
    assert few == {name: more[name][:2] for name in few}
    drawn = chances(len(TWIN), SamplingParams(group=5, max_tokens=1), harness.draws(FEW.seed, TWIN))
    assert len(drawn.unique()) == 5 * len(TWIN), "and no two are drawn alike"


def test_more_tokens_only_go_on(tiny):
    def ids(length):
        worker = Counted(tiny, GEOMETRY, PromptConfig(style="short"))
        measure(worker, TWIN, replace(FEW, max_tokens=length), "t")
        return torch.cat(worker.ids)

    assert torch.equal(ids(4), ids(9)[:, :4])


def test_another_seed_draws_other_answers(tiny):
    assert texts(tiny) == texts(tiny) != texts(tiny, seed=1)


def test_leaked_questions_are_told_apart():
    asked = [question(0), question(1, meta={"origin": "ChartQA"}), question(2, meta={})]
    said = [Completions((as_response(text),), (False,)) for text in ("5", "5", "6")]
    found = grade(GEOMETRY, asked, said)
    assert found.accuracy == pytest.approx(2 / 3)
    assert found.without("geometry3k") == (0.5, 2)
    assert found.without("refcoco") is None


def test_the_published_rule_is_reported_beside_and_changes_nothing():
    asked, said = [question(0), question(1)], [SAID, SAID]
    plain, ruled = grade(GEOMETRY, asked, said), grade(GEOMETRY, asked, said, official=lambda q, text: 1.0)
    assert (plain.official, ruled.official) == (None, 1.0)
    assert replace(ruled, official=None) == plain


def test_the_best_constant_is_a_letter_where_a_letter_is_right_most_often():
    asked = [question(n, text, kind="choice", choices=("x", text)) for n, text in enumerate("uvw")]
    bench = BENCHMARKS["puzzles"].factory()
    assert grade(bench, asked, [best_constant_answer(bench, asked)] * 3).accuracy == 1.0


def test_guesses_are_choices_of_the_question_or_truths_of_its_kind():
    asked = [question(0, "7"), question(1, "8"), question(2, "x", kind="choice", choices=("x", "y"))]
    drawn = random_answers(asked, 50, seed=1)
    assert [set(said.texts) for said in drawn] == [
        {as_response("7"), as_response("8")}, {as_response("7"), as_response("8")}, {as_response("x"), as_response("y")},
    ]  # fmt: skip
    assert drawn == random_answers(asked, 50, seed=1) != random_answers(asked, 50, seed=2)
    more = random_answers(asked[::-1], 60, seed=1)[::-1]
    assert more[2].texts[:50] == drawn[2].texts


# --- through the commands ----------------------------------------------------------------------------------------


@pytest.fixture
def measured(tiny, tmp_path, capsys):
    """A run that measured, and its log of answers."""
    from credit_zoo.policy.export import export_policy

    words = (
        *("scale=smoke", "eval.questions=3", "eval.samples=2", "eval.max_tokens=10", "eval_only=true"),
        *("bench=geometry3k", f"model.path={export_policy(tiny, tmp_path / 'model')}", f"out={tmp_path}/runs"),
        *(f"results={tmp_path}/leaderboard/results", "baseline=majority,random,blank_image"),
    )
    assert main(words) == 0
    (log,) = (tmp_path / "runs").glob("*/answers/geometry3k-after.jsonl.gz")
    return log, tmp_path / "leaderboard" / "results"


def the_evaluation(results):
    (record,), problems = load_all(results)
    assert problems == []
    return record.evaluations[0]


def test_baselines_stand_beside_the_headline_in_record_and_page(measured):
    _, results = measured
    beside = the_evaluation(results).beside.baselines
    assert sorted(beside) == ["blank_image", "majority", "random"]
    assert beside["majority"] >= 1 / 3  # one answer is right for one of three questions at least
    assert "Not shown" in (results / "LEADERBOARD.md").read_text()  # three questions make no table


def test_the_same_rules_give_the_same_scores_again(measured, capsys):
    log, results = measured
    capsys.readouterr()
    assert command([str(log), "--results", str(results)]) == 0
    assert "0 of 3 questions changed" in capsys.readouterr().out
    assert len(load_all(results)[0]) == 1


def test_another_grader_makes_another_record(measured, capsys, monkeypatch):
    log, results = measured
    old = the_evaluation(results)
    rows = gzip.decompress(log.read_bytes()).decode().split("\n")
    truth = json.loads(rows[1])["answer"]
    rows[1] = json.dumps({**json.loads(rows[1]), "texts": [as_response(truth)] * 2})
    log.write_bytes(gzip.compress("\n".join(rows).encode()))
    monkeypatch.setattr(rescore, "GRADER_VERSION", 99)
    assert command([str(log), "--results", str(results), "--write"]) == 0
    records, problems = load_all(results)
    assert (len(records), problems) == (2, [])
    (new,) = (r.evaluations[0] for r in records if r.notes == (rescore.NOTE,))
    assert (new.grader, new.correctness[0]) == ("rules v99", 1.0)
    assert new.correctness[1:] == old.correctness[1:]
    assert new.beside.baselines == old.beside.baselines


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_the_head_of_a_log_is_read_without_its_answers(tmp_path, pack):
    file = tmp_path / "log"
    file.write_bytes(pack(b'{"head": {"bench": "geometry3k"}}\n{"pass": "none"}\n'))
    assert read_head(file) == {"bench": "geometry3k"}
    with pytest.raises(UsageError, match="is not a log of answers"):
        read_generations(file)


@pytest.mark.parametrize(
    "content", [b"", b"\n", b"[]\n", b"{}\n", b'{"head": 1}', gzip.compress(b'{"head": {}}\n', mtime=0)[:-9]]
)
def test_what_has_no_head_is_refused(tmp_path, content):
    (tmp_path / "log").write_bytes(content)
    with pytest.raises(UsageError, match="is not a log of answers"):
        read_generations(tmp_path / "log")


def test_a_log_that_is_none_is_refused(tmp_path, capsys):
    file = tmp_path / "run" / "answers" / "geometry3k-after.jsonl.gz"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"no")
    with pytest.raises(UsageError, match="is not a log of answers"):
        read_generations(file)
    assert command([str(file), "--results", str(tmp_path)]) == 2
    assert "is not a log of answers" in capsys.readouterr().err
