"""A run as its page tells it: what was asked for, how to repeat it, how it came out, and answers that were kept."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from credit_zoo.errors import UsageError
from credit_zoo.evaluation import read_generations
from credit_zoo.registry import BENCHMARKS
from credit_zoo.report.tables import Cell, Row, Table, number, words
from credit_zoo.results import RunRecord, kind, label, plain, settings_text

QUESTIONS, TEXTS = 12, 4  # of a log of answers that a page shows


@dataclass(frozen=True)
class KeptQuestion:
    """A question of a kept log, and some answers with their scores."""

    text: str
    truth: str
    answers: tuple[tuple[float, str], ...]


@dataclass(frozen=True)
class KeptAnswers:
    """Of a kept log of answers: the file's name, how many questions there are, and some of them."""

    name: str
    questions: int
    shown: tuple[KeptQuestion, ...]


def page_of(record: RunRecord) -> str:
    """The file of a run's page below the folder of the report; a run id holds letters, digits and '-' alone."""
    return f"runs/{record.run_id}.html"


def title_of(record: RunRecord) -> str:
    """Rule, base, questions and seed."""
    if record.training is None or record.base is None or record.shaper is None:
        asked = sorted({one.bench for one in record.evaluations})
        return f"{record.model.name}, not trained, measured on {', '.join(asked)}"
    return f"{record.shaper.name}, base {record.base.name}, {record.training.source.bench}, seed {record.seed}"


def command_of(record: RunRecord) -> str:
    """What to type to run it again."""
    words = [word for word in record.command if word != "credit_zoo.run"]
    return " ".join(["python -m credit_zoo.run", *words])


def facts_of(record: RunRecord) -> list[tuple[str, str]]:
    """What was run, where and when, as pairs."""
    training = record.training
    found = [
        ("rule", label(plain(record.shaper)) if record.shaper else "not trained"),
        ("base", label(plain(record.base)) if record.base else ""),
        ("model", f"{record.model.name} ({record.model.parameters:,} parameters, {record.model.revision})"),
        ("seed", str(record.seed)),
    ]
    if training is not None:
        source = training.source
        tokens = "" if training.tokens is None else f", {training.tokens:,} tokens sampled"
        found += [
            ("trained on", f"{source.bench} ({kind(plain(source))}), {source.split}, {source.revision}"),
            ("budget", f"{training.steps} steps{tokens}, {record.seconds:.0f} s"),
            ("loop", settings_text(training.settings)),
        ]
    commit = (record.origin.commit or "unknown")[:12] + (" (changed working tree)" if record.origin.dirty else "")
    versions = ", ".join(f"{name} {version}" for name, version in record.origin.packages.items())
    machine = f"{record.machine.cpu}, {record.machine.cores} cores, {record.machine.gpu or 'no GPU'}"
    found += [("created", record.created), ("commit", commit), ("machine", machine), ("packages", versions)]
    return [pair for pair in (*found, ("notes", "; ".join(record.notes))) if pair[1]]


def weights_of(record: RunRecord) -> list[tuple[str, str]]:
    """The spread of the weights over the run, as pairs; none for a rule without weights."""
    found = record.training and record.training.weights
    if not found:
        return []
    return [(name, f"{value:.4f}") for name, value in plain(found).items() if value is not None]


def evaluations_table(record: RunRecord) -> Table:
    """A row a measurement."""
    header = ("measured on", "stage", "questions", "N", "avg@N %", "greedy %", "pass@N %", "no answer %", "truncated %")
    rows = [
        (
            words(f"{one.bench} ({kind(plain(one))})"),
            words(one.stage),
            number(one.questions, 0),
            number(one.samples, 0),
            *(
                number(None if share is None else 100 * share)
                for share in (one.value, one.greedy, one.pass_at_n, one.extraction_failures, one.truncated)
            ),
        )
        for one in record.evaluations
    ]
    return Table("measured", "What was measured", header, tuple(map(Row, rows)))


def runs_table(records: Sequence[RunRecord], pages: Mapping[str, str]) -> Table:
    """A row a run, the newest first; `pages` maps rules to their pages."""
    rows = []
    for record in sorted(records, key=lambda one: (one.created, one.run_id), reverse=True):
        training = record.training
        rule = record.shaper.name if record.shaper else "not trained"
        after = [f"{one.bench} {100 * one.value:.1f}" for one in record.evaluations if one.stage == "after"]
        cells = (
            Cell(record.run_id, record.run_id, page_of(record)),
            words(rule, pages.get(rule, "")),
            words(record.base.name if record.base else ""),
            words(training.source.bench if training else ""),
            words(record.model.name),
            number(training.steps if training else None, 0),
            number(record.seed, 0),
            words(", ".join(after)),
            number(record.seconds, 0),
        )
        tags = {"rule": rule, "policy": record.model.name}
        rows.append(Row(cells, {**tags, "bench": training.source.bench if training else "none"}))
    header = ("run", "rule", "base", "trained on", "policy", "steps", "seed", "after, avg@N in %", "seconds")
    return Table("runs", "Runs, the newest first", header, tuple(rows), {}, ("rule", "bench", "policy"))


def kept_answers(record: RunRecord, folder: Path) -> Iterator[KeptAnswers]:
    """Some answers of every finished log that the run's folder still holds; one that is damaged, or of a benchmark that
    is not there, is named and left out.
    """
    for path in sorted(folder.glob(f"{record.run_id}-*/answers/*.jsonl.gz")):
        try:
            head, questions, sampled, _ = read_generations(path)
            score = BENCHMARKS[str(head["bench"])].factory().score
        except UsageError as error:
            print(f"left out: {path}: {error}", file=sys.stderr)
            continue
        shown = []
        for question, said in list(zip(questions, sampled, strict=True))[:QUESTIONS]:
            scored = tuple((float(score(question, text).correct), text) for text in said.texts[:TEXTS])
            shown.append(KeptQuestion(question.text, question.answer, scored))
        yield KeptAnswers(path.name, len(questions), tuple(shown))
