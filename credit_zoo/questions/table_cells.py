"""What a row of a set holds, cell by cell: text, lists, boxes, pictures. Nothing stands for what is not there.

A cell that cannot be used is a `BadRow` that names its row, which `data.skip_bad=true` counts and leaves out.
"""

import ast
import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from credit_zoo.errors import UsageError
from credit_zoo.questions.pictures import SKIP, BadRow, Held, Picture, only

Row = Mapping[str, Any]
PLACE = "(place)"  # the key under which a row says where it stands


class BadCell(BadRow):
    """A cell that is empty, or holds what cannot be used."""

    why = "bad cell"


class NoPicture(BadRow):
    """A row without a picture."""

    why = "no picture"


class SeveralPictures(BadRow):
    """A row with several pictures where one is asked about."""

    why = "several pictures"


class BadBox(BadRow):
    """A true box that is none, is empty or lies outside its picture; the message names the question."""

    why = "bad box"


def place(row: Row) -> str:
    """What an error calls a row: its file and line, and its id."""
    held = row.get("image")
    stands = row.get(PLACE) or (held if isinstance(held, Held) else "a row")
    return str(stands) if is_empty(row.get("id")) else f"{stands}, id {row['id']}"


def is_empty(value: Any) -> bool:
    """Whether a cell holds nothing: null, NaN or blanks."""
    return value is None or (isinstance(value, float) and math.isnan(value)) or not str(value).strip()


def text(row: Row, column: str) -> str:
    """A cell as text; a `BadCell` where it holds nothing, or a list."""
    value = row.get(column)
    if is_empty(value):
        raise BadCell(f"{place(row)}: column {column} is empty ({value!r}). {SKIP}")
    if isinstance(value, (list, dict)):
        raise BadCell(f"{place(row)}: column {column} must hold text, got {value!r}. {SKIP}")
    return str(value)


def text_or(row: Row, column: str, other: str) -> str:
    """A cell as text, or the other where it is missing or holds nothing."""
    return other if is_empty(row.get(column)) else text(row, column)


def strings(row: Row, column: str) -> tuple[str, ...]:
    """A cell that holds a list, or a list written out, as strings: files mix numbers and text; an empty one is no
    list, an empty entry a `BadCell`.
    """
    value = row.get(column)
    values = () if is_empty(value) else written_out(value)
    if not isinstance(values, (list, tuple)):
        raise BadCell(f"{place(row)}: column {column} must hold a list, got {value!r}. {SKIP}")
    if any(is_empty(one) or isinstance(one, (list, dict)) for one in values):
        raise BadCell(f"{place(row)}: column {column} has an entry that is no text: {value!r}. {SKIP}")
    return tuple(str(one) for one in values)


def table(row: Row, column: str) -> Mapping[str, Any]:
    """A cell that holds columns of its own, or has them written out; an empty one has none."""
    value = row.get(column)
    found = {} if is_empty(value) else written_out(value)
    if not isinstance(found, dict):
        raise BadCell(f"{place(row)}: column {column} must hold an object, got {value!r}. {SKIP}")
    return found


def written_out(value: Any) -> Any:
    """The list or object that a text spells, in JSON or in Python, as tables of plain text do; else the value."""
    if not isinstance(value, str) or value.strip()[:1] not in ("[", "{", "("):
        return value
    for read in (json.loads, ast.literal_eval):
        try:
            return read(value)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
    return value


def decimals(row: Row, column: str) -> int | None:
    """A cell that holds a number of decimals; None where it holds nothing."""
    value: Any = row.get(column)
    if is_empty(value):
        return None
    try:
        number = float(value)
        if number == int(number) and 0 <= number <= 30:
            return int(number)
    except (ValueError, TypeError, OverflowError):
        pass
    raise BadCell(f"{place(row)}: column {column} must be a number of decimals, got {value!r}. {SKIP}")


def corners(name: str, box: Any, sized: bool = False) -> str:
    """A column's box as a question's answer, "x1,y1,x2,y2" to a hundredth of a pixel.

    The column holds left, top, right and bottom, or, `sized`, left, top, width and height; `name` is what the error
    calls the question.
    """
    spelled = written_out(box)
    numbers = list(spelled) if isinstance(spelled, (list, tuple)) else []
    known = [one for one in numbers if isinstance(one, (int, float)) and not isinstance(one, bool)]
    if not len(numbers) == len(known) == 4 or not all(map(math.isfinite, known)):
        raise BadBox(f"{name}: a box must be four numbers, got {box!r}. {SKIP}")
    x, y, right, bottom = known
    edges = (x, y, x + right, y + bottom) if sized else (x, y, right, bottom)
    return ",".join(f"{round(edge, 2):.12g}" for edge in edges)


def picture_of(row: Row, folder: Path | None, column: str = "image") -> Picture:
    """A row's picture: what is held by the row, or the file that it names, a path inside the folder."""
    value = row.get(column)
    try:
        first = only(written_out(value))
    except ValueError as error:
        raise SeveralPictures(f"{place(row)}: {error}: {value!r}. {SKIP}") from error
    if isinstance(first, (Path, Held)):
        return first
    if not isinstance(first, str) or not first.strip():
        raise NoPicture(f"{place(row)}: column {column} names no picture, got {value!r}. {SKIP}")
    return (folder or Path()) / first


def of_split(rows: Sequence[Row], column: str, split: str, where: object, parts: Sequence[str] = ()) -> list[Row]:
    """The rows whose `column` names the split, or one of the `parts` that it is made of; raises if there are none.

    A row that tells no split is among them: it is bad in any.
    """
    wanted = (split, *parts)
    found = [row for row in rows if split == "all" or is_empty(row.get(column)) or row[column] in wanted]
    need_some(found, f"split '{split}' of {where}", Counter(str(row.get(column)) for row in rows))
    return found


def need_some(rows: Any, what: str, there: Mapping[str, int]) -> None:
    """Raises if a split came out empty, telling which are not."""
    if not rows:
        found = ", ".join(f"{name} {count}" for name, count in sorted(there.items()) if count) or "none"
        raise UsageError(f"no questions in {what}; there are: {found}")
