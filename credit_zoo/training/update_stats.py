"""What the micro-batches of an update measured, and put together what the update did, over all processes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from credit_zoo.objective import LossStats
from credit_zoo.policy import MicroBatch
from credit_zoo.rollout import SamplerMismatch
from credit_zoo.training.reading import teaches
from credit_zoo.training.signal_agreement import agreement
from credit_zoo.training.step_report import WeightSpread
from credit_zoo.training.trainer import Trainer, UpdateBatch


@dataclass(frozen=True)
class PartStats:
    """What one micro-batch measured, on the device; `weights` `[B, T]` and the mask of those that count; `signals`
    `[B, T]` each, entropy and log-probability among them, and the masks of the tokens of which these are `known`, and
    of those that were read with a gradient, `trained`.
    """

    loss: Tensor  # float64
    stats: LossStats
    weights: tuple[Tensor, Tensor]
    mismatch: SamplerMismatch
    signals: Mapping[str, Tensor]
    known: Tensor
    trained: Tensor

    def sums(self, taught: Tensor, compared: Tensor) -> Tensor:
        """What adds up over micro-batches, float64; `taught` and `compared` `[K]` are the rows that teach, and those
        whose signals are compared.
        """
        trained = (self.trained & taught[:, None]).sum()
        known = [self.known.sum(), (self.known & compared[:, None]).sum()]
        own = [self.signals["entropy"].sum(), trained, *known]
        return torch.cat([self.stats.sums, self.mismatch.sums, torch.stack([value.double() for value in own])])


@dataclass(frozen=True)
class UpdateStats:
    """What one update measured on this process; sums add up over processes."""

    loss: float
    stats: LossStats
    entropy: float  # summed over the tokens of which it is known [nats]
    spread: WeightSpread  # of all processes
    grad_norm: float
    mismatch: SamplerMismatch
    agreement: Mapping[str, float]  # of the signals of all processes
    trained_tokens: float  # that were read with a gradient
    measured_tokens: float  # of which entropy is known
    compared_tokens: float  # of which all signals are known


def summed(
    trainer: Trainer,
    update_batch: UpdateBatch,
    batches: Sequence[MicroBatch],
    parts: Sequence[PartStats],
    loss: float,
    norm: float,
) -> UpdateStats:
    """The numbers of all micro-batches together, their sums fetched from the device at once. Signals are compared over
    the tokens of responses that teach, of which all are known: micro-batches that were not read may lack some, and the
    first one lacks none.
    """
    mask, gather = update_batch.inputs.mask, trainer.accelerator.gather
    whole = [part.signals.keys() == parts[0].signals.keys() for part in parts]
    taught = teaches(trainer, update_batch)  # the same rows, whoever reads more of them to keep in step
    rows = [taught[batch.rows] & all_there for batch, all_there in zip(batches, whole, strict=True)]
    own_sums = [part.sums(taught[batch.rows], these) for batch, part, these in zip(batches, parts, rows, strict=True)]
    sums = torch.stack(own_sums).cumsum(0)[-1].cpu()
    stats, mismatch, own = sums.split([5, 6, 4])
    entropy, *told = own.tolist()
    counted, compared = torch.zeros_like(mask), torch.zeros_like(mask)
    weights = torch.zeros(mask.shape, device=mask.device)
    signals = {name: torch.zeros_like(weights) for name in sorted(parts[0].signals)}
    for batch, part, these, all_there in zip(batches, parts, rows, whole, strict=True):
        batch.put(weights, part.weights[0])
        batch.put(counted, part.weights[1])
        if all_there:
            batch.put(compared, part.known & these[:, None])
            for name, values in signals.items():
                batch.put(values, part.signals[name])
    spread = WeightSpread.of(gather(weights), gather(counted))
    agreed = agreement({name: gather(values) for name, values in signals.items()}, gather(compared))
    return UpdateStats(loss, LossStats(stats), entropy, spread, norm, SamplerMismatch(mismatch), agreed, *told)
