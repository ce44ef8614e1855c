"""Equations and inequalities in letters, up to what leaves their solutions as they are."""

from dataclasses import dataclass
from fractions import Fraction

from credit_zoo.answers.exact_numbers import (
    Monomial,
    Number,
    Quotient,
    UnreadableError,
    add,
    by_letters,
    has_letters,
    invert,
    is_letter,
    multiply,
    negate,
    power,
    rational,
    same_number,
    symbol,
    to_decimal,
)
from credit_zoo.answers.geometry_names import Name, parse_name
from credit_zoo.answers.intervals import Region, side

_SWAPPED = {">": "<", "≥": "≤"}
_TURNED = {"<": ">", "≤": "≥", "≠": "≠"}
_ZERO = rational(0)


@dataclass(frozen=True)
class Relation:
    """`left sign 0`; the sign is `=`, `≠`, `<` or `≤`, and `left` a sum of terms."""

    sign: str
    left: Quotient


def named_number(name: Name) -> Number:
    """A name as it stands in an expression: `AB` as the product that the parser makes of it."""
    if name.kind or name.subscript or len(name.letters) > 2 or "'" in name.letters:
        return symbol(name.symbol)
    value: Number = rational(1)
    for letter in name.letters:
        value = multiply(value, symbol(letter))
    return value


def relation(left: Number, sign: str, right: Number) -> Relation | Region:
    """What `left sign right` says; an inequality that is linear in one unknown is a region."""
    if sign in _SWAPPED:
        left, sign, right = right, _SWAPPED[sign], left
    difference = add(left, negate(right))
    if not isinstance(difference, Quotient) or not has_letters(difference):
        raise UnreadableError("a relation between numbers")
    if sign in "=≠":
        found = Relation(sign, _cleared(difference))
    else:
        turned = to_decimal(Quotient(difference.den)) < 0
        found = Relation(sign, _sum(negate(Quotient(difference.num)) if turned else Quotient(difference.num)))
    return found if sign == "=" else _solved(found) or found


def _cleared(value: Quotient) -> Quotient:
    """The numerator, letters of negative powers multiplied away."""
    lowest: dict[str, Fraction] = {}
    for monomial in value.num:
        for name, exponent in monomial:
            if is_letter(name) and exponent < 0:
                lowest[name] = min(exponent, lowest.get(name, exponent))
    cleared: Number = Quotient(value.num)
    for name, exponent in lowest.items():
        cleared = multiply(cleared, power(symbol(name), -exponent))
    return _sum(cleared)


def _sum(value: Number) -> Quotient:
    if not isinstance(value, Quotient):
        raise UnreadableError("no sum of terms")
    return value


def _solved(found: Relation) -> Region | None:
    """The region of an inequality that is linear in one unknown."""
    coefficients = by_letters(found.left.num)
    constant = coefficients.pop((), _ZERO)
    if len(coefficients) != 1:
        return None
    ((unknown, slope),) = coefficients.items()
    name = parse_name("".join(letter for letter, _ in unknown))
    if name is None or any(exponent != 1 for _, exponent in unknown):
        return None
    sign = _TURNED[found.sign] if to_decimal(slope) < 0 else found.sign
    return Region(side(sign, to_decimal(multiply(negate(constant), invert(slope)))), name)


def same_relation(left: Relation, right: Relation) -> bool:
    """Whether one is a multiple of the other, of the same direction if it has one."""
    one, other = by_letters(left.left.num), by_letters(right.left.num)
    if left.sign != right.sign or set(one) != set(other):
        return False
    pivot: Monomial = max(one)
    same_way = (to_decimal(one[pivot]) > 0) == (to_decimal(other[pivot]) > 0)
    return (same_way or left.sign in "=≠") and all(
        same_number(multiply(one[each], other[pivot]), multiply(other[each], one[pivot])) for each in one
    )
