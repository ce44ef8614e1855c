"""Samples answers of a shipped policy to a twin's questions, and measures the credit of every rule on them."""

import base64
import hashlib
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, islice, pairwise
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL.Image import Image
from torch import Tensor

from credit_zoo.credit import (
    MOST,
    Bench,
    Credit,
    Measured,
    credit_of,
    is_shuffle,
    measure,
    open_bench,
    rule_digest,
    rule_names,
)
from credit_zoo.errors import UsageError
from credit_zoo.objective import weights
from credit_zoo.policy import SHIPPED, ModelConfig, Policy, weights_digest
from credit_zoo.registry import SHAPERS
from credit_zoo.report.examples import SCHEMA, Answer, Asked, Examples
from credit_zoo.report.profiles import agreement_of, kinds_of, profile_of
from credit_zoo.results import digest, origin, utc_now
from credit_zoo.truth import ROLES, sampled_values
from credit_zoo.types import RolloutBatch

BATCHES, PROMPTS, GROUP, TOKENS = 4, 8, 8, 72
SHOWN = 4  # answers to a question
CONTINUATIONS = 64  # of a prefix, where its value has to be sampled
DIGITS = 4  # decimals of a credit


@dataclass(frozen=True)
class Batch:
    """One batch, all that is measured of it, and the credit `[B, T]` of every rule."""

    rollout: RolloutBatch
    measured: Measured
    credit: Mapping[str, Tensor]


def wanted_rules(bench: str, shapers: str) -> dict[str, str]:
    """The rules that are named, with the shuffles of those that are ranked, by the digests of their code, uniform
    first; all: every rule and control.
    """
    names = rule_names(Credit(bench=bench, shapers=shapers, nulls=True), twin=True)
    return {name: rule_digest(name) for name in names}


def files_digest(model: str) -> str:
    """The digest of the files that hold a policy's weights; "" for one from the hub."""
    files = sorted(Path(ModelConfig(path=model).source).glob("*.safetensors"))
    return digest(hashlib.sha256(file.read_bytes()).hexdigest() for file in files) if files else ""


def measured_examples(bench_name: str, model: str, rules: Mapping[str, str], questions: int) -> Examples:
    """Answers of `model` to held-out questions: some that were answered both right and wrong are kept whole, of all
    what weights rules give where, and how far they agree.
    """
    settings = Credit(
        bench=bench_name, model=model, shapers="uniform", group=GROUP, prompts=PROMPTS, max_tokens=TOKENS, split="test"
    )
    if model in SHIPPED:
        torch.set_num_threads(1)
    policy = Policy.load(ModelConfig(path=model)).eval()
    bench = open_bench(settings, policy)
    if bench.twin is None:
        raise UsageError(f"bench={bench_name} has no twin, whose truth the viewer shows: choose one that has")
    batches = [_batch(bench, number, tuple(rules)) for number in range(BATCHES)]
    sampled = _another_way(batches) > MOST
    mixed = (asked for batch in batches for asked in _asked(bench, batch, sampled))
    shown = tuple(islice(mixed, questions))
    rows = [row for batch in batches for row in _rows(batch)]
    if len(shown) < questions:
        raise UsageError(f"of {BATCHES * PROMPTS} questions {len(shown)} have right and wrong answers: ask for fewer")
    compared = [name for name in rules if not is_shuffle(name)]
    every = torch.cat([batch.rollout.correct for batch in batches])
    return Examples(
        schema=SCHEMA,
        created=utc_now(),
        command=("credit_zoo.report", f"bench={bench_name}", f"model={model}", f"examples={questions}"),
        bench=bench_name,
        model=model,
        weights=weights_digest(policy),
        files=files_digest(model),
        responses=len(every),
        accuracy=round(float(every.mean()), DIGITS),
        live=len(rows),
        rules=dict(rules),
        questions=shown,
        profiles={name: profile_of([(row.weight[name], row.kinds) for row in rows]) for name in rules},
        agreement=agreement_of([np.stack([row.credit[name] for name in compared]) for row in rows]),
        tokens={kind: int(sum(row.kinds[kind].sum() for row in rows)) for kind in rows[0].kinds},
        values=f"sampling, {CONTINUATIONS} continuations of each prefix" if sampled else "the twin's closed form",
        origin=origin(),
    )


def _batch(bench: Bench, number: int, names: Sequence[str]) -> Batch:
    rollout = bench.draw(number)
    each = [SHAPERS[name].facts for name in names]
    measured = measure(bench, rollout, sorted({need for one in each for need in (*one.measured, *one.text)}))
    return Batch(rollout, measured, {name: credit_of(name, measured) for name in names})


@dataclass(frozen=True)
class _Row:
    """One response with an advantage: the marks of its tokens by their kind, credit and weights of rules `[T]`."""

    kinds: Mapping[str, NDArray[np.bool_]]
    credit: Mapping[str, NDArray[np.float64]]
    weight: Mapping[str, NDArray[np.float64]]


