r"""When two answers in school mathematics are the same: values, units, names, tuples, sets, intervals, relations.

Decisions where graders may reasonably differ:
- `80/6` is `40/3` and `\sqrt{1323}` is `21\sqrt{3}`: the value counts, not its simplest form. `18.79` is not
  `18.8`: a decimal is the number it writes.
- A unit may be left out, but one that contradicts the truth's is wrong: `5 cm` is no `5 m`, `7 m/s` no `7 m/s^2`;
  `500 cm` is `5 m`. Per cent is a unit: `50%` is `50`, not `0.5`. So is the name before an equals sign: `x = 60` is
  `60`, but not `y = 60`; `x_1` is not `x_2`, an arc no segment. `5'6"` and `30°15'` are one number each.
- A ratio is its quotient: `4:6` is `2:3` and `2/3`. A number in round brackets is the number, in square ones a list.
- `(1,2)` is in order, `{1,2}` and `1, 2` are not, and the two are different answers. `(3,7)` is `3 < x < 7` as well as
  the point. `x = 1, y = 2` is the point `(1,2)`, letters taken in the order of the alphabet.
- An equation is all its multiples; an expression in x alone is y. A comma before three digits parts thousands, except
  inside brackets, where it parts items.
- `\sin 30^\circ` is `1/2`; `\sin 30`, without degrees or pi, only itself.
- A doubled sign (`--8`), prose, an ordinal, JSON, markup and two answers in one are wrong.
- Kind `list`, which MathVista asks for: wrong in another order, brackets of any kind.
"""

import re
from dataclasses import replace
from fractions import Fraction

from credit_zoo.answers.equations import Relation, named_number, relation, same_relation
from credit_zoo.answers.exact_numbers import (
    Quotient,
    UnreadableError,
    by_letters,
    multiply,
    same_number,
    symbol,
    to_fraction,
)
from credit_zoo.answers.geometry_names import Name
from credit_zoo.answers.intervals import Region, same_spans
from credit_zoo.answers.latex_notation import notation
from credit_zoo.answers.math_values import Ordered, Reading, Statement, Unordered, Value, as_region, read
from credit_zoo.answers.plain_text import CAP, clean, squash, unwrap
from credit_zoo.answers.units import Unit, ratio, take_unit

_SUM = re.compile(r"[\w)}°]\s*[-+*^]|√")
_SCIENTIFIC = re.compile(r"([-+]?\s*\d{1,20}(?:\.\d{1,20})?)\s*\*\s*10\s*\^\s*\{?\s*([-+]?\d{1,2})\s*\}?")


def _same_names(one: Name | None, other: Name | None) -> bool:
    return one is None or other is None or one.matches(other)


def _same_values(left: Value, right: Value) -> bool:
    if not _same_names(left.name, right.name):
        return _same_equations(left, right)
    if left.unit is None or right.unit is None:
        return same_number(left.number, right.number) or _same_equations(left, right)
    if left.unit.powers != right.unit.powers:
        return False
    return same_number(multiply(left.number, ratio(left.unit, right.unit)), right.number)


def _as_relation(reading: Reading) -> Relation | None:
    """A named value as an equation; an expression in x without a name is y."""
    if isinstance(reading, Relation):
        return reading
    if not isinstance(reading, Value):
        return None
    if reading.name:
        found = relation(named_number(reading.name), "=", reading.number)
    elif isinstance(reading.number, Quotient) and _letters(reading.number) == {"x"}:
        found = relation(symbol("y"), "=", reading.number)
    else:
        return None
    return found if isinstance(found, Relation) else None


def _letters(value: Quotient) -> set[str]:
    products = [*by_letters(value.num), *by_letters(value.den)]
    return {name for product in products for name, _ in product}


def _same_equations(left: Reading, right: Reading) -> bool:
    relations = _as_relation(left), _as_relation(right)
    return bool(relations[0] and relations[1] and same_relation(relations[0], relations[1]))


def _same_ordered(left: Ordered, right: Ordered) -> bool:
    if left.brackets != right.brackets or len(left.items) != len(right.items):
        return False
    if not _same_names(left.name, right.name):
        return False
    pairs = list(zip(left.items, right.items, strict=True))
    if left.brackets != ":":
        return all(same_reading(one, other) for one, other in pairs)
    parts = [(one.number, other.number) for one, other in pairs if isinstance(one, Value) and isinstance(other, Value)]
    first, second = parts[0]
    return all(same_number(multiply(one, second), multiply(other, first)) for one, other in parts)


