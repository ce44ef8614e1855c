"""All numbers as tidy tables for other programs: Parquet and CSV, and a schema that says what each column is.

    runs      a row a run and measurement, before and after training
    credit    a row a measurement of the instrument, rule and number
    schema.json    for each table its columns: name, type, unit, meaning

The same records give the same rows in the same order.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, Literal, TypeAlias

import pandas as pd

from credit_zoo.credit import CreditRecord, Estimate, RuleCredit
from credit_zoo.results import Evaluation, RunRecord, atomic_bytes, atomic_write, plain, stats

Kind: TypeAlias = Literal["string", "Int64", "Float64", "boolean"]


@dataclass(frozen=True)
class Column:
    """A column; `unit` is empty for what has none. `of` takes the source of a row."""

    name: str
    kind: Kind
    unit: str
    meaning: str
    of: Callable[..., Any]


def _json(value: Any) -> str:
    return json.dumps(plain(value), sort_keys=True, ensure_ascii=False)


def _questions_error(_: RunRecord, found: Evaluation) -> float | None:
    if len(found.correctness) < 2:
        return None
    return stats.standard_error(pd.Series(found.correctness, dtype="float64").to_numpy())


RUNS = (
    Column("run_id", "string", "", "the run: a time and random digits", lambda r, e: r.run_id),
    Column("created", "string", "UTC", "when it was started", lambda r, e: r.created),
    Column("seed", "Int64", "", "of the training's draws", lambda r, e: r.seed),
    Column(
        "rule", "string", "", "name of the credit rule; empty: not trained", lambda r, e: r.shaper and r.shaper.name
    ),
    Column(
        "rule_settings", "string", "JSON", "the rule's settings", lambda r, e: r.shaper and _json(r.shaper.settings)
    ),
    Column("rule_code", "string", "digest", "of the rule's sources", lambda r, e: r.shaper and r.shaper.code),
    Column("base", "string", "", "everything of the loss that is not the rule", lambda r, e: r.base and r.base.name),
    Column("base_settings", "string", "JSON", "the base's settings", lambda r, e: r.base and _json(r.base.settings)),
    Column("model", "string", "", "the policy at the start", lambda r, e: r.model.name),
    Column("weights", "string", "digest", "of the weights at the start", lambda r, e: r.model.revision),
    Column("parameters", "Int64", "", "of the policy", lambda r, e: r.model.parameters),
    Column("trained_on", "string", "", "the benchmark", lambda r, e: r.training and r.training.source.bench),
    Column("trained_on_twin", "boolean", "", "its procedural twin", lambda r, e: r.training and r.training.source.twin),
    Column("steps", "Int64", "steps", "of the optimizer", lambda r, e: r.training and r.training.steps),
    Column("settings", "string", "JSON", "of the loop", lambda r, e: r.training and _json(r.training.settings)),
    Column("sampled_tokens", "Int64", "tokens", "in training", lambda r, e: r.training and r.training.tokens),
    Column("seconds", "Float64", "s", "of the whole run", lambda r, e: r.seconds),
    Column(
        "identity", "string", "JSON", "what decides its numbers besides; empty: schema 1", lambda r, e: _identity(r)
    ),
    Column("commit", "string", "", "of the code", lambda r, e: r.origin.commit),
    Column("dirty", "boolean", "", "from a changed working tree", lambda r, e: r.origin.dirty),
    Column("machine", "string", "", "processor, or accelerator", lambda r, e: r.machine.gpu or r.machine.cpu),
    Column("bench", "string", "", "the benchmark measured", lambda r, e: e.bench),
    Column("bench_version", "Int64", "", "rises when a score can change", lambda r, e: e.bench_version),
    Column("twin", "boolean", "", "the procedural stand-in was measured", lambda r, e: e.twin),
    Column("revision", "string", "", "of the questions", lambda r, e: e.revision),
    Column("split", "string", "", "of the questions", lambda r, e: e.split),
    Column("question_ids", "string", "digest", "of the questions asked", lambda r, e: e.question_ids),
    Column("stage", "string", "", "before or after training", lambda r, e: e.stage),
    Column("questions", "Int64", "questions", "asked", lambda r, e: e.questions),
    Column("samples", "Int64", "answers", "to each question", lambda r, e: e.samples),
    Column("temperature", "Float64", "", "of the answers", lambda r, e: e.decoding.temperature),
    Column("metric", "string", "", "what the value is", lambda r, e: e.metric),
    Column("value", "Float64", "share", "avg@samples of the metric", lambda r, e: e.value),
    Column("value_error", "Float64", "share", "standard error over questions alone", _questions_error),
    Column("pass_at_n", "Float64", "share", "of questions with a right answer", lambda r, e: e.pass_at_n),
    Column("greedy", "Float64", "share", "with the likeliest answer", lambda r, e: e.greedy),
    Column("truncated", "Float64", "share", "of answers cut at the limit", lambda r, e: e.truncated),
    Column("no_answer", "Float64", "share", "of responses without an answer", lambda r, e: e.extraction_failures),
)
CREDIT = (
    Column("measurement", "string", "", "twin, dials, policy and group", lambda c, r, k, n: c.title),
    Column("created", "string", "UTC", "when it was measured", lambda c, r, k, n: c.created),
    Column("bench", "string", "", "whose questions were asked", lambda c, r, k, n: c.bench),
    Column("model", "string", "", "the policy", lambda c, r, k, n: c.note or c.model),
    Column("weights", "string", "digest", "of the policy", lambda c, r, k, n: c.weights),
    Column("group", "Int64", "answers", "to each prompt", lambda c, r, k, n: c.settings["group"]),
    Column("batches", "Int64", "batches", "behind the numbers", lambda c, r, k, n: c.batches),
    Column("responses", "Int64", "responses", "behind the numbers", lambda c, r, k, n: c.responses),
    Column("rule", "string", "", "name of the credit rule", lambda c, r, k, n: r.name),
    Column("rule_code", "string", "digest", "of the rule's sources", lambda c, r, k, n: r.digest),
    Column("control", "boolean", "", "an oracle or a null, no method", lambda c, r, k, n: r.control),
    Column("headline", "boolean", "", "the number that ranks rules there", lambda c, r, k, n: k == c.headline),
    Column("number", "string", "", "its name, as in docs/can_it_see.md", lambda c, r, k, n: k),
    Column("value", "Float64", "ratio or share", "the estimate", lambda c, r, k, n: n.value),
    Column("error", "Float64", "as value", "standard error by the jackknife", lambda c, r, k, n: n.error),
    Column("low", "Float64", "as value", "of the 95% interval", lambda c, r, k, n: n.low),
    Column("high", "Float64", "as value", "of the 95% interval", lambda c, r, k, n: n.high),
)


def _identity(record: RunRecord) -> str | None:
    return None if record.identity is None else _json(record.identity)


def _measured(records: Sequence[RunRecord]) -> Iterator[tuple[RunRecord, Evaluation]]:
    for record in records:
        for found in record.evaluations:
            yield record, found


def _numbers(credit: Sequence[CreditRecord]) -> Iterator[tuple[CreditRecord, RuleCredit, str, Estimate]]:
    for record in credit:
        for rule in record.rules:
            for name, found in sorted(rule.numbers.items()):
                if found is not None:
                    yield record, rule, name, found


def frame(columns: Sequence[Column], sources: Sequence[tuple[Any, ...]]) -> pd.DataFrame:
    """The rows of a table; what is missing is empty in every type."""
    return pd.DataFrame(
        {one.name: pd.array([one.of(*source) for source in sources], dtype=one.kind) for one in columns}
    )


def export(records: Sequence[RunRecord], credit: Sequence[CreditRecord], folder: Path) -> list[Path]:
    """Writes both tables and the schema; returns the files."""
    tables: dict[str, tuple[Sequence[Column], Sequence[tuple[Any, ...]]]] = {
        "runs": (RUNS, list(_measured(records))),
        "credit": (CREDIT, list(_numbers(credit))),
    }
    written, schema = [], {}
    for name, (columns, sources) in tables.items():
        rows, held = frame(columns, sources), BytesIO()
        rows.to_parquet(held, index=False)
        atomic_bytes(folder / f"{name}.parquet", held.getvalue())
        atomic_write(folder / f"{name}.csv", rows.to_csv(index=False, lineterminator="\n"))
        written += [folder / f"{name}.parquet", folder / f"{name}.csv"]
        told = [{"name": one.name, "type": one.kind, "unit": one.unit, "meaning": one.meaning} for one in columns]
        schema[name] = {"rows": len(rows), "columns": told}
    atomic_write(folder / "schema.json", json.dumps(schema, indent=1) + "\n")
    return [*written, folder / "schema.json"]
