"""What is checked before anything is loaded: that the rule keeps its contract, and that the results can be written."""

import os
import tempfile
from pathlib import Path

from credit_zoo.cli import Command, trained_bench
from credit_zoo.errors import UsageError
from credit_zoo.experiment.config import ExperimentConfig, benchmark
from credit_zoo.registry import SHAPERS
from credit_zoo.testing import NUMBERS, check_shaper


def check_first(command: Command, config: ExperimentConfig) -> None:
    """Raises `UsageError` for a folder that cannot be written, or a rule that breaks its contract."""
    if Path(command.out).resolve() == Path(command.results).resolve():
        raise UsageError(f"out= and results= are both {command.out}: records need a folder of their own")
    for option, folder in (("out", command.out), ("results", command.results)):
        check_writable(option, Path(folder))
    for name in command.bench:
        check_benchmark(command, name)
    if not command.eval_only:
        check_benchmark(command, trained_bench(command))
        check_rule(config)


def check_benchmark(command: Command, name: str) -> None:
    """A benchmark offers all that is asked of one."""
    made = benchmark(command, name)
    lacking = [part for part in ("load", "prompt", "score", "twin") if not hasattr(made, part)]
    if lacking:
        raise UsageError(f"benchmark '{name}' lacks {', '.join(lacking)}: see CONTRIBUTING.md for what one offers")


def check_writable(option: str, folder: Path) -> None:
    """Makes the folder and writes a file to it, which goes again."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=folder, prefix=".writable-")
        os.close(handle)
        Path(name).unlink()
    except OSError as error:
        raise UsageError(
            f"{option}={folder} cannot be written: {error.strerror}. Give another {option}=FOLDER"
        ) from error


def check_rule(config: ExperimentConfig) -> None:
    """Holds the rule, with its settings, to everything that it is declared to be, on small hard inputs."""
    try:
        check_shaper(config.shaper, NUMBERS)
    except UsageError:
        raise
    except Exception as error:  # an assertion of the contract, or whatever the rule's own code raises
        name = SHAPERS.of(config.shaper).name
        what = str(error) if isinstance(error, AssertionError) else f"shaper '{name}': {type(error).__name__}: {error}"
        raise UsageError(f"{what}. Nothing was trained; `credit_zoo.check_shaper('{name}')` says the same") from error
