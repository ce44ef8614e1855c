"""The command: `python -m credit_zoo.run AXIS=NAME ... [THING.SETTING=VALUE ...]`."""

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from credit_zoo.cli import AXES, OPTIONS, Command, gin_files, parse, summary
from credit_zoo.registry import BENCHMARKS, SHAPERS, Registry, UsageError

EXAMPLES = """examples
  python -m credit_zoo.run shaper=pepo bench=mathvista
  python -m credit_zoo.run shaper=pepo base=dapo bench=geometry3k,mathvista pepo.alpha=0.1 seed=0,1,2
  python -m credit_zoo.run bench=puzzles data=FOLDER eval_only=true
  python -m credit_zoo.run explain=pepo
  python -m credit_zoo.run dry_run=true shaper=pepo"""


def help_text() -> str:
    """The grammar and every name there is; imports nothing heavy."""
    lines = [
        "usage: python -m credit_zoo.run AXIS=NAME ... [THING.SETTING=VALUE ...]",
        "",
        "A word without a dot picks one of the names below or sets a run option; a word with a dot changes one setting",
        f"(train.lr, pepo.alpha, eval.questions ...). Axes: {', '.join(AXES)}. No quotes needed.",
        "",
        *_block("shaper", _registered(SHAPERS)),
        *_block("bench", _registered(BENCHMARKS)),
    ]
    for axis in ("base", "model", "scale"):
        lines += _block(axis, [(name, summary(path)) for name, path in gin_files(axis).items()])
    lines += _block("options", OPTIONS.items())
    return "\n".join([*lines, EXAMPLES])


def _registered(registry: Registry[Any]) -> list[tuple[str, str]]:
    return [(name, f"{one.summary} {one.paper}".strip()) for name, one in sorted(registry.listings().items())]


def _block(title: str, rows: Iterable[tuple[str, str]]) -> list[str]:
    lines = [f"  {name:<15} {text if len(text) <= 100 else text[:97] + '...'}" for name, text in rows]
    return [title, *lines, ""]


def explain(name: str) -> str:
    """A shaper's docstring, settings and facts."""
    from dataclasses import fields

    entry = SHAPERS[name]
    settings = [f"  {name}.{f.name} = {f.default}" for f in fields(entry.factory)] or ["  none"]
    facts = entry.facts
    promises = [f"scope: {facts.scope}", f"signals: {', '.join(facts.needs) or 'none'}"]
    promises += ["the mean over tokens is the response's advantage"] if facts.preserves_mean else []
    promises += ["no token's sign is turned"] if facts.preserves_sign else []
    if facts.reduces_to:
        changed = ", ".join(f"{name}.{key}={value}" for key, value in facts.reduces_to[1].items())
        promises.append(f"equals {facts.reduces_to[0]} at {changed or 'its defaults'}")
    return "\n".join(
        [entry.doc.strip(), "", "Settings", *settings, "", "Declared and tested", *(f"  {line}" for line in promises)]
    )


def main(arguments: Sequence[str]) -> int:
    """Runs the command; returns the exit status: 0, 1 for a run that broke, 2 for words that cannot be used."""
    try:
        arguments = [word for word in arguments if not word.startswith("--local_rank=")]  # deepspeed's launcher adds it
        if any(word in ("-h", "--help", "help") for word in arguments):
            parse([word for word in arguments if word.startswith("plugins=")])
            print(help_text())
            return 0
        return _run(parse(arguments))
    except UsageError as error:
        print(f"credit_zoo: {error}", file=sys.stderr)
        return 2


def _run(command: Command) -> int:
    if command.explain:
        print(explain(command.explain))
        return 0
    from credit_zoo.experiment import publish, resolve, run_experiment

    experiment = resolve(command)
    if command.dry_run:
        from credit_zoo.experiment import plan_lines

        config = experiment
        print(
            config.gin_text,
            *plan_lines(config.model, command.model, config.train, config.sampling, config.parallel),
            sep="\n",
        )
        return 0
    status = max(run_experiment(command, experiment, seed) for seed in command.seeds)
    publish(Path(command.results))
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
