"""One step of training once its responses are there: advantages, signals, shape, loss, update.

Nothing here depends on how a step's responses are cut into micro-batches or spread over processes: the loss is
divided by totals of the whole step, and a shaper of scope "batch" sees all responses of all processes.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, nn

from credit_zoo import masked
from credit_zoo.facts import UPDATE_SIGNAL, VIEW_PREFIX
from credit_zoo.objective import ResponsesOfStep, TokenBatch, Totals, spread
from credit_zoo.policy import (
    BatchLayout,
    MicroBatch,
    TokenStatistics,
    measure_tokens,
    pack,
    pictures,
    seen_through,
    split,
    text_signals,
)
from credit_zoo.registry import ESTIMATORS
from credit_zoo.rollout import truncated_importance_ratio
from credit_zoo.training.all_rows import over_all_processes
from credit_zoo.training.engine import NonFiniteError
from credit_zoo.training.out_of_memory import memory_of
from credit_zoo.training.step_report import WeightSpread
from credit_zoo.training.trainer import Trainer, UpdateBatch
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
    inputs = ShaperInputs(
        _advantages(trainer, *known, torch.arange(widest, device=device) < (0 if idle else len(mask))),
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
    return UpdateBatch(rows, inputs, totals, grown(batch.responses.logp, 0.0))


def _advantages(trainer: Trainer, reward: Tensor, group: Tensor, length: Tensor, there: Tensor) -> Tensor:
    """The advantages of this process's responses, 0 for rows that are not `there`; `[B]` each. A group lies on one
    process; an estimator of scope "batch" is shown the responses of all of them.
    """
    estimator, first, own = trainer.base.estimator, 0, len(reward)
    if ESTIMATORS.of(estimator).facts.scope == "batch" and trainer.accelerator.num_processes > 1:
        gather = trainer.accelerator.gather
        reward, group, length, there = (gather(values) for values in (reward, group, length, there))
        first = trainer.accelerator.process_index * own
    found = torch.zeros(len(reward), device=reward.device)
    found[there] = estimator(reward[there], group[there], length[there])
    return found[first : first + own]


def _seen_through(trainer: Trainer, rows: BatchLayout, mask: Tensor) -> BatchLayout:
    """The rows with the degraded view of their pictures, which the shaper looks at. A view that swaps chooses among the
    pictures of all processes.
    """
    view, pool = trainer.train.view, None
    if view.swaps:
        counted = rows.prompts.select(rows.row_of[mask.any(1)].unique())
        pool = trainer.collector.processes.share(pictures(counted, trainer.policy))
    return seen_through(rows, view, trainer.policy, pool)


def micro_batches(trainer: Trainer, update_batch: UpdateBatch) -> list[MicroBatch]:
    """The step's responses as they are read together, the same number on every process."""
    rows, train = update_batch.rows, trainer.train
    prompt, widest = rows.prompt_length, rows.mask.shape[1]
    found = pack(rows.row_of, rows.lengths, prompt, widest, train.micro_batch, train.micro_tokens)
    here = torch.tensor([len(found)], device=trainer.accelerator.device)
    return split(found, int(trainer.accelerator.gather(here).max()))


def _score(trainer: Trainer, model: nn.Module, rows: BatchLayout, mask: Tensor) -> tuple[TokenStatistics, TokenSignals]:
    """The statistics of some rows and the signals that shaper and base want measured, from one pass, and from one more
    that sees degraded pictures if they look at those.
    """
    sampling, needs = trainer.collector.sampling, trainer.measured
    how = (sampling.temperature, sampling.truncation)
    pays_entropy = trainer.base.entropy_beta != 0
    return measure_tokens(trainer.policy, model, rows, needs, *how, mask=mask, entropy_gradient=pays_entropy)


@torch.no_grad()
def measure_signals(trainer: Trainer, update_batch: UpdateBatch) -> tuple[ShaperInputs, Tensor]:
    """A pass without gradient over all responses: what the shaper may look at, and the log-probabilities `[B, T]`."""
    mask = update_batch.inputs.mask
    old_logp = torch.zeros(mask.shape, device=mask.device)
    measured = trainer.measured
    signals = {name: torch.zeros_like(old_logp) for name in measured}
    for part in micro_batches(trainer, update_batch):
        said, found = _score(trainer, trainer.engine.module, update_batch.rows.select(part), part.cut(mask))
        part.put(old_logp, said.logp)
        for name in measured:
            part.put(signals[name], found.values[name])
    return update_batch.inputs.with_signals(signals), old_logp


