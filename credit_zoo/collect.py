"""A step's batch: questions asked, answers rewarded, and, under dynamic sampling, dull prompts drawn anew."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

from credit_zoo.base import Base
from credit_zoo.bench import Question, Score
from credit_zoo.harness import Asker
from credit_zoo.questions import Questions
from credit_zoo.rewards import Reward, overlong_penalty
from credit_zoo.rollout import Sampling
from credit_zoo.types import Prompts, Responses, RolloutBatch

_COLUMNS = ("ids", "mask", "logp", "truncated")


@dataclass(frozen=True)
class Place:
    """Where in the data a process stands: question number `start + k * stride` is its k-th."""

    start: int
    stride: int

    def take(self, questions: Questions, count: int) -> tuple[list[Question], "Place"]:
        """The next `count` questions, and the place behind them."""
        numbers = [self.start + k * self.stride for k in range(count)]
        return [questions[n] for n in numbers], Place(self.start + count * self.stride, self.stride)


@dataclass(frozen=True)
class Drawn:
    """A batch, the questions behind its groups, the place in the data after it, and what was counted on the way:
    prompts `asked` and `kept`, and how often the batch was refilled.
    """

    batch: RolloutBatch
    questions: tuple[Question, ...]
    place: Place
    asked: int
    kept: int
    refills: int


@dataclass(frozen=True)
class Collector:
    """How a step's batch is drawn."""

    asker: Asker
    base: Base
    sampling: Sampling
    reward: Reward
    prompts: int  # per step and process

    def __call__(self, questions: Questions, place: Place, generator: torch.Generator, first_group: int) -> Drawn:
        """Draws until `prompts` groups are kept, or `base.max_refills` refills are used up.

        Without dynamic sampling every group is kept. If a bounded refill ends short, the step trains on fewer
        groups; if not one group was kept, on a dull one, whose advantages are all 0.
        """
        kept: list[_Group] = []
        dull: list[_Group] = []
        asked = refills = 0
        while True:
            wanted, place = place.take(questions, self.prompts)
            groups = self._ask(wanted, generator)
            asked += len(groups)
            for group in groups:
                (kept if self._keeps(group) else dull).append(group)
            if len(kept) >= self.prompts or not self.base.dynamic_sampling or refills == self.base.max_refills:
                break
            refills += 1
        used = kept[: self.prompts] or dull[:1]
        batch = _assemble(used, first_group, self.asker.policy.encoder.pad_token)
        return Drawn(batch, tuple(g.question for g in used), place, asked, min(len(kept), self.prompts), refills)

    def _keeps(self, group: "_Group") -> bool:
        right = [score.correct for score in group.scores]
        return not self.base.dynamic_sampling or min(right) < max(right)

    def _ask(self, questions: Sequence[Question], generator: torch.Generator) -> list["_Group"]:
        prompts = self.asker.prompts(questions)
        scores, responses = self.asker.judge(questions, prompts, self.sampling, generator)
        lengths = responses.mask.sum(1).tolist()
        size = self.sampling.group
        return [
            _Group(
                question=question,
                prompt=Prompts(prompts.ids[k : k + 1], prompts.mask[k : k + 1], prompts.vision[k : k + 1]),
                responses=_rows(responses, slice(k * size, (k + 1) * size)),
                scores=scores[k],
                parts=[self._parts(*pair) for pair in zip(scores[k], lengths[k * size : (k + 1) * size], strict=True)],
            )
            for k, question in enumerate(questions)
        ]

    def _parts(self, score: Score, length: int) -> dict[str, float]:
        parts = dict(self.reward.parts(score))
        if self.base.overlong_cache:
            parts["overlong"] = overlong_penalty(length, self.sampling.max_tokens, self.base.overlong_cache)
        return parts


@dataclass(frozen=True)
class _Group:
    """One prompt with its responses, their scores and weighted rewards."""

    question: Question
    prompt: Prompts
    responses: Responses
    scores: list[Score]
    parts: list[dict[str, float]]


def _rows(responses: Responses, index: slice) -> Responses:
    """The responses of one prompt, which becomes row 0."""
    ids, mask, logp, cut = (getattr(responses, name)[index] for name in _COLUMNS)
    return Responses(ids, mask, logp, cut, torch.zeros(len(ids), dtype=torch.int64))


def _assemble(groups: Sequence[_Group], first_group: int, pad_token: int) -> RolloutBatch:
    """Groups to one batch: prompts padded to the longest, rewards as tensors."""
    width = max(group.prompt.ids.shape[1] for group in groups)

    def widened(x: Tensor, value: int) -> Tensor:
        return pad(x, (width - x.shape[1], 0), value=value)

    prompts = Prompts(
        ids=torch.cat([widened(group.prompt.ids, pad_token) for group in groups]),
        mask=torch.cat([widened(group.prompt.mask, 0) for group in groups]),
        vision=tuple(vision for group in groups for vision in group.prompt.vision),
    )
    ids, mask, logp, cut = (torch.cat([getattr(g.responses, name) for g in groups]) for name in _COLUMNS)
    row_of = torch.arange(len(groups)).repeat_interleave(torch.tensor([len(g.scores) for g in groups]))
    every = [parts for group in groups for parts in group.parts]
    reward_parts = {name: torch.tensor([parts[name] for parts in every]) for name in every[0]}
    return RolloutBatch(
        prompts=prompts,
        responses=Responses(ids, mask, logp, cut, row_of),
        group=row_of + first_group,
        correct=torch.tensor([score.correct for group in groups for score in group.scores]),
        reward=torch.stack(list(reward_parts.values())).sum(0),
        reward_parts=reward_parts,
    )
