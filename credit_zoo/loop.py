"""The training loop: sample, reward, advantage, signals, shape, loss, step, report."""

import time
from collections.abc import Callable, Sequence

import torch

from credit_zoo.bench import Question
from credit_zoo.collect import Drawn, Place
from credit_zoo.diagnostics import StepReport
from credit_zoo.questions import Questions
from credit_zoo.step import Done, NotFinite, Trainer, prepare, score_old, update

MAX_GROUPS = 1_000_000  # per process; keeps group numbers apart


class Diverged(RuntimeError):
    """The loss or the policy's log-probabilities are no longer finite."""

    def __init__(self, step: int, questions: Sequence[Question]) -> None:
        self.step, self.questions = step, tuple(questions)
        names = ", ".join(question.id for question in questions)
        super().__init__(f"step {step}: the loss is not finite. Prompts of the step: {names}")


def train_policy(trainer: Trainer, questions: Questions, seed: int, report: Callable[[StepReport], None]) -> None:
    """Runs `train.steps` steps. Raises `Diverged` before a step that would spoil the weights."""
    rank, world = trainer.accelerator.process_index, trainer.accelerator.num_processes
    place = Place(start=rank, stride=world)
    for step in range(trainer.train.steps):
        started = time.perf_counter()
        generator = torch.Generator().manual_seed(((seed * 1_000_003 + step) * 4_099 + rank) % 2**63)
        drawn = trainer.collector(questions, place, generator, first_group=rank * MAX_GROUPS)
        place = drawn.place
        todo = prepare(trainer, drawn.batch, progress=step / trainer.train.steps)
        for group in trainer.optimizer.param_groups:
            group["lr"] = trainer.train.lr * trainer.train.rate(step)
        try:
            todo = score_old(trainer, todo) if trainer.two_pass else todo
            done = [update(trainer, todo) for _ in range(trainer.train.updates)]
        except NotFinite:
            raise Diverged(step + 1, drawn.questions) from None
        report(_summary(trainer, drawn, done, step, time.perf_counter() - started))


def _summary(trainer: Trainer, drawn: Drawn, done: Sequence[Done], step: int, seconds: float) -> StepReport:
    """The step's numbers over all processes."""
    batch, last = drawn.batch, done[-1]
    clipped = sum(one.stats.clipped for one in done) / len(done)
    responses, reward, correct, truncated, sampled = trainer.total(
        len(batch.reward),
        float(batch.reward.sum()),
        float(batch.correct.sum()),
        float(batch.responses.truncated.sum()),
        float(batch.responses.mask.sum()),
    )
    stats = (last.stats.tokens, clipped, last.entropy, last.stats.old_kl, last.stats.reference_kl)
    tokens, clips, entropy, old_kl, reference_kl = trainer.total(*stats)
    counts = trainer.total(drawn.asked, drawn.kept, drawn.refills)
    per_token = 1 / max(tokens, 1)
    return StepReport(
        step=step + 1,
        loss=last.loss,
        reward=reward / responses,
        accuracy=correct / responses,
        truncated=truncated / responses,
        length=sampled / responses,
        entropy=entropy * per_token,
        clip_fraction=clips * per_token,
        old_kl=old_kl * per_token,
        reference_kl=reference_kl * per_token,
        weight_std=last.spread.std,
        weight_ess=last.spread.ess,
        weight_quantiles=last.spread.quantiles,
        grad_norm=last.grad_norm,
        sampled_tokens=int(sampled),
        asked=int(counts[0]),
        kept=int(counts[1]),
        refills=int(counts[2]),
        seconds=seconds,
    )
