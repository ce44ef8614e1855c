"""What all commands have in common: one grammar, `--help`, `--version`, and how each of them ends.

    python -m credit_zoo.NAME SETTING=VALUE ...        credit-zoo NAME SETTING=VALUE ...

`--setting value`, `--setting=value` and `--flag` are understood too.
"""

import errno
import importlib
import os
import sys
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from credit_zoo import __version__
from credit_zoo.cli.setting_docs import Setting, settings_of_class
from credit_zoo.cli.settings import from_arguments
from credit_zoo.errors import UsageError
from credit_zoo.registry import BENCHMARKS, SHAPERS

WIDTH = 120
_FULL_OR_CLOSED = (
    errno.ENOENT,
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENOSPC,
    errno.EDQUOT,
    errno.ENOTDIR,
    errno.EISDIR,
)
INTERRUPTED = 130  # as shells have it: 128 and the number of SIGINT


@dataclass(frozen=True)
class CommandLine:
    """A command of one group of settings.

    `settings` is `package.module:Class`, read from the source for `--help` and imported to run; `run` is the
    `package.module:function` that takes an instance and returns the exit status. Words without `=` go to the setting
    `listed`, if there is one.
    """

    name: str
    about: str
    settings: str
    run: str
    listed: str = ""
    examples: tuple[str, ...] = ()
    renamed: Mapping[str, str] = field(default_factory=dict)  # old names that go on working, with a warning

    def __call__(self, arguments: Sequence[str]) -> int:
        """Returns the exit status: 2 for words that cannot be used, otherwise the function's own."""
        return guarded(self._answer, arguments)

    def _answer(self, arguments: Sequence[str]) -> int:
        if asks_for_help(arguments):
            print(self.help())
            return 0
        if "--version" in arguments:
            print(f"credit_zoo {__version__}")
            return 0
        words = self._with_plugins(self._normal(arguments))
        module, _, name = self.settings.partition(":")
        made = from_arguments(getattr(importlib.import_module(module), name), words, self.name)
        module, _, name = self.run.partition(":")
        return int(getattr(importlib.import_module(module), name)(made))

    def help(self) -> str:
        """Grammar, settings with types and defaults, examples."""
        listed = f" {self.listed.upper()} ..." if self.listed else ""
        rows = [one for one in settings_of_class(self.settings)]
        rows += [Setting("plugins", "files or folders", "", "with more shapers and benchmarks, separated by commas")]
        return "\n".join(
            [
                f"usage: python -m credit_zoo.{self.name}{listed} [SETTING=VALUE ...]",
                "",
                self.about.strip(),
                "",
                "settings",
                *setting_lines(rows),
                "",
                "examples",
                *(f"  python -m credit_zoo.{self.name} {example}".rstrip() for example in self.examples),
            ]
        )

    def _normal(self, arguments: Sequence[str]) -> list[str]:
        """Every word as SETTING=VALUE."""
        kinds = {one.name: one.kind for one in settings_of_class(self.settings)}
        words, listed, rest = [], [], list(arguments)
        while rest:
            word = rest.pop(0)
            if word.startswith("--"):
                name, equals, value = word[2:].partition("=")
                name = name.replace("-", "_")
                if not equals:
                    flag = kinds.get(name) == "true or false"
                    if not flag and not rest:
                        raise UsageError(f"'{word}' lacks its value: say {name}=VALUE")
                    value = "true" if flag else rest.pop(0)
                words.append(f"{name}={value}")
            elif "=" not in word.partition("/")[0] and self.listed:
                listed.append(word)
            else:
                words.append(word)
        return [current_name(one, self.renamed) for one in words] + [f"{self.listed}={','.join(listed)}"][: len(listed)]

    def _with_plugins(self, words: Sequence[str]) -> list[str]:
        for word in words:
            if word.startswith("plugins="):
                add_plugins(word.partition("=")[2])
        return [word for word in words if not word.startswith("plugins=")]


def current_name(word: str, renamed: Mapping[str, str]) -> str:
    """The word under the name that its setting has now; an old one is named on stderr."""
    name, equals, value = word.partition("=")
    if name not in renamed:
        return word
    print(f"credit_zoo: {name} is called {renamed[name]} now; the old name goes in version 0.3", file=sys.stderr)
    return f"{renamed[name]}{equals}{value}"


def add_plugins(text: str) -> tuple[str, ...]:
    """Enters the shapers and benchmarks of files and folders, separated by commas; returns their paths."""
    paths = tuple(text.split(","))
    for path in paths:
        if not path:
            raise UsageError("plugins= must be files or folders, separated by commas, with nothing empty between")
        SHAPERS.add_plugin(Path(path))
        BENCHMARKS.add_plugin(Path(path))
    return paths


def asks_for_help(arguments: Sequence[str]) -> bool:
    """Whether a word asks for the help."""
    return any(word in ("-h", "--help", "help") for word in arguments)


def setting_lines(settings: Sequence[Setting], group: str = "") -> list[str]:
    """One line a setting, continued where it is long: name, default, type, meaning."""
    lines = []
    for one in settings:
        name = f"{group}.{one.name}" if group else one.name
        text = ". ".join(part for part in (one.kind, one.meaning) if part)
        head = f"  {f'{name}={one.default}':<36} "
        lines += textwrap.wrap(text, WIDTH, initial_indent=head, subsequent_indent=" " * 39) or [head.rstrip()]
    return lines


def guarded(command: Callable[[Sequence[str]], int], arguments: Sequence[str]) -> int:
    """Runs a command; what cannot be done is said in a sentence on stderr, never in a traceback.

    Returns the command's own status, 2 for words that cannot be used, 1 for a file or folder that cannot be written,
    130 when Ctrl-C stopped it.
    """
    try:
        return command(arguments)
    except UsageError as error:
        return _said(str(error), 2)
    except KeyboardInterrupt:
        return _said("stopped by Ctrl-C", INTERRUPTED)
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        if error.errno not in _FULL_OR_CLOSED:
            raise
        return _said(f"{error.filename or 'a file'} cannot be written or read: {error.strerror}", 1)


def _said(text: str, status: int) -> int:
    print(f"credit_zoo: {text}", file=sys.stderr)
    return status


def start(command: Callable[[Sequence[str]], Any]) -> None:
    """Ends the process with the status of a command on its words."""
    sys.exit(command(sys.argv[1:]))
