"""Measuring a policy on a benchmark: every question is asked, the answers are graded together.

What answer s to a question draws depends on `eval.seed`, the question's id and text and s alone: not on what else is
asked, how questions are batched, how many answers or tokens are asked for, or which process asks.
"""

import hashlib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from tqdm import tqdm

from credit_zoo.errors import UsageError, check_range
from credit_zoo.evaluation.generations import ALONE, GenerationLog, Pass
from credit_zoo.evaluation.grading import Completions, EvalResult, Rule, grade
from credit_zoo.question import Question, Split
from credit_zoo.questions import without_pictures
from credit_zoo.rollout import ProcessGroup, RolloutWorker, SamplingParams, generators
from credit_zoo.types import Prompts, Responses


@dataclass(frozen=True)
class EvalConfig:
    """How a policy is measured. The papers' protocol is avg@8 at temperature 1; `greedy` adds one pass at
    temperature 0. `seed` fixes questions and draws, the same for every run that is to be compared.
    """

    questions: int = 200  # 0 asks all of a real set, and 601 of a twin, which has no end
    samples: int = 8  # answers to a question; N of avg@N
    temperature: float = 1.0  # of the softmax, [0, inf)
    top_p: float = 1.0  # share of probability that is kept, (0, 1]
    top_k: int = 0  # tokens that are kept; 0: all
    max_tokens: int = 64  # response tokens, stop token included
    greedy: bool = True  # one more pass at temperature 0
    split: Split = "test"  # train, val, test, all, or one of a real set, such as testA
    batch: int = 16  # questions sampled together, fewer where they exceed `tokens`
    tokens: int = 262_144  # of prompts and responses sampled together
    seed: int = 1234  # of questions and draws: the same for runs that are compared
    temperature_row: bool = False  # accuracy at T = 1, 0.6, 0.3 and 0 besides: what sharpening alone gives
    every: int = 0  # steps between measurements during training, for the log alone; 0: none

    def __post_init__(self) -> None:
        check_range("eval.questions", self.questions, 0)
        for name in ("samples", "batch", "tokens"):
            check_range(f"eval.{name}", getattr(self, name), 1)
        check_range("eval.every", self.every, 0)
        check_range("eval.temperature", self.temperature, 0)
        check_range("eval.top_p", self.top_p, 0, 1, open_low=True)
        check_range("eval.top_k", self.top_k, 0)
        check_range("eval.max_tokens", self.max_tokens, 1)

    def sampling(self, greedy: bool = False) -> SamplingParams:
        """The draws of one pass."""
        if greedy:
            return SamplingParams(group=1, temperature=0.0, max_tokens=self.max_tokens)
        return SamplingParams(self.samples, self.temperature, self.top_p, self.top_k, self.max_tokens)


def draws(seed: int, questions: Sequence[Question]) -> list[torch.Generator]:
    """A source of draws for each question, by its id and text."""
    names = [hashlib.sha256(f"{question.id}\n{question.text}".encode()).digest() for question in questions]
    return generators(seed, [int.from_bytes(name[:8], "big") for name in names])


def measure(
    worker: RolloutWorker,
    questions: Sequence[Question],
    settings: EvalConfig,
    title: str,
    log: GenerationLog | None = None,
    official: Rule | None = None,
    processes: ProcessGroup = ALONE,
) -> EvalResult:
    """Asks every question `settings.samples` times, and once more greedily; with a log, only what it does not hold.

    The processes share the questions, and all of them get the whole result.
    """
    if not questions:
        raise UsageError(f"{title}: there are no questions to ask")
    told = without_pictures(questions)
    asking = _Asking(worker, questions, told, settings, title, log, processes)
    sampled = asking.answers("sampled")
    greedy = asking.answers("greedy") if settings.greedy else None
    return grade(worker.bench, told, sampled, greedy, official)


@dataclass
class _Shown:
    """What the bar shows: the scores of all answers so far, added up."""

    right: float = 0.0
    answers: int = 0

    def add(self, scores: Sequence[float]) -> None:
        self.right, self.answers = self.right + sum(scores), self.answers + len(scores)


@dataclass(frozen=True)
class _Asking:
    """One measurement; `told` are the questions without pictures."""

    worker: RolloutWorker
    questions: Sequence[Question]
    told: Sequence[Question]
    settings: EvalConfig
    title: str
    log: GenerationLog | None
    processes: ProcessGroup

    def answers(self, kind: Pass) -> list[Completions]:
        """What is said to every question in one pass: what the log holds, and the rest, which the processes share."""
        found = dict(self.log.done[kind]) if self.log else {}
        left = [place for place in range(len(self.told)) if place not in found]
        own = dict(self._ask(kind, left[self.processes.rank :: self.processes.size], found))
        found |= dict(self.processes.share(list(own.items())))
        if self.log:
            self.log.done[kind] |= found
        return [found[place] for place in range(len(self.told))]

    def _ask(
        self, kind: Pass, places: Sequence[int], found: Mapping[int, Completions]
    ) -> Iterator[tuple[int, Completions]]:
        sampling = self.settings.sampling(greedy=kind == "greedy")
        shown = _Shown()
        for place, known in found.items():
            shown.add(self._scores(place, known))
        hidden = None if self.processes.rank == 0 else True
        with tqdm(total=len(places), desc=self.title, leave=False, disable=hidden) as bar:
            for start in range(0, len(places), self.settings.batch):
                chunk = places[start : start + self.settings.batch]
                waiting = iter(chunk)
                for some, prompts in self._fitting([self.questions[place] for place in chunk], sampling):
                    drawn = draws(self.settings.seed, some)
                    said = _completions(self.worker, self.worker.generate(some, prompts, sampling, drawn), sampling)
                    pairs = list(zip(itertools.islice(waiting, len(some)), said, strict=True))
                    if self.log:
                        self.log.add(kind, pairs)
                    yield from pairs
                    for pair in pairs:
                        shown.add(self._scores(*pair))
                    bar.set_postfix(score=f"{100 * shown.right / shown.answers:.1f}", refresh=False)
                    bar.update(len(some))

    def _scores(self, place: int, said: Completions) -> list[float]:
        return [self.worker.bench.score(self.told[place], text).correct for text in said.texts]

    def _fitting(
        self, questions: Sequence[Question], sampling: SamplingParams
    ) -> Iterator[tuple[Sequence[Question], Prompts]]:
        """The questions in order, halved until the tokens of a batch, prompts and responses, are at most
        `eval.tokens`.
        """
        prompts, middle = self.worker.encode(questions), len(questions) // 2
        tokens = sampling.group * (prompts.ids.numel() + len(prompts) * sampling.max_tokens)
        if len(questions) == 1 or tokens <= self.settings.tokens:
            yield questions, prompts
            return
        yield from self._fitting(questions[:middle], sampling)
        yield from self._fitting(questions[middle:], sampling)


def _completions(worker: RolloutWorker, responses: Responses, sampling: SamplingParams) -> list[Completions]:
    texts = worker.texts(responses)
    cut, group = responses.truncated.tolist(), sampling.group
    starts = range(0, len(texts), group)
    return [Completions(tuple(texts[at : at + group]), tuple(cut[at : at + group])) for at in starts]
