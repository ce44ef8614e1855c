"""One run from start to record: load, measure, train, measure again, write."""

import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from credit_zoo.cli import Command
from credit_zoo.experiment.config import ExperimentConfig
from credit_zoo.experiment.context import RunContext, TrainingSummary, run_record
from credit_zoo.experiment.identity import with_identity
from credit_zoo.experiment.measuring import check_data, eval_set, evaluate_all
from credit_zoo.experiment.opening import log_setup, open_run
from credit_zoo.experiment.training_run import save_diverged, train, training_set, warn_of_overlap
from credit_zoo.leaderboard import build, row
from credit_zoo.objective import ContractError
from credit_zoo.policy import export_policy
from credit_zoo.results import atomic_write, record, write
from credit_zoo.training import Diverged, Stopped, mark_finished, sync

SMALLER_STEPS = (
    "Set train.micro_tokens, halve train.micro_batch or model.logits_at_once, "
    "set model.gradient_checkpointing=true, or split more with "
    "parallel.zero; the same command with resume=true goes on from the last save."
)


def run_experiment(command: Command, config: ExperimentConfig, seed: int) -> int:
    """Runs one seed; returns the exit status: 0, 1 for a run that broke (its checkpoint is named), and as shells
    have it 128 and the signal's number for one that was told to stop.
    """
    started = time.perf_counter()
    check_data(command, config)
    context = open_run(command, config, seed)
    log_setup(context)
    sets = {name: eval_set(context, name) for name in command.bench}
    if command.eval_only:
        _finish(context, evaluate_all(context, sets, "after"), None, time.perf_counter() - started)
        return 0
    questions = training_set(context)
    warn_of_overlap(context, questions, sets)
    context = with_identity(context)
    before = evaluate_all(context, sets, "before")
    try:
        trained, trainer = train(context, questions, started)
    except Diverged as error:
        if context.accelerator.is_main_process:
            if config.parallel.zero == "none":
                left = f"The policy before the step and the prompts: {save_diverged(context, error)}"
            else:  # it clips and steps in one
                left = f"DeepSpeed may have spoilt the weights by now; the saves, if any: {context.folder / 'saves'}"
            print(f"credit_zoo: {error}\n{left}", file=sys.stderr)
        return 1
    except ContractError as error:
        print(
            f"credit_zoo: {error}. Nothing is recorded; `credit_zoo.testing` finds such a rule.",
            file=sys.stderr,
        )
        return 1
    except torch.OutOfMemoryError as error:
        print(f"credit_zoo: out of memory ({str(error).splitlines()[0]}) {SMALLER_STEPS}", file=sys.stderr)
        return 1
    except Stopped as error:
        context.log(f"stopped after step {error.step}, all saved: the same command with resume=true goes on from there")
        return error.status
    with trainer.engine.whole():
        context.policy.eval()
        sync(trainer)
        if context.accelerator.is_main_process:
            context.log(f"saved   {export_policy(context.policy, context.folder / 'model')}")
        after = evaluate_all(context, sets, "after")
        _finish(context, [*before, *after], trained.summary, trained.before + time.perf_counter() - started)
    return 0


def _finish(
    context: RunContext, evaluations: Sequence[record.Evaluation], trained: TrainingSummary | None, seconds: float
) -> None:
    """Writes the record, rewrites the leaderboard, prints the row."""
    if not context.accelerator.is_main_process:
        return
    run, results = run_record(context, evaluations, trained, seconds), Path(context.command.results)
    write(run, results)
    if trained:
        mark_finished(context.folder)
    built = build(results)
    atomic_write(results.parent / "LEADERBOARD.md", built.page)
    for problem in built.problems:
        print(f"left out of the leaderboard: {problem}", file=sys.stderr)
    print(row(run))
