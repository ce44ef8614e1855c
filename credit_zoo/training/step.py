"""One step of training once its responses are there: advantages, signals, shape, loss, update.

Nothing here depends on how a step's responses are cut into micro-batches or spread over processes: the loss is
divided by totals of the whole step, and a shaper of scope "batch" sees all responses of all processes.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from credit_zoo import masked
from credit_zoo.facts import UPDATE_SIGNAL
from credit_zoo.objective import LossStats, TokenBatch, Totals, scheduled, shape
from credit_zoo.policy import BatchLayout, MicroBatch, listen, pack, split, text_signals, token_signals
from credit_zoo.rollout import SamplerMismatch, truncated_importance_ratio
from credit_zoo.training.engine import NonFiniteError
from credit_zoo.training.out_of_memory import memory_of
from credit_zoo.training.step_report import WeightSpread
from credit_zoo.training.trainer import Trainer, UpdateBatch
from credit_zoo.types import RolloutBatch, ShaperInputs, TokenSignals


def prepare(
    trainer: Trainer,
    batch: RolloutBatch,
    progress: float,
    idle: bool = False,
    given: Mapping[str, Tensor] | None = None,
) -> UpdateBatch:
    """Advantages, the loss mask, and the totals that the loss is divided by; no row of an `idle` process counts.
    `given` are signals `[B, T]` that neither a pass of the policy nor the responses' text tells.

    Every process gets as many rows as the fullest, so that all go through the same passes: a row that is there for
    that alone has an empty mask.
    """
    device = trainer.accelerator.device
    text = text_signals(trainer.facts.text, trainer.policy.encoder, batch.responses.ids, batch.responses.mask)
    mask = batch.responses.mask & torch.tensor(not idle)
    if trainer.base.overlong_filter:
        mask = mask & ~batch.responses.truncated[:, None]
    responses, tokens = trainer.total(0 if idle else len(mask), float(mask.sum()))
    widest = int(trainer.accelerator.gather(torch.tensor([len(mask)], device=device)).max())

    def grown(values: Tensor, fill: float) -> Tensor:
        return torch.cat([values, values.new_full((widest - len(values), *values.shape[1:]), fill)]).to(device)

    rows = BatchLayout(
        batch.prompts.to(device),
        grown(batch.responses.row_of, 0),
        grown(batch.responses.ids, trainer.policy.encoder.pad_token),
        grown(batch.responses.mask, False),
    )
    advantage = grown(trainer.base.estimator(batch.reward, batch.group), 0.0)
    inputs = ShaperInputs(
        advantage,
        TokenSignals({name: grown(values, 0.0) for name, values in {**text, **(given or {})}.items()}),
        grown(mask, False),
        grown(batch.group, -1),
        rows.response_ids,
        progress,
        grown(batch.correct, 0.0),
    )
    totals = Totals(responses, tokens, trainer.collector.sampling.max_tokens)
    return UpdateBatch(rows, inputs, totals, grown(batch.responses.logp, 0.0))


def micro_batches(trainer: Trainer, update_batch: UpdateBatch) -> list[MicroBatch]:
    """The step's responses as they are read together, the same number on every process."""
    rows, train = update_batch.rows, trainer.train
    prompt, widest = rows.prompt_length, rows.mask.shape[1]
    found = pack(rows.row_of, rows.lengths, prompt, widest, train.micro_batch, train.micro_tokens)
    here = torch.tensor([len(found)], device=trainer.accelerator.device)
    return split(found, int(trainer.accelerator.gather(here).max()))


def _score(trainer: Trainer, model: nn.Module, rows: BatchLayout, mask: Tensor) -> tuple[Tensor, Tensor, TokenSignals]:
    """Log-probability, entropy and the signals that the shaper wants measured, of some rows, from one forward pass."""
    with listen(trainer.policy, rows, trainer.facts.measured) as cosines:
        found = trainer.statistics(model, rows)
    return found.logp, found.entropy, token_signals(trainer.facts.measured, found, cosines, mask)


