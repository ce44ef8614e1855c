"""Tables as the pages show them: cells with the value they are sorted by, rows with the words they are filtered by."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from credit_zoo.credit import Estimate
from credit_zoo.results import stats


@dataclass(frozen=True)
class Cell:
    """`text` is shown; `sort` is what a column is sorted by, None after everything else; `link` a page below the
    report's folder; `tone` "up" or "down" where the cell says that something differs, and in which direction.
    """

    text: str
    sort: float | str | None = None
    link: str = ""
    tone: str = ""


@dataclass(frozen=True)
class Row:
    """`tags` are what a row is filtered by, beside its text."""

    cells: tuple[Cell, ...]
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Table:
    """`name` is unique on its page; `hints` explain columns; `filters` are the tags that a menu is made of."""

    name: str
    caption: str
    header: tuple[str, ...]
    rows: tuple[Row, ...]
    hints: Mapping[str, str] = field(default_factory=dict)
    filters: tuple[str, ...] = ()

    def choices(self, tag: str) -> list[str]:
        """The values of a tag, in order."""
        return sorted({row.tags[tag] for row in self.rows})


def words(text: str, link: str = "") -> Cell:
    """Text, sorted as such."""
    return Cell(text, text.lower(), link)


def number(value: float | None, digits: int = 2, percent: bool = False) -> Cell:
    """A number; blank where it is missing."""
    if value is None or math.isnan(value):
        return Cell("")
    return Cell(f"{value:.{digits}%}" if percent else f"{value:,.{digits}f}", value)


def estimate(found: Estimate | None, neutral: float | None = None, digits: int = 2) -> Cell:
    """A number of the instrument with its interval, and on which side of `neutral` that lies as a whole."""
    if found is None:
        return Cell("")
    text = f"{found.value:.{digits}f} [{found.low:.{digits}f}, {found.high:.{digits}f}]"
    return Cell(text, found.value, tone=side(found.low, found.high, neutral))


def points(found: stats.Interval | None, difference: bool = False) -> Cell:
    """A share with its interval, in percent; a difference in points, and on which side of 0 it lies."""
    if found is None:
        return Cell("")
    form = "{:+.2f}" if difference else "{:.2f}"
    value, low, high = (form.format(100 * one) for one in (found.value, found.low, found.high))
    return Cell(f"{value} [{low}, {high}]", found.value, tone=side(found.low, found.high, 0.0 if difference else None))


def side(low: float, high: float, neutral: float | None) -> str:
    """Where an interval lies beside a neutral value: "up", "down", or "" where it holds it or there is none."""
    if neutral is None:
        return ""
    return "up" if low > neutral else "down" if high < neutral else ""


def from_markdown(name: str, caption: str, text: str) -> Table | None:
    """A table that other pages show, as it is; None where the text holds none."""
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    if len(lines) < 3:
        return None
    header, _, *rows = (_parts(line) for line in lines)
    return Table(name, caption, tuple(header), tuple(Row(tuple(map(_plain_cell, row))) for row in rows))


def _parts(line: str) -> list[str]:
    inner = re.split(r"(?<!\\)\|", line.strip().removeprefix("|").removesuffix("|"))
    return [_unescaped(one.strip()) for one in inner]


def _unescaped(text: str) -> str:
    return text.replace("\\|", "|").replace("&lt;", "<").replace("&amp;", "&").replace("**", "").replace("`", "")


def _plain_cell(text: str) -> Cell:
    found = re.match(r"[-+]?[\d,]*\.?\d+", text)
    return Cell(text, float(found[0].replace(",", "")) if found else text.lower() or None)


def heat(header: Sequence[str], rows: Iterable[tuple[str, Sequence[float | None]]], neutral: float) -> "Heat":
    """A table of numbers that are coloured by their distance from `neutral`."""
    return Heat(tuple(header), tuple((name, tuple(values)) for name, values in rows), neutral)


@dataclass(frozen=True)
class Heat:
    """Rows of numbers (None is blank) coloured by how far they are from `neutral`."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, tuple[float | None, ...]], ...]
    neutral: float
