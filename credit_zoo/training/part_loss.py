"""The loss of some of a step's responses and what is measured of them, from what is said of their tokens.

What was not read, as it has no gradient, is said by the policy that the step began with: it stands in every count, and
in the diagnostics that it was measured for.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from credit_zoo import masked
from credit_zoo.objective import TokenBatch
from credit_zoo.policy import MicroBatch, TokenStatistics
from credit_zoo.rollout import truncated_importance_ratio
from credit_zoo.training.step_report import WeightSpread
from credit_zoo.training.trainer import Trainer, UpdateBatch
from credit_zoo.training.update_stats import PartStats
from credit_zoo.types import ShaperInputs


@dataclass(frozen=True)
class Said:
    """Of the tokens of a micro-batch: `logp` and `entropy`, which of them were `read` just now, and of which `entropy`
    is `known`.
    """

    logp: Float[Tensor, "K T"]
    entropy: Float[Tensor, "K T"]
    read: Bool[Tensor, "K T"]
    known: Bool[Tensor, "K T"]


def said_before(update_batch: UpdateBatch, part: MicroBatch) -> Said:
    """What the policy that the step began with says of a micro-batch, of which nothing is read."""
    logp = part.cut(update_batch.sampler_logp if update_batch.old_logp is None else update_batch.old_logp)
    nothing, entropy = torch.zeros_like(logp, dtype=torch.bool), update_batch.told.get("entropy")
    if entropy is None:
        return Said(logp, torch.zeros_like(logp), nothing, nothing)
    return Said(logp, part.cut(entropy), nothing, ~nothing)


def said_now(update_batch: UpdateBatch, part: MicroBatch, found: TokenStatistics) -> Said:
    """What was read of a micro-batch, and behind it what is left of its columns."""
    read = torch.ones_like(found.logp, dtype=torch.bool)
    said = Said(found.logp, found.entropy, read, read)
    if part.front is None:
        return said
    before = said_before(update_batch, part)
    names = ("logp", "entropy", "read", "known")
    return Said(*(torch.cat([getattr(said, name), getattr(before, name)[:, part.front :]], 1) for name in names))


def part_loss(
    trainer: Trainer,
    update_batch: UpdateBatch,
    part: MicroBatch,
    x: ShaperInputs,
    said: Said,
    advantage: Float[Tensor, "K T"],
    reference_logp: Float[Tensor, "K T"] | None = None,
) -> tuple[Tensor, PartStats]:
    """The share of the step's loss that a micro-batch holds, from its token advantages, and what it measured."""
    single = update_batch.old_logp is None
    old_logp = said.logp.detach() if update_batch.old_logp is None else part.cut(update_batch.old_logp)
    selected = None if update_batch.selected is None else part.cut(update_batch.selected)
    # Of what the sampler alone has read there is nothing to compare.
    both = x.mask & said.read if single else x.mask
    sampler_logp = part.cut(update_batch.sampler_logp)
    correction, mismatch = truncated_importance_ratio(old_logp, sampler_logp, both, trainer.importance_cap)
    corrected = advantage if math.isinf(trainer.importance_cap) else advantage * correction
    view_logp = x.signals.values.get("view_logp")
    batch = TokenBatch(said.logp, old_logp, corrected, x.mask, reference_logp, said.entropy, view_logp, selected)
    loss, stats = trainer.base.objective(batch, update_batch.totals)
    trained, known = x.mask & said.read & torch.is_grad_enabled(), x.mask & said.known
    spread = WeightSpread.part(advantage, x)
    return loss, PartStats(loss.detach().double(), stats, spread, mismatch, _signals(x, said), known, trained)


@torch.no_grad()
def left_out(trainer: Trainer, update_batch: UpdateBatch, part: MicroBatch, said: Said) -> PartStats:
    """What is measured of rows that get no credit, and are not read for a gradient."""
    shaped = torch.zeros_like(said.logp) if update_batch.shaped is None else part.cut(update_batch.shaped)
    return part_loss(trainer, update_batch, part, update_batch.part(part), said, shaped)[1]


def _signals(x: ShaperInputs, said: Said) -> Mapping[str, Tensor]:
    entropy, logp = (masked.fill(values.detach(), x.mask) for values in (said.entropy, said.logp))
    return {"entropy": entropy, "logp": logp, **x.signals.values}
