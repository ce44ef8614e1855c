"""Answers on disk as they come, so that a killed measurement goes on where it was, and a new grader needs no model.

A log is JSON lines: what was asked of whom, then a line per question with everything that a grader reads. Answers
come in the order of the questions, first the sampled ones, then the greedy ones; what follows a torn line is asked
again.
"""

import fcntl
import gzip
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal, TextIO

from credit_zoo.evaluation.grading import Completions
from credit_zoo.question import Question
from credit_zoo.registry import UsageError
from credit_zoo.results import atomic_bytes, digest, plain

Pass = Literal["sampled", "greedy"]
_FIELDS = tuple(field.name for field in fields(Question) if field.name != "image")


class GenerationLog:
    """An open log; `done` holds the answers per pass. One process writes it: a second one gets a log of its own."""

    def __init__(self, folder: Path, head: Mapping[str, Any], questions: Sequence[Question]) -> None:
        self.head = {**head, "asked": digest(json.dumps(_asked(question)) for question in questions)}
        self.questions = questions
        self.done: dict[Pass, list[Completions]] = {"sampled": [], "greedy": []}
        folder.mkdir(parents=True, exist_ok=True)
        name = digest([json.dumps(self.head, sort_keys=True)])
        self._file = _locked(folder, name)
        self._read()

    def _read(self) -> None:
        """Takes what an earlier start has left, up to the first line that is not whole."""
        self._file.seek(0)
        good = 0
        for number, line in enumerate(iter(self._file.readline, "")):
            row = _row(line)
            if row is None or (number == 0) != ("head" in row):
                break
            if number:
                self.done[row["pass"]].append(_answered(row))
            good = self._file.tell()
        self._file.seek(good)
        self._file.truncate()
        if not good:
            self._write([{"head": self.head}])

    def add(self, kind: Pass, answers: Sequence[Completions]) -> None:
        """Appends the answers to the next questions of a pass; they are on disk when this returns."""
        start = len(self.done[kind])
        asked = self.questions[start : start + len(answers)]
        self._write([{"pass": kind, **_asked(q), **plain(said)} for q, said in zip(asked, answers, strict=True)])
        self.done[kind] += answers

    def _write(self, rows: Sequence[Mapping[str, Any]]) -> None:
        self._file.write("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
        self._file.flush()
        os.fsync(self._file.fileno())

    def keep(self, path: Path) -> None:
        """Moves the finished log, compressed, to `path`."""
        self._file.seek(0)
        atomic_bytes(path, gzip.compress(self._file.read().encode(), mtime=0))
        Path(self._file.name).unlink()
        self._file.close()


def _locked(folder: Path, name: str) -> TextIO:
    """The first log of that name that nobody else is writing."""
    for number in range(1, 1000):
        file = (folder / f"{name}-{number}.jsonl").open("a+", encoding="utf-8")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.close()
        else:
            return file
    raise UsageError(f"{folder} holds a thousand measurements of the same kind under way: give another out=FOLDER")


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
    """What a kept log holds: the head, the questions without their pictures, the sampled and the greedy answers."""
    try:
        head, *rows = [json.loads(line) for line in gzip.decompress(path.read_bytes()).decode().strip().split("\n")]
        sampled = [row for row in rows if row["pass"] == "sampled"]
        questions = [
            Question(**{name: row[name] for name in _FIELDS if name != "choices"}, image=None,
                     choices=tuple(row["choices"])) for row in sampled
        ]  # fmt: skip
        greedy = [_answered(row) for row in rows if row["pass"] == "greedy"]
        return head["head"], questions, [_answered(row) for row in sampled], greedy or None
    except (OSError, EOFError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{path} is not a log of answers: {error}") from error
