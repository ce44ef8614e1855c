"""Reading local folders of questions: annotations with their line numbers, pictures that are known to decode.

A folder holds one annotations file (JSON lines, or one JSON object or array) and the pictures that it names, or
Parquet files that hold both.
"""

import hashlib
import io
import json
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, overload, runtime_checkable

from PIL import Image, ImageOps

from credit_zoo.question import Question, Source
from credit_zoo.registry import UsageError

Row = Mapping[str, Any]


class BadRow(UsageError):
    """A row that cannot be asked; the message names it, `why` is what it is counted as where bad ones are skipped."""

    why = "bad row"


class BadImage(BadRow):
    """A picture that is missing or does not decode; the message names the file."""

    why = "bad picture"


class BadBox(BadRow):
    """A true box that is none, is empty or lies outside its picture; the message names the question."""

    why = "bad box"


@runtime_checkable
class Held(Protocol):
    """A picture that is no file of its own."""

    def read(self) -> io.BytesIO:
        """The picture as a file; a `ValueError` where there is none."""
        ...


def held_bytes(value: Any) -> io.BytesIO:
    """A picture as the hub's files keep it, `{"bytes": ...}` or a list that begins with one."""
    first = value[0] if isinstance(value, list) and value else value
    if not isinstance(first, dict) or not first.get("bytes"):
        raise ValueError("the cell holds no bytes")
    return io.BytesIO(first["bytes"])


Picture = Path | Held


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
    images: tuple[Picture, ...]

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
    first, *others = [line for line in text.split("\n") if line.strip()] or [""]
    if file.suffix == ".json" and not (others and _is_json(first)):
        whole = _json(file, text, 1)
        values = list(whole.values()) if isinstance(whole, dict) else whole
        numbered = list(enumerate(values, 1)) if isinstance(values, list) else []
        unit = "entry"
    else:
        lines = [(number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
        numbered = [(number, _json(file, line, number)) for number, line in lines]
        unit = "line"
    return [_checked(f"{file} {unit} {number}", row, required) for number, row in numbered]


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


def _checked(where: str, row: Any, required: Sequence[str]) -> Row:
    if not isinstance(row, dict):
        raise UsageError(f"{where} is not an object with columns")
    missing = [column for column in required if column not in row]
    if missing:
        raise UsageError(f"{where} lacks {', '.join(missing)}; it has {', '.join(row) or 'nothing'}")
    return row


def open_image(path: Picture) -> Image.Image:
    """The picture, decoded in full, turned as its EXIF data say, in RGB, what is transparent on white."""
    try:
        with Image.open(path if isinstance(path, Path) else path.read()) as opened:
            opened.load()
            upright = ImageOps.exif_transpose(opened)
            if not upright.has_transparency_data:
                return upright.convert("RGB")
            layer = upright.convert("RGBA")
    except FileNotFoundError as error:
        raise BadImage(f"the picture {path} is missing. {SKIP}") from error
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        raise BadImage(f"the picture {path} does not decode: {error}. {SKIP}") from error
    white = Image.new("RGBA", layer.size, (255, 255, 255, 255))
    return Image.alpha_composite(white, layer).convert("RGB")


SKIP = "data.skip_bad=true skips such rows"


def with_pictures(
    source: Source,
    rows: Sequence[Row],
    ask: Callable[[Row], Question],
    picture: Callable[[Row], Picture],
    skip_bad: bool,
) -> tuple[PictureQuestions, Source]:
    """The rows as questions, every picture decoded once to be sure; with `skip_bad` bad ones are left out, counted.

    A question for a box is told the picture's size, and that the box is in pixels.
    """
    kept: list[tuple[Question, Picture]] = []
    bad: Counter[str] = Counter()
    sizes: dict[Picture, tuple[int, int]] = {}
    for row in rows:
        path = picture(row)
        try:
            if path not in sizes:
                sizes[path] = open_image(path).size
            question = ask(row)
            kept.append((_inside(question, sizes[path]) if question.kind == "box" else question, path))
        except BadRow as error:
            if not skip_bad:
                raise
            bad[error.why] += 1
    if not kept:
        why = ", ".join(f"{count} {name}" for name, count in bad.items())
        first = picture(rows[0])
        raise UsageError(f"none of the {len(rows)} pictures of {source.name} can be used ({why}); the first is {first}")
    questions = PictureQuestions(tuple(one for one, _ in kept), tuple(path for _, path in kept))
    return questions, replace(source, rows=len(kept), dropped={**source.dropped, **bad})


def corners(name: str, box: Any, sized: bool = False) -> str:
    """A column's box as a question's answer, "x1,y1,x2,y2" to a hundredth of a pixel.

    The column holds left, top, right and bottom, or, `sized`, left, top, width and height; `name` is what the error
    calls the question.
    """
    numbers = list(box) if isinstance(box, (list, tuple)) else []
    known = [one for one in numbers if isinstance(one, (int, float)) and not isinstance(one, bool)]
    if not len(numbers) == len(known) == 4 or not all(map(math.isfinite, known)):
        raise BadBox(f"{name}: a box must be four numbers, got {box!r}. {SKIP}")
    x, y, right, bottom = known
    edges = (x, y, x + right, y + bottom) if sized else (x, y, right, bottom)
    return ",".join(f"{round(edge, 2):.12g}" for edge in edges)


def _inside(question: Question, size: tuple[int, int]) -> Question:
    """The question with its picture's (width, height); a box may stick out by a pixel, as rounding makes it."""
    x1, y1, x2, y2 = map(float, question.answer.split(","))
    width, height = size
    if not (-1 <= x1 < x2 <= width + 1 and -1 <= y1 < y2 <= height + 1):
        raise BadBox(
            f"{question.id}: the box {question.answer} is empty or outside its picture of {width} x {height} pixels. "
            f"{SKIP}"
        )
    return replace(question, meta={**question.meta, "unit": "pixels", "size": size})


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


def need_some(rows: Sequence[Any], what: str, there: Mapping[str, int]) -> None:
    """Raises if a split came out empty, telling which are not."""
    if not rows:
        found = ", ".join(f"{name} {count}" for name, count in sorted(there.items()) if count) or "none"
        raise UsageError(f"no questions in {what}; there are: {found}")
