"""Measuring a policy on a benchmark: avg@N, greedy and pass@N, per question.

avg@N = mean over questions of the mean score of N samples           pass@N = share with at least one right
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from tqdm import tqdm

from credit_zoo.bench import Benchmark, Question, Score, Split
from credit_zoo.policy import Policy
from credit_zoo.prompting import Prompting
from credit_zoo.registry import UsageError, check_range
from credit_zoo.rollout import Sampling, sample
from credit_zoo.types import Prompts, Responses


@dataclass(frozen=True)
class Eval:
    """How a policy is measured. The papers' protocol is avg@8 at temperature 1; `greedy` adds one pass at
    temperature 0. `seed` fixes questions and draws, the same for every run that is to be compared.
    """

    questions: int = 200
    samples: int = 8
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    max_tokens: int = 64
    greedy: bool = True
    split: Split = "test"
    batch: int = 16  # questions sampled together
    seed: int = 1234

    def __post_init__(self) -> None:
        for name in ("questions", "samples", "batch"):
            check_range(f"eval.{name}", getattr(self, name), 1)
        check_range("eval.temperature", self.temperature, 0)
        check_range("eval.top_p", self.top_p, 0, 1, open_low=True)
        check_range("eval.top_k", self.top_k, 0)
        check_range("eval.max_tokens", self.max_tokens, 1)

    def sampling(self, greedy: bool = False) -> Sampling:
        """The draws of one pass."""
        if greedy:
            return Sampling(group=1, temperature=0.0, max_tokens=self.max_tokens)
        return Sampling(self.samples, self.temperature, self.top_p, self.top_k, self.max_tokens)


@dataclass(frozen=True)
class Measured:
    """What came out, per question: mean score of the samples, score of the greedy answer (None without), whether
    any sample was right; over all responses, the shares without an answer, without the format, and truncated.
    """

    questions: tuple[Question, ...]
    mean: tuple[float, ...]
    greedy: tuple[float, ...] | None
    passed: tuple[bool, ...]
    no_answer: float
    unformatted: float
    truncated: float

    @property
    def accuracy(self) -> float:
        """avg@N in [0, 1]."""
        return sum(self.mean) / len(self.mean)

    @property
    def greedy_accuracy(self) -> float | None:
        return None if self.greedy is None else sum(self.greedy) / len(self.greedy)

    @property
    def pass_rate(self) -> float:
        """pass@N in [0, 1]."""
        return sum(self.passed) / len(self.passed)

    def categories(self) -> dict[str, tuple[float, int]]:
        """Mean score and count per category; the counts add up to the number of questions."""
        found: dict[str, list[float]] = {}
        for question, value in zip(self.questions, self.mean, strict=True):
            found.setdefault(question.category, []).append(value)
        return {name: (sum(values) / len(values), len(values)) for name, values in sorted(found.items())}


@dataclass(frozen=True)
class Asker:
    """A policy with the way it is asked and judged."""

    policy: Policy
    bench: Benchmark
    prompting: Prompting

    def judge(
        self, questions: Sequence[Question], prompts: Prompts, sampling: Sampling, generator: torch.Generator
    ) -> tuple[list[list[Score]], Responses]:
        """Samples `sampling.group` answers to each question and scores them."""
        responses = sample(self.policy, prompts, sampling, generator)
        texts = iter(self.policy.encoder.decode(responses.ids, responses.mask))
        return [[self.bench.score(q, next(texts)) for _ in range(sampling.group)] for q in questions], responses

    def prompts(self, questions: Sequence[Question]) -> Prompts:
        """The questions as the policy reads them."""
        return self.policy.encoder.prompts([(q.image, self.prompting.text(self.bench, q)) for q in questions])


def measure(asker: Asker, questions: Sequence[Question], settings: Eval, title: str) -> Measured:
    """Asks every question `settings.samples` times, and once more greedily."""
    if not questions:
        raise UsageError(f"{title}: there are no questions to ask")
    sampled, truncated = _ask_all(asker, questions, settings, settings.sampling(), title)
    greedy = _ask_all(asker, questions, settings, settings.sampling(True), title)[0] if settings.greedy else None
    every = [score for group in sampled for score in group]
    return Measured(
        questions=tuple(questions),
        mean=tuple(sum(s.correct for s in group) / len(group) for group in sampled),
        greedy=None if greedy is None else tuple(group[0].correct for group in greedy),
        passed=tuple(any(s.correct >= 1 for s in group) for group in sampled),
        no_answer=sum(s.extracted is None for s in every) / len(every),
        unformatted=sum(not s.formatted for s in every) / len(every),
        truncated=truncated,
    )


def _ask_all(
    asker: Asker, questions: Sequence[Question], settings: Eval, sampling: Sampling, title: str
) -> tuple[list[list[Score]], float]:
    generator = torch.Generator().manual_seed(settings.seed)
    scores: list[list[Score]] = []
    cut = 0.0
    for chunk in tqdm(list(_chunks(questions, settings.batch)), title, leave=False, disable=None):
        found, responses = asker.judge(chunk, asker.prompts(chunk), sampling, generator)
        scores += found
        cut += float(responses.truncated.sum())
    return scores, cut / (len(scores) * sampling.group)


def _chunks(questions: Sequence[Question], size: int) -> Iterator[Sequence[Question]]:
    for start in range(0, len(questions), size):
        yield questions[start : start + size]
