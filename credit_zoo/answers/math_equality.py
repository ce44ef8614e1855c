r"""When two answers in school mathematics are the same: values, units, names, ratios, relations, lists.

Decisions where graders may reasonably differ:
- `80/6` is `40/3` and `\sqrt{1323}` is `21\sqrt{3}`: the value counts, not its simplest form. `18.79` is not
  `18.8`: a decimal is the number it writes.
- A unit may be left out, but a unit that contradicts the truth's is wrong. Per cent is a unit: `50%` is `50`,
  not `0.5`. So is the name before an equals sign: `x = 60` is `60`, but not `y = 60`.
- A ratio is its quotient: `4:6` is `2:3` and `2/3`. A number in round brackets is the number, in square ones a list.
- A doubled sign (`--8`), prose, an ordinal, JSON, markup and two answers in one are wrong.
- A list is wrong in another order.
"""

import re
from dataclasses import dataclass
from fractions import Fraction

from credit_zoo.answers.exact_numbers import (
    Number,
    Quotient,
    UnreadableError,
    add,
    invert,
    multiply,
    negate,
    rational,
    same_number,
    to_fraction,
)
from credit_zoo.answers.math_parser import notation, parse
from credit_zoo.answers.plain_text import CAP, clean, squash, unwrap

_LONG_UNITS = {
    "cm": r"cm|centimet(?:er|re)s?|厘米", "mm": r"mm|millimet(?:er|re)s?", "km": r"km|kilomet(?:er|re)s?",
    "m": r"met(?:er|re)s?|米", "in": r"in\.?|inch(?:es)?", "ft": r"ft\.?|foot|feet", "yd": r"yds?\.?|yards?",
    "mi": r"mi|miles?", "nmi": r"海里", "": r"units?", "°": r"deg(?:rees?)?|度", "kg": r"kg", "mg": r"mg",
    "g": r"grams?", "lb": r"lbs?", "oz": r"oz", "L": r"lit(?:er|re)s?", "mL": r"m[lL]", "year": r"years?|yrs?",
    "month": r"months?", "day": r"days?", "h": r"hours?|hrs?", "min": r"min(?:ute)?s?", "s": r"sec(?:ond)?s?",
    "$": r"dollars?|USD", "cent": r"cents?", "%": r"percent|per cent",
}  # fmt: skip
_SHORT_UNITS = {"m": "m", "g": "g", "h": "h", "s": "s", "L": "[lL]", "N": "N", "J": "J", "V": "V", "W": "W"}
_RATE = r"(?:/(?P<rate>s|h|min|sec|hour)(?:\^?\{?2\}?)?)?"
_POWER = r"(?:\s*\^?\{?(?P<power>[23])\}?)?"


def _unit_pattern(units: dict[str, str]) -> re.Pattern[str]:
    names = "|".join(f"(?P<u{at}>{words})" for at, words in enumerate(units.values()))
    after, kind = r"(?<=[\d)}π°A-Za-z])(?<!\\)\s*", r"(?P<square>\b(?:sq(?:uare)?|cubic)\.?\s+)?(?<![A-Za-z])"
    return re.compile(rf"{after}{kind}(?:{names}){_POWER}{_RATE}\.?$")


_PATTERNS = tuple((units, _unit_pattern(units)) for units in (_LONG_UNITS, _SHORT_UNITS))
_RELATION = re.compile("([=<>≤≥≠])")
_FLIPPED = {">": "<", "≥": "≤"}
_NAME = re.compile(
    r"(?:m\s*(?=∠))?(?:∠|△|\\triangle|\\overline|\\widehat)?\s*"
    r"\{?\s*([^\W\d_](?:\s*[^\W\d_']){0,3})\s*\}?(?:_\{?\w{1,3}\}?)?"
)
_HEDGE = re.compile(r"\b(?:or|and|not|maybe|either|nor|but)\b|±", re.IGNORECASE)
_SUM = re.compile(r"[\w)}°]\s*[-+*^]|√")


@dataclass(frozen=True)
class Relation:
    """`left sign 0`, scaled so that equal relations have equal `left`."""

    sign: str
    left: Number


@dataclass(frozen=True)
class Reading:
    """What an answer says: one value with what may stand around it, or one or two relations."""

    value: Number | None = None
    relations: tuple[Relation, ...] = ()
    name: str = ""
    unit: str = ""


def _take_unit(text: str) -> tuple[str, str]:
    """The text without its unit, and the unit's plain name; one letter is a unit only of a letterless number."""
    if "°" in text:
        return text.replace("°", " ").strip(), "°"
    if text.endswith("%"):
        return text[:-1], "%"
    if text[:1] in "€£¥":
        return text[1:], text[:1]
    for units, pattern in _PATTERNS:
        match = pattern.search(text)
        if match is None or (
            units is _SHORT_UNITS and re.search("[A-Za-z]", text[: match.start()].replace("\\frac", ""))
        ):
            continue
        name = next(unit for at, unit in enumerate(units) if match.group(f"u{at}") is not None)
        square = (match.group("square") or "").strip()
        power = match.group("power") or {"s": "2", "c": "3"}.get(square[:1], "")
        return text[
            : match.start()
        ], f"{name}{power if name else ''}{'/' + match.group('rate')[0] if match.group('rate') else ''}"
    return text, ""


