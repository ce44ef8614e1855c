"""Trains a policy with a rule, measures it before and after, and writes a record.

python -m credit_zoo.run AXIS=NAME ... [THING.SETTING=VALUE ...]
"""

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from credit_zoo import __version__
from credit_zoo.cli import (
    AXES,
    GROUPS,
    OPTIONS,
    Command,
    add_plugins,
    asks_for_help,
    explanation_of,
    gin_files,
    guarded,
    parse,
    setting_lines,
    settings_of_class,
    start,
    summary,
)
from credit_zoo.registry import BENCHMARKS, SHAPERS, VIEWS, Registry

if TYPE_CHECKING:
    from credit_zoo.results import RunRecord

EXAMPLES = """examples
  python -m credit_zoo.run shaper=pepo bench=mathvista
  python -m credit_zoo.run shaper=pepo base=dapo bench=geometry3k,mathvista pepo.alpha=0.1 seed=0,1,2
  python -m credit_zoo.run bench=puzzles data=FOLDER eval_only=true
  python -m credit_zoo.run explain=pepo
  python -m credit_zoo.run dry_run=true shaper=pepo"""


def help_text() -> str:
    """The grammar, every name there is, and every setting; imports nothing heavy."""
    lines = [
        "usage: python -m credit_zoo.run AXIS=NAME ... [THING.SETTING=VALUE ...]",
        "",
        "A word without a dot picks one of the names below or sets a run option; a word with a dot changes one setting",
        f"(train.lr, pepo.alpha, eval.questions ...). Axes: {', '.join(AXES)}. No quotes needed.",
        "",
        *_block("shaper", _registered(SHAPERS)),
        *_block("bench", [(name, f"{text} [trains on {_trained(name)}]") for name, text in _registered(BENCHMARKS)]),
    ]
    for axis in ("base", "model", "scale"):
        lines += _block(axis, [(name, summary(path)) for name, path in gin_files(axis).items()])
    lines += _block("view", _registered(VIEWS))
    lines += _block("options", OPTIONS.items())
    lines += [
        "settings; those of a rule, a base, a piece of one, a benchmark or a view: explain=NAME. The files of scale,",
        "model, base, bench and rule set some of them: dry_run=true shows what a run takes",
    ]
    for group, target in GROUPS.items():
        lines += [*setting_lines(settings_of_class(target), group)]
    return "\n".join([*lines, "", EXAMPLES])


def _trained(bench: str) -> str:
    return BENCHMARKS.listings()[bench].trains_on or bench


def _registered(registry: Registry[Any]) -> list[tuple[str, str]]:
    return [(name, f"{one.summary} {one.paper}".strip()) for name, one in sorted(registry.listings().items())]


def _block(title: str, rows: Iterable[tuple[str, str]]) -> list[str]:
    lines = [f"  {name:<15} {text if len(text) <= 100 else text[:97] + '...'}" for name, text in rows]
    return [title, *lines, ""]


def main(arguments: Sequence[str]) -> int:
    """Runs the command; returns the exit status: 0, 1 for a run that broke, 2 for words that cannot be used, and as
    shells have it 128 and the signal's number for one that was stopped.
    """
    return guarded(_answer, arguments)


def _answer(arguments: Sequence[str]) -> int:
    arguments = [word for word in arguments if not word.startswith("--local_rank=")]  # deepspeed's launcher adds it
    if not arguments or asks_for_help(arguments):
        for word in arguments:
            if word.startswith("plugins="):
                add_plugins(word.partition("=")[2])
        print(help_text())
        return 0
    if "--version" in arguments:
        print(f"credit_zoo {__version__}")
        return 0
    return _run(parse(arguments))


def _run(command: Command) -> int:
    if command.explain:
        print(explanation_of(command.explain))
        return 0
    from credit_zoo.experiment import publish, resolve, run_experiment
    from credit_zoo.training import part_processes

    config = resolve(command)
    if command.dry_run:
        from credit_zoo.experiment import plan_lines, process_lines

        vllm = config.rollout.engine == "vllm"
        lines = plan_lines(config.model, command.model, config.train, config.sampling, config.parallel, vllm)
        shared = process_lines(config) if config.parallel.processes > 1 else ()
        print(config.gin_text, *lines, *shared, sep="\n")
        return 0
    outcomes = []
    for seed in command.seeds:
        outcomes.append(run_experiment(command, config, seed))
        if outcomes[-1].status >= 128:  # told to stop: so are the seeds behind it
            break
    if any(outcome.record for outcome in outcomes):  # the main process writes records, and so the page
        publish(Path(command.results))
    status = max(outcome.status for outcome in outcomes)
    part_processes(together=status != 1)  # 1: broken, perhaps this one alone
    return status


class _Run(ModuleType):
    """`credit_zoo.run(...)` is the library's function, and `credit_zoo.run` the module of the command."""

    def __call__(self, *arguments: str, **named: Any) -> "list[RunRecord]":
        from credit_zoo.api import run

        return run(*arguments, **named)


sys.modules[__name__].__class__ = _Run

if __name__ == "__main__":
    start(main)
