"""Measuring a policy on a benchmark: every question is asked, the answers are graded together."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from tqdm import tqdm

from credit_zoo.evaluation.generations import GenerationLog, Pass
from credit_zoo.evaluation.grading import Completions, EvalResult, Rule, grade
from credit_zoo.question import Question, Split
from credit_zoo.registry import UsageError, check_range
from credit_zoo.rollout import RolloutWorker, SamplingParams, skip_draws
from credit_zoo.types import Prompts, Responses


@dataclass(frozen=True)
class EvalConfig:
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
    batch: int = 16  # questions sampled together, fewer where they exceed `tokens`
    tokens: int = 262_144  # of prompts and responses sampled together
    seed: int = 1234

    def __post_init__(self) -> None:
        for name in ("questions", "samples", "batch", "tokens"):
            check_range(f"eval.{name}", getattr(self, name), 1)
        check_range("eval.temperature", self.temperature, 0)
        check_range("eval.top_p", self.top_p, 0, 1, open_low=True)
        check_range("eval.top_k", self.top_k, 0)
        check_range("eval.max_tokens", self.max_tokens, 1)

    def sampling(self, greedy: bool = False) -> SamplingParams:
        """The draws of one pass."""
        if greedy:
            return SamplingParams(group=1, temperature=0.0, max_tokens=self.max_tokens)
        return SamplingParams(self.samples, self.temperature, self.top_p, self.top_k, self.max_tokens)


def measure(
    worker: RolloutWorker,
    questions: Sequence[Question],
    settings: EvalConfig,
    title: str,
    log: GenerationLog | None = None,
    official: Rule | None = None,
) -> EvalResult:
    """Asks every question `settings.samples` times, and once more greedily; with a log, only what it does not hold."""
    if not questions:
        raise UsageError(f"{title}: there are no questions to ask")
    sampled = _ask_all(worker, questions, settings, "sampled", title, log)
    greedy = _ask_all(worker, questions, settings, "greedy", title, log) if settings.greedy else None
    return grade(worker.bench, questions, sampled, greedy, official)


def _ask_all(
    worker: RolloutWorker,
    questions: Sequence[Question],
    settings: EvalConfig,
    kind: Pass,
    title: str,
    log: GenerationLog | None,
) -> list[Completions]:
    sampling = settings.sampling(greedy=kind == "greedy")
    generator = torch.Generator().manual_seed(settings.seed)
    answers = list(log.done[kind]) if log else []
    skip_draws(generator, len(answers), sampling)
    right = [worker.bench.score(q, text).correct for q, a in zip(questions, answers, strict=False) for text in a.texts]
    with tqdm(total=len(questions), initial=len(answers), desc=title, leave=False, disable=None) as bar:
        for start in range(len(answers), len(questions), settings.batch):
            chunk = questions[start : start + settings.batch]
            for some, prompts in _fitting(worker, chunk, sampling, settings.tokens):
                responses = worker.generate(some, prompts, sampling, generator)
                said = _answers(worker, responses, sampling.group)
                if log:
                    log.add(kind, said)
                answers += said
                right += [worker.bench.score(q, t).correct for q, a in zip(some, said, strict=True) for t in a.texts]
                bar.set_postfix(score=f"{100 * sum(right) / len(right):.1f}", refresh=False)
                bar.update(len(some))
    return answers


def _fitting(
    worker: RolloutWorker, questions: Sequence[Question], sampling: SamplingParams, tokens: int
) -> Iterator[tuple[Sequence[Question], Prompts]]:
    """The questions in order, halved until the tokens of a batch, prompts and responses, are at most `tokens`."""
    prompts = worker.encode(questions)
    if len(questions) == 1 or sampling.group * (prompts.ids.numel() + len(prompts) * sampling.max_tokens) <= tokens:
        yield questions, prompts
        return
    middle = len(questions) // 2
    yield from _fitting(worker, questions[:middle], sampling, tokens)
    yield from _fitting(worker, questions[middle:], sampling, tokens)


def _answers(worker: RolloutWorker, responses: Responses, group: int) -> list[Completions]:
    texts = worker.texts(responses)
    cut = responses.truncated.tolist()
    starts = range(0, len(texts), group)
    return [Completions(tuple(texts[at : at + group]), tuple(cut[at : at + group])) for at in starts]
