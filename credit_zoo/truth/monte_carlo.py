"""The value of prefixes by sampling: what comes of it when the policy goes on from there. For any question.

    V[b,k] = mean over K continuations of the first k tokens of response b of their scores        sd <= 1 / (2 sqrt(K))

Continuations are drawn as responses are: prompt and prefix are read once for all K, from a source of draws that follows
from the seed and the prefix alone, so that neither the order of the rows nor who works on them changes a value. A token
that the policy all but had to draw (probability above `certain`) leaves the value as it was, and costs nothing.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from credit_zoo.question import Question
from credit_zoo.rollout import RolloutWorker, SamplingParams, generators
from credit_zoo.types import Prompts, RolloutBatch


@dataclass(frozen=True)
class SampledValues:
    """Of N responses: `value[n, k]` of the first k tokens, from 0 to all of them, whose value is the response's own
    score; `error` the standard error; `fresh` where it was sampled, and not taken over from the prefix before.
    """

    value: Float[Tensor, "N V"]
    error: Float[Tensor, "N V"]
    fresh: Bool[Tensor, "N V"]

    @property
    def advantage(self) -> Float[Tensor, "N T"]:
        """What each token changed in the value; behind the response's end nothing."""
        return self.value[:, 1:] - self.value[:, :-1]


@dataclass(frozen=True)
class _Prefix:
    response: int  # its place among those that are continued
    row: int  # of the prompts
    question: int  # its number in the run
    ids: tuple[int, ...]

    @property
    def number(self) -> int:
        """What its draws follow from."""
        digest = hashlib.blake2b(repr((self.question, self.ids)).encode(), digest_size=7).digest()
        return int.from_bytes(digest, "big")


def continued(prompts: Prompts, row_of: Sequence[int], prefixes: Sequence[Sequence[int]], pad_token: int) -> Prompts:
    """Prompts with the beginning of a response behind each, `prefixes[n]` behind prompt `row_of[n]`."""
    pairs = zip(row_of, prefixes, strict=True)
    rows = [
        torch.cat([prompts.ids[row][prompts.mask[row]], torch.tensor(ids, dtype=torch.int64)]) for row, ids in pairs
    ]
    width = max(map(len, rows))
    ids = torch.stack([torch.nn.functional.pad(row, (width - len(row), 0), value=pad_token) for row in rows])
    lengths = torch.tensor([len(row) for row in rows])
    return Prompts(ids, torch.arange(width) >= width - lengths[:, None], tuple(prompts.vision[row] for row in row_of))


def sampled_values(
    worker: RolloutWorker,
    questions: Sequence[Question],
    batch: RolloutBatch,
    chosen: Sequence[int],
    sampling: SamplingParams,
    continuations: int,
    every: int = 1,
    certain: float = 0.99,
    seed: int = 0,
    together: int = 16,
) -> SampledValues:
    """Values of the prefixes of the responses `chosen`, of every `every`-th length; `questions[n]` is what row n of the
    batch's prompts asks. `together` prefixes are continued at once, which changes nothing but memory and time.
    """
    drawn = batch.responses
    width = drawn.ids.shape[1] + 1
    value, error = torch.zeros(len(chosen), width), torch.zeros(len(chosen), width)
    fresh = torch.zeros(len(chosen), width, dtype=torch.bool)
    wanted = [prefix for place, row in enumerate(chosen) for prefix in _prefixes(batch, place, row, every, certain)]
    wanted.sort(key=lambda one: len(one.ids))
    for start in range(0, len(wanted), together):
        some = wanted[start : start + together]
        told = _scores(worker, questions, batch, some, sampling, continuations, seed)
        for prefix, scores in zip(some, told, strict=True):
            at = (prefix.response, len(prefix.ids))
            value[at] = scores.mean()
            error[at] = scores.std(correction=1) / continuations**0.5 if continuations > 1 else 0.5
            fresh[at] = True
    for place, row in enumerate(chosen):
        _fill(value[place], error[place], fresh[place], int(drawn.mask[row].sum()), float(batch.correct[row]))
    return SampledValues(value, error, fresh)


def _prefixes(batch: RolloutBatch, place: int, row: int, every: int, certain: float) -> list[_Prefix]:
    """The prefixes of a response that are continued: the empty one, and those behind tokens that were in doubt."""
    drawn, question = batch.responses, int(batch.group[row])
    ids, logp = drawn.ids[row][drawn.mask[row]], drawn.logp[row][drawn.mask[row]]
    lengths = range(0, len(ids), every)
    doubted = [one for one in lengths if one == 0 or logp[one - every : one].sum().exp() < certain]
    return [_Prefix(place, int(drawn.row_of[row]), question, tuple(ids[:one].tolist())) for one in doubted]


def _scores(
    worker: RolloutWorker,
    questions: Sequence[Question],
    batch: RolloutBatch,
    prefixes: Sequence[_Prefix],
    sampling: SamplingParams,
    continuations: int,
    seed: int,
) -> list[Float[Tensor, " K"]]:
    """The scores of the continuations of some prefixes."""
    encoder, rows = worker.policy.encoder, [prefix.row for prefix in prefixes]
    prompts = continued(batch.prompts, rows, [prefix.ids for prefix in prefixes], encoder.pad_token)
    left = sampling.max_tokens - min(len(prefix.ids) for prefix in prefixes)
    longest = SamplingParams(continuations, sampling.temperature, sampling.top_p, sampling.top_k, left)
    asked = [questions[row] for row in rows]
    drawn = worker.generate(asked, prompts, longest, generators(seed, [prefix.number for prefix in prefixes]))
    found = []
    for place, (prefix, question) in enumerate(zip(prefixes, asked, strict=True)):
        mine = slice(place * continuations, (place + 1) * continuations)
        limit = sampling.max_tokens - len(prefix.ids)
        ids, mask = drawn.ids[mine, :limit], drawn.mask[mine, :limit]
        before = torch.tensor(prefix.ids, dtype=torch.int64).expand(continuations, -1)
        whole = (torch.cat([before, ids], 1), torch.cat([torch.ones_like(before, dtype=torch.bool), mask], 1))
        texts = [encoder.opened + text for text in encoder.decode(*whole)]
        found.append(torch.tensor([worker.bench.score(question, text).correct for text in texts]))
    return found


def _fill(value: Tensor, error: Tensor, fresh: Tensor, length: int, score: float) -> None:
    """Takes over the values of prefixes that were not continued; the whole response has its own score."""
    for place in range(1, len(value)):
        if place >= length:
            value[place], error[place] = score, 0.0
        elif not fresh[place]:
            value[place], error[place] = value[place - 1], error[place - 1]