def _rows(batch: Batch) -> Iterator[_Row]:
    x = batch.measured.inputs
    weight = {name: weights(one, x) for name, one in batch.credit.items()}
    for row in (x.advantage != 0).nonzero()[:, 0].tolist():
        kept = x.mask[row]
        signals = {name: values[row, kept].numpy() for name, values in x.signals.values.items()}
        yield _Row(
            kinds_of(signals["truth_role"].astype(int), signals["truth_error"] > 0, ROLES),
            {name: one[row, kept].double().numpy() for name, one in batch.credit.items()},
            {name: one[row, kept].double().numpy() for name, one in weight.items()},
        )


def _another_way(batches: Sequence[Batch]) -> float:
    """The share of right answers that are not the worked solution, which is all that the closed form of A* sees."""
    right = sum(int((batch.rollout.correct >= 1).sum()) for batch in batches)
    return sum(int(batch.measured.another_way.sum()) for batch in batches) / max(right, 1)


def _asked(bench: Bench, batch: Batch, sampled: bool) -> Iterator[Asked]:
    """The questions of a batch that were answered right and wrong, with some answers to each, right and wrong in
    turns; `sampled` values of their prefixes stand in for the closed form.
    """
    row_of = batch.rollout.responses.row_of
    for row, question in enumerate(bench.asked(batch.rollout)):
        mine = (row_of == row).nonzero()[:, 0].tolist()
        right = [one for one in mine if batch.rollout.correct[one] >= 1]
        wrong = [one for one in mine if one not in right]
        if not right or not wrong:
            continue
        assert isinstance(question.image, Image)
        number = int(batch.rollout.group[mine[0]])
        (example,) = bench.examples([number])
        chosen = _told_apart(batch, right, wrong)
        values = _sampled(bench, batch, chosen) if sampled else _closed(batch, chosen)
        yield Asked(
            number=number,
            category=question.category,
            text=question.text,
            choices=question.choices,
            truth=question.answer,
            solution="".join(span.text for span in example.solution),
            picture=_png(question.image),
            right=len(right),
            group=len(mine),
            answers=tuple(_answer(bench, batch, one, value) for one, value in zip(chosen, values, strict=True)),
        )


def _told_apart(batch: Batch, right: Sequence[int], wrong: Sequence[int]) -> list[int]:
    """Rows of different answers, wrong and right in turns, then what is left of either."""
    longest = max(len(right), len(wrong))
    turns = [side[place] for place in range(longest) for side in (wrong, right) if place < len(side)]
    drawn = batch.rollout.responses
    found = {tuple(drawn.ids[row][drawn.mask[row]].tolist()): row for row in reversed(turns)}
    return [row for row in turns if row in found.values()][:SHOWN]


def _closed(batch: Batch, rows: Sequence[int]) -> list[list[float]]:
    """The value of every prefix of some responses, from the empty one on, in the twin's closed form."""
    x = batch.measured.inputs
    changes = [x.signals.values["truth_advantage"][row, x.mask[row]].tolist() for row in rows]
    return [
        [*accumulate(one, initial=float(batch.rollout.correct[row]) - sum(one))]
        for row, one in zip(rows, changes, strict=True)
    ]


def _sampled(bench: Bench, batch: Batch, rows: Sequence[int]) -> list[list[float]]:
    """The same by sampling: what comes of it when the policy goes on from there."""
    asked, sampling = bench.asked(batch.rollout), bench.sampling
    found = sampled_values(bench.worker, asked, batch.rollout, rows, sampling, CONTINUATIONS)
    lengths = batch.rollout.responses.mask[torch.tensor(rows)].sum(1).tolist()
    return [value[: length + 1].tolist() for value, length in zip(found.value, lengths, strict=True)]


def _answer(bench: Bench, batch: Batch, row: int, values: Sequence[float]) -> Answer:
    x, encoder = batch.measured.inputs, bench.policy.encoder
    kept, twin = x.mask[row], bench.twin
    assert twin is not None
    ids = x.ids[row : row + 1]
    text = encoder.opened + encoder.decode(ids, x.mask[row : row + 1])[0]
    (example,) = bench.examples([int(batch.rollout.group[row])])
    signals = {name: values[row, kept].tolist() for name, values in x.signals.values.items()}
    score = bench.worker.bench.score(example.question, text)
    return Answer(
        tokens=tuple(encoder.tokenizer.decode([token]) for token in x.ids[row, kept].tolist()),
        score=float(batch.rollout.correct[row]),
        extracted=score.extracted or "",
        mistake=twin.check(example, text).first_error or "",
        advantage=round(float(x.advantage[row]), DIGITS),
        value=_short(values[:1])[0],
        truth=_short([after - before for before, after in pairwise(values)]),
        role=tuple(ROLES[int(role)] if role >= 0 else "" for role in signals["truth_role"]),
        error=tuple(mark > 0 for mark in signals["truth_error"]),
        credit={name: _short(one[row, kept].tolist()) for name, one in batch.credit.items()},
    )


def _short(values: Sequence[float]) -> tuple[float, ...]:
    return tuple(round(value, DIGITS) + 0.0 for value in values)  # without the minus of a 0


def _png(picture: Image) -> str:
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", optimize=True)
    return base64.b64encode(buffer.getvalue()).decode()