@torch.no_grad()
def measure_signals(trainer: Trainer, update_batch: UpdateBatch) -> tuple[ShaperInputs, Tensor]:
    """A pass without gradient over all responses: what the shaper may look at, and the log-probabilities `[B, T]`."""
    mask = update_batch.inputs.mask
    old_logp = torch.zeros(mask.shape, device=mask.device)
    measured = trainer.facts.measured
    signals = {name: torch.zeros_like(old_logp) for name in measured}
    for part in micro_batches(trainer, update_batch):
        logp, _, found = _score(trainer, trainer.engine.module, update_batch.rows.select(part), part.cut(mask))
        part.put(old_logp, logp)
        for name in measured:
            part.put(signals[name], found.values[name])
    return update_batch.inputs.with_signals(signals), old_logp


def old_policy_pass(trainer: Trainer, update_batch: UpdateBatch) -> UpdateBatch:
    """The pass of the old policy: its log-probabilities, and the token advantages from its signals, unless the shaper
    is called anew in every update.
    """
    inputs, old_logp = measure_signals(trainer, update_batch)
    (broken,) = trainer.total(float(not old_logp[inputs.mask].isfinite().all()))
    if broken:
        raise NonFiniteError
    shaped = None if trainer.facts.stage == "update" else _shape_all(trainer, inputs)
    return replace(update_batch, inputs=inputs, shaped=shaped, old_logp=old_logp)


def before_updates(trainer: Trainer, update_batch: UpdateBatch) -> UpdateBatch:
    """What has to be known before the first gradient: all that a pass of the old policy tells, or the token advantages
    of a shaper that looks at several responses and wants nothing measured of them; else nothing.
    """
    if trainer.two_pass:
        return old_policy_pass(trainer, update_batch)
    if trainer.facts.scope != "response":
        return replace(update_batch, shaped=_shape_all(trainer, update_batch.inputs))
    return update_batch


def _shape_all(trainer: Trainer, x: ShaperInputs) -> Tensor:
    """The token advantages of all rows of this process; a group lies on one process."""
    together = trainer.facts.scope == "batch" and trainer.accelerator.num_processes > 1
    return _shape_everywhere(trainer, x) if together else _shape(trainer, x)


def _shape(trainer: Trainer, x: ShaperInputs) -> Tensor:
    """Token advantages; rows without a token that counts, which may be there to keep processes in step, are not shown
    to the shaper.
    """
    there = x.mask.any(1)
    found = torch.zeros(x.mask.shape, device=x.mask.device)
    if there.any():
        part = x.rows(there)
        found[there] = scheduled(shape(trainer.shaper, part), part, trainer.train.shaper_schedule)
    return found


def _shape_everywhere(trainer: Trainer, x: ShaperInputs) -> Tensor:
    """Shapes the rows of all processes together and returns those of this one."""
    gather = trainer.accelerator.gather
    advantage, mask, group, ids, correct = (gather(v) for v in (x.advantage, x.mask, x.group, x.ids, x.correct))
    signals = TokenSignals({name: gather(x.signals.values[name]) for name in trainer.facts.needs})
    whole = _shape(trainer, ShaperInputs(advantage, signals, mask, group, ids, x.progress, correct))
    first = trainer.accelerator.process_index * len(x.mask)
    return whole[first : first + len(x.mask)]


@dataclass(frozen=True)
class UpdateStats:
    """What one update measured on this process; sums add up over processes."""

    loss: float
    stats: LossStats
    entropy: float  # summed over valid tokens [nats]
    spread: WeightSpread
    grad_norm: float
    mismatch: SamplerMismatch


def update(trainer: Trainer, update_batch: UpdateBatch, rate: float) -> UpdateStats:
    """One optimizer step over all micro-batches, at a learning rate."""
    batches = micro_batches(trainer, update_batch)
    parts = []
    # transformers checkpoints in training mode only; without it, evaluation mode keeps sampler and trainer one policy.
    trainer.policy.train(trainer.policy.settings.gradient_checkpointing)
    for batch in batches:
        with trainer.engine.micro_batch(last=batch is batches[-1]):
            parts.append(backward(trainer, update_batch, batch))
    loss = _finite_loss(trainer, parts)
    # A finite loss may hide a gradient that is not: the clipped branch of an overflowing ratio.
    with memory_of("updating"):
        norm = trainer.engine.step(rate, trainer.train.max_grad_norm)
    return _summed(trainer, update_batch, batches, parts, loss, norm)


