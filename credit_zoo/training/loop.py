"""The training loop: sample, reward, advantage, signals, shape, loss, step, report."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple
from itertools import chain, islice

import torch
from torch import Tensor

from credit_zoo.question import Question
from credit_zoo.questions import Questions, twin_questions
from credit_zoo.rollout import SamplerMismatch
from credit_zoo.training.engine import NonFiniteError
from credit_zoo.training.out_of_memory import memory_of
from credit_zoo.training.rollout_collection import Rollout, Sums
from credit_zoo.training.step import before_updates, measure_step, prepare, update
from credit_zoo.training.step_report import StepReport
from credit_zoo.training.trainer import Trainer, UpdateBatch
from credit_zoo.training.update_stats import UpdateStats
from credit_zoo.truth import truth_signals


class Diverged(RuntimeError):
    """The loss or the policy's log-probabilities are no longer finite."""

    def __init__(self, step: int, questions: Sequence[Question]) -> None:
        self.step, self.questions = step, tuple(questions)
        names = ", ".join(question.id for question in questions)
        super().__init__(f"step {step}: the loss is not finite. Prompts of the step: {names}")


def train_policy(
    trainer: Trainer,
    questions: Questions,
    seed: int,
    report: Callable[[StepReport, int], None],
    begun: tuple[int, int] = (0, 0),
) -> None:
    """Runs the steps up to `train.steps`; after each, `report` is told of it and of the number of the next question.

    `begun` is how many steps were done before and the number of the next question then. Raises `Diverged` before
    a step that would spoil the weights.
    """
    done_steps, first = begun
    for step in range(done_steps, trainer.train.steps):
        started = time.perf_counter()
        with trainer.engine.whole(), memory_of("sampling"):
            sync(trainer)
            rollout = trainer.collector(questions, first, seed)
        first = rollout.next
        rate = trainer.train.lr * trainer.train.rate(step)
        try:
            with memory_of("training"):
                given = _given(trainer, questions, rollout)
                update_batch = prepare(trainer, rollout.batch, step / trainer.train.steps, rollout.idle, given)
                updates = _updates(trainer, update_batch, rate, rollout.without_effect)
        except NonFiniteError:
            raise Diverged(step + 1, rollout.questions) from None
        report(_summary(trainer, rollout, updates, step, time.perf_counter() - started), first)


def _updates(trainer: Trainer, update_batch: UpdateBatch, rate: float, without_effect: bool) -> Sequence[UpdateStats]:
    """The updates of a step; of one without effect, its measurements alone."""
    if without_effect:
        return [measure_step(trainer, update_batch)]
    update_batch = before_updates(trainer, update_batch)
    return [update(trainer, update_batch, rate) for _ in range(trainer.train.updates)]


def _given(trainer: Trainer, questions: Questions, rollout: Rollout) -> Mapping[str, Tensor]:
    """What the rule wants to know that only a twin can tell."""
    if not trainer.facts.truth:
        return {}
    stream, batch, sampling = twin_questions(questions), rollout.batch, trainer.collector.sampling
    numbers = dict(zip(batch.responses.row_of.tolist(), batch.group.tolist(), strict=True))
    examples = [stream.example(numbers[row]) for row in range(len(batch.prompts))]
    return truth_signals(trainer.facts.needs, trainer.policy, stream.twin, examples, batch, sampling)


def sync(trainer: Trainer) -> None:
    """Tells the weights to whoever samples in the policy's place: to one that all processes share once, to one in each
    process by each.
    """
    worker, accelerator = trainer.collector.worker, trainer.accelerator
    if worker.sampler is not None:
        if accelerator.is_main_process or not worker.sampler.shared:
            worker.sampler.sync(worker.policy)
        accelerator.wait_for_everyone()


def _summary(
    trainer: Trainer, rollout: Rollout, updates: Sequence[UpdateStats], step: int, seconds: float
) -> StepReport:
    """The step's numbers over all processes."""
    last = updates[-1]
    clipped = sum(one.stats.clipped for one in updates) / len(updates)
    of = last.stats
    stats = (of.tokens, clipped, last.entropy, of.old_kl, of.reference_kl, of.perception)
    read = (last.trained_tokens, last.measured_tokens, last.compared_tokens)
    groups = (
        rollout.sums_asked,
        rollout.sums_kept,
        stats,
        read,
        (rollout.asked, rollout.kept),
        last.mismatch.sums.tolist(),
    )
    own = [astuple(group) if isinstance(group, Sums) else group for group in groups]
    # All of them in one exchange.
    found = iter(trainer.total(*chain.from_iterable(own)))
    every, of_kept, whole, (trained, measured, compared), (asked, left), mismatch = (
        list(islice(found, len(group))) for group in own
    )
    sampled, kept = Sums(*every), Sums(*of_kept)
    tokens, clips, entropy, *distances = whole
    sampler = SamplerMismatch(torch.tensor(mismatch, dtype=torch.float64)).numbers()
    per_token = 1 / max(tokens, 1)
    old_kl, reference_kl, perception = (per_token * distance for distance in distances)
    return StepReport(
        step=step + 1,
        loss=last.loss,
        **_means(sampled),
        **{f"kept_{name}": value for name, value in _means(kept).items()},
        entropy=entropy / max(measured, 1),
        clip_fraction=clips * per_token,
        old_kl=old_kl,
        reference_kl=reference_kl,
        perception=perception,
        weight_std=last.spread.std,
        weight_ess=last.spread.ess,
        weight_quantiles=last.spread.quantiles,
        weight_gini=last.spread.gini,
        weight_same_sign=last.spread.same_sign,
        agreement=last.agreement,
        grad_norm=last.grad_norm,
        sampled_tokens=int(sampled.tokens),
        kept_tokens=int(kept.tokens),
        sampled_prompts=int(asked),
        kept_prompts=int(left),
        resampling_rounds=rollout.resampling_rounds,
        **sampler,
        seconds=seconds,
        trained_tokens=int(trained),
        measured_tokens=int(measured),
        compared_tokens=int(compared),
    )


def _means(sums: Sums) -> dict[str, float]:
    """Per response, 0 without any."""
    shown = {"reward": sums.reward, "accuracy": sums.correct, "truncated": sums.truncated, "length": sums.tokens}
    return {name: value / max(sums.responses, 1) for name, value in shown.items()}
