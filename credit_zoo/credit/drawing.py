"""The batches: questions asked, answers sampled and scored, what is measured of them, and the credit of every rule."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from credit_zoo import masked
from credit_zoo.credit.settings import Credit
from credit_zoo.facts import TRUTH_PREFIX, UPDATE_SIGNAL
from credit_zoo.objective import Base, Reward, shape
from credit_zoo.policy import BatchLayout, Patches, Policy, measure_tokens
from credit_zoo.question import Question
from credit_zoo.questions import DataConfig, FramedQuestions, PromptConfig, Questions, TwinQuestions, open_questions
from credit_zoo.registry import AGGREGATIONS, BENCHMARKS, ESTIMATORS, SHAPERS
from credit_zoo.rollout import RolloutWorker, SamplingParams
from credit_zoo.training import Collector
from credit_zoo.truth import sampled_values, truth_signals
from credit_zoo.twins import Example, Twin
from credit_zoo.types import SIGNALS, Prompts, RolloutBatch, ShaperInputs, TokenSignals

# Another stream of draws for the second answers to the same questions.
AGAIN = 7_919
# Questions of the exact gradient: far behind those of the batches, of which it is to be independent.
TRUTH_FROM = 1_000_000
TRUTH_SIGNALS = tuple(name for name in SIGNALS if name.startswith(TRUTH_PREFIX))


@dataclass(frozen=True)
class Solved:
    """N questions of a twin, and to each the tokens `[N, S]` of its worked solution, the stop token among them."""

    prompts: Prompts
    ids: Int64[Tensor, "N S"]
    mask: Bool[Tensor, "N S"]

    def follows(self, batch: RolloutBatch) -> Bool[Tensor, " B"]:
        """Whether a response to these questions is the worked solution, token for token."""
        drawn, row_of = batch.responses, batch.responses.row_of.tolist()
        wanted = [row[kept].tolist() for row, kept in zip(self.ids, self.mask, strict=True)]
        given = [row[kept].tolist() for row, kept in zip(drawn.ids, drawn.mask, strict=True)]
        return torch.tensor([one == wanted[row] for one, row in zip(given, row_of, strict=True)])


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

    def numbers(self, batch: int) -> range:
        """The numbers of a batch's questions; the batches of uniform alone are -1, -2, ..."""
        slot = batch + self.settings.reference if batch >= 0 else -batch - 1
        return range(slot * self.settings.prompts, (slot + 1) * self.settings.prompts)

    def draw(self, batch: int, again: bool = False) -> RolloutBatch:
        """The answers to a batch's questions; `again`: other answers to the same questions."""
        reward = Reward(format=0.0, accuracy=1.0)
        collector = Collector(self.worker, self.base, self.sampling, reward, self.settings.prompts)
        return collector(self.questions, self.numbers(batch)[0], self.draws(again)).batch

    def draws(self, again: bool) -> int:
        """The seed of the answers."""
        return self.settings.seed + (AGAIN if again else 0)

    def asked(self, batch: RolloutBatch) -> list[Question]:
        """The questions behind a batch's prompts."""
        return [self.questions[number] for number in asked(batch)]

    def examples(self, numbers: Iterable[int]) -> list[Example]:
        """A twin's questions with their worked solutions."""
        assert isinstance(self.questions, TwinQuestions)
        return [self.questions.example(number) for number in numbers]

    def solved(self, numbers: Iterable[int]) -> Solved:
        """A twin's questions, encoded, with the tokens of their solutions."""
        examples = self.examples(numbers)
        texts = ["".join(span.text for span in example.solution) for example in examples]
        prompts = self.worker.encode([example.question for example in examples])
        return Solved(prompts, *self.policy.encoder.responses(texts))

    def truth(self, batch: RolloutBatch) -> Mapping[str, Float[Tensor, "B T"]]:
        """What the twin alone can tell of the responses."""
        assert self.twin is not None
        examples = self.examples(asked(batch))
        found = truth_signals(TRUTH_SIGNALS, self.policy, self.twin, examples, batch, self.sampling)
        if self.settings.truth_by == "solution":
            return found
        return {**found, "truth_advantage": self.sampled_advantage(batch)}

    def sampled_advantage(self, batch: RolloutBatch) -> Float[Tensor, "B T"]:
        """What each token changed in the value, by continuing every prefix: right answers by any way count."""
        s, every = self.settings, range(len(batch.correct))
        questions = self.asked(batch)
        values = sampled_values(self.worker, questions, batch, every, self.sampling, s.mc, s.mc_every, seed=s.seed)
        return values.advantage.to(self.policy.model.device)