def _value(text: str) -> Number:
    parts = text.split(":")
    if len(parts) == 1:
        return parse(text)
    if len(parts) > 2:
        raise UnreadableError("more than one ratio")
    return multiply(parse(parts[0]), invert(parse(parts[1])))


def _relation(left: str, sign: str, right: str) -> Relation:
    if sign in _FLIPPED:
        left, sign, right = right, _FLIPPED[sign], left
    difference = add(parse(left), negate(parse(right)))
    if not isinstance(difference, Quotient) or not difference.num:
        raise UnreadableError("not a relation")
    leading = difference.num[max(difference.num)]
    scale = leading if sign in "=≠" else abs(leading)
    return Relation(sign, multiply(difference, rational(1 / scale)))


def read(text: str) -> Reading:
    """What an answer says; `UnreadableError` for anything but one answer. Text within `CAP` takes milliseconds."""
    text = notation(unwrap(text))
    if len(text) > CAP or _HEDGE.search(text):
        raise UnreadableError("not one answer")
    text, unit = _take_unit(text.removesuffix("."))
    parts = [part.strip() for part in _RELATION.split(text)]
    if parts[0] == "" and parts[1:2] == ["="]:
        parts = parts[2:]
    if len(parts) == 1:
        return Reading(_value(parts[0]), unit=unit)
    if len(parts) == 3 and parts[1] == "=":
        for name, value in ((parts[0], parts[2]), (parts[2], parts[0])):
            match = _NAME.fullmatch(name)
            if match:
                return Reading(_value(value), name="".join(match.group(1).split()), unit=unit)
    if len(parts) not in (3, 5):
        raise UnreadableError("too many relations")
    relations = [_relation(*parts[at : at + 3]) for at in range(0, len(parts) - 2, 2)]
    return Reading(relations=tuple(relations), unit=unit)


def _same_relations(left: Reading, right: Reading) -> bool:
    if len(left.relations) != len(right.relations):
        return False
    pairs = (zip(left.relations, order, strict=True) for order in (right.relations, right.relations[::-1]))
    return any(all(a.sign == b.sign and same_number(a.left, b.left) for a, b in pair) for pair in pairs)


def same_reading(left: Reading, right: Reading) -> bool:
    """Whether two readings say the same; a name or unit that only one of them has does not part them."""
    for one, other in ((left.name, right.name), (left.unit, right.unit)):
        if one and other and one != other:
            return False
    if left.value is not None and right.value is not None:
        return same_number(left.value, right.value)
    return bool(left.relations) and _same_relations(left, right)


def same_math(answer: str, truth: str) -> bool:
    """Whether an answer is the truth, as value, relation or, where one cannot be read, as text."""
    answer, truth = _short(answer), _short(truth)
    if not answer or not truth:
        return False
    texts = [squash(notation(unwrap(text))) for text in (answer, truth)]
    if texts[0] == texts[1]:
        return bool(texts[0])
    try:
        return same_reading(read(answer), read(truth))
    except UnreadableError:
        return texts[0].casefold() == texts[1].casefold()


def _short(text: str) -> str:
    """The cleaned text; empty if it is too long for an answer, before or after cleaning."""
    text = text.strip()
    cleaned = clean(text) if len(text) <= CAP else ""
    return cleaned if len(cleaned) <= CAP else ""


def number(text: str) -> Fraction | None:
    """The one rational number a text writes, as integer, decimal or fraction; a sum is not a number."""
    try:
        text = _short(text)
        reading = read(text)
        bare = notation(unwrap(text)).lstrip("+- ")
    except UnreadableError:
        return None
    if reading.value is None or ":" in bare or _SUM.search(_take_unit(bare)[0].replace("\\frac", "")):
        return None
    return to_fraction(reading.value)


def _same_units(answer: str, truth: str) -> bool:
    left, right = read(_short(answer)).unit, read(_short(truth)).unit
    return not left or not right or left == right


def same_integer(answer: str, truth: str) -> bool:
    """Equal numbers; `14.0` is 14, `14.9` and `1,4` are not."""
    return same_float(answer, truth, None)


def same_float(answer: str, truth: str, precision: int | None) -> bool:
    """Equal after rounding to `precision` decimals; a tie (`0.65` for `0.6`) rounds to neither side. No sums."""
    left, right = number(answer), number(truth)
    if left is None or right is None or not _same_units(answer, truth):
        return False
    if precision is None:
        return left == right
    return left == right or abs(left - right) < Fraction(1, 2 * 10 ** min(max(precision, 0), 30))


def _items(text: str) -> list[str]:
    text = unwrap(_short(text))
    for left, right in ("[]", "()"):
        if text.startswith(left) and text.endswith(right):
            text = text[1:-1]
    return [item.strip().strip("'\"") for item in text.split(",")]


def same_list(answer: str, truth: str) -> bool:
    """Equal item by item, in order; brackets and spaces are free."""
    left, right = _items(answer), _items(truth)
    return len(left) == len(right) and all(same_math(a, b) for a, b in zip(left, right, strict=True))
