"""One run from start to record: load, measure, train, measure again, write."""

import math
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list, gather_object, set_seed
from tqdm import tqdm

from credit_zoo.cli import Command, trained_bench
from credit_zoo.experiment.config import Experiment, benchmark, settings_of
from credit_zoo.experiment.context import Context, Trained, run_record
from credit_zoo.experiment.measuring import asked_of, folder_of, framed, measure_all
from credit_zoo.leaderboard import build, row
from credit_zoo.objective import ContractError
from credit_zoo.policy import Policy, export_policy, weights_digest
from credit_zoo.questions import Benchmark, Questions, open_questions
from credit_zoo.registry import UsageError
from credit_zoo.results import atomic_write, digest, new_run_id, origin, record, utc_now, write
from credit_zoo.rollout import Asker, sampler
from credit_zoo.training import (
    WEIGHT,
    Collector,
    Diverged,
    Engine,
    Peers,
    Progress,
    Saved,
    StepReport,
    Stopped,
    Trainer,
    begin,
    deepspeed_engine,
    end,
    latest,
    listening_for_stops,
    plain,
    save,
    sync,
    train_policy,
    unended,
)

PROMPT_ROOM = 2048  # tokens that an engine in this process keeps for a prompt
_SMALLER = (
    "Set train.micro_tokens, halve train.micro_batch or model.logits_at_once, "
    "set model.gradient_checkpointing=true, or split more with "
    "parallel.zero; the same command with resume=true goes on from the last save."
)


def run_experiment(command: Command, x: Experiment, seed: int) -> int:
    """Runs one seed; returns the exit status: 0, 1 for a run that broke (its checkpoint is named), and as shells
    have it 128 and the signal's number for one that was told to stop.
    """
    started = time.perf_counter()
    context = _open(command, x, seed)
    _say_what_runs(context)
    sets = {name: asked_of(context, name) for name in command.bench}
    if command.eval_only:
        _finish(context, measure_all(context, sets, "after"), None, time.perf_counter() - started)
        return 0
    lesson = _lesson(context)
    context = _identified(context)
    before = measure_all(context, sets, "before")
    try:
        trained, trainer = _train(context, lesson, started)
    except Diverged as error:
        if context.accelerator.is_main_process:
            if x.parallel.zero == "none":
                left = f"The policy before the step and the prompts: {_rescue(context, error)}"
            else:  # it clips and steps in one
                left = f"DeepSpeed may have spoilt the weights by now; the saves, if any: {context.folder / 'saves'}"
            print(f"credit_zoo: {error}\n{left}", file=sys.stderr)
        return 1
    except ContractError as error:
        print(
            f"credit_zoo: {error}. Nothing is recorded; `credit_zoo.testing.contract` finds such a rule.",
            file=sys.stderr,
        )
        return 1
    except torch.OutOfMemoryError as error:
        print(f"credit_zoo: out of memory ({str(error).splitlines()[0]}) {_SMALLER}", file=sys.stderr)
        return 1
    except Stopped as error:
        context.say(f"stopped after step {error.step}, all saved: the same command with resume=true goes on from there")
        return error.status
    with trainer.engine.whole():
        context.policy.eval()
        sync(trainer)
        if context.accelerator.is_main_process:
            context.say(f"saved   {export_policy(context.policy, context.folder / 'model')}")
        after = measure_all(context, sets, "after")
        _finish(context, [*before, *after], trained.told, trained.before + time.perf_counter() - started)
    return 0


def _open(command: Command, x: Experiment, seed: int) -> Context:
    tracker = None if command.tracker == "none" else command.tracker
    accelerator = Accelerator(cpu=not torch.cuda.is_available(), log_with=tracker, project_dir=command.out)
    created = utc_now()
    (run_id,) = broadcast_object_list([new_run_id(created)])
    accelerator.project_configuration.logging_dir = str(Path(command.out) / run_id)
    set_seed(seed)
    policy = Policy.load(x.model).to(accelerator.device)
    elsewhere = sampler(x.rollout, policy, PROMPT_ROOM + max(x.sampling.max_tokens, x.eval.max_tokens))
    if elsewhere and accelerator.is_main_process:
        elsewhere.sync(policy)
    accelerator.wait_for_everyone()
    return Context(command, x, seed, run_id, created, accelerator, policy, weights_digest(policy), elsewhere)