def asked(batch: RolloutBatch) -> list[int]:
    """The numbers of the questions behind a batch's prompts."""
    numbers = dict(zip(batch.responses.row_of.tolist(), batch.group.tolist(), strict=True))
    return [numbers[row] for row in range(len(batch.prompts))]


def open_bench(settings: Credit, policy: Policy, kind: type[Bench] = Bench) -> Bench:
    """The questions of a benchmark's twin, or of a real set where `data` is given."""
    made = BENCHMARKS[settings.bench].factory()
    dials = DataConfig(perception=settings.perception, reasoning=settings.reasoning, length=settings.length)
    rows = open_questions(made, settings.split, settings.data, dials, settings.seed, shuffle=True)
    twin = rows.twin if isinstance(rows, TwinQuestions) else None
    put = rows if twin else FramedQuestions(rows, policy.settings.boxes, policy.encoder.input_size)
    base = Base(
        estimator=ESTIMATORS[settings.estimator].factory(), aggregation=AGGREGATIONS[settings.aggregation].factory()
    )
    sampling = SamplingParams(settings.group, settings.temperature, max_tokens=settings.max_tokens)
    worker = RolloutWorker(policy, made, PromptConfig(style=settings.style))
    return kind(settings, worker, put, twin, base, sampling)


@dataclass(frozen=True)
class Measured:
    """A batch with all that its rules may look at; `another_way` `[B]` marks right answers that are not the worked
    solution, all False without a twin.
    """

    rows: BatchLayout
    inputs: ShaperInputs
    logp: Float[Tensor, "B T"]
    another_way: Bool[Tensor, " B"]


def measure(bench: Bench, batch: RolloutBatch, needs: Iterable[str], truth: bool = True) -> Measured:
    """Everything that is measured of a batch, once for all rules; on a twin also the `truth`, if it is asked for."""
    device = bench.policy.model.device
    rows = BatchLayout.of(batch.prompts, batch.responses).to(device)
    signals = dict(measured_signals(bench, rows, {"logp", *needs}))
    signals[UPDATE_SIGNAL] = torch.zeros_like(signals["logp"])
    another_way = torch.zeros(len(batch.correct), dtype=torch.bool)
    if truth and bench.twin is not None:
        signals |= bench.truth(batch)
        another_way = (batch.correct >= 1) & ~bench.solved(asked(batch)).follows(batch)
    lengths = masked.count(batch.responses.mask)[:, 0]
    inputs = ShaperInputs(
        bench.base.estimator(batch.reward, batch.group, lengths).to(device),
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
    """The signals that passes of the policy tell; a degraded view has half of its patches black."""
    how = (bench.sampling.temperature, bench.sampling.truncation)
    _, found = measure_tokens(bench.policy, bench.policy, rows, sorted(set(names)), *how, view=Patches())
    return found.values


@torch.no_grad()
def credit_of(name: str, measured: Measured) -> Float[Tensor, "B T"]:
    """The token advantages of a rule under its default settings."""
    rule, x = SHAPERS[name].factory(), measured.inputs
    seen = TokenSignals({one: x.signals.values[one] for one in SHAPERS[name].facts.needs})
    return shape(rule, replace(x, signals=seen))
