"""One run from start to record: load, measure, train, measure again, write."""

import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list, set_seed
from tqdm import tqdm

from credit_zoo import record
from credit_zoo.bench import Benchmark
from credit_zoo.checkpoint import export, weights_digest
from credit_zoo.collect import Collector
from credit_zoo.command import Command, trained_bench
from credit_zoo.config import Experiment, settings_of
from credit_zoo.diagnostics import StepReport
from credit_zoo.harness import Asker, measure
from credit_zoo.leaderboard import build, row
from credit_zoo.loop import Diverged, train_policy
from credit_zoo.policy import Policy
from credit_zoo.provenance import new_run_id, origin, utc_now
from credit_zoo.questions import Questions, open_questions
from credit_zoo.registry import BENCHMARKS, UsageError
from credit_zoo.results import atomic_write, write
from credit_zoo.session import Asked, Session, Stage, Trained, evaluation, run_record
from credit_zoo.step import Trainer


def run_experiment(command: Command, x: Experiment, seed: int) -> int:
    """Runs one seed; returns the exit status: 0, or 1 for a run that broke (its checkpoint is named)."""
    started = time.perf_counter()
    session = _open(command, x, seed)
    _say_what_runs(session)
    sets = {name: _questions(session, name) for name in command.bench}
    lesson = None if command.eval_only else _lesson(session)
    # A model that is not trained has been measured after all there is to do.
    before = _measure(session, sets, "before" if lesson else "after")
    trained = None
    if lesson:
        try:
            trained = _train(session, lesson)
        except Diverged as error:
            if session.accelerator.is_main_process:
                path = _rescue(session, error)
                print(f"credit_zoo: {error}\nThe policy before the step and the prompts: {path}", file=sys.stderr)
            return 1
    after = _measure(session, sets, "after") if trained else []
    if session.accelerator.is_main_process:
        _finish(session, run_record(session, [*before, *after], trained, time.perf_counter() - started))
    return 0


def _open(command: Command, x: Experiment, seed: int) -> Session:
    tracker = None if command.tracker == "none" else command.tracker
    accelerator = Accelerator(cpu=not torch.cuda.is_available(), log_with=tracker, project_dir=command.out)
    created = utc_now()
    (run_id,) = broadcast_object_list([new_run_id(created)])
    accelerator.project_configuration.logging_dir = str(Path(command.out) / run_id)
    set_seed(seed)
    policy = Policy.load(x.model).to(accelerator.device)
    return Session(command, x, seed, run_id, created, accelerator, policy, weights_digest(policy))


def _say_what_runs(session: Session) -> None:
    x, command = session.x, session.command
    world = session.accelerator.num_processes
    if not command.eval_only:
        shaper = ", ".join(f"{k}={v}" for k, v in settings_of(x.shaper).items())
        tokens = x.train.prompts * x.sampling.group * x.sampling.max_tokens
        session.say(f"shaper  {command.shaper}({shaper}), ramp {x.train.ramp}")
        session.say(f"base    {command.base}: " + ", ".join(f"{k}={v}" for k, v in settings_of(x.base).items()))
        session.say(
            f"budget  {x.train.steps} steps of {x.train.prompts} prompts x {x.sampling.group} responses "
            f"(at most {tokens:,} tokens a step), {world} process{'es' if world > 1 else ''}, seed {session.seed}"
        )
    parameters = sum(p.numel() for p in session.policy.parameters())
    session.say(f"model   {x.model.path}, {parameters / 1e6:.1f} million parameters, {x.model.dtype}")
    where = origin()
    commit = f"{where.commit[:10]}{' with uncommitted changes' if where.dirty else ''}" if where.commit else "none"
    session.say(f"record  below {command.results}, commit {commit}")


def _folder_of(command: Command, bench: str) -> str | None:
    """The folder of one set: `data=` itself, or its subfolder of the set's name."""
    if command.data is None:
        return None
    inside = Path(command.data) / bench
    if inside.is_dir():
        return str(inside)
    involved = {*command.bench, *([] if command.eval_only else [trained_bench(command)])}
    if len(involved) > 1:
        raise UsageError(f"data={command.data} has no folder '{bench}'; this run needs {', '.join(sorted(involved))}")
    return command.data


def _benchmark(name: str) -> Benchmark:
    bench: Benchmark = BENCHMARKS[name].factory()
    return bench


