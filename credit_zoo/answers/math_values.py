r"""What an answer in school mathematics says: a value, a tuple, a set, an interval, a relation; nothing else.

A comma, a semicolon, `and`, `or` and `±` part the items of a set, whose order says nothing. Brackets around items
are a tuple if round and a list if square; two bounds in ascending order are an interval as well, and `(1,2]` is
nothing but one. An inequality that is linear in its one unknown is the interval that it leaves.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from credit_zoo.answers.brackets import bracketed, split
from credit_zoo.answers.equations import Relation, named_number, relation
from credit_zoo.answers.exact_numbers import Number, UnreadableError, add, has_letters, invert, multiply, to_decimal
from credit_zoo.answers.geometry_names import Name, parse_name
from credit_zoo.answers.intervals import INFINITE, Region, Span, intersection, span, union
from credit_zoo.answers.latex_notation import notation
from credit_zoo.answers.math_expressions import parse
from credit_zoo.answers.plain_text import CAP, unwrap
from credit_zoo.answers.units import DEGREE, Unit, larger_part, ratio, take_unit

MAX_NESTING = 4


@dataclass(frozen=True)
class Value:
    """A number with what may stand around it."""

    number: Number
    unit: Unit | None = None
    name: Name | None = None


@dataclass(frozen=True)
class Ordered:
    """Items in order: `brackets` are `()`, `[]`, `⟨⟩`, or `:` for a ratio of three parts and more."""

    brackets: str
    items: tuple["Reading", ...]
    name: Name | None = None


@dataclass(frozen=True)
class Unordered:
    """Items in any order."""

    items: tuple["Reading", ...]


@dataclass(frozen=True)
class Statement:
    """Things that are congruent, parallel and the like; with no sign, one thing that is only named."""

    sign: str
    things: frozenset[Name]


Reading = Value | Ordered | Unordered | Region | Relation | Statement

_HEDGE = re.compile(r"\b(?:not|maybe|either|neither|nor|but)\b", re.IGNORECASE)
_OR = re.compile(r"∪|\bor\b", re.IGNORECASE)
_AND = re.compile(r"[,;]\s*\band\b|[,;]|\band\b", re.IGNORECASE)
_RELATION = re.compile("([=<>≤≥≠])")
_STATEMENT = re.compile("([≅∥⊥∼])")
_BUILDER = re.compile(r"\{\s*(?:[^\W\d_]\s*(?:∈[^|:]{1,20})?[|:])(.*)\}")
_POINT = re.compile(r"([A-Z]'?(?:_\{?\w\}?)?)\s*=?\s*(?=\()")
_SHORT_ITEM = re.compile(r"\d{1,2}|[A-Z](?:\s?[A-Z]){0,2}")


def read(text: str) -> Reading:
    """What an answer says; `UnreadableError` for anything but one answer. Text within `CAP` takes milliseconds."""
    text = notation(unwrap(text))
    if len(text) > CAP or _HEDGE.search(text):
        raise UnreadableError("not one answer")
    text = text.removeprefix("=").strip()
    builder = _BUILDER.fullmatch(text)
    return _alternatives(builder.group(1) if builder else text, 0)


def _alternatives(text: str, depth: int) -> Reading:
    parts = split(text, _OR)
    if len(parts) == 1:
        return _items(text, depth)
    readings = [_items(part, depth) for part in parts]
    regions = [region for one in readings if (region := as_region(one))]
    if len(regions) == len(readings):
        return replace(_common(regions), spans=union([each for region in regions for each in region.spans]))
    return _unordered(readings)


def _common(regions: Sequence[Region]) -> Region:
    """A region with the one name and unit of several."""
    names = {region.name for region in regions if region.name}
    units = {region.unit.powers for region in regions if region.unit}
    if len(names) > 1 or len(units) > 1:
        raise UnreadableError("regions of different things")
    return Region((), next(iter(names), None), next((region.unit for region in regions if region.unit), None))


def _unordered(readings: Sequence[Reading]) -> Unordered:
    """A set of answers; the name of the first holds for those that follow without one."""
    items = list(readings)
    if isinstance(items[0], Value) and items[0].name:
        name = items[0].name
        items = [replace(one, name=name) if isinstance(one, Value) and not one.name else one for one in items]
    named = [isinstance(one, Value) and one.name is not None for one in items]
    if any(isinstance(one, Unordered) for one in items) or (any(named) and not named[0]):
        raise UnreadableError("a set inside a set, or a name that comes late")
    return Unordered(tuple(items))


def _items(text: str, depth: int) -> Reading:
    parts = split(text, _AND)
    if len(parts) == 1:
        return _single(text, depth)
    if parts[0].startswith("∠") and all(_SHORT_ITEM.fullmatch(part) for part in parts[1:]):
        parts = [parts[0], *(f"∠{part}" for part in parts[1:])]
    readings = [_single(part, depth) for part in parts]
    if all(isinstance(one, Region) for one in readings):
        return _meeting([one for one in readings if isinstance(one, Region)])
    return _unordered(readings)


def _meeting(regions: Sequence[Region]) -> Region:
    """What several inequalities leave together."""
    spans: Sequence[Span] = regions[0].spans
    for region in regions[1:]:
        spans = intersection(spans, region.spans)
    return replace(_common(regions), spans=tuple(spans))


def _single(text: str, depth: int) -> Reading:
    if depth > MAX_NESTING:
        raise UnreadableError("nested too deep")
    if text.count("±") == 1:
        return _unordered([_single(text.replace("±", sign), depth + 1) for sign in "+-"])
    parts = split(text, _STATEMENT)
    if len(parts) == 2:
        return Statement(_STATEMENT.findall(text)[0], frozenset(_named(part) for part in parts))
    whose, member, rest = text.partition("∈")
    if member:
        found = _alternatives(rest.strip(), depth + 1)
        return _of(_named(whose.strip()), as_region(found) or found)
    parts = [part.strip() for part in _RELATION.split(text)]
    if len(parts) == 1:
        return _term(text, depth)
    if len(parts) == 3 and parts[1] == "=":
        return _equation(parts[0], parts[2], depth)
    return _inequality(parts)


def _named(text: str) -> Name:
    name = parse_name(text)
    if name is None:
        raise UnreadableError("not a name")
    return name


def _of(name: Name, reading: Reading) -> Reading:
    """The reading with a name: each value of a set, a tuple, a region."""
    if isinstance(reading, Ordered):
        return replace(reading, name=name)
    if isinstance(reading, Unordered):
        return _unordered([_of(name, one) for one in reading.items])
    if not isinstance(reading, Value | Region) or reading.name:
        raise UnreadableError("not a thing to name")
    return replace(reading, name=name)


def _equation(left: str, right: str, depth: int) -> Reading:
    if bracketed(left) and len(names := split(left[1:-1], _AND)) > 1:
        return _system(names, _term(right, depth))
    for name, value in ((parse_name(left), right), (parse_name(right), left)):
        if name:
            return _of(name, _term(value, depth))
    return relation(_side(left)[0], "=", _side(right)[0])


def _system(names: Sequence[str], values: Reading) -> Reading:
    """`(x,y)=(1,2)` as the two equations that it says."""
    if not isinstance(values, Ordered) or len(names) != len(values.items):
        raise UnreadableError("as many values as names are needed")
    return _unordered([_of(_named(name), value) for name, value in zip(names, values.items, strict=True)])


def _inequality(parts: Sequence[str]) -> Reading:
    """One relation, or a chain of two."""
    if len(parts) not in (3, 5):
        raise UnreadableError("too many relations")
    sides = [_side(part) for part in parts[::2]]
    found = [
        relation(sides[at][0], sign, sides[at + 1][0]) for at, sign in enumerate(parts[1::2])
    ]  # fmt: skip
    unit = next((unit for _, unit in sides if unit), None)
    regions = [replace(one, unit=unit) for one in found if isinstance(one, Region)]
    if len(regions) < len(found):
        return found[0] if len(found) == 1 else _unordered(found)
    return regions[0] if len(regions) == 1 else _meeting(regions)


def _side(text: str) -> tuple[Number, Unit | None]:
    """A side of a relation, and its unit."""
    name = parse_name(text)
    if name:
        return named_number(name), None
    value = _value(text)
    return value.number, value.unit


def _term(text: str, depth: int) -> Reading:
    """What is no relation: brackets around items, a ratio, a name, a value."""
    point = _POINT.match(text)
    if point and bracketed(text[point.end() :]) and "," in text:
        return _of(_named(point.group(1)), _term(text[point.end() :], depth))
    if bracketed(text) and len(parts := split(text[1:-1], _AND)) > 1:
        return _brackets(text[0] + text[-1], parts, depth)
    name = parse_name(text)
    if name and name.kind:
        return Statement("", frozenset({name}))
    parts = text.split(":")
    if len(parts) > 2:
        return Ordered(":", tuple(_value(part) for part in parts))
    if len(parts) == 2:
        return Value(multiply(_value(parts[0]).number, invert(_value(parts[1]).number)))
    return _value(text)


def _brackets(brackets: str, parts: Sequence[str], depth: int) -> Reading:
    if brackets == "{}":
        return _unordered([_single(part, depth + 1) for part in parts])
    if brackets not in ("()", "[]", "⟨⟩", "(]", "[)"):
        raise UnreadableError("brackets that do not match")
    endless = any(part.endswith("∞") for part in parts)
    if endless or brackets in ("(]", "[)"):
        if len(parts) != 2:
            raise UnreadableError("an interval has two ends")
        return Region((span(_end(parts[0]), _end(parts[1]), brackets[0] == "[", brackets[1] == "]"),))
    return Ordered(brackets, tuple(_single(part, depth + 1) for part in parts))


def _end(text: str) -> Decimal:
    if text.endswith("∞"):
        return {"": INFINITE, "+": INFINITE, "-": -INFINITE}[text[:-1].strip()]
    return to_decimal(_value(text).number)


def as_region(reading: Reading) -> Region | None:
    """The interval that a reading is or may be; `(3,7)` is a point too."""
    if isinstance(reading, Region):
        return reading
    if not isinstance(reading, Ordered) or reading.brackets not in ("()", "[]") or len(reading.items) != 2:
        return None
    ends = [one.number for one in reading.items if isinstance(one, Value) and not one.name and not one.unit]
    if len(ends) != 2 or any(map(has_letters, ends)):
        return None
    closed = reading.brackets == "[]"
    low, high = map(to_decimal, ends)
    return Region((span(low, high, closed, closed),), reading.name) if low < high else None


def _value(text: str) -> Value:
    """One number and its unit; `5 ft 6 in` is of the smaller unit."""
    text, unit = take_unit(text)
    parts = larger_part(text) if unit else None
    if parts and unit:
        larger = _value(parts[0])
        if larger.unit is None:
            raise UnreadableError("a part without a unit")
        whole = multiply(larger.number, ratio(larger.unit, unit))
        return Value(add(whole, parse(parts[1])[0]), unit)
    number, in_degrees = parse(text)
    if unit and in_degrees:
        raise UnreadableError("two units")
    return Value(number, DEGREE if in_degrees else unit)
