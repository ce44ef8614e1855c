"""A step's batch: questions asked, answers rewarded, under dynamic sampling groups that teach nothing replaced."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn.functional import pad

from credit_zoo.objective import Base, Reward, overlong_penalty
from credit_zoo.question import Question, Score
from credit_zoo.questions import Questions
from credit_zoo.rollout import ProcessGroup, RolloutWorker, SamplingParams, generators, joined, rows_of
from credit_zoo.types import Prompts, Responses, RolloutBatch


@dataclass(frozen=True)
class Sums:
    """What some responses add up to: their number, rewards and scores, how many were cut, and their tokens."""

    responses: float = 0.0
    reward: float = 0.0
    correct: float = 0.0
    truncated: float = 0.0
    tokens: float = 0.0


@dataclass(frozen=True)
class Rollout:
    """A batch, the questions behind its groups, the number of the next question, and what was counted on the way:
    prompts `asked` and `kept` by this process, the sums over the responses to either, and the resampling rounds.

    A process that no group of the step fell to is `idle`: its batch is there to be read, and does not count. A step of
    which no process kept a group is `without_effect`, on all of them: one group is there to be measured.
    """

    batch: RolloutBatch
    questions: tuple[Question, ...]
    next: int
    asked: int
    kept: int
    resampling_rounds: int
    sums_asked: Sums
    sums_kept: Sums
    idle: bool = False
    without_effect: bool = False


@dataclass(frozen=True)
class Collector:
    """How a step's batch is drawn. Which questions it holds, and what is drawn for each, does not depend on how many
    processes share the work.
    """

    worker: RolloutWorker
    base: Base
    sampling: SamplingParams
    reward: Reward
    prompts: int  # per step, over all processes
    processes: ProcessGroup = field(default_factory=ProcessGroup)

    def __call__(self, questions: Questions, first: int, seed: int) -> Rollout:
        """Asks the questions from number `first` on until `prompts` groups are kept, or
        `base.max_resampling_rounds` rounds are used up.

        Without dynamic sampling every group is kept. If the rounds end short, the step trains on fewer groups; if not
        one group was kept, on none: the first of those that were dropped stands in, without effect.
        """
        kept: list[_Group] = []
        dropped: list[_Group] = []
        resampling_rounds = 0
        while True:
            for group in self._ask(
                questions, range(first + self.processes.rank, first + self.prompts, self.processes.size), seed
            ):
                (kept if self._keeps(group) else dropped).append(group)
            first += self.prompts
            everywhere = self.processes.share([group.number for group in kept])
            if (
                len(everywhere) >= self.prompts
                or not self.base.dynamic_sampling
                or resampling_rounds == self.base.max_resampling_rounds
            ):
                break
            resampling_rounds += 1
        chosen = sorted(everywhere)[: self.prompts] or sorted(self.processes.share([g.number for g in dropped]))[:1]
        asked, pad_token = [*kept, *dropped], self.worker.policy.encoder.pad_token
        used = [group for group in asked if group.number in chosen]
        trained_on = [group for group in kept if group.number in chosen]
        return Rollout(
            batch=_assemble(used or asked[:1], pad_token),
            questions=tuple(group.question for group in used),
            next=first,
            asked=len(asked),
            kept=len(trained_on),
            resampling_rounds=resampling_rounds,
            sums_asked=_sums(asked),
            sums_kept=_sums(trained_on),
            idle=not used,
            without_effect=not everywhere,
        )

    def _keeps(self, group: "_Group") -> bool:
        if not self.base.dynamic_sampling:
            return True
        reward, answer = ([worth(parts) for parts in group.parts] for worth in (_total, self.reward.answer))
        return self.base.informative(torch.tensor(reward), torch.tensor(answer))

    def _ask(self, source: Questions, numbers: Sequence[int], seed: int) -> list["_Group"]:
        questions = [source[number] for number in numbers]
        prompts = self.worker.encode(questions)
        scores, responses = self.worker.generate_and_score(questions, prompts, self.sampling, generators(seed, numbers))
        lengths = responses.mask.sum(1).tolist()
        size = self.sampling.group
        return [
            _Group(
                number=number,
                question=question,
                prompt=Prompts(prompts.ids[k : k + 1], prompts.mask[k : k + 1], prompts.vision[k : k + 1]),
                responses=rows_of(responses, slice(k * size, (k + 1) * size)),
                scores=scores[k],
                parts=[self._parts(*pair) for pair in zip(scores[k], lengths[k * size : (k + 1) * size], strict=True)],
            )
            for k, (number, question) in enumerate(zip(numbers, questions, strict=True))
        ]

    def _parts(self, score: Score, length: int) -> dict[str, float]:
        parts = dict(self.reward.parts(score))
        if self.base.overlong_cache:
            parts["overlong"] = overlong_penalty(length, self.sampling.max_tokens, self.base.overlong_cache)
        return parts


@dataclass(frozen=True)
class _Group:
    """One prompt with its responses, their scores and weighted rewards; `number` is the question's in the run."""

    number: int
    question: Question
    prompt: Prompts
    responses: Responses
    scores: list[Score]
    parts: list[dict[str, float]]


def _total(parts: Mapping[str, float]) -> float:
    return sum(parts.values())


def _sums(groups: Sequence[_Group]) -> Sums:
    return Sums(
        responses=sum(len(group.scores) for group in groups),
        reward=sum(sum(parts.values()) for group in groups for parts in group.parts),
        correct=sum(score.correct for group in groups for score in group.scores),
        truncated=sum(int(group.responses.truncated.sum()) for group in groups),
        tokens=sum(int(group.responses.mask.sum()) for group in groups),
    )


def _assemble(groups: Sequence[_Group], pad_token: int) -> RolloutBatch:
    """Groups to one batch: prompts padded to the longest, rewards as tensors."""
    width = max(group.prompt.ids.shape[1] for group in groups)

    def widened(x: Tensor, value: int) -> Tensor:
        return pad(x, (width - x.shape[1], 0), value=value)

    prompts = Prompts(
        ids=torch.cat([widened(group.prompt.ids, pad_token) for group in groups]),
        mask=torch.cat([widened(group.prompt.mask, 0) for group in groups]),
        vision=tuple(vision for group in groups for vision in group.prompt.vision),
    )
    row_of = torch.arange(len(groups)).repeat_interleave(torch.tensor([len(g.scores) for g in groups]))
    every = [parts for group in groups for parts in group.parts]
    reward_parts = {name: torch.tensor([parts[name] for parts in every]) for name in every[0]}
    return RolloutBatch(
        prompts=prompts,
        responses=joined([group.responses for group in groups], row_of),
        group=torch.tensor([group.number for group in groups])[row_of],
        correct=torch.tensor([score.correct for group in groups for score in group.scores]),
        reward=torch.stack(list(reward_parts.values())).sum(0),
        reward_parts=reward_parts,
    )
