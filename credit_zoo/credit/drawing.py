"""The batches: questions asked, answers sampled and scored, what is measured of them, and the credit of every rule."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from credit_zoo import masked
from credit_zoo.credit.settings import Credit
from credit_zoo.facts import UPDATE_SIGNAL
from credit_zoo.objective import Base, Reward, shape
from credit_zoo.policy import BatchLayout, Policy, listen, token_signals
from credit_zoo.questions import DataConfig, FramedQuestions, PromptConfig, Questions, TwinQuestions, open_questions
from credit_zoo.registry import AGGREGATIONS, BENCHMARKS, ESTIMATORS, SHAPERS
from credit_zoo.rollout import RolloutWorker, SamplingParams
from credit_zoo.training import Collector
from credit_zoo.truth import truth_signals
from credit_zoo.twins import Example, Twin
from credit_zoo.types import RolloutBatch, ShaperInputs, TokenSignals

# Another stream of draws for the second answers to the same questions.
AGAIN = 7_919
# Questions of the exact gradient: far behind those of the batches, of which it is to be independent.
TRUTH_FROM = 1_000_000
TRUTH_SIGNALS = ("truth_advantage", "truth_role", "truth_error")


@dataclass(frozen=True)
class Bench:
    """A policy, what it is asked, and how: everything that stays the same over the batches. `twin` is None for a real
    set.
    """

    settings: Credit
    worker: RolloutWorker
    questions: Questions
    twin: Twin | None
    base: Base
    sampling: SamplingParams

    @property
    def policy(self) -> Policy:
        return self.worker.policy

    def first(self, batch: int) -> int:
        """The number of a batch's first question; those of uniform alone have the numbers -1, -2, ..."""
        slot = batch + self.settings.reference if batch >= 0 else -batch - 1
        return slot * self.settings.prompts

    def example(self, number: int) -> Example:
        """A twin's question with its worked solution."""
        assert isinstance(self.questions, TwinQuestions)
        return self.questions.example(number)

    def draw(self, batch: int, again: bool = False) -> RolloutBatch:
        """The answers to a batch's questions; `again`: other answers to the same questions."""
        reward = Reward(format=0.0, accuracy=1.0)
        collector = Collector(self.worker, self.base, self.sampling, reward, self.settings.prompts)
        seed = self.settings.seed + (AGAIN if again else 0)
        return collector(self.questions, self.first(batch), seed).batch


def open_bench(settings: Credit, policy: Policy) -> Bench:
    """The questions of a benchmark's twin, or of a real set where `data` is given."""
    made = BENCHMARKS[settings.bench].factory()
    dials = DataConfig(perception=settings.perception, reasoning=settings.reasoning)
    rows = open_questions(made, settings.split, settings.data, dials, settings.seed, shuffle=True)
    twin = rows.twin if isinstance(rows, TwinQuestions) else None
    asked = rows if twin else FramedQuestions(rows, policy.settings.boxes, policy.encoder.input_size)
    base = Base(
        estimator=ESTIMATORS[settings.estimator].factory(), aggregation=AGGREGATIONS[settings.aggregation].factory()
    )
    sampling = SamplingParams(settings.group, settings.temperature, max_tokens=settings.max_tokens)
    worker = RolloutWorker(policy, made, PromptConfig(style=settings.style))
    return Bench(settings, worker, asked, twin, base, sampling)


@dataclass(frozen=True)
class Measured:
    """A batch with all that its rules may look at; `another_way` `[B]` marks right answers that are not the worked
    solution, all False without a twin.
    """

    rows: BatchLayout
    inputs: ShaperInputs
    logp: Float[Tensor, "B T"]
    another_way: Bool[Tensor, " B"]


def measure(bench: Bench, batch: RolloutBatch, needs: Iterable[str]) -> Measured:
    """Everything that is measured of a batch, once for all rules; on a twin also the truth."""
    device = bench.policy.model.device
    rows = BatchLayout.of(batch.prompts, batch.responses).to(device)
    measured = [one for one in needs if one not in TRUTH_SIGNALS and one != UPDATE_SIGNAL]
    signals = dict(measured_signals(bench, rows, {"logp", *measured}))
    signals[UPDATE_SIGNAL] = torch.zeros_like(signals["logp"])
    another_way = torch.zeros(len(batch.correct), dtype=torch.bool)
    if bench.twin is not None:
        examples = examples_of(bench, batch)
        signals |= truth_signals(TRUTH_SIGNALS, bench.policy, bench.twin, examples, batch, bench.sampling)
        another_way = (batch.correct >= 1) & ~_follows(bench, batch, solutions(examples))
    inputs = ShaperInputs(
        bench.base.estimator(batch.reward, batch.group).to(device),
        TokenSignals({name: masked.fill(values, rows.mask) for name, values in signals.items()}),
        rows.mask,
        batch.group.to(device),
        rows.response_ids,
        1.0,
        batch.correct.to(device),
    )
    return Measured(rows, inputs, signals["logp"], another_way)


@torch.no_grad()
def measured_signals(bench: Bench, rows: BatchLayout, names: Iterable[str]) -> Mapping[str, Float[Tensor, "B T"]]:
    """The signals that passes of the policy tell."""
    wanted = sorted(set(names))
    with listen(bench.policy, rows, wanted) as cosines:
        found = bench.policy(rows, bench.sampling.temperature, bench.sampling.truncation)
    return token_signals(wanted, found, cosines, rows.mask).values


def examples_of(bench: Bench, batch: RolloutBatch) -> list[Example]:
    """The worked examples behind a batch's prompts."""
    numbers = dict(zip(batch.responses.row_of.tolist(), batch.group.tolist(), strict=True))
    return [bench.example(numbers[row]) for row in range(len(batch.prompts))]


def solutions(examples: Sequence[Example]) -> list[str]:
    """The worked solutions as texts."""
    return ["".join(span.text for span in example.solution) for example in examples]


def _follows(bench: Bench, batch: RolloutBatch, texts: Sequence[str]) -> Bool[Tensor, " B"]:
    """Whether a response is the worked solution, token for token."""
    ids, mask = bench.policy.encoder.responses(texts)
    drawn, row_of = batch.responses, batch.responses.row_of
    wanted = [row[kept].tolist() for row, kept in zip(ids, mask, strict=True)]
    given = [row[kept].tolist() for row, kept in zip(drawn.ids, drawn.mask, strict=True)]
    return torch.tensor([one == wanted[row] for one, row in zip(given, row_of.tolist(), strict=True)])


@torch.no_grad()
def credit_of(name: str, measured: Measured) -> Float[Tensor, "B T"]:
    """The token advantages of a rule under its default settings."""
    rule, x = SHAPERS[name].factory(), measured.inputs
    seen = TokenSignals({one: x.signals.values[one] for one in SHAPERS[name].facts.needs})
    return shape(rule, replace(x, signals=seen))
