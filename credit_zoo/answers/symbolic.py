"""Symbolic equality by math-verify, a second opinion on answers that our own parser calls wrong; never a reward.

Such a library may think for minutes about a short string. So a text is screened first (length, characters, names,
size of powers), and what is left is compared in a process of its own, with a limit on its memory, that is killed
when it does not answer in time. A text that is screened out, or takes too long, is no equal.
"""

import json
import re
import resource
import selectors
import subprocess
import sys
from importlib.util import find_spec
from types import TracebackType

from credit_zoo.errors import UsageError

MAX_LENGTH = 100
SECONDS = 2.0
MEMORY = 2 * 2**30  # bytes of address space
_ALLOWED = re.compile(r"[0-9A-Za-z\\{}()^*+/=.,<> |°%-]*")
_NAMES = {"frac", "dfrac", "sqrt", "pi", "cdot", "times", "left", "right", "circ", "theta", "sin", "cos", "tan"}
_POWER = re.compile(r"\^\s*\{?\s*(?:-?\d{1,2}(?!\d)\s*\}?|\\circ\s*\}?)")
_TOWER = re.compile(r"\^\s*\{?\s*-?\d*\s*\}?\s*\^|\^\s*\{[^}]*\^")


def admissible(text: str) -> bool:
    """Whether a text is short and plain enough to be looked at."""
    if len(text) > MAX_LENGTH or not _ALLOWED.fullmatch(text):
        return False
    names = re.findall(r"\\([A-Za-z]+)", text)
    words = re.findall(r"(?<![\\A-Za-z])[A-Za-z]{2,}", text)
    powers = text.count("^") == len(_POWER.findall(text)) and not _TOWER.search(text) and "**" not in text
    return set(names) <= _NAMES and not words and powers


class Symbolic:
    """A context in which `same` may be asked; its process starts with the first question."""

    def __init__(self) -> None:
        if find_spec("math_verify") is None:
            raise UsageError("symbolic comparison needs the library math-verify: pip install 'credit_zoo[symbolic]'")
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> "Symbolic":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stop()

    def same(self, answer: str, truth: str) -> bool:
        """Whether the two are the same expression."""
        if not (answer.strip() and admissible(answer) and admissible(truth)):
            return False
        process = self._process = self._process or self._start()
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(json.dumps([answer, truth]) + "\n")
            process.stdin.flush()
            with selectors.DefaultSelector() as selector:
                selector.register(process.stdout, selectors.EVENT_READ)
                line = process.stdout.readline() if selector.select(SECONDS) else ""
        except BrokenPipeError:
            line = ""
        if not line:
            self._stop()
        return line.strip() == "true"

    @staticmethod
    def _start() -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [sys.executable, "-m", "credit_zoo.answers.symbolic"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        assert process.stdout is not None
        process.stdout.readline()  # the import takes seconds, and is nobody's answer
        return process

    def _stop(self) -> None:
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None


def serve() -> None:
    """Answers pairs on standard input, a line each, until it ends."""
    from math_verify import LatexExtractionConfig, parse, verify

    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    # LaTeX alone: the library reads plain expressions with a parser that evaluates.
    config = [LatexExtractionConfig()]
    print("ready", flush=True)
    for line in sys.stdin:
        try:
            answer, truth = (parse(f"${text}$", extraction_config=config) for text in json.loads(line))
            found = bool(answer and truth and verify(truth, answer))
        except Exception:  # whatever it raises, it found no equality
            found = False
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    serve()
