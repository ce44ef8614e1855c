"""What the micro-batches of an update measured, and put together what the update did, over all processes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from credit_zoo.objective import LossStats
from credit_zoo.policy import MicroBatch
from credit_zoo.rollout import SamplerMismatch
from credit_zoo.training.signal_agreement import agreement
from credit_zoo.training.step_report import WeightSpread
from credit_zoo.training.trainer import Trainer, UpdateBatch


@dataclass(frozen=True)
class PartStats:
    """What one micro-batch measured; `weights` `[B, T]` and the mask of those that count; `signals` `[B, T]` each."""

    loss: float
    stats: LossStats
    entropy: float  # summed over valid tokens [nats]
    weights: tuple[Tensor, Tensor]
    mismatch: SamplerMismatch
    signals: Mapping[str, Tensor]


@dataclass(frozen=True)
class UpdateStats:
    """What one update measured on this process; sums add up over processes."""

    loss: float
    stats: LossStats
    entropy: float  # summed over valid tokens [nats]
    spread: WeightSpread  # of all processes
    grad_norm: float
    mismatch: SamplerMismatch
    agreement: Mapping[str, float]  # of the signals of all processes


def summed(
    trainer: Trainer,
    update_batch: UpdateBatch,
    batches: Sequence[MicroBatch],
    parts: Sequence[PartStats],
    loss: float,
    norm: float,
) -> UpdateStats:
    """The numbers of all micro-batches together."""
    mask, gather = update_batch.inputs.mask, trainer.accelerator.gather
    stats = sum((part.stats for part in parts[1:]), parts[0].stats)
    counted = torch.zeros_like(mask)
    weights = torch.zeros(mask.shape, device=mask.device)
    signals = {name: torch.zeros_like(weights) for name in sorted(parts[0].signals)}
    for batch, part in zip(batches, parts, strict=True):
        batch.put(weights, part.weights[0])
        batch.put(counted, part.weights[1])
        for name, values in signals.items():
            batch.put(values, part.signals[name])
    spread = WeightSpread.of(gather(weights), gather(counted))
    agreed = agreement({name: gather(values) for name, values in signals.items()}, gather(mask))
    mismatch = sum((part.mismatch for part in parts), SamplerMismatch())
    return UpdateStats(loss, stats, sum(part.entropy for part in parts), spread, norm, mismatch, agreed)
