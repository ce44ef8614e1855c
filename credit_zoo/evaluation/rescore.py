"""Grading kept answers anew, without the model: `python -m credit_zoo.rescore LOG ...`.

A run keeps what the model said in `<out>/<run id>/answers/*.jsonl.gz`. This command grades such logs with the rules
of today and says what changes. With `write=true` a new record is written for each run of which every measurement was
given; the old one stays.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from credit_zoo.answers import GRADER_VERSION, RULES, Symbolic
from credit_zoo.evaluation.generations import read_generations
from credit_zoo.evaluation.grading import EvalResult, evaluation_fields, grade
from credit_zoo.questions import Benchmark
from credit_zoo.registry import BENCHMARKS, UsageError
from credit_zoo.results import Evaluation, RunRecord, code_digest, load, new_run_id, origin, utc_now, write

NOTE = "graded anew"


def regrade(path: Path) -> EvalResult:
    """What a kept log is worth under the rules of today."""
    head, questions, sampled, greedy = read_generations(path)
    bench: Benchmark = BENCHMARKS[head["bench"]].factory()
    rule = None if head["twin"] else RULES.get(head["bench"])
    return grade(bench, questions, sampled, greedy, rule)


def second_opinion(path: Path) -> str:
    """Of the sampled answers to questions of kind "math" that are wrong: how many are right symbolically."""
    head, questions, sampled, _ = read_generations(path)
    bench: Benchmark = BENCHMARKS[head["bench"]].factory()
    wrong = more = 0
    with Symbolic() as symbolic:
        for question, said in zip(questions, sampled, strict=True):
            scores = [bench.score(question, text) for text in said.texts] if question.kind == "math" else []
            missed = [score.extracted for score in scores if score.extracted is not None and score.correct == 0]
            wrong += len(missed)
            more += sum(symbolic.same(answer, question.answer) for answer in missed)
    return f"{more} of {wrong} wrong answers are right by symbolic comparison"


def _record_of(path: Path, results: Path) -> tuple[RunRecord, Evaluation]:
    """The record that a log belongs to, by the run id in the log's path, and the evaluation in it."""
    run_id = path.absolute().parent.parent.name
    found = sorted(results.rglob(f"*-{run_id}.json"))
    if len(found) != 1:
        raise UsageError(f"{path} belongs to run {run_id}, of which {len(found)} records lie below {results}")
    record = load(found[0])
    bench, _, stage = path.name.removesuffix(".jsonl.gz").rpartition("-")
    matching = [one for one in record.evaluations if (one.bench, one.stage) == (bench, stage)]
    if len(matching) != 1:
        raise UsageError(f"the record {found[0]} has no evaluation of {bench} {stage} training")
    return record, matching[0]


def _updated(old: Evaluation, measured: EvalResult) -> Evaluation:
    if len(measured.mean) != old.questions:
        raise UsageError(f"the log of {old.bench} holds {len(measured.mean)} questions, its record {old.questions}")
    fields = evaluation_fields(measured, BENCHMARKS[old.bench].facts.trains_on, old.beside.baselines)
    entry = BENCHMARKS[old.bench]
    code, version = code_digest([entry.file], within_package=False), entry.facts.version
    return replace(old, grader=f"rules v{GRADER_VERSION}", bench_version=version, code=code, **fields)


def _rewritten(record: RunRecord, changed: Mapping[tuple[str, str], Evaluation]) -> RunRecord:
    missing = [f"{e.bench}-{e.stage}" for e in record.evaluations if (e.bench, e.stage) not in changed]
    if missing:
        raise UsageError(f"run {record.run_id}: to write its record, give the logs of {', '.join(missing)} too")
    created = utc_now()
    evaluations = tuple(changed[e.bench, e.stage] for e in record.evaluations)
    notes = (*(note for note in record.notes if note != NOTE), NOTE)
    return replace(
        record, run_id=new_run_id(created), created=created, evaluations=evaluations, origin=origin(), notes=notes
    )


@dataclass(frozen=True)
class Rescore:
    """Which kept answers to grade anew, and what to do with the verdicts."""

    logs: tuple[str, ...] = ()  # OUT/RUN/answers/*.jsonl.gz
    results: str = "results"  # folder of records
    write: bool = False  # write a new record for each run of which every measurement was given
    symbolic: bool = False  # say what math-verify would count right besides


def rescore(settings: Rescore) -> int:
    """Grades, says what changes, and writes if asked; returns the exit status."""
    if not settings.logs:
        raise UsageError("no answers were given: name logs, OUT/RUN/answers/*.jsonl.gz")
    results = Path(settings.results)
    runs: dict[str, tuple[RunRecord, dict[tuple[str, str], Evaluation]]] = {}
    for path in map(Path, settings.logs):
        record, old = _record_of(path, results)
        new = _updated(old, regrade(path))
        moved = sum(a != b for a, b in zip(old.correctness, new.correctness, strict=True))
        print(
            f"{record.run_id} {old.bench} {old.stage}: {100 * old.value:.2f} ({old.grader}) -> "
            f"{100 * new.value:.2f} ({new.grader}), {moved} of {old.questions} questions changed"
        )
        if settings.symbolic:
            print(f"{record.run_id} {old.bench} {old.stage}: {second_opinion(path)}")
        runs.setdefault(record.run_id, (record, {}))[1][old.bench, old.stage] = new
    for record, changed in runs.values() if settings.write else ():
        print(f"record: {write(_rewritten(record, changed), results)}")
    return 0
