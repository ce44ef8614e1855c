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
    """What one micro-batch measured, on the device; `weights` `[B, T]` and the mask of those that count; `signals`
    `[B, T]` each.
    """

    loss: Tensor  # float64
    stats: LossStats
    entropy: Tensor  # float64, summed over valid tokens [nats]
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
    """The numbers of all micro-batches together, their sums fetched from the device at once."""
    mask, gather = update_batch.inputs.mask, trainer.accelerator.gather
    sums = [torch.cat([part.stats.sums, part.mismatch.sums, part.entropy.view(1)]) for part in parts]
    stats, mismatch, entropy = torch.stack(sums).cumsum(0)[-1].cpu().split([5, 6, 1])
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
    return UpdateStats(loss, LossStats(stats), float(entropy), spread, norm, SamplerMismatch(mismatch), agreed)
