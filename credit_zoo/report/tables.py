"""Tables as the pages show them: cells with the value they are sorted by, rows with the words they are filtered by."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from credit_zoo.credit import Estimate
from credit_zoo.results import Difference, stats


@dataclass(frozen=True)
class Cell:
    """`text` is shown; `sort` is what a column is sorted by, None after everything else; `link` a page below the
    report's folder; `tone` what a comparison tells (`tone`).
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


def estimate(found: Estimate | None, told: Difference | None = None, digits: int = 2) -> Cell:
    """A number of the instrument with its interval, and what a comparison tells of it."""
    if found is None:
        return Cell("")
    text = f"{found.value:.{digits}f} [{found.low:.{digits}f}, {found.high:.{digits}f}]"
    return Cell(text, found.value, tone=tone(told))


def points(found: stats.Interval) -> Cell:
    """A share with its interval, in percent."""
    return Cell(f"{100 * found.value:.2f} [{100 * found.low:.2f}, {100 * found.high:.2f}]", found.value)


def difference(found: stats.Paired | None, told: Difference | None) -> Cell:
    """A paired difference with its interval, in points, and what the comparison tells."""
    if found is None:
        return Cell("")
    value, low, high = (100 * one for one in (found.interval.value, found.interval.low, found.interval.high))
    return Cell(f"{value:+.2f} [{low:+.2f}, {high:+.2f}]", found.interval.value, tone=tone(told))


def tone(told: Difference | None) -> str:
    """What a comparison tells: "up" or "down" after Holm's adjustment, "up by itself" or "down by itself" by its own
    interval alone, "" nothing.
    """
    if told is None or not told.plain:
        return ""
    where = "up" if told.plain > 0 else "down"
    return where if told.told else f"{where} by itself"


def from_markdown(name: str, caption: str, text: str) -> Table | None:
    """A table that other pages show, as it is; None where the text holds none."""
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    if len(lines) < 3:
        return None
    header, _, *rows = (_parts(line) for line in lines)
    return Table(name, caption, tuple(header), tuple(Row(tuple(map(_plain_cell, row))) for row in rows))


def _parts(line: str) -> list[str]:
    inner = re.split(r"(?<!\\)\|", line.strip().removeprefix("|").removesuffix("|"))
    return [unescaped(one.strip()).replace("**", "").replace("`", "") for one in inner]


def unescaped(text: str) -> str:
    """What `escape` of markdown has made, as it was."""
    return text.replace("\\|", "|").replace("]\\(", "](").replace("&lt;", "<").replace("&amp;", "&")


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
