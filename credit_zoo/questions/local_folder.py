"""Reading local folders of questions: the rows of annotations files, with the line that each one stands in.

Annotations are JSON lines, one JSON array, one JSON object of rows by id, or a table of plain text (CSV, TSV).
"""

import csv
import hashlib
import io
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from credit_zoo.errors import UsageError
from credit_zoo.questions.table_cells import PLACE, Row

ANNOTATIONS = "annotations.jsonl"
_KINDS = (".jsonl", ".json", ".csv", ".tsv")
_SHOWN = 8  # entries of a folder that a message lists


@dataclass(frozen=True)
class Rows:
    """The rows of one annotations file; `revision` is the head of the file's SHA-256."""

    file: Path
    rows: tuple[Row, ...]
    revision: str


@dataclass(frozen=True)
class Layout:
    """One way in which a set lies in a folder: `told` to the user, recognised by what is `here`, and read, of a split
    the rows (or all rows, where the file tells them apart). `here` raises a `UsageError` where a part is missing.
    """

    told: str
    here: Callable[[Path], Any]
    read: Callable[[Path, str], Rows]


def layout_of(name: str, folder: Path, layouts: Sequence[Layout]) -> Layout:
    """The first layout that the folder has; without one, the error tells all that are read."""
    if not folder.exists():
        raise UsageError(f"data={folder} does not exist")
    for layout in layouts if folder.is_dir() else ():
        if layout.here(folder):
            return layout
    accepted = "".join(f"\n  - {layout.told}" for layout in layouts)
    raise UsageError(f"data={folder} has no {ANNOTATIONS}; it holds: {_held(folder)}. {name} reads:{accepted}")


def _held(folder: Path) -> str:
    if not folder.is_dir():
        return "no folder"
    names = sorted(entry.name for entry in folder.iterdir())
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return (", ".join(names[:_SHOWN]) or "nothing") + more


def annotated(columns: Sequence[str]) -> Layout:
    """The layout of an annotations file of ours."""
    told = f"{ANNOTATIONS} (or .json, .csv, .tsv) with the columns {', '.join(columns)}"
    return Layout(told, lambda folder: table_file(folder), lambda folder, _: read_rows(folder, columns))


def table_file(folder: Path, name: str = ANNOTATIONS) -> Path | None:
    """The file of that name, or else of that stem with the ending of another kind of table."""
    return next((file for kind in ("", *_KINDS) if (file := _named(folder / name, kind)).is_file()), None)


def _named(file: Path, kind: str) -> Path:
    return file.with_suffix(kind) if kind else file


def read_rows(folder: Path, required: Sequence[str], name: str = ANNOTATIONS) -> Rows:
    """The rows of `folder/name`, or of a table of that stem; a row that tells no id is known by its number or key.

    A `UsageError` says what no row has; a row that alone lacks a column has an empty cell there.
    """
    if not folder.exists():
        raise UsageError(f"data={folder} does not exist")
    file = table_file(folder, name) if folder.is_dir() else None
    if file is None:
        raise UsageError(f"data={folder} has no {name}; it holds: {_held(folder)}")
    content = file.read_bytes()
    rows = _numbered(file, content)
    if not rows:
        raise UsageError(f"{file} holds no rows")
    missing = [column for column in required if not any(column in row for row in rows)]
    if missing:
        there = ", ".join(key for key in rows[0] if key != PLACE and (key != "id" or "id" in required)) or "nothing"
        raise UsageError(f"{rows[0][PLACE]} lacks {', '.join(missing)}; it has {there}")
    return Rows(file, tuple(rows), hashlib.sha256(content).hexdigest()[:12])


def read_object(file: Path, required: Sequence[str]) -> tuple[dict[str, Any], bytes]:
    """A file that is one row, and its bytes; some sets mix UTF-8 and cp1252."""
    content = file.read_bytes()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("cp1252", errors="replace")
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{file} is not JSON: {error}") from error
    if not isinstance(value, dict) or not {*required} <= value.keys():
        raise UsageError(f"{file} must be an object with {' and '.join(required)}")
    return {**value, PLACE: str(file)}, content


def _numbered(file: Path, content: bytes) -> list[dict[str, Any]]:
    """The rows with their places and ids."""
    text = _decode(file, content)
    if file.suffix in (".csv", ".tsv"):
        return [_row(f"{file} line {line}", line, row) for line, row in _plain(file, text)]
    first, *others = [line for line in text.split("\n") if line.strip()] or [""]
    if file.suffix == ".json" and not (others and _is_json(first)):
        whole = _json(file, text, 1)
        named = whole.items() if isinstance(whole, dict) else enumerate(whole, 1) if isinstance(whole, list) else ()
        return [_row(f"{file} entry {key}", key, one) for key, one in named]
    lines = [(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    return [_row(f"{file} line {number}", number, _json(file, line, number)) for number, line in lines]


def _row(where: str, id: int | str, row: Any) -> dict[str, Any]:
    if not isinstance(row, dict):
        raise UsageError(f"{where} is not an object with columns")
    return {"id": id, **row, PLACE: where}


def _plain(file: Path, text: str) -> list[tuple[int, dict[str, Any]]]:
    """The rows of a table of plain text with the lines that they end on; an empty cell is None."""
    csv.field_size_limit(sys.maxsize)
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter="\t" if file.suffix == ".tsv" else ",")
    try:
        rows = [(reader.line_num, row) for row in reader]
    except csv.Error as error:
        raise UsageError(f"{file} line {reader.line_num} is no line of a table: {error}") from error
    for line, row in rows:
        if None in row:
            raise UsageError(f"{file} line {line} has more cells than the {len(reader.fieldnames or ())} columns")
    return [(line, {name: cell or None for name, cell in row.items()}) for line, row in rows]


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _decode(file: Path, content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"{file} is not UTF-8 text: {error}") from error


def _json(file: Path, text: str, line: int) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{file} line {line} is not JSON: {error}") from error
