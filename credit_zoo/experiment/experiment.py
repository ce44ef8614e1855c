"""One run from start to record: load, measure, train, measure again, write."""

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from accelerate import PartialState

from credit_zoo.cli import Command
from credit_zoo.experiment.config import ExperimentConfig
from credit_zoo.experiment.context import RunContext, TrainingSummary, run_record
from credit_zoo.experiment.evaluate import check_data, eval_set, evaluate_all, release
from credit_zoo.experiment.model_card import write_card
from credit_zoo.experiment.preflight import check_first
from credit_zoo.experiment.run_identity import AlreadyFinished, with_identity
from credit_zoo.experiment.setup import log_setup, open_run
from credit_zoo.experiment.training_run import save_diverged, train, training_set, warn_of_overlap
from credit_zoo.objective import ContractError
from credit_zoo.policy import export_policy
from credit_zoo.results import record, write
from credit_zoo.training import Diverged, OutOfMemory, Stopped, mark_finished, memory_of, sync


@dataclass(frozen=True)
class Outcome:
    """How a run ended: `status` is 0, 1 for a run that broke (its checkpoint is named), and as shells have it 128 and
    the signal's number for one that was told to stop; `record` is the file that it wrote, on the main process.
    """

    status: int
    record: Path | None = None


def run_experiment(command: Command, config: ExperimentConfig, seed: int) -> Outcome:
    """Runs one seed."""
    try:
        return _run(command, config, seed)
    except AlreadyFinished as error:
        if PartialState().is_main_process:
            print(f"resume  seed {seed} is finished: {error.record}", flush=True)
        return Outcome(0)
    except OutOfMemory as error:
        print(f"credit_zoo: {error}; with resume=true it goes on from its last save", file=sys.stderr)
        return Outcome(1)


def _run(command: Command, config: ExperimentConfig, seed: int) -> Outcome:
    started = time.perf_counter()
    check_first(command, config)
    check_data(command, config)
    context = open_run(command, config, seed)
    log_setup(context)
    sets = {name: eval_set(context, name) for name in command.bench}
    if command.eval_only:
        context = with_identity(context, sets)
        with memory_of("measuring"):
            after = evaluate_all(context, sets, "after")
        return _finish(context, after, None, time.perf_counter() - started)
    questions = training_set(context)
    warn_of_overlap(context, questions, sets)
    context = with_identity(context, sets, questions.questions.source)
    with memory_of("measuring"):
        before = evaluate_all(context, sets, "before")
    try:
        with memory_of("training"):
            trained, trainer = train(context, questions, sets, started)
    except Diverged as error:
        if context.accelerator.is_main_process:
            if config.parallel.zero == "none":
                left = f"The policy before the step and the prompts: {save_diverged(context, error)}"
            else:  # it clips and steps in one
                left = f"DeepSpeed may have spoilt the weights by now; the saves, if any: {context.folder / 'saves'}"
            print(f"credit_zoo: {error}\n{left}", file=sys.stderr)
        return Outcome(1)
    except ContractError as error:
        print(
            f"credit_zoo: {error}. Nothing is recorded; `credit_zoo.testing` finds such a rule.",
            file=sys.stderr,
        )
        return Outcome(1)
    except Stopped as error:
        context.log(f"stopped after step {error.step}, all saved: the same command with resume=true goes on from there")
        return Outcome(error.status)
    with trainer.engine.whole():
        context.policy.eval()
        sync(trainer)
        if context.accelerator.is_main_process:
            context.log(f"saved   {export_policy(context.policy, context.folder / 'model')}")
        with memory_of("measuring"):
            after = evaluate_all(context, sets, "after")
        return _finish(context, [*before, *after], trained.summary, trained.before + time.perf_counter() - started)


def _finish(
    context: RunContext, evaluations: Sequence[record.Evaluation], trained: TrainingSummary | None, seconds: float
) -> Outcome:
    """Writes the record, prints the row and where the record lies."""
    # Not from the top: pandas takes a second, and is wanted when all is done.
    from credit_zoo.leaderboard import row

    if not context.accelerator.is_main_process:
        return Outcome(0)
    run, results = run_record(context, evaluations, trained, seconds), Path(context.command.results)
    written = write(run, results)
    if trained is not None:
        context.log(f"card    {write_card(run, context.config.model, context.folder / 'model')}")
    mark_finished(context.folder)
    release(context)
    print(row(run, results.resolve()))
    return Outcome(0, written)


def publish(results: Path) -> None:
    """Rewrites the leaderboard beside a folder of records, on the first process alone.

    To be called once a command, after its last seed: every record is read, and between two seeds, or while a model is
    gathered, the other processes would wait for it.
    """
    from credit_zoo.leaderboard import build, page_folder, write_sections

    if not PartialState().is_main_process or not results.is_dir():
        return
    built = build(results)
    write_sections(built, page_folder(results) / "LEADERBOARD.md")
    for problem in built.problems:
        print(f"left out of the leaderboard: {problem}", file=sys.stderr)