def _say_what_runs(context: Context) -> None:
    x, command = context.x, context.command
    world = context.accelerator.num_processes
    if not command.eval_only:
        shaper = ", ".join(f"{k}={v}" for k, v in settings_of(x.shaper).items())
        tokens = x.train.prompts * x.sampling.group * x.sampling.max_tokens
        context.say(f"shaper  {command.shaper}({shaper}), ramp {x.train.ramp}")
        context.say(f"base    {command.base}: " + ", ".join(f"{k}={v}" for k, v in settings_of(x.base).items()))
        context.say(
            f"budget  {x.train.steps} steps of {x.train.prompts} prompts x {x.sampling.group} responses "
            f"(at most {tokens:,} tokens a step), {world} process{'es' if world > 1 else ''}, seed {context.seed}"
        )
    parameters = sum(p.numel() for p in context.policy.parameters())
    context.say(f"model   {x.model.path}, {parameters / 1e6:.1f} million parameters, {x.model.dtype}")
    where = origin()
    commit = f"{where.commit[:10]}{' with uncommitted changes' if where.dirty else ''}" if where.commit else "none"
    context.say(f"record  below {command.results}, commit {commit}")


@dataclass(frozen=True)
class _Lesson:
    """What is trained on."""

    name: str
    bench: Benchmark
    questions: Questions


@dataclass(frozen=True)
class _Done:
    """What was trained, and the seconds that it took before it was resumed."""

    told: Trained
    before: float


def _lesson(context: Context) -> _Lesson:
    x, accelerator = context.x, context.accelerator
    name = trained_bench(context.command)
    bench = benchmark(context.command, name)
    folder = folder_of(context.command, name)
    questions = framed(context, open_questions(bench, "train", folder, x.data, context.seed, shuffle=True))
    context.say(f"train   {questions.source}, split 'train'")
    x.parallel.check_world(accelerator.num_processes)
    if x.train.prompts % accelerator.num_processes:
        raise UsageError(f"train.prompts={x.train.prompts} must be a multiple of {accelerator.num_processes} processes")
    return _Lesson(name, bench, questions)


def _identified(context: Context) -> Context:
    """The run with its place on disk: that of the one it goes on with, under resume=true, or a new one."""
    command = context.command
    key = digest([*_decides(context), str(context.seed), context.weights])
    found = unended(Path(command.out), key)[-1:] if command.resume else []
    names = [(folder.name, created) for folder, created in found] or [(context.run_id, context.created)]
    (run_id, created) = broadcast_object_list(list(names[0]))
    context = replace(context, run_id=run_id, created=created)
    if found:
        context.say(f"resume  {context.folder}")
    elif command.resume:
        context.say(f"resume  no run of these settings, seed and weights stopped below {command.out}: a new one starts")
    if context.accelerator.is_main_process and not found:
        begin(context.folder, key, created)
    return context


def _decides(context: Context) -> list[str]:
    """The words and settings that the outcome depends on: how a run is spread and how often it is saved do not."""
    beside = ("resume=", "out=", "results=", "tracker=", "seed=", "scale=", "parallel.", "checkpoint.")
    lines = [*sorted(context.command.words), *context.x.operative.split("\n")]
    return [line for line in lines if not line.startswith(beside)]


def _train(context: Context, lesson: _Lesson, started: float) -> tuple[_Done, Trainer]:
    saved = latest(context.folder)
    if saved:
        context.say(f"from    step {saved.progress.step}")
        _load_weights(context, saved)
    trainer = _trainer(context, Asker(context.policy, lesson.bench, context.x.prompt, context.sampler))
    if saved:
        trainer.engine.load(saved.state)
    context.accelerator.wait_for_everyone()
    before = saved.progress if saved else Progress()
    reports = _train_with_progress(context, trainer, lesson.questions, before, started)
    told = Trained(lesson.questions.source, lesson.name, "train", tuple(reports))
    return _Done(told, before.seconds), trainer