@torch.no_grad()
def measure_step(trainer: Trainer, update_batch: UpdateBatch) -> UpdateStats:
    """What an update would measure, of a step from which nothing is learned: no gradient, and the optimizer, whose
    moments would move the weights without one, is left alone.
    """
    _, old_logp = measure_signals(trainer, update_batch)
    inputs = replace(update_batch.inputs, advantage=torch.zeros_like(update_batch.inputs.advantage))
    still = replace(update_batch, inputs=inputs, shaped=torch.zeros_like(old_logp), old_logp=old_logp)
    batches = micro_batches(trainer, still)
    parts = [_forward(trainer, still, part)[1] for part in batches]
    return _summed(trainer, still, batches, parts, _finite_loss(trainer, parts), 0.0)


def _finite_loss(trainer: Trainer, parts: Sequence["_Part"]) -> float:
    """The loss over all micro-batches and processes; raises `NonFiniteError`."""
    (loss,) = trainer.total(sum(part.loss for part in parts))
    if not math.isfinite(loss):
        trainer.engine.zero_grad()
        raise NonFiniteError
    return loss


def _summed(
    trainer: Trainer,
    update_batch: UpdateBatch,
    batches: Sequence[MicroBatch],
    parts: Sequence["_Part"],
    loss: float,
    norm: float,
) -> UpdateStats:
    """The numbers of all micro-batches together."""
    stats = sum((part.stats for part in parts[1:]), parts[0].stats)
    counted = torch.zeros_like(update_batch.inputs.mask)
    weights = torch.zeros(counted.shape, device=counted.device)
    for batch, part in zip(batches, parts, strict=True):
        batch.put(weights, part.weights[0])
        batch.put(counted, part.weights[1])
    spread = WeightSpread.of(trainer.accelerator.gather(weights), trainer.accelerator.gather(counted))
    mismatch = sum((part.mismatch for part in parts), SamplerMismatch())
    return UpdateStats(loss, stats, sum(part.entropy for part in parts), spread, norm, mismatch)


@dataclass(frozen=True)
class _Part:
    loss: float
    stats: LossStats
    entropy: float
    weights: tuple[Tensor, Tensor]  # [B, T] and the mask of rows and tokens that count
    mismatch: SamplerMismatch


def backward(trainer: Trainer, update_batch: UpdateBatch, part: MicroBatch) -> _Part:
    """Forward, shape, loss and backward of one micro-batch."""
    loss, found = _forward(trainer, update_batch, part)
    trainer.engine.backward(loss)
    return found


def _forward(trainer: Trainer, update_batch: UpdateBatch, part: MicroBatch) -> tuple[Tensor, _Part]:
    """Forward, shape and loss of one micro-batch."""
    x, rows = update_batch.part(part), update_batch.rows.select(part)
    if update_batch.shaped is None and update_batch.old_logp is None:
        logp, entropy, signals = _score(trainer, trainer.engine.module, rows, x.mask)
        x = x.with_signals(signals.values)
    else:
        logp, entropy, _ = trainer.statistics(trainer.engine.module, rows)
    old_logp = logp.detach() if update_batch.old_logp is None else part.cut(update_batch.old_logp)
    if update_batch.shaped is not None:
        advantage = part.cut(update_batch.shaped)
    else:
        # A policy that broke must not reach the shaper, whose checks would blame it; the loss will be NaN.
        broken = not bool(logp[x.mask].isfinite().all())
        now = x.with_signals({UPDATE_SIGNAL: masked.fill(logp.detach() - old_logp, x.mask)})
        advantage = torch.zeros_like(logp) if broken else _shape(trainer, now)
    reference = None
    if trainer.reference is not None:
        with torch.no_grad():
            reference = trainer.statistics(trainer.reference, rows).logp
    correction, mismatch = truncated_importance_ratio(
        old_logp, part.cut(update_batch.sampler_logp), x.mask, trainer.importance_cap
    )
    corrected = advantage if math.isinf(trainer.importance_cap) else advantage * correction
    loss, stats = trainer.base.objective(TokenBatch(logp, old_logp, corrected, x.mask, reference), update_batch.totals)
    summed = float(masked.total(entropy.detach(), x.mask).sum())
    return loss, _Part(float(loss.detach()), stats, summed, WeightSpread.part(advantage, x), mismatch)