def _names(answers: Unordered) -> list[Name]:
    return [one.name for one in answers.items if isinstance(one, Value) and one.name]


def _is_system(answers: Unordered) -> bool:
    """Whether the items are values of several things; `x_1` and `x_2` are two values of one."""
    return len({(name.kind, name.letters) for name in _names(answers)}) > 1


def _without_numbers(roots: Unordered) -> Unordered:
    """`x_1 = 2, x_2 = 3` as `x = 2, x = 3`."""
    named = [
        replace(one, name=replace(one.name, subscript="")) if isinstance(one, Value) and one.name else one
        for one in roots.items
    ]
    return Unordered(tuple(named))


def _same_unordered(left: Unordered, right: Unordered) -> bool:
    if _is_system(left) != _is_system(right):
        return False
    numbered = [any(name.subscript for name in _names(answers)) for answers in (left, right)]
    if numbered[0] != numbered[1]:
        left, right = _without_numbers(left), _without_numbers(right)
    return all(any(same_reading(one, other) for other in right.items) for one in left.items) and all(
        any(same_reading(one, other) for one in left.items) for other in right.items
    )


def _same_regions(left: Region, right: Region) -> bool:
    units = (left.unit, right.unit)
    if None not in units and len({(unit.powers, str(unit.factor)) for unit in units if unit}) > 1:
        return False
    return _same_names(left.name, right.name) and same_spans(left.spans, right.spans)


def _point_of(equations: Unordered) -> Ordered | None:
    """`x = 1, y = 2` as `(1,2)`."""
    named = [one for one in equations.items if isinstance(one, Value) and one.name and one.name.is_variable]
    names = [one.name.symbol for one in named if one.name]
    if len(named) != len(equations.items) or len(set(names)) != len(names) or not _is_system(equations):
        return None
    ordered = sorted(zip(names, named, strict=True), key=lambda pair: pair[0])
    return Ordered("()", tuple(replace(one, name=None) for _, one in ordered))


def same_reading(left: Reading, right: Reading) -> bool:
    """Whether two readings say the same; a name or unit that only one of them has does not part them."""
    if isinstance(left, Value) and isinstance(right, Value):
        return _same_values(left, right)
    if isinstance(left, Ordered) and isinstance(right, Ordered):
        return _same_ordered(left, right)
    if isinstance(left, Unordered) and isinstance(right, Unordered):
        return _same_unordered(left, right)
    if isinstance(left, Statement) and isinstance(right, Statement):
        return (left.sign, left.things) == (right.sign, right.things)
    for one, other in ((left, right), (right, left)):
        if isinstance(one, Ordered) and isinstance(other, Unordered):
            point = _point_of(other)
            return point is not None and _same_ordered(one, point)
    regions = as_region(left), as_region(right)
    if regions[0] and regions[1]:
        return _same_regions(regions[0], regions[1])
    return _same_equations(left, right)


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
    except (UnreadableError, ArithmeticError):
        return texts[0].casefold() == texts[1].casefold()


def _short(text: str) -> str:
    """The cleaned text; empty if it is too long for an answer, before or after cleaning."""
    text = text.strip()
    cleaned = clean(text) if len(text) <= CAP else ""
    return cleaned if len(cleaned) <= CAP else ""


def _measured(text: str) -> tuple[Fraction, Unit | None] | None:
    """The one rational number a text writes, as integer, decimal, fraction or power of ten, and its unit; no sums."""
    try:
        text = _short(text)
        reading = read(text)
        bare = take_unit(notation(unwrap(text)))[0].strip()
    except (UnreadableError, ArithmeticError):
        return None
    if not isinstance(reading, Value) or ":" in bare:
        return None
    writes_sum = _SUM.search(bare.lstrip("+- ").replace("\\frac", ""))
    value = to_fraction(reading.number)
    return None if value is None or (writes_sum and not _SCIENTIFIC.fullmatch(bare)) else (value, reading.unit)


def same_integer(answer: str, truth: str) -> bool:
    """Equal numbers; `14.0` is 14, `14.9` and `1,4` are not."""
    return same_float(answer, truth, None)


def same_float(answer: str, truth: str, precision: int | None) -> bool:
    """Equal after rounding to `precision` decimals; a tie (`0.65` for `0.6`) rounds to neither side. No sums."""
    left, right = _measured(answer), _measured(truth)
    if left is None or right is None or (left[1] and right[1] and left[1] != right[1]):
        return False
    gap = abs(left[0] - right[0])
    return gap == 0 or (precision is not None and gap < Fraction(1, 2 * 10 ** min(max(precision, 0), 30)))


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
