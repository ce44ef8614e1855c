"""Answers on disk as they come, so that a killed measurement goes on where it was, and a new grader needs no model.

A log is JSON lines: what was asked of whom, then a line for each question and pass with everything that a grader reads.
While a measurement goes on each of its processes writes a log of its own, a part; what follows a torn line of a part
is asked again. The finished measurement is one compressed log, sampled answers first, then the greedy ones, each in
the order of the questions.
"""

import fcntl
import gzip
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal, TextIO

from credit_zoo.errors import UsageError
from credit_zoo.evaluation.grading import Completions
from credit_zoo.question import Question
from credit_zoo.results import atomic_bytes, digest, plain
from credit_zoo.rollout import ProcessGroup

Pass = Literal["sampled", "greedy"]
PASSES: tuple[Pass, ...] = ("sampled", "greedy")
FORMAT = 2  # 1 had no places: its lines were in the order of the questions
ALONE = ProcessGroup()
GZIP = b"\x1f\x8b"
_FIELDS = tuple(field.name for field in fields(Question) if field.name != "image")


def full_head(head: Mapping[str, Any], questions: Sequence[Question]) -> dict[str, Any]:
    """What a log is known by: what was asked of whom, and the questions in every word."""
    asked = digest(json.dumps(_asked(question)) for question in questions)
    return {**json.loads(json.dumps(plain(head))), "format": FORMAT, "asked": asked}


def key_of(head: Mapping[str, Any]) -> str:
    """The name of a measurement: that of its full head."""
    return digest([json.dumps(head, sort_keys=True)])


class GenerationLog:
    """The open log of a measurement under way. `done` holds, per pass, the answers by the questions' places: at first
    those that an earlier start has left, whatever the number of its processes. Someone else who measures the same at
    the same time has a log of their own.
    """

    def __init__(
        self, folder: Path, head: Mapping[str, Any], questions: Sequence[Question], processes: ProcessGroup = ALONE
    ) -> None:
        self.head, self.processes = full_head(head, questions), processes
        self._questions, key = questions, key_of(self.head)
        folder.mkdir(parents=True, exist_ok=True)
        self._left = _claimed(folder, key) if processes.rank == 0 else []
        rows = processes.share([row for file in self._left for row in _rows(file, self.head)])
        self.done: dict[Pass, dict[int, Completions]] = {kind: {} for kind in PASSES}
        for kind, place, said in rows:
            self.done[kind][place] = said
        self._file = _new(folder, key)
        _write(self._file, [{"head": self.head}])

    def add(self, kind: Pass, answers: Sequence[tuple[int, Completions]]) -> None:
        """Appends answers with the places of their questions; they are on disk when this returns."""
        _write(self._file, [self._row(kind, place, said) for place, said in answers])
        self.done[kind] |= dict(answers)

    def _row(self, kind: Pass, place: int, said: Completions) -> dict[str, Any]:
        return {"pass": kind, "place": place, **_asked(self._questions[place]), **plain(said)}

    def keep(self, *paths: Path) -> None:
        """Writes the finished log, compressed, to every path, and removes its parts; all processes call this, with
        all answers in `done`.
        """
        if self.processes.rank == 0:
            rows = [self._row(kind, place, said) for kind in PASSES for place, said in sorted(self.done[kind].items())]
            content = gzip.compress(_lines([{"head": self.head}, *rows]).encode(), mtime=0)
            for path in paths:
                atomic_bytes(path, content)
        self.processes.share([])  # no part goes before the whole is on disk
        for file in (*self._left, self._file):
            Path(file.name).unlink(missing_ok=True)
            file.close()


def _lines(rows: Iterable[Mapping[str, Any]]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def _write(file: TextIO, rows: Iterable[Mapping[str, Any]]) -> None:
    file.write(_lines(rows))
    file.flush()
    os.fsync(file.fileno())


def _claimed(folder: Path, key: str) -> list[TextIO]:
    """The parts of that key that nobody is writing any more, locked."""
    found: list[TextIO] = []
    for path in sorted(folder.glob(f"{key}-*.jsonl")):
        try:
            file = path.open("r+", encoding="utf-8", errors="replace")  # a torn line may end inside a letter
        except FileNotFoundError:  # just finished by someone else
            continue
        if _lock(file):
            found.append(file)
    return found


def _new(folder: Path, key: str) -> TextIO:
    """A new part, locked."""
    for number in range(1, 1000):
        try:
            file = (folder / f"{key}-{number}.jsonl").open("x", encoding="utf-8")
        except FileExistsError:
            continue
        if _lock(file):
            return file
    raise UsageError(f"{folder} holds a thousand parts of one measurement: give another out=FOLDER")


def _lock(file: TextIO) -> bool:
    """Locks the file, or closes it if someone else has."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        return False
    return True


def _rows(file: TextIO, head: Mapping[str, Any]) -> list[tuple[Pass, int, Completions]]:
    """The answers of a part up to the first line that is not whole."""
    found: list[tuple[Pass, int, Completions]] = []
    for number, line in enumerate(iter(file.readline, "")):
        row = _row(line)
        if row is None or (number == 0 and row.get("head") != head):
            break
        if number:
            found.append((row["pass"], row["place"], _answered(row)))
    return found


def _asked(question: Question) -> dict[str, Any]:
    return {name: plain(getattr(question, name)) for name in _FIELDS}


def _row(line: str) -> dict[str, Any] | None:
    try:
        row = json.loads(line) if line.endswith("\n") else None
    except ValueError:
        return None
    return row if isinstance(row, dict) else None


def _answered(row: Mapping[str, Any]) -> Completions:
    return Completions(tuple(row["texts"]), tuple(row["truncated"]))


def read_generations(path: Path) -> tuple[dict[str, Any], list[Question], list[Completions], list[Completions] | None]:
    """What a finished log, or a part of one, holds: the head, the questions without their pictures, the sampled and
    the greedy answers, None where these are not whole.
    """
    try:
        content = path.read_bytes()
        whole = gzip.decompress(content) if content.startswith(GZIP) else content[: content.rindex(b"\n")]
        head, *rows = [json.loads(line) for line in whole.decode().strip().split("\n")]
        rows.sort(key=lambda row: row.get("place", 0))  # stable: older logs are in order
        sampled = [row for row in rows if row["pass"] == "sampled"]
        questions = [
            Question(**{name: row[name] for name in _FIELDS if name != "choices"}, image=None,
                     choices=tuple(row["choices"])) for row in sampled
        ]  # fmt: skip
        greedy = [_answered(row) for row in rows if row["pass"] == "greedy"]
        answers = [_answered(row) for row in sampled]
        return head["head"], questions, answers, greedy if 0 < len(greedy) == len(answers) else None
    except (OSError, EOFError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{path} is not a log of answers: {error}") from error
