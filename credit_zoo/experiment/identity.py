"""Which run this is: a new one, or under `resume=true` the unfinished one of the same settings."""

from dataclasses import replace
from pathlib import Path

from accelerate.utils import broadcast_object_list

from credit_zoo.experiment.context import RunContext
from credit_zoo.results import digest
from credit_zoo.training import mark_started, unfinished_runs


def with_identity(context: RunContext) -> RunContext:
    """The run with its place on disk: that of the one it goes on with, under resume=true, or a new one."""
    command = context.command
    key = digest([*_identity_lines(context), str(context.seed), context.weights])
    found = unfinished_runs(Path(command.out), key)[-1:] if command.resume else []
    names = [(folder.name, created) for folder, created in found] or [(context.run_id, context.created)]
    (run_id, created) = broadcast_object_list(list(names[0]))
    context = replace(context, run_id=run_id, created=created)
    if found:
        context.log(f"resume  {context.folder}")
    elif command.resume:
        context.log(f"resume  no run of these settings, seed and weights stopped below {command.out}: a new one starts")
    if context.accelerator.is_main_process and not found:
        mark_started(context.folder, key, created)
    return context


def _identity_lines(context: RunContext) -> list[str]:
    """The words and settings that the outcome depends on: how a run is spread and how often it is saved do not."""
    beside = ("resume=", "out=", "results=", "tracker=", "seed=", "scale=", "parallel.", "checkpoint.")
    lines = [*sorted(context.command.arguments), *context.config.gin_text.split("\n")]
    return [line for line in lines if not line.startswith(beside)]
