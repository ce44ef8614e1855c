"""The training of a run: its questions, its trainer, its saves, and what is kept of a step that broke."""

import math
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from credit_zoo.cli import trained_bench
from credit_zoo.errors import UsageError
from credit_zoo.experiment.config import benchmark
from credit_zoo.experiment.context import EvalSet, RunContext, TrainingSummary
from credit_zoo.experiment.evaluate import data_folder, evaluate_during, in_model_frame, refusal
from credit_zoo.experiment.progress import showing
from credit_zoo.policy import Policy, export_policy
from credit_zoo.questions import Benchmark, Questions, open_questions, overlap_warning
from credit_zoo.results import atomic_write
from credit_zoo.rollout import RolloutWorker
from credit_zoo.training import (
    WEIGHT,
    Collector,
    Diverged,
    Engine,
    SavedState,
    StepReport,
    Stopped,
    Trainer,
    TrainingState,
    deepspeed_engine,
    latest,
    save,
    torch_engine,
    train_policy,
    watch_for_signals,
)


@dataclass(frozen=True)
class TrainingSet:
    """What is trained on."""

    name: str
    bench: Benchmark
    questions: Questions


@dataclass(frozen=True)
class TrainingResult:
    """What was trained, and the seconds that it took before it was resumed."""

    summary: TrainingSummary
    before: float


def training_set(context: RunContext) -> TrainingSet:
    """The questions that are trained on; refuses a number of prompts that the processes cannot share evenly."""
    config, accelerator = context.config, context.accelerator
    name = trained_bench(context.command)
    bench = benchmark(context.command, name)
    folder = data_folder(context.command, name)
    rows = open_questions(bench, "train", folder, config.data, context.seed, True, refusal(context, bench))
    questions = in_model_frame(context, rows)
    context.log(f"train   {questions.source}, split 'train'")
    config.parallel.check_world(accelerator.num_processes)
    if config.train.prompts % accelerator.num_processes:
        raise UsageError(
            f"train.prompts={config.train.prompts} must be a multiple of {accelerator.num_processes} processes"
        )
    return TrainingSet(name, bench, questions)


def warn_of_overlap(context: RunContext, trained: TrainingSet, sets: Mapping[str, EvalSet]) -> None:
    """Says so if what is trained on is measured as well."""
    for name, measured in sets.items():
        if warning := overlap_warning(trained.questions, name, measured.asked):
            context.log(warning)


def train(
    context: RunContext, training_set: TrainingSet, sets: Mapping[str, EvalSet], started: float
) -> tuple[TrainingResult, Trainer]:
    """Trains the steps that are left, from the last save where there is one; `sets` are measured every `eval.every`."""
    saved = latest(context.folder)
    if saved:
        context.log(f"from    step {saved.progress.step}")
        _load_weights(context, saved)
    together = context.config.train.rollout_tokens
    policy, bench, prompt = context.policy, training_set.bench, context.config.prompt
    worker = RolloutWorker(policy, bench, prompt, context.sampler, together, measure=True)
    trainer = _trainer(context, worker)
    if saved:
        trainer.engine.load(saved.state)
    context.accelerator.wait_for_everyone()
    before = saved.progress if saved else TrainingState()
    every = context.config.eval.every

    def measured(step: int) -> None:
        if every and step % every == 0 and step < context.config.train.steps:
            evaluate_during(context, sets, trainer, step)

    reports = _train_with_progress(context, trainer, training_set.questions, before, started, measured)
    summary = TrainingSummary(training_set.questions.source, training_set.name, "train", tuple(reports))
    return TrainingResult(summary, before.seconds), trainer


@torch.no_grad()
def _load_weights(context: RunContext, saved: SavedState) -> None:
    for name, parameter in context.policy.named_parameters():
        if parameter.requires_grad:
            parameter.copy_(saved.state[f"{WEIGHT}/{name}"])


def _trainer(context: RunContext, worker: RolloutWorker) -> Trainer:
    config, accelerator, policy = context.config, context.accelerator, context.policy
    reference = Policy.load(config.model, frozen=True).to(accelerator.device) if config.base.kl_beta > 0 else None
    return Trainer(
        policy=policy,
        engine=_engine(context),
        accelerator=accelerator,
        reference=reference,
        shaper=config.shaper,
        base=config.base,
        train=config.train,
        collector=Collector(
            worker, config.base, config.sampling, config.reward, config.train.prompts, context.processes
        ),
        importance_cap=math.inf if worker.sampler is None else config.rollout.cap,
    )


def _engine(context: RunContext) -> Engine:
    config, accelerator, policy = context.config, context.accelerator, context.policy
    if config.parallel.zero == "none":
        return torch_engine(accelerator, policy, config.train.lr, config.train.weight_decay)
    return deepspeed_engine(
        accelerator, policy, config.parallel, config.train.lr, config.train.weight_decay, config.train.max_grad_norm
    )


def _train_with_progress(
    context: RunContext,
    trainer: Trainer,
    questions: Questions,
    before: TrainingState,
    started: float,
    measured: Callable[[int], None],
) -> list[StepReport]:
    reports = list(before.reports)
    accelerator, steps = context.accelerator, context.config.train.steps
    if context.command.tracker != "none":
        accelerator.init_trackers("credit_zoo", config={"operative": context.config.gin_text})
    with showing(context, before.step) as show, watch_for_signals() as request:

        def report(step: StepReport, following: int) -> None:
            reports.append(step)
            show(step)
            accelerator.log(step.scalars(), step=step.step)
            (stop_asked,) = trainer.total(float(request.number > 0))
            if stop_asked or context.config.checkpoint.due(step.step, steps):
                seconds = before.seconds + time.perf_counter() - started
                state = trainer.engine.state()
                if accelerator.is_main_process:
                    save(
                        context.folder,
                        TrainingState(following, tuple(reports), seconds),
                        state,
                        context.config.checkpoint.keep,
                    )
                accelerator.wait_for_everyone()
            if stop_asked and step.step < steps:
                raise Stopped(step.step, 128 + (request.number or signal.SIGTERM))
            measured(step.step)

        train_policy(trainer, questions, context.seed, report, (before.step, before.next))
    # Not `end_training`, which also parts the processes: they still have to measure together.
    for tracker in accelerator.trackers:
        tracker.finish()
    return reports


def save_diverged(context: RunContext, error: Diverged) -> Path:
    """Writes the policy, which the broken step has not touched, and what it was asked."""
    folder = context.folder / f"diverged-step-{error.step}"
    export_policy(context.policy, folder)
    cells = [(question.id, question.text, question.answer) for question in error.questions]
    lines = ["\t".join(" ".join(cell.split()) for cell in each) for each in cells]
    atomic_write(folder / "prompts.tsv", "\n".join(lines) + "\n")
    return folder
