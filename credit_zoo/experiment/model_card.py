"""The card of a trained policy: a README.md beside its weights, with the metadata that a hub of models reads.

Rule, base, data, numbers with intervals before and after, licence, and the words that repeat the run, from its record.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from huggingface_hub import EvalResult, ModelCard, ModelCardData

from credit_zoo.policy import SHIPPED, ModelConfig
from credit_zoo.registry import SHAPERS
from credit_zoo.results import Evaluation, RunRecord, atomic_write, grid, interval, kind, label, plain

CARD = "README.md"
OWN_LICENCE = "apache-2.0"  # of the package, and so of the checkpoints that ship with it
TAGS = ("reinforcement-learning", "vision-language", "credit-assignment", "credit_zoo")


def write_card(record: RunRecord, model: ModelConfig, folder: Path) -> Path:
    """Writes the card into the folder of an exported policy."""
    path = folder / CARD
    atomic_write(path, model_card(record, licence_of(model), model.path))
    return path


def licence_of(model: ModelConfig) -> str | None:
    """The licence of the weights that the run started from; None where it is not at hand."""
    if model.path in SHIPPED:
        return OWN_LICENCE
    card = Path(model.path) / CARD
    if not card.is_file():
        return None
    found = ModelCard.load(card, ignore_metadata_errors=True).data.to_dict().get("license")
    return str(found) if found else None


def model_card(record: RunRecord, licence: str | None, start: str) -> str:
    """The card's text; `start` is the checkpoint that the run started from, as it was typed."""
    training, shaper, base = record.training, record.shaper, record.base
    assert training is not None
    assert shaper is not None
    assert base is not None
    name = f"{record.model.name}-{training.source.bench}-{base.name}-{shaper.name}-seed{record.seed}"
    data = ModelCardData(
        model_name=name,
        language="en",
        license=licence or "other",
        license_name=None if licence else "that of the base model",
        library_name="transformers",
        pipeline_tag="image-text-to-text",
        base_model=start if "/" in start and not Path(start).exists() else None,  # what a hub can link to
        tags=list(TAGS),
        eval_results=[_result(found) for found in _after(record)],
    )
    trained = f"{training.source.bench} ({kind(plain(training.source))}, {training.source.revision})"
    known = SHAPERS.listings().get(shaper.name)
    about = f": {known.summary} ({known.paper})" if known else ""
    rows = [_row(record, found) for found in _after(record)]
    header = ("benchmark", "questions", "answers each", "before [95%]", "after [95%]")
    lines = [
        f"# {name}\n",
        f"Trained with credit_zoo from `{Path(start).name}` (weights {record.model.revision}).\n",
        f"- credit rule: `{label(plain(shaper))}`{about}",
        f"- base: `{label(plain(base))}`",
        f"- trained on: {trained}, {training.steps} steps, seed {record.seed}",
        f"- licence: {licence or 'that of the base model, which this run does not know'}\n",
        "Accuracy in percent, avg@N of the benchmark's headline metric. Intervals are over the questions of this one "
        "run: they say nothing of another seed.\n",
        grid(header, rows),
        "To repeat it:\n",
        f"    python -m credit_zoo.run {' '.join(record.command)}\n",
        f"Run {record.run_id}, commit {record.origin.commit or 'unknown'}"
        f"{' with uncommitted changes' if record.origin.dirty else ''}.\n",
    ]
    return f"---\n{data.to_yaml()}\n---\n\n" + "\n".join(lines)


def _after(record: RunRecord) -> Iterator[Evaluation]:
    return (found for found in record.evaluations if found.stage == "after")


def _bounds(found: Evaluation) -> tuple[float, float, float]:
    """Value and interval over the questions, in percent."""
    one = interval(np.asarray([found.correctness]), over_seeds=False)
    return 100 * one.value, 100 * one.low, 100 * one.high


def _result(found: Evaluation) -> EvalResult:
    value, low, high = _bounds(found)
    return EvalResult(
        task_type="visual-question-answering",
        task_name="visual question answering",
        dataset_type=found.bench,
        dataset_name=f"{found.bench} ({kind(plain(found))})",
        dataset_split=found.split,
        dataset_revision=found.revision,
        metric_type=found.metric,
        metric_name=f"{found.metric} in %, avg@{found.samples}",
        metric_value=round(value, 2),
        metric_args={
            "interval_95": [round(low, 2), round(high, 2)],
            "questions": found.questions,
            "samples": found.samples,
        },
    )


def _row(record: RunRecord, found: Evaluation) -> list[str]:
    before = [one for one in record.evaluations if one.stage == "before" and one.measure == found.measure]
    cells = [_cell(one) for one in (*before, found)]
    name = f"{found.bench} ({kind(plain(found))})"
    return [name, str(found.questions), str(found.samples), *([] if before else [""]), *cells]


def _cell(found: Evaluation) -> str:
    value, low, high = _bounds(found)
    return f"{value:.1f} [{low:.1f}, {high:.1f}]"
