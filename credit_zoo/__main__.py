"""Lists the commands, and starts one: `python -m credit_zoo NAME ...`, or `credit-zoo NAME ...`."""

import sys
from collections.abc import Sequence

from credit_zoo import __version__
from credit_zoo.cli import MODULES, asks_for_help, command_of, guarded, summary_of
from credit_zoo.errors import unknown


def help_text() -> str:
    """Every command with a line."""
    rows = [f"  {name:<13} {summary_of(name)}" for name in MODULES]
    usage = "usage: credit-zoo COMMAND NAME=VALUE ...        the same as: python -m credit_zoo.COMMAND NAME=VALUE ..."
    return "\n".join([usage, "", "commands", *rows, "", "`credit-zoo COMMAND --help` shows the words of one."])


def _start(arguments: Sequence[str]) -> int:
    if arguments and arguments[0] in MODULES:
        return command_of(arguments[0])(arguments[1:])
    if "--version" in arguments:
        print(f"credit_zoo {__version__}")
    elif not arguments or asks_for_help(arguments):
        print(help_text())
    else:
        raise unknown("command", arguments[0], MODULES)
    return 0


def main() -> int:
    """The console script `credit-zoo`; returns the exit status."""
    return guarded(_start, sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
