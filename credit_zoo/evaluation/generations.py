"""Answers on disk as they come, so that a killed measurement goes on where it was, and a new grader needs no model.

A log is JSON lines: what was asked of whom, then a line for each question and pass with everything that a grader reads.
While a measurement goes on each of its processes writes a log of its own, a part; what follows a torn line of a part
is asked again. The finished measurement is one compressed log, sampled answers first, then the greedy ones, each in
the order of the questions.
"""

import fcntl
import gzip
import io
import json
import os
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from itertools import chain
from pathlib import Path
from typing import Any, Literal, TextIO, TypeVar

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
T = TypeVar("T")
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
            answers = ((kind, place) for kind in PASSES for place in sorted(self.done[kind]))
            rows = (self._row(kind, place, self.done[kind][place]) for kind, place in answers)
            content = _zipped(chain([{"head": self.head}], rows))
            for path in paths:
                atomic_bytes(path, content)
        self.processes.share([])  # no part goes before the whole is on disk
        for file in (*self._left, self._file):
            Path(file.name).unlink(missing_ok=True)
            file.close()


def _line(row: Mapping[str, Any]) -> str:
    return json.dumps(row, ensure_ascii=False) + "\n"


def _zipped(rows: Iterable[Mapping[str, Any]]) -> bytes:
    """A compressed log; its text is never there as a whole."""
    content = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", fileobj=content, mtime=0) as file:
        for row in rows:
            file.write(_line(row).encode())
    return content.getvalue()


def _write(file: TextIO, rows: Iterable[Mapping[str, Any]]) -> None:
    file.writelines(map(_line, rows))
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


def read_head(path: Path) -> dict[str, Any]:
    """What a finished log, or a part of one, was asked; its answers are not read."""
    with _readable(path) as rows:
        return _head(rows)


def read_generations(path: Path) -> tuple[dict[str, Any], list[Question], list[Completions], list[Completions] | None]:
    """What a finished log, or a part of one, holds: the head, the questions without their pictures, the sampled and
    the greedy answers, None where these are not whole.
    """
    said: dict[str, list[tuple[int, Completions]]] = {kind: [] for kind in PASSES}
    questions: list[tuple[int, Question]] = []
    with _readable(path) as rows:
        head = _head(rows)
        for row in rows:
            place = row.get("place", 0)
            said[row["pass"]].append((place, _answered(row)))
            if row["pass"] == "sampled":
                questions.append((place, _question(row)))
    sampled, greedy = (_in_order(said[kind]) for kind in PASSES)
    return head, _in_order(questions), sampled, greedy if 0 < len(greedy) == len(sampled) else None


@contextmanager
def _readable(path: Path) -> Iterator[Iterator[dict[str, Any]]]:
    """The rows of a log as they are read, one after the other; what is no log is named."""
    try:
        with path.open("rb") as raw:
            zipped = raw.read(len(GZIP)) == GZIP
            raw.seek(0)
            # Of a part the last line may be torn.
            lines = gzip.GzipFile(fileobj=raw) if zipped else (line for line in raw if line.endswith(b"\n"))
            yield (json.loads(line) for line in lines)
    except (OSError, EOFError, ValueError, KeyError, TypeError, AttributeError, zlib.error) as error:
        raise UsageError(f"{path} is not a log of answers: {error}") from error


def _head(rows: Iterator[dict[str, Any]]) -> dict[str, Any]:
    first = next(rows, None)
    if first is None:
        raise ValueError("it is empty")
    head: dict[str, Any] = first["head"]
    return head


def _question(row: Mapping[str, Any]) -> Question:
    told = {name: row[name] for name in _FIELDS if name != "choices"}
    return Question(**told, image=None, choices=tuple(row["choices"]))


def _in_order(placed: list[tuple[int, T]]) -> list[T]:
    """By place; stable, as older logs have none and are in order."""
    return [one for _, one in sorted(placed, key=lambda pair: pair[0])]
