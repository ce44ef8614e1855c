"""Grading kept answers anew, without the model: `python -m credit_zoo.rescore LOG ...`.

A run keeps what the model said in `<out>/<run id>/answers/*.jsonl.gz`, and while it is asked in `<out>/unfinished/`.
This command grades such logs with the rules of today and says what changes. With `write=true` a new record is written
for each run of which every measurement was given; the old one stays.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from credit_zoo.answers import GRADER_VERSION, RULES, Symbolic
from credit_zoo.errors import UsageError
from credit_zoo.evaluation.baselines import BASELINES
from credit_zoo.evaluation.generations import read_generations, read_head
from credit_zoo.evaluation.grading import EvalResult, evaluation_fields, grade
from credit_zoo.questions import Benchmark
from credit_zoo.registry import BENCHMARKS
from credit_zoo.results import Evaluation, RunRecord, code_digest, load, new_run_id, origin, run_id_of, utc_now, write

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


@dataclass
class _Regraded:
    """A record and what its logs are worth now: evaluations by benchmark and stage, baselines by benchmark and name."""

    record: RunRecord
    evaluations: dict[tuple[str, str], Evaluation] = field(default_factory=dict)
    baselines: dict[tuple[str, str], float] = field(default_factory=dict)

    def rewritten(self) -> RunRecord:
        """A new record under the rules of today; raises `UsageError` where a measurement's log is missing."""
        record = self.record
        missing = [f"{e.bench}-{e.stage}" for e in record.evaluations if (e.bench, e.stage) not in self.evaluations]
        if missing:
            raise UsageError(f"run {record.run_id}: to write its record, give the logs of {', '.join(missing)} too")
        created = utc_now()
        evaluations = tuple(self._with_baselines(self.evaluations[e.bench, e.stage]) for e in record.evaluations)
        notes = (*(note for note in record.notes if note != NOTE), NOTE)
        return replace(
            record, run_id=new_run_id(created), created=created, evaluations=evaluations, origin=origin(), notes=notes
        )

    def _with_baselines(self, new: Evaluation) -> Evaluation:
        known = new.beside.baselines
        found = {name: self.baselines.get((new.bench, name), value) for name, value in known.items()}
        return replace(new, beside=replace(new.beside, baselines=found))


def regraded_lines(logs: Sequence[Path], results: Path, rewrite: bool = False, symbolic: bool = False) -> Iterator[str]:
    """What the rules of today say of every log, a line each; of a run that was stopped there is no record to compare.

    With `rewrite` a new record is written for each run of which every measurement was given.
    """
    runs: dict[str, _Regraded] = {}
    for path in logs:
        run_id, name, stage = _named(path)
        measured, record = regrade(path), _record_of(run_id, results)
        if record is None:
            if rewrite:
                raise UsageError(
                    f"{path} belongs to run {run_id}, of which no record lies below {results}: none is written"
                )
            worth = f"{100 * measured.accuracy:.2f} (rules v{GRADER_VERSION})"
            yield f"{run_id} {name} {stage}: {worth}, {len(measured.mean)} questions, no record of the run"
        else:
            yield _compared(runs.setdefault(run_id, _Regraded(record)), name, stage, measured)
        if symbolic:
            yield f"{run_id} {name} {stage}: {second_opinion(path)}"
    for run in runs.values() if rewrite else ():
        yield f"record: {write(run.rewritten(), results)}"


def _compared(run: _Regraded, name: str, stage: str, measured: EvalResult) -> str:
    """Puts what was graded anew into the run, and says what it was before."""
    record, value = run.record, 100 * measured.accuracy
    where = f"{record.run_id} {name} {stage}"
    old = _evaluation(record, name, "after" if stage in BASELINES else stage)
    if stage in BASELINES:
        run.baselines[name, stage] = measured.accuracy
        before = old.beside.baselines.get(stage)
        told = "not recorded" if before is None else f"{100 * before:.2f} ({old.grader})"
        return f"{where}: {told} -> {value:.2f} (rules v{GRADER_VERSION})"
    new = run.evaluations[name, stage] = _updated(old, measured)
    moved = sum(a != b for a, b in zip(old.correctness, new.correctness, strict=True))
    return (
        f"{where}: {100 * old.value:.2f} ({old.grader}) -> {value:.2f} ({new.grader}), "
        f"{moved} of {old.questions} questions changed"
    )


def _named(path: Path) -> tuple[str, str, str]:
    """The run, the benchmark and the stage, or baseline, that a log belongs to."""
    _, _, stage = path.name.partition(".")[0].rpartition("-")
    return run_id_of(path.absolute().parent.parent.name), str(read_head(path)["bench"]), stage


def _record_of(run_id: str, results: Path) -> RunRecord | None:
    """The record of a run; None for one that was stopped before it wrote one."""
    found = sorted(results.rglob(f"*-{run_id}.json"))
    if len(found) > 1:
        raise UsageError(f"{len(found)} records of run {run_id} lie below {results}: {', '.join(map(str, found))}")
    return load(found[0]) if found else None


def _evaluation(record: RunRecord, bench: str, stage: str) -> Evaluation:
    matching = [one for one in record.evaluations if (one.bench, one.stage) == (bench, stage)]
    if len(matching) != 1:
        raise UsageError(f"the record of run {record.run_id} has no evaluation of {bench} {stage} training")
    return matching[0]


def _updated(old: Evaluation, measured: EvalResult) -> Evaluation:
    if len(measured.mean) != old.questions:
        raise UsageError(f"the log of {old.bench} holds {len(measured.mean)} questions, its record {old.questions}")
    entry, beside = BENCHMARKS[old.bench], old.beside
    fields = evaluation_fields(measured, entry.facts.trains_on, beside.baselines, beside.temperatures)
    code, version = code_digest([entry.file], within_package=False), entry.facts.version
    return replace(old, grader=f"rules v{GRADER_VERSION}", bench_version=version, code=code, **fields)


@dataclass(frozen=True)
class Rescore:
    """Which kept answers to grade anew, and what to do with the verdicts."""

    logs: tuple[str, ...] = ()  # OUT/RUN/answers/*.jsonl.gz, or OUT/unfinished/*
    results: str = "results"  # folder of records
    write: bool = False  # write a new record for each run of which every measurement was given
    symbolic: bool = False  # say what math-verify would count right besides


def rescore(settings: Rescore) -> int:
    """Grades, says what changes, and writes if asked; returns the exit status."""
    if not settings.logs:
        raise UsageError("no answers were given: name logs, OUT/RUN/answers/*.jsonl.gz")
    logs = [Path(log) for log in settings.logs]
    for line in regraded_lines(logs, Path(settings.results), settings.write, settings.symbolic):
        print(line)
    return 0