def old_policy_pass(trainer: Trainer, update_batch: UpdateBatch) -> UpdateBatch:
    """The pass of the old policy: its log-probabilities, and the token advantages from its signals, unless the shaper
    is called anew in every update.
    """
    inputs, old_logp = measure_signals(trainer, update_batch)
    (broken,) = trainer.total_of((~_finite(old_logp, inputs.mask)).double().view(1))
    if broken:
        raise NonFiniteError
    shaped = None if trainer.facts.stage == "update" else _shape_all(trainer, inputs)
    selected = _select(trainer, inputs, old_logp)
    return replace(update_batch, inputs=inputs, shaped=shaped, old_logp=old_logp, selected=selected)


def _select(trainer: Trainer, x: ShaperInputs, old_logp: Tensor) -> Tensor | None:
    """The tokens `[B, T]` that the policy loss selects among those of all processes; None where it selects none."""
    loss, gather = trainer.base.selecting, trainer.accelerator.gather
    if loss is None:
        return None
    known = (gather(values) for values in (x.advantage, old_logp, x.mask, x.ids, x.group))
    first = trainer.accelerator.process_index * len(x.mask)
    return loss.select(ResponsesOfStep(*known))[first : first + len(x.mask)]


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
    if trainer.facts.scope == "batch":
        return over_all_processes(trainer.accelerator, x, partial(_shape, trainer))
    return _shape(trainer, x)


def _shape(trainer: Trainer, x: ShaperInputs) -> Tensor:
    return spread(trainer.shaper, x, trainer.train.shaper_schedule)


def _finite(values: Tensor, mask: Tensor) -> Tensor:
    """Whether all that counts is finite, as a tensor."""
    return masked.fill(values, mask).isfinite().all()


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
    return summed(trainer, update_batch, batches, parts, loss, norm)


@torch.no_grad()
def measure_step(trainer: Trainer, update_batch: UpdateBatch) -> UpdateStats:
    """What an update would measure, of a step from which nothing is learned: no gradient, and the optimizer, whose
    moments would move the weights without one, is left alone.
    """
    inputs, old_logp = measure_signals(trainer, update_batch)
    inputs = replace(inputs, advantage=torch.zeros_like(inputs.advantage))
    still = replace(update_batch, inputs=inputs, shaped=torch.zeros_like(old_logp), old_logp=old_logp)
    still = replace(still, selected=_select(trainer, inputs, old_logp))
    batches = micro_batches(trainer, still)
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
    x, rows = update_batch.part(part), update_batch.rows.select(part)
    if update_batch.shaped is None and update_batch.old_logp is None:
        found, signals = _score(trainer, trainer.engine.module, rows, x.mask)
        x = x.with_signals(signals.values)
    else:
        found = trainer.statistics(trainer.engine.module, rows)
    logp = found.logp
    old_logp = logp.detach() if update_batch.old_logp is None else part.cut(update_batch.old_logp)
    shaped, selected = (None if v is None else part.cut(v) for v in (update_batch.shaped, update_batch.selected))
    advantage = _shape_now(trainer, x, logp.detach() - old_logp) if shaped is None else shaped
    reference = None
    if trainer.reference is not None:
        with torch.no_grad():
            reference = trainer.statistics(trainer.reference, rows).logp
    correction, mismatch = truncated_importance_ratio(
        old_logp, part.cut(update_batch.sampler_logp), x.mask, trainer.importance_cap
    )
    corrected = advantage if math.isinf(trainer.importance_cap) else advantage * correction
    batch = TokenBatch(
        logp, old_logp, corrected, x.mask, reference, found.entropy, x.signals.values.get("view_logp"), selected
    )
    loss, stats = trainer.base.objective(batch, update_batch.totals)
    entropy = masked.fill(found.entropy.detach(), x.mask)
    seen = {"entropy": entropy, "logp": masked.fill(logp.detach(), x.mask), **x.signals.values}
    weights = WeightSpread.part(advantage, x)
    return loss, PartStats(loss.detach().double(), stats, entropy.sum().double(), weights, mismatch, seen)


def _shape_now(trainer: Trainer, x: ShaperInputs, log_ratio: Tensor) -> Tensor:
    """The token advantages of a micro-batch in this update."""
    # A policy that broke must not reach the shaper, whose checks would blame it; the loss will be NaN.
    if not _finite(log_ratio, x.mask):
        return torch.zeros_like(log_ratio)
    return _shape(trainer, x.with_signals({UPDATE_SIGNAL: masked.fill(log_ratio, x.mask)}))
