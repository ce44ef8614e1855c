"""Passes of the policy over a step's responses: the scores that are learned from, and numbers without gradient."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from credit_zoo import masked
from credit_zoo.policy import BatchLayout, MicroBatch, TokenStatistics, measure_tokens, measure_view
from credit_zoo.training.engine import NonFiniteError
from credit_zoo.training.part_loss import Said
from credit_zoo.training.reading import parts_of, whole_parts
from credit_zoo.training.trainer import Trainer, UpdateBatch
from credit_zoo.types import ShaperInputs, TokenSignals


def score(trainer: Trainer, model: nn.Module, rows: BatchLayout, mask: Tensor) -> tuple[TokenStatistics, TokenSignals]:
    """The statistics of some rows and the signals that shaper and base want measured, from one pass, and from one more
    that sees degraded pictures if they look at those.
    """
    sampling, needs = trainer.collector.sampling, trainer.measured
    how = (sampling.temperature, sampling.truncation)
    pays_entropy = trainer.base.entropy_beta != 0
    return measure_tokens(trainer.policy, model, rows, needs, *how, mask=mask, entropy_gradient=pays_entropy)


def measure_signals(trainer: Trainer, update_batch: UpdateBatch) -> tuple[ShaperInputs, Tensor]:
    """A pass without gradient over all responses: what the shaper may look at, and the log-probabilities `[B, T]`."""
    inputs, told = measure_all(trainer, update_batch)
    return inputs, told["logp"]


@torch.no_grad()
def measure_all(trainer: Trainer, update_batch: UpdateBatch) -> tuple[ShaperInputs, dict[str, Tensor]]:
    """What that pass tells: the signals that are wanted, and log-probability and entropy, `[B, T]` each."""
    mask, wanted = update_batch.inputs.mask, trainer.measured
    every = {name: torch.zeros(mask.shape, device=mask.device) for name in (*wanted, "logp", "entropy")}
    for part in whole_parts(trainer, update_batch):
        said, found = score(trainer, trainer.engine.module, update_batch.rows.select(part), part.cut(mask))
        for name, values in {"logp": said.logp, "entropy": said.entropy, **found.values}.items():
            part.put(every[name], values)
    signals = {name: every[name] for name in wanted}
    return update_batch.inputs.with_signals(signals), {name: every[name] for name in ("logp", "entropy")}


@torch.no_grad()
def measure_views(trainer: Trainer, update_batch: UpdateBatch, needs: Sequence[str]) -> dict[str, Tensor]:
    """The same of the degraded view alone."""
    mask, sampling = update_batch.inputs.mask, trainer.collector.sampling
    signals = {name: torch.zeros(mask.shape, device=mask.device) for name in needs}
    how = (needs, sampling.temperature, sampling.truncation)
    for part in whole_parts(trainer, update_batch):
        rows = update_batch.rows.select(part)
        found = measure_view(trainer.policy, trainer.engine.module, rows, *how, part.cut(mask))
        for name, values in found.values.items():
            part.put(signals[name], values)
    return signals


def check_finite(trainer: Trainer, values: Tensor, mask: Tensor) -> None:
    """Raises `NonFiniteError`, on all processes, if anything that counts on any of them is not finite."""
    (broken,) = trainer.total_of((~is_finite(values, mask)).double().view(1))
    if broken:
        raise NonFiniteError


def is_finite(values: Tensor, mask: Tensor) -> Tensor:
    """Whether all that counts is finite, as a tensor."""
    return masked.fill(values, mask).isfinite().all()


@torch.no_grad()
def said_without_gradient(trainer: Trainer, update_batch: UpdateBatch, wanted: MicroBatch) -> Said:
    """A pass over some rows, for their numbers alone, in as many micro-batches on every process."""
    logp, entropy = (torch.zeros(update_batch.rows.mask.shape, device=wanted.rows.device) for _ in range(2))
    lengths = torch.zeros_like(update_batch.rows.lengths)
    lengths[wanted.rows] = update_batch.rows.lengths[wanted.rows]
    for part in parts_of(trainer, update_batch, lengths):
        found = trainer.statistics(trainer.engine.module, update_batch.rows.select(part))
        part.put(logp, found.logp)
        part.put(entropy, found.entropy)
    read = torch.ones_like(wanted.cut(update_batch.rows.mask))
    return Said(wanted.cut(logp), wanted.cut(entropy), read, read)