@torch.no_grad()
def _load_weights(context: Context, saved: Saved) -> None:
    for name, parameter in context.policy.named_parameters():
        if parameter.requires_grad:
            parameter.copy_(saved.state[f"{WEIGHT}/{name}"])


def _trainer(context: Context, asker: Asker) -> Trainer:
    x, accelerator, policy = context.x, context.accelerator, context.policy
    peers = Peers(accelerator.process_index, accelerator.num_processes, gather_object)
    reference = Policy.load(x.model, frozen=True).to(accelerator.device) if x.base.kl_beta > 0 else None
    return Trainer(
        policy=policy,
        engine=_engine(context),
        accelerator=accelerator,
        reference=reference,
        shaper=x.shaper,
        base=x.base,
        train=x.train,
        collector=Collector(asker, x.base, x.sampling, x.reward, x.train.prompts, peers),
        sampler_cap=math.inf if asker.sampler is None else x.rollout.cap,
    )


def _engine(context: Context) -> Engine:
    x, accelerator, policy = context.x, context.accelerator, context.policy
    if x.parallel.zero == "none":
        return plain(accelerator, policy, x.train.lr, x.train.weight_decay)
    return deepspeed_engine(accelerator, policy, x.parallel, x.train.lr, x.train.weight_decay, x.train.max_grad_norm)


def _train_with_progress(
    context: Context, trainer: Trainer, questions: Questions, before: Progress, started: float
) -> list[StepReport]:
    reports = list(before.reports)
    accelerator, steps = context.accelerator, context.x.train.steps
    if context.command.tracker != "none":
        accelerator.init_trackers("credit_zoo", config={"operative": context.x.operative})
    with (
        tqdm(total=steps, initial=before.step, desc="train", disable=not accelerator.is_main_process) as bar,
        listening_for_stops() as request,
    ):

        def report(step: StepReport, following: int) -> None:
            reports.append(step)
            bar.set_postfix(step.short(), refresh=False)
            bar.update()
            accelerator.log(step.scalars(), step=step.step)
            (asked,) = trainer.total(float(request.number > 0))
            if asked or context.x.checkpoint.due(step.step, steps):
                seconds = before.seconds + time.perf_counter() - started
                state = trainer.engine.state()
                if accelerator.is_main_process:
                    save(context.folder, Progress(following, tuple(reports), seconds), state, context.x.checkpoint.keep)
                accelerator.wait_for_everyone()
            if asked and step.step < steps:
                raise Stopped(step.step, 128 + (request.number or signal.SIGTERM))

        train_policy(trainer, questions, context.seed, report, (before.step, before.next))
    # Not `end_training`, which also parts the processes: they still have to measure together.
    for tracker in accelerator.trackers:
        tracker.finish()
    return reports


def _rescue(context: Context, error: Diverged) -> Path:
    """Writes the policy, which the broken step has not touched, and what it was asked."""
    folder = context.folder / f"diverged-step-{error.step}"
    export_policy(context.policy, folder)
    cells = [(question.id, question.text, question.answer) for question in error.questions]
    lines = ["\t".join(" ".join(cell.split()) for cell in each) for each in cells]
    atomic_write(folder / "prompts.tsv", "\n".join(lines) + "\n")
    return folder


def _finish(
    context: Context, evaluations: Sequence[record.Evaluation], trained: Trained | None, seconds: float
) -> None:
    """Writes the record, rewrites the leaderboard, prints the row."""
    if not context.accelerator.is_main_process:
        return
    run, results = run_record(context, evaluations, trained, seconds), Path(context.command.results)
    write(run, results)
    if trained:
        end(context.folder)
    built = build(results)
    atomic_write(results.parent / "LEADERBOARD.md", built.page)
    for problem in built.problems:
        print(f"left out of the leaderboard: {problem}", file=sys.stderr)
    print(row(run))