def _questions(session: Session, name: str) -> Asked:
    """The questions that a benchmark is measured on, at most `eval.questions`."""
    x = session.x
    command, bench = session.command, _benchmark(name)
    folder, split = _folder_of(command, name), x.eval.split
    typed = any(word[:2] == ("eval", "split") for word in command.settings)
    if command.eval_only and folder and BENCHMARKS[name].facts.own_split and not typed:
        split = "all"
    stream = open_questions(bench, split, folder, x.data, x.eval.seed, shuffle=False)
    count = min(x.eval.questions, stream.source.rows or x.eval.questions)
    session.say(f"measure {stream.source}: {count} questions of split '{split}'")
    return Asked(bench, [stream[index] for index in range(count)], stream.source, split)


def _measure(session: Session, sets: Mapping[str, Asked], stage: Stage) -> list[record.Evaluation]:
    evaluations = []
    for name, asked in sets.items():
        asker = Asker(session.policy, asked.bench, session.x.prompt)
        measured = measure(asker, asked.questions, session.x.eval, f"{name} {stage}")
        greedy = "" if measured.greedy_accuracy is None else f", greedy {100 * measured.greedy_accuracy:.1f}"
        session.say(
            f"{stage:<7} {name}: avg@{session.x.eval.samples} {100 * measured.accuracy:.1f}{greedy}, "
            f"pass@{session.x.eval.samples} {100 * measured.pass_rate:.1f} (%)"
        )
        evaluations.append(evaluation(session.x, name, asked, measured, stage))
    return evaluations


@dataclass(frozen=True)
class _Lesson:
    """What is trained on."""

    name: str
    bench: Benchmark
    questions: Questions


def _lesson(session: Session) -> _Lesson:
    x, accelerator = session.x, session.accelerator
    name = trained_bench(session.command)
    bench = _benchmark(name)
    folder = _folder_of(session.command, name)
    questions = open_questions(bench, "train", folder, x.data, session.seed, shuffle=True)
    session.say(f"train   {questions.source}, split 'train'")
    if x.train.prompts % accelerator.num_processes:
        raise UsageError(f"train.prompts={x.train.prompts} must be a multiple of {accelerator.num_processes} processes")
    return _Lesson(name, bench, questions)


def _train(session: Session, lesson: _Lesson) -> Trained:
    trainer = _trainer(session, Asker(session.policy, lesson.bench, session.x.prompt))
    reports = _train_with_progress(session, trainer, lesson.questions)
    session.policy.eval()
    if session.accelerator.is_main_process:
        session.say(f"saved   {export(session.policy, session.folder / 'model')}")
    return Trained(lesson.questions.source, lesson.name, "train", tuple(reports))


def _trainer(session: Session, asker: Asker) -> Trainer:
    x, accelerator, policy = session.x, session.accelerator, session.policy
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


def _train_with_progress(session: Session, trainer: Trainer, questions: Questions) -> list[StepReport]:
    reports: list[StepReport] = []
    accelerator = session.accelerator
    if session.command.tracker != "none":
        accelerator.init_trackers("credit_zoo", config={"operative": session.x.operative})
    with tqdm(total=session.x.train.steps, desc="train", disable=not accelerator.is_main_process) as bar:

        def report(step: StepReport) -> None:
            reports.append(step)
            bar.set_postfix(step.short(), refresh=False)
            bar.update()
            accelerator.log(step.scalars(), step=step.step)

        train_policy(trainer, questions, session.seed, report)
    accelerator.end_training()
    return reports


def _rescue(session: Session, error: Diverged) -> Path:
    """The policy, which the broken step has not touched, and what it was asked."""
    folder = session.folder / f"diverged-step-{error.step}"
    export(session.policy, folder)
    cells = [(question.id, question.text, question.answer) for question in error.questions]
    lines = ["\t".join(" ".join(cell.split()) for cell in each) for each in cells]
    atomic_write(folder / "prompts.tsv", "\n".join(lines) + "\n")
    return folder


def _finish(session: Session, run: record.RunRecord) -> None:
    """Writes the record, rewrites the leaderboard, prints the row."""
    results = Path(session.command.results)
    write(run, results)
    built = build(results)
    atomic_write(results.parent / "LEADERBOARD.md", built.page)
    for problem in built.problems:
        print(f"left out of the leaderboard: {problem}", file=sys.stderr)
    print(row(run))
