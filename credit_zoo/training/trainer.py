"""What stays the same over the steps of a run, and a step's responses on their way to the loss."""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from credit_zoo.objective import Base, Shaper, Totals
from credit_zoo.policy import BatchLayout, MicroBatch, Policy, TokenStatistics
from credit_zoo.registry import SHAPERS, ShaperFacts
from credit_zoo.training.engine import Engine
from credit_zoo.training.rollout_collection import Collector
from credit_zoo.training.silence import Silence
from credit_zoo.training.train_config import TrainConfig
from credit_zoo.types import ShaperInputs, TokenSignals


def measured_signals(facts: ShaperFacts, base: Base) -> tuple[str, ...]:
    """The signals that passes of the policy measure: the shaper's, and the base's."""
    return tuple(dict.fromkeys((*facts.measured, *base.measured)))


def needs_old_policy(facts: ShaperFacts, base: Base, updates: int, at_hand: Collection[str] = ()) -> bool:
    """Whether signals come from a pass of the old policy before the first gradient: they must not move under several
    updates, and whoever looks at several responses, a shaper or a loss that selects among the step's tokens, needs all.
    What is `at_hand` was measured while the responses were drawn, by the policy that is trained.
    """
    several = facts.scope != "response" and not set(measured_signals(facts, base)) <= set(at_hand)
    return updates > 1 or several or (base.selecting is not None and "logp" not in at_hand)


@dataclass(frozen=True)
class Trainer:
    """Everything that stays the same over the steps."""

    policy: Policy
    engine: Engine
    accelerator: Accelerator
    reference: Policy | None
    shaper: Shaper
    base: Base
    train: TrainConfig
    collector: Collector
    importance_cap: float = math.inf  # of the correction for a sampler that is not the policy itself

    def statistics(self, model: nn.Module, rows: BatchLayout) -> TokenStatistics:
        """What a model says of some responses, under the distribution that they were sampled from."""
        sampling, pays_entropy = self.collector.sampling, self.base.entropy_beta != 0
        found: TokenStatistics = model(rows, sampling.temperature, sampling.truncation, entropy_gradient=pays_entropy)
        return found

    @property
    def facts(self) -> ShaperFacts:
        return SHAPERS.of(self.shaper).facts

    @property
    def measured(self) -> tuple[str, ...]:
        """The signals that passes of the policy measure: the shaper's, and the base's."""
        return measured_signals(self.facts, self.base)

    @property
    def two_pass(self) -> bool:
        """Whether signals come from a pass of their own, where none was measured while the responses were drawn."""
        return needs_old_policy(self.facts, self.base, self.train.updates)

    @cached_property
    def silence(self) -> Silence:
        """Where this rule and this base have no gradient."""
        return Silence.of(self.shaper, self.base, self.train.updates)

    @property
    def draws_as_it_trains(self) -> bool:
        """Whether what is measured while responses are drawn is what a pass over them would measure: the policy itself
        samples, in float32. In half precision one token after the other is rounded otherwise than all at once.
        """
        worker = self.collector.worker
        own = worker.sampler is None and worker.policy is self.policy
        return own and all(one.dtype == torch.float32 for one in self.policy.parameters())

    def total(self, *values: float) -> list[float]:
        """Sums over all processes."""
        return self.total_of(torch.tensor(values, dtype=torch.float64, device=self.accelerator.device))

    def total_of(self, values: Tensor) -> list[float]:
        """The same of values `[n]`, float64, that are on the device already."""
        found: list[float] = self.accelerator.reduce(values, reduction="sum").tolist()
        return found


@dataclass(frozen=True)
class UpdateBatch:
    """A step's responses on this process with all that the loss needs of them, `[B, ...]`. The signals of `inputs` are
    those that no pass of the policy gives, and after a pass of the old policy all of them; `shaped` is there once token
    advantages are known, `old_logp` after that pass, and `selected` then too if the policy loss selects tokens. `told`
    are signals of the policy that the step begins with: what was measured while the responses were drawn, or by that
    pass.
    """

    rows: BatchLayout
    inputs: ShaperInputs
    totals: Totals
    sampler_logp: Tensor
    shaped: Tensor | None = None
    old_logp: Tensor | None = None
    selected: Tensor | None = None
    told: Mapping[str, Tensor] = field(default_factory=dict)

    def part(self, part: MicroBatch) -> ShaperInputs:
        """What a shaper may look at of a micro-batch, with the signals that are there already."""
        x, rows = self.inputs, part.rows
        mask, ids = part.cut(x.mask), part.cut(x.ids)
        signals = TokenSignals({name: part.cut(values) for name, values in x.signals.values.items()})
        return ShaperInputs(x.advantage[rows], signals, mask, x.group[rows], ids, x.progress, x.correct[rows])
