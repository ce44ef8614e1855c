"""Reading local folders of questions: annotations with their line numbers, pictures that are known to decode.

A folder holds one annotations file (JSON lines, or one JSON object or array) and the pictures that it names.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, overload

from PIL import Image, ImageOps

from credit_zoo.bench import Question, Source
from credit_zoo.registry import UsageError

Row = Mapping[str, Any]


class BadImage(UsageError):
    """A picture that is missing or does not decode; the message names the file."""


@dataclass(frozen=True)
class Rows:
    """The rows of one annotations file; `revision` is the head of the file's SHA-256."""

    file: Path
    rows: tuple[Row, ...]
    revision: str


@dataclass(frozen=True)
class PictureQuestions(Sequence[Question]):
    """Questions whose pictures are opened each time one is taken, so that a set need not fit in memory."""

    questions: tuple[Question, ...]
    images: tuple[Path, ...]

    def __len__(self) -> int:
        return len(self.questions)

    @overload
    def __getitem__(self, index: int) -> Question: ...
    @overload
    def __getitem__(self, index: slice) -> "PictureQuestions": ...
    def __getitem__(self, index: int | slice) -> "Question | PictureQuestions":
        if isinstance(index, slice):
            return PictureQuestions(self.questions[index], self.images[index])
        return replace(self.questions[index], image=open_image(self.images[index]))


def read_rows(folder: Path, required: Sequence[str], name: str = "annotations.jsonl") -> Rows:
    """The rows of `folder/name`, each with the `required` columns; a `UsageError` says what is missing where."""
    if not folder.exists():
        raise UsageError(f"data={folder} does not exist")
    file = folder / name
    if not file.is_file():
        held = ", ".join(sorted(entry.name for entry in folder.iterdir())[:8]) if folder.is_dir() else "no folder"
        raise UsageError(f"data={folder} has no {name}; it holds: {held or 'nothing'}")
    content = file.read_bytes()
    rows = tuple(_parse(file, content, required))
    if not rows:
        raise UsageError(f"{file} holds no rows")
    return Rows(file, rows, hashlib.sha256(content).hexdigest()[:12])


def _parse(file: Path, content: bytes, required: Sequence[str]) -> list[Row]:
    text = _decode(file, content)
    if file.suffix == ".json":
        whole = _json(file, text, 1)
        values = list(whole.values()) if isinstance(whole, dict) else whole
        numbered = list(enumerate(values, 1)) if isinstance(values, list) else []
        unit = "entry"
    else:
        lines = [(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
        numbered = [(number, _json(file, line, number)) for number, line in lines]
        unit = "line"
    return [_checked(f"{file} {unit} {number}", row, required) for number, row in numbered]


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


def _checked(where: str, row: Any, required: Sequence[str]) -> Row:
    if not isinstance(row, dict):
        raise UsageError(f"{where} is not an object with columns")
    missing = [column for column in required if column not in row]
    if missing:
        raise UsageError(f"{where} lacks {', '.join(missing)}; it has {', '.join(row) or 'nothing'}")
    return row


def open_image(path: Path) -> Image.Image:
    """The picture, decoded in full, turned as its EXIF data say, in RGB, what is transparent on white."""
    try:
        with Image.open(path) as opened:
            opened.load()
            upright = ImageOps.exif_transpose(opened)
            if not upright.has_transparency_data:
                return upright.convert("RGB")
            layer = upright.convert("RGBA")
    except FileNotFoundError as error:
        raise BadImage(f"the picture {path} is missing. {_SKIP}") from error
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        raise BadImage(f"the picture {path} does not decode: {error}. {_SKIP}") from error
    white = Image.new("RGBA", layer.size, (255, 255, 255, 255))
    return Image.alpha_composite(white, layer).convert("RGB")


_SKIP = "data.skip_bad=true skips such rows"


def with_pictures(
    source: Source, rows: Sequence[Row], ask: Callable[[Row], Question], picture: Callable[[Row], Path], skip_bad: bool
) -> tuple[PictureQuestions, Source]:
    """The rows as questions, every picture decoded once to be sure; with `skip_bad` bad ones are left out, counted."""
    kept: list[tuple[Question, Path]] = []
    for row in rows:
        path = picture(row)
        try:
            open_image(path)
        except BadImage:
            if not skip_bad:
                raise
        else:
            kept.append((ask(row), path))
    bad = len(rows) - len(kept)
    if not kept:
        raise UsageError(f"none of the {bad} pictures of {source.name} decodes; the first is {picture(rows[0])}")
    dropped = {**source.dropped, **({"bad picture": bad} if bad else {})}
    questions = PictureQuestions(tuple(one for one, _ in kept), tuple(path for _, path in kept))
    return questions, replace(source, rows=len(kept), dropped=dropped)


def picture_path(folder: Path, named: Any) -> Path:
    """The file that a picture column names: a path inside the folder, or a list that begins with one."""
    first = named[0] if isinstance(named, list) and named else named
    if not isinstance(first, str) or not first:
        raise UsageError(f"a row of data={folder} names no picture: {named!r}")
    return folder / first


def strings(row: Row, column: str) -> tuple[str, ...]:
    """A column that holds a list, as strings: files mix numbers and text; None is an empty list."""
    values = row[column]
    if not isinstance(values, list):
        if values is None:
            return ()
        raise UsageError(f"column {column} must hold a list, got {values!r}")
    return tuple(str(value) for value in values)


def need_some(rows: Sequence[Row], what: str, there: Mapping[str, int]) -> None:
    """Raises if a split came out empty, telling which are not."""
    if not rows:
        found = ", ".join(f"{name} {count}" for name, count in sorted(there.items()) if count) or "none"
        raise UsageError(f"no questions in {what}; there are: {found}")
