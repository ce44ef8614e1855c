"""One step of training once its responses are there: advantages, signals, shape, loss, update.

Nothing here depends on how a step's responses are cut into micro-batches or spread over processes: the loss is
divided by totals of the whole step, and a shaper of scope "batch" sees all responses of all processes. What has no
gradient is not read for one (`credit_zoo.training.reading`).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor

from credit_zoo import masked
from credit_zoo.facts import UPDATE_SIGNAL, VIEW_PREFIX
from credit_zoo.objective import ResponsesOfStep, Totals, spread
from credit_zoo.policy import (
    BatchLayout,
    MicroBatch,
    pictures,
    seen_through,
    text_signals,
)
from credit_zoo.rollout import MeasuredResponses
from credit_zoo.training.all_rows import advantages, over_all_processes
from credit_zoo.training.engine import NonFiniteError
from credit_zoo.training.out_of_memory import memory_of
from credit_zoo.training.part_loss import left_out, part_loss, said_before, said_now
from credit_zoo.training.passes import (
    check_finite,
    is_finite,
    measure_all,
    measure_signals,
    measure_views,
    said_without_gradient,
    score,
)
from credit_zoo.training.reading import left_out_rows, micro_batches, whole_parts
from credit_zoo.training.trainer import Trainer, UpdateBatch, needs_old_policy
from credit_zoo.training.update_stats import PartStats, UpdateStats, summed
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
    lengths = batch.responses.mask.sum(1).float()
    known = (grown(batch.reward.float(), 0.0), grown(batch.group, -1), grown(lengths, 0.0))
    there = torch.arange(widest, device=device) < (0 if idle else len(mask))
    inputs = ShaperInputs(
        advantages(trainer.accelerator, trainer.base.estimator, *known, there),
        TokenSignals({name: grown(values, 0.0) for name, values in {**text, **(given or {})}.items()}),
        grown(mask, False),
        grown(batch.group, -1),
        rows.response_ids,
        progress,
        grown(batch.correct, 0.0),
    )
    totals = Totals(responses, tokens, trainer.collector.sampling.max_tokens)
    if any(name.startswith(VIEW_PREFIX) for name in trainer.measured):
        rows = _seen_through(trainer, rows, inputs.mask)
    sampled = batch.responses.signals if isinstance(batch.responses, MeasuredResponses) else {}
    told = {name: grown(values, 0.0) for name, values in sampled.items()}
    return UpdateBatch(rows, inputs, totals, grown(batch.responses.logp, 0.0), told=told)


def _seen_through(trainer: Trainer, rows: BatchLayout, mask: Tensor) -> BatchLayout:
    """The rows with the degraded view of their pictures, which the shaper looks at. A view that swaps chooses among the
    pictures of all processes.
    """
    view, pool = trainer.train.view, None
    if view.swaps:
        counted = rows.prompts.select(rows.row_of[mask.any(1)].unique())
        pool = trainer.collector.processes.share(pictures(counted, trainer.policy))
    return seen_through(rows, view, trainer.policy, pool)


def old_policy_pass(trainer: Trainer, update_batch: UpdateBatch) -> UpdateBatch:
    """The pass of the old policy: its log-probabilities, and the token advantages from its signals, unless the shaper
    is called anew in every update.
    """
    inputs, told = measure_all(trainer, update_batch)
    check_finite(trainer, told["logp"], inputs.mask)
    return replace(_known(trainer, update_batch, inputs, told["logp"]), old_logp=told["logp"], told=told)


def _view_pass(trainer: Trainer, update_batch: UpdateBatch, told: Mapping[str, Tensor]) -> UpdateBatch:
    """What is missing beside the signals that were measured while the responses were drawn: those of the view."""
    mask, missing = update_batch.inputs.mask, [name for name in trainer.measured if name not in told]
    seen = measure_views(trainer, update_batch, missing)
    check_finite(trainer, torch.stack(list(seen.values())).sum(0), mask)
    inputs = update_batch.inputs.with_signals({**_wanted(trainer, told, mask), **seen})
    return _known(trainer, update_batch, inputs, update_batch.sampler_logp)


def _known(trainer: Trainer, update_batch: UpdateBatch, inputs: ShaperInputs, logp: Tensor) -> UpdateBatch:
    """What follows from the signals of all responses: token advantages, and the tokens that the loss selects."""
    shaped = None if trainer.facts.stage == "update" else _shape_all(trainer, inputs)
    return replace(update_batch, inputs=inputs, shaped=shaped, selected=_select(trainer, inputs, logp))


def _select(trainer: Trainer, x: ShaperInputs, old_logp: Tensor) -> Tensor | None:
    """The tokens `[B, T]` that the policy loss selects among those of all processes; None where it selects none."""
    loss, gather = trainer.base.selecting, trainer.accelerator.gather
    if loss is None:
        return None
    known = (gather(values) for values in (x.advantage, old_logp, x.mask, x.ids, x.group))
    first = trainer.accelerator.process_index * len(x.mask)
    return loss.select(ResponsesOfStep(*known))[first : first + len(x.mask)]


def before_updates(trainer: Trainer, update_batch: UpdateBatch) -> UpdateBatch:
    """What has to be known before the first gradient: all that a pass of the old policy tells, or what was measured
    while the responses were drawn, or the token advantages of a shaper that wants nothing measured; else nothing.
    """
    told = update_batch.told if trainer.draws_as_it_trains else {}
    facts, base, updates = trainer.facts, trainer.base, trainer.train.updates
    if needs_old_policy(facts, base, updates, told):
        views = [name for name in trainer.measured if name.startswith(VIEW_PREFIX)]
        by_view_alone = "view_divergence" not in views and not needs_old_policy(facts, base, updates, {*told, *views})
        return _view_pass(trainer, update_batch, told) if by_view_alone else old_policy_pass(trainer, update_batch)
    if facts.scope != "response":
        inputs = update_batch.inputs.with_signals(_wanted(trainer, told, update_batch.inputs.mask))
        return _known(trainer, update_batch, inputs, update_batch.sampler_logp)
    selected = _select(trainer, update_batch.inputs, update_batch.sampler_logp)
    ready = not trainer.measured and facts.stage == "rollout"
    shaped = _shape_all(trainer, update_batch.inputs) if ready else None
    return replace(update_batch, shaped=shaped, selected=selected)


def _wanted(trainer: Trainer, told: Mapping[str, Tensor], mask: Tensor) -> dict[str, Tensor]:
    return {name: masked.fill(told[name], mask) for name in trainer.measured if name in told}


def _shape_all(trainer: Trainer, x: ShaperInputs) -> Tensor:
    """The token advantages of all rows of this process; a group lies on one process."""
    if trainer.facts.scope == "batch":
        return over_all_processes(trainer.accelerator, x, partial(_shape, trainer))
    return _shape(trainer, x)


def _shape(trainer: Trainer, x: ShaperInputs) -> Tensor:
    return spread(trainer.shaper, x, trainer.train.shaper_schedule)


def update(trainer: Trainer, update_batch: UpdateBatch, rate: float) -> UpdateStats:
    """One optimizer step over all micro-batches, at a learning rate."""
    batches = micro_batches(trainer, update_batch)
    # transformers checkpoints in training mode only; without it, evaluation mode keeps sampler and trainer one policy.
    trainer.policy.train(trainer.policy.settings.gradient_checkpointing)
    rest = _left_out(trainer, update_batch, left_out_rows(update_batch, batches))
    parts = []
    for batch in batches:
        with trainer.engine.micro_batch(last=batch is batches[-1]):
            parts.append(backward(trainer, update_batch, batch))
    loss = _finite_loss(trainer, parts)
    # A finite loss may hide a gradient that is not: the clipped branch of an overflowing ratio.
    with memory_of("updating"):
        norm = trainer.engine.step(rate, trainer.train.max_grad_norm)
    every, found = [*batches, *(part for part, _ in rest)], [*parts, *(stats for _, stats in rest)]
    return summed(trainer, update_batch, every, found, loss, norm)


def _left_out(trainer: Trainer, update_batch: UpdateBatch, rows: Tensor) -> list[tuple[MicroBatch, PartStats]]:
    """What is measured of the rows of this process that are read for no gradient, in one part; none without any. In an
    update that is the only one nothing of them is read; in one of several it is what the policy says now.
    """
    part, several = MicroBatch(rows, update_batch.rows.mask.shape[1]), trainer.train.updates > 1
    # One that has left out nothing takes part in the others' passes.
    read = trainer.silence.rows and several
    said = said_without_gradient(trainer, update_batch, part) if read else said_before(update_batch, part)
    return [(part, left_out(trainer, update_batch, part, said))] if len(rows) else []


@torch.no_grad()
def measure_step(trainer: Trainer, update_batch: UpdateBatch) -> UpdateStats:
    """What an update would measure, of a step from which nothing is learned: no gradient, and the optimizer, whose
    moments would move the weights without one, is left alone.
    """
    inputs, old_logp = measure_signals(trainer, update_batch)
    inputs = replace(inputs, advantage=torch.zeros_like(inputs.advantage))
    still = replace(update_batch, inputs=inputs, shaped=torch.zeros_like(old_logp), old_logp=old_logp)
    still = replace(still, selected=_select(trainer, inputs, old_logp))
    batches = whole_parts(trainer, still)
    parts = [_forward(trainer, still, part)[1] for part in batches]
    return summed(trainer, still, batches, parts, _finite_loss(trainer, parts), 0.0)


def _finite_loss(trainer: Trainer, parts: Sequence[PartStats]) -> float:
    """The loss over all micro-batches and processes; raises `NonFiniteError`."""
    (loss,) = trainer.total_of(torch.stack([part.loss for part in parts]).cumsum(0)[-1:])
    if not math.isfinite(loss):
        trainer.engine.zero_grad()
        raise NonFiniteError
    return loss


def backward(trainer: Trainer, update_batch: UpdateBatch, part: MicroBatch) -> PartStats:
    """Forward, shape, loss and backward of one micro-batch."""
    loss, found = _forward(trainer, update_batch, part)
    trainer.engine.backward(loss)
    return found


def _forward(trainer: Trainer, update_batch: UpdateBatch, part: MicroBatch) -> tuple[Tensor, PartStats]:
    """Forward, shape and loss of one micro-batch."""
    x, rows = update_batch.part(part), update_batch.rows.select(part.read)
    if update_batch.shaped is None and update_batch.old_logp is None:
        found, signals = score(trainer, trainer.engine.module, rows, x.mask)
        x = x.with_signals(signals.values)
    else:
        found = trainer.statistics(trainer.engine.module, rows)
    said = said_now(update_batch, part, found)
    reference = None
    if trainer.reference is not None:
        with torch.no_grad():
            reference = trainer.statistics(trainer.reference, rows).logp
    if update_batch.shaped is None:
        advantage = _shape_now(trainer, update_batch, part, x, said.logp.detach())
    else:
        advantage = part.cut(update_batch.shaped)
    return part_loss(trainer, update_batch, part, x, said, advantage, reference)


def _shape_now(trainer: Trainer, update_batch: UpdateBatch, part: MicroBatch, x: ShaperInputs, logp: Tensor) -> Tensor:
    """The token advantages of a micro-batch in this update."""
    log_ratio = logp - (logp if update_batch.old_logp is None else part.cut(update_batch.old_logp))
    # A policy that broke must not reach the shaper, whose checks would blame it; the loss will be NaN.
    if not is_finite(log_ratio, x.mask):
        return torch.zeros_like(log_ratio)
    return _shape(trainer, x.with_signals({UPDATE_SIGNAL: masked.fill(log_ratio, x.mask)}))
