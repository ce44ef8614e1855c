"""One run from start to record: load, measure, train, measure again, write."""

import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list, set_seed
from tqdm import tqdm

from credit_zoo import record
from credit_zoo.answerlog import AnswerLog
from credit_zoo.bench import Benchmark
from credit_zoo.chance import best_constant, blank, guesses
from credit_zoo.checkpoint import export, weights_digest
from credit_zoo.collect import Collector
from credit_zoo.command import Command, trained_bench
from credit_zoo.config import Experiment, benchmark, settings_of
from credit_zoo.context import Asked, Context, Stage, Trained, evaluation, run_record
from credit_zoo.diagnostics import StepReport
from credit_zoo.grading import Measured, grade
from credit_zoo.harness import Asker, measure
from credit_zoo.leaderboard import build, row
from credit_zoo.loop import Diverged, train_policy
from credit_zoo.official import RULES
from credit_zoo.policy import Policy
from credit_zoo.provenance import new_run_id, origin, utc_now
from credit_zoo.questions import HUB, Framed, Questions, open_questions
from credit_zoo.registry import BENCHMARKS, UsageError
from credit_zoo.results import atomic_write, write
from credit_zoo.shaping import ContractError
from credit_zoo.stats import interval
from credit_zoo.step import Trainer


def run_experiment(command: Command, x: Experiment, seed: int) -> int:
    """Runs one seed; returns the exit status: 0, or 1 for a run that broke (its checkpoint is named)."""
    started = time.perf_counter()
    context = _open(command, x, seed)
    _say_what_runs(context)
    sets = {name: _questions(context, name) for name in command.bench}
    lesson = None if command.eval_only else _lesson(context)
    # A model that is not trained has been measured after all there is to do.
    before = _measure(context, sets, "before" if lesson else "after")
    trained = None
    if lesson:
        try:
            trained = _train(context, lesson)
        except Diverged as error:
            if context.accelerator.is_main_process:
                path = _rescue(context, error)
                print(f"credit_zoo: {error}\nThe policy before the step and the prompts: {path}", file=sys.stderr)
            return 1
        except ContractError as error:
            print(f"credit_zoo: {error}. Nothing is recorded; `credit_zoo.testing` finds such a rule.", file=sys.stderr)
            return 1
    after = _measure(context, sets, "after") if trained else []
    if context.accelerator.is_main_process:
        _finish(context, run_record(context, [*before, *after], trained, time.perf_counter() - started))
    return 0


def _open(command: Command, x: Experiment, seed: int) -> Context:
    tracker = None if command.tracker == "none" else command.tracker
    accelerator = Accelerator(cpu=not torch.cuda.is_available(), log_with=tracker, project_dir=command.out)
    created = utc_now()
    (run_id,) = broadcast_object_list([new_run_id(created)])
    accelerator.project_configuration.logging_dir = str(Path(command.out) / run_id)
    set_seed(seed)
    policy = Policy.load(x.model).to(accelerator.device)
    return Context(command, x, seed, run_id, created, accelerator, policy, weights_digest(policy))


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


def _folder_of(command: Command, bench: str) -> str | None:
    """The folder of one set: `data=` itself, or its subfolder of the set's name; "hub" stays what it is."""
    if command.data in (None, HUB):
        return command.data
    inside = Path(command.data) / bench
    if inside.is_dir():
        return str(inside)
    involved = {*command.bench, *([] if command.eval_only else [trained_bench(command)])}
    if len(involved) > 1:
        raise UsageError(f"data={command.data} has no folder '{bench}'; this run needs {', '.join(sorted(involved))}")
    return command.data


def _questions(context: Context, name: str) -> Asked:
    """The questions that a benchmark is measured on, at most `eval.questions`."""
    x = context.x
    command, bench = context.command, benchmark(context.command, name)
    folder, split = _folder_of(command, name), x.eval.split
    typed = any(word[:2] == ("eval", "split") for word in command.settings)
    if command.eval_only and folder and BENCHMARKS[name].facts.own_split and not typed:
        split = "all"
    stream = _framed(context, open_questions(bench, split, folder, x.data, x.eval.seed, shuffle=False))
    count = min(x.eval.questions, stream.source.rows or x.eval.questions)
    context.say(f"measure {stream.source}: {count} questions of split '{split}'")
    return Asked(bench, [stream[index] for index in range(count)], stream.source, split)


def _framed(context: Context, questions: Questions) -> Questions:
    return Framed(questions, context.x.model.boxes, context.policy.encoder.input_size)


def _measure(context: Context, sets: Mapping[str, Asked], stage: Stage) -> list[record.Evaluation]:
    evaluations = []
    for name, asked in sets.items():
        asker = Asker(context.policy, asked.bench, context.x.prompt)
        log, rule = _log(context, name, asked), None if asked.source.twin else RULES.get(name)
        measured = measure(asker, asked.questions, context.x.eval, f"{name} {stage}", log, rule)
        if log:
            log.keep(context.folder / "answers" / f"{name}-{stage}.jsonl.gz")
        context.say(_told(name, measured, stage, context.x.eval.samples))
        baselines = _baselines(context, name, asked) if stage == "after" else {}
        evaluations.append(evaluation(context.x, name, asked, measured, stage, baselines))
    return evaluations


