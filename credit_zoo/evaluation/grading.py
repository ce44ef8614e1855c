"""From answers to scores, without a model: avg@N, greedy and pass@N, per question.

avg@N = mean over questions of the mean score of N samples           pass@N = share with at least one right
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from credit_zoo.question import Question, Score
from credit_zoo.questions import Benchmark
from credit_zoo.results import Beside, Category

Rule: TypeAlias = Callable[[Question, str], float]


@dataclass(frozen=True)
class Completions:
    """What was said to one question: the responses' texts, and which of them were cut at the token limit."""

    texts: tuple[str, ...]
    truncated: tuple[bool, ...]


@dataclass(frozen=True)
class EvalResult:
    """What came out, per question: mean score of the samples, score of the greedy answer (None without), whether
    any sample was right; over all responses, the shares without an answer, without the format, and truncated.
    `official` is avg@N under the published rule, None for a set without one.
    """

    questions: tuple[Question, ...]
    mean: tuple[float, ...]
    greedy: tuple[float, ...] | None
    passed: tuple[bool, ...]
    no_answer: float
    unformatted: float
    truncated: float
    official: float | None

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

    def without(self, origin: str) -> tuple[float, int] | None:
        """Mean score and count of the questions that do not come from another set; None if none does, or all do."""
        pairs = list(zip(self.questions, self.mean, strict=True))
        kept = [value for question, value in pairs if str(question.meta.get("origin", "")).lower() != origin]
        return (sum(kept) / len(kept), len(kept)) if 0 < len(kept) < len(pairs) else None


def grade(
    bench: Benchmark,
    questions: Sequence[Question],
    sampled: Sequence[Completions],
    greedy: Sequence[Completions] | None = None,
    official: Rule | None = None,
) -> EvalResult:
    """Scores what was said to every question, and once more by the published rule where one is given; the same
    answers always give the same scores.
    """
    scores = [[bench.score(q, text) for text in said.texts] for q, said in zip(questions, sampled, strict=True)]
    every: list[Score] = [score for group in scores for score in group]
    once = None if greedy is None else [bench.score(q, a.texts[0]) for q, a in zip(questions, greedy, strict=True)]
    return EvalResult(
        questions=tuple(questions),
        mean=tuple(sum(s.correct for s in group) / len(group) for group in scores),
        greedy=None if once is None else tuple(score.correct for score in once),
        passed=tuple(any(s.correct >= 1 for s in group) for group in scores),
        no_answer=sum(s.extracted is None for s in every) / len(every),
        unformatted=sum(not s.formatted for s in every) / len(every),
        truncated=sum(sum(said.truncated) for said in sampled) / len(every),
        official=None if official is None else _mean(official, questions, sampled),
    )


def _mean(rule: Rule, questions: Sequence[Question], sampled: Sequence[Completions]) -> float:
    means = [
        sum(rule(question, text) for text in said.texts) / len(said.texts)
        for question, said in zip(questions, sampled, strict=True)
    ]
    return sum(means) / len(means)


def evaluation_fields(
    measured: EvalResult, trained: str, baselines: Mapping[str, float], temperatures: Mapping[str, float] | None = None
) -> dict[str, Any]:
    """The fields of a record's `Evaluation` that say how it came out; `trained` is the set that is trained on."""
    unleaked = measured.without(trained)
    return {
        "value": measured.accuracy,
        "greedy": measured.greedy_accuracy,
        "pass_at_n": measured.pass_rate,
        "correctness": measured.mean,
        "extraction_failures": measured.no_answer,
        "unformatted": measured.unformatted,
        "truncated": measured.truncated,
        "categories": {key: Category(*pair) for key, pair in measured.categories().items()},
        "beside": Beside(
            measured.official, Category(*unleaked) if unleaked else None, baselines, dict(temperatures or {})
        ),
    }