def _log(context: Context, name: str, asked: Asked) -> AnswerLog | None:
    """Where the answers are kept as they come; None where several processes ask together."""
    if context.accelerator.num_processes > 1:
        return None
    head = {
        "bench": name,
        "source": str(asked.source),
        "twin": asked.source.twin,
        "settings": settings_of(asked.bench),
        "model": weights_digest(context.policy),
        "eval": settings_of(context.x.eval),
        "prompt": settings_of(context.x.prompt),
        "dtype": context.x.model.dtype,
    }
    return AnswerLog(Path(context.command.out) / "unfinished", head, asked.questions)


def _told(name: str, measured: Measured, stage: Stage, samples: int) -> str:
    found = interval(np.asarray([measured.mean]), over_seeds=False)
    parts = [f"avg@{samples} {100 * measured.accuracy:.1f} [{100 * found.low:.1f}, {100 * found.high:.1f}]"]
    if measured.greedy_accuracy is not None:
        parts.append(f"greedy {100 * measured.greedy_accuracy:.1f}")
    parts.append(f"pass@{samples} {100 * measured.pass_rate:.1f}")
    if measured.official is not None:
        parts.append(f"by the published rule {100 * measured.official:.1f}")
    parts.append(f"no answer found in {100 * measured.no_answer:.1f}")
    return f"{stage:<7} {name}: {', '.join(parts)} (%)"


def _baselines(context: Context, name: str, asked: Asked) -> dict[str, float]:
    """The scores of those who do not look, as the command asks for them."""
    found, e = {}, context.x.eval
    for baseline in context.command.baseline:
        if baseline == "blank_image":
            blanked = [blank(question) for question in asked.questions]
            asker = Asker(context.policy, asked.bench, context.x.prompt)
            measured = measure(asker, blanked, replace(e, greedy=False), f"{name} blank")
        elif baseline == "majority":
            constant = best_constant(asked.bench, asked.questions)
            measured = grade(asked.bench, asked.questions, [constant] * len(asked.questions))
        else:
            measured = grade(asked.bench, asked.questions, guesses(asked.questions, e.samples, e.seed))
        found[baseline] = measured.accuracy
        context.say(f"        {name}, {baseline}: {100 * measured.accuracy:.1f} (%)")
    return found


@dataclass(frozen=True)
class _Lesson:
    """What is trained on."""

    name: str
    bench: Benchmark
    questions: Questions


def _lesson(context: Context) -> _Lesson:
    x, accelerator = context.x, context.accelerator
    name = trained_bench(context.command)
    bench = benchmark(context.command, name)
    folder = _folder_of(context.command, name)
    questions = _framed(context, open_questions(bench, "train", folder, x.data, context.seed, shuffle=True))
    context.say(f"train   {questions.source}, split 'train'")
    if x.train.prompts % accelerator.num_processes:
        raise UsageError(f"train.prompts={x.train.prompts} must be a multiple of {accelerator.num_processes} processes")
    return _Lesson(name, bench, questions)


def _train(context: Context, lesson: _Lesson) -> Trained:
    trainer = _trainer(context, Asker(context.policy, lesson.bench, context.x.prompt))
    reports = _train_with_progress(context, trainer, lesson.questions)
    context.policy.eval()
    if context.accelerator.is_main_process:
        context.say(f"saved   {export(context.policy, context.folder / 'model')}")
    return Trained(lesson.questions.source, lesson.name, "train", tuple(reports))


def _trainer(context: Context, asker: Asker) -> Trainer:
    x, accelerator, policy = context.x, context.accelerator, context.policy
    trainable = [p for p in policy.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trainable, lr=x.train.lr, weight_decay=x.train.weight_decay)
    wrapped, optimizer = accelerator.prepare(policy, optimizer)
    reference = Policy.load(x.model, frozen=True).to(accelerator.device) if x.base.kl_beta > 0 else None
    return Trainer(
        policy=policy,
        wrapped=wrapped,
        optimizer=optimizer,
        accelerator=accelerator,
        reference=reference,
        shaper=x.shaper,
        base=x.base,
        train=x.train,
        collector=Collector(asker, x.base, x.sampling, x.reward, x.train.prompts // accelerator.num_processes),
    )


def _train_with_progress(context: Context, trainer: Trainer, questions: Questions) -> list[StepReport]:
    reports: list[StepReport] = []
    accelerator = context.accelerator
    if context.command.tracker != "none":
        accelerator.init_trackers("credit_zoo", config={"operative": context.x.operative})
    with tqdm(total=context.x.train.steps, desc="train", disable=not accelerator.is_main_process) as bar:

        def report(step: StepReport) -> None:
            reports.append(step)
            bar.set_postfix(step.short(), refresh=False)
            bar.update()
            accelerator.log(step.scalars(), step=step.step)

        train_policy(trainer, questions, context.seed, report)
    accelerator.end_training()
    return reports


def _rescue(context: Context, error: Diverged) -> Path:
    """The policy, which the broken step has not touched, and what it was asked."""
    folder = context.folder / f"diverged-step-{error.step}"
    export(context.policy, folder)
    cells = [(question.id, question.text, question.answer) for question in error.questions]
    lines = ["\t".join(" ".join(cell.split()) for cell in each) for each in cells]
    atomic_write(folder / "prompts.tsv", "\n".join(lines) + "\n")
    return folder


def _finish(context: Context, run: record.RunRecord) -> None:
    """Writes the record, rewrites the leaderboard, prints the row."""
    results = Path(context.command.results)
    write(run, results)
    built = build(results)
    atomic_write(results.parent / "LEADERBOARD.md", built.page)
    for problem in built.problems:
        print(f"left out of the leaderboard: {problem}", file=sys.stderr)
    print(row(run))
