"""Exact arithmetic for the numbers of school mathematics: rationals, roots, pi, and polynomials in letters.

A value is a quotient of two sums of terms; a term is a rational times powers of symbols, where a symbol is a
letter, pi, a prime number under a root, or the sine of an angle. Such roots are linearly independent over the
rationals and pi is transcendental, so two values without sines are equal exactly if their terms are. What has no such
form (the root of a sum) is a decimal of 50 digits. Sizes are bounded: whatever grows past the bounds is
`UnreadableError`.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from typing import NoReturn

from credit_zoo.answers.decimals import CONTEXT, PI_DECIMAL, from_fraction, near, raised, sine

Monomial = tuple[tuple[str, Fraction], ...]
Terms = Mapping[Monomial, Fraction]

MAX_TERMS = 12
MAX_BITS = 512
MAX_POWER = 64
MAX_SUM_POWER = 8
MAX_ROOT = 12
PI = "π"
SINE = "sin "  # begins the name of a symbol; an angle from 0 to 90 in degrees follows
_PRIMES = [n for n in range(2, 1000) if all(n % d for d in range(2, math.isqrt(n) + 1))]
_ONE: Terms = {(): Fraction(1)}


class UnreadableError(ValueError):
    """The text is no expression of this grammar, or one too large to be an answer."""


@dataclass(frozen=True)
class Quotient:
    """`num / den`, each a sum of terms; letters and pi may have any power, primes one in (0, 1)."""

    num: Terms
    den: Terms = field(default_factory=lambda: _ONE)


Number = Quotient | Decimal


def rational(value: Fraction | int) -> Quotient:
    """A rational number as a value."""
    return Quotient(_sized({(): Fraction(value)}))


def symbol(name: str) -> Quotient:
    """A letter, `PI`, or `SINE` with an angle."""
    return Quotient({((name, Fraction(1)),): Fraction(1)})


def _sized(terms: dict[Monomial, Fraction]) -> Terms:
    kept = {monomial: factor for monomial, factor in terms.items() if factor}
    if len(kept) > MAX_TERMS:
        raise UnreadableError("too many terms")
    for factor in kept.values():
        if max(factor.numerator.bit_length(), factor.denominator.bit_length()) > MAX_BITS:
            raise UnreadableError("too many digits")
    return kept


def _product(left: Monomial, right: Monomial) -> tuple[Monomial, Fraction]:
    """The product of two monomials, whole powers of primes given back as a factor."""
    if not left and not any(name.isdecimal() for name, _ in right):
        return right, Fraction(1)
    powers = dict(left)
    for name, power in right:
        powers[name] = powers.get(name, Fraction(0)) + power
    factor = Fraction(1)
    for name, power in list(powers.items()):
        if abs(power) > MAX_POWER:
            raise UnreadableError("power out of range")
        if name.isdecimal() and not 0 <= power < 1:
            whole = math.floor(power)
            factor *= Fraction(int(name)) ** whole
            powers[name] = power - whole
    return tuple(sorted((name, power) for name, power in powers.items() if power)), factor


def _times(left: Terms, right: Terms) -> Terms:
    if left == _ONE or right == _ONE:
        return left if right == _ONE else right
    result: dict[Monomial, Fraction] = {}
    for one, a in left.items():
        for other, b in right.items():
            monomial, factor = _product(one, other)
            result[monomial] = result.get(monomial, Fraction(0)) + a * b * factor
    return _sized(result)


def _plus(left: Terms, right: Terms) -> Terms:
    result = dict(left)
    for monomial, factor in right.items():
        result[monomial] = result.get(monomial, Fraction(0)) + factor
    return _sized(result)


def add(left: Number, right: Number) -> Number:
    """The sum."""
    if isinstance(left, Decimal) or isinstance(right, Decimal):
        return CONTEXT.add(to_decimal(left), to_decimal(right))
    if left.den == right.den:
        return Quotient(_plus(left.num, right.num), left.den)
    return Quotient(_plus(_times(left.num, right.den), _times(right.num, left.den)), _times(left.den, right.den))


def negate(value: Number) -> Number:
    """The value with the other sign."""
    return multiply(rational(-1), value)


def multiply(left: Number, right: Number) -> Number:
    """The product."""
    if isinstance(left, Decimal) or isinstance(right, Decimal):
        return CONTEXT.multiply(to_decimal(left), to_decimal(right))
    return Quotient(_times(left.num, right.num), _times(left.den, right.den))


def invert(value: Number) -> Number:
    """One over the value; a single term moves into the numerator."""
    if isinstance(value, Decimal):
        return CONTEXT.divide(Decimal(1), value) if value else _refuse("division by zero")
    if not value.num:
        return _refuse("division by zero")
    if len(value.num) > 1:
        return Quotient(value.den, value.num)
    ((monomial, factor),) = value.num.items()
    inverse, extra = _product((), tuple((name, -power) for name, power in monomial))
    return Quotient(_times(value.den, _sized({inverse: extra / factor})))


def power(base: Number, exponent: Fraction) -> Number:
    """`base ** exponent` for a rational exponent; roots of letters are formal, as of positive lengths."""
    if abs(exponent) > MAX_POWER or exponent.denominator > MAX_ROOT:
        return _refuse("exponent out of range")
    if exponent < 0:
        return invert(power(base, -exponent))
    if isinstance(base, Quotient) and base.den == _ONE and len(base.num) == 1:
        exact = _power_of_term(base, exponent)
        if exact is not None:
            return exact
    if isinstance(base, Quotient) and exponent.denominator == 1:
        return _power_of_sum(base, exponent.numerator)
    value = to_decimal(base)
    if value < 0 and exponent.denominator % 2:
        return negate(power(negate(base), exponent)) if exponent.numerator % 2 else power(negate(base), exponent)
    if value < 0:
        return _refuse("root of a negative number")
    return raised(value, exponent) if value else rational(0)


def _power_of_sum(base: Quotient, exponent: int) -> Number:
    if exponent > MAX_SUM_POWER or not (base.num or exponent):
        return _refuse("power out of range")
    result: Number = rational(1)
    for _ in range(exponent):
        result = multiply(result, base)
    return result


def _power_of_term(base: Quotient, exponent: Fraction) -> Number | None:
    ((monomial, factor),) = base.num.items()
    bits = max(factor.numerator.bit_length(), factor.denominator.bit_length())
    if bits * exponent > MAX_BITS:
        return _refuse("too many digits")
    whole = exponent.denominator == 1
    root = rational(factor**exponent.numerator) if whole else _rational_root(factor, exponent)
    if root is None:
        return None
    raised, extra = _product((), tuple((name, each * exponent) for name, each in monomial if exponent))
    return multiply(root, Quotient(_sized({raised: extra})))


def _rational_root(value: Fraction, exponent: Fraction) -> Quotient | None:
    """`value ** exponent` as a rational times roots of primes; None where a large factor may be composite."""
    if value <= 0:
        return None
    monomial: Monomial = ()
    factor = Fraction(1)
    for number, sign in ((value.numerator, 1), (value.denominator, -1)):
        for prime in _PRIMES:
            count = 0
            while number % prime == 0:
                number //= prime
                count += 1
            if count:
                monomial, extra = _product(monomial, _prime_power(prime, sign * count * exponent))
                factor *= extra
        if number >= 1_000_000:
            return None
        if number > 1:
            monomial, extra = _product(monomial, _prime_power(number, sign * exponent))
            factor *= extra
    return Quotient(_sized({monomial: factor}))


def _prime_power(prime: int, exponent: Fraction) -> Monomial:
    return ((str(prime), exponent),)


def to_decimal(value: Number) -> Decimal:
    """The number in 50 digits; `UnreadableError` if it holds letters, `ArithmeticError` if it leaves the range."""
    if isinstance(value, Decimal):
        return value
    den = _sum(value.den)
    return CONTEXT.divide(_sum(value.num), den) if den else _refuse("division by zero")


def _sum(terms: Terms) -> Decimal:
    total = Decimal(0)
    for monomial, factor in terms.items():
        term = from_fraction(factor)
        for name, exponent in monomial:
            term = CONTEXT.multiply(term, raised(_known(name), exponent))
        total = CONTEXT.add(total, term)
    return total


def _known(name: str) -> Decimal:
    """The value of a symbol that is no letter."""
    if is_letter(name):
        return _refuse("letters in a number")
    if name.startswith(SINE):
        return sine(Fraction(name.removeprefix(SINE)))
    return PI_DECIMAL if name == PI else Decimal(name)


def is_letter(name: str) -> bool:
    """Whether a symbol stands for something unknown."""
    return name != PI and not name.isdecimal() and not name.startswith(SINE)


def _refuse(why: str) -> NoReturn:
    raise UnreadableError(why)


def to_fraction(value: Number) -> Fraction | None:
    """The value if it is rational."""
    if isinstance(value, Decimal) or value.den != _ONE:
        return None
    return value.num.get((), Fraction(0)) if set(value.num) <= {()} else None


def cost(left: Number, right: Number) -> int:
    """How many products of terms a product takes; the parser adds them up."""
    if isinstance(left, Decimal) or isinstance(right, Decimal):
        return 1
    return len(left.num) * len(right.num) + len(left.den) * len(right.den)


def _names(value: Quotient) -> set[str]:
    return {name for terms in (value.num, value.den) for monomial in terms for name, _ in monomial}


def has_letters(value: Number) -> bool:
    """Whether any letter remains in the value."""
    return not isinstance(value, Decimal) and any(map(is_letter, _names(value)))


def by_letters(terms: Terms) -> dict[Monomial, Quotient]:
    """The coefficient, free of letters, of each product of letters."""
    parts: dict[Monomial, dict[Monomial, Fraction]] = {}
    for monomial, factor in terms.items():
        letters = tuple(one for one in monomial if is_letter(one[0]))
        rest = tuple(one for one in monomial if not is_letter(one[0]))
        parts.setdefault(letters, {})[rest] = factor
    return {letters: Quotient(coefficients) for letters, coefficients in parts.items()}


def same_number(left: Number, right: Number) -> bool:
    """`a/b = c/d` exactly if `ad = bc`; values with sines or without an exact form agree to 40 digits."""
    if not isinstance(left, Decimal) and not isinstance(right, Decimal):
        if _times(left.num, right.den) == _times(right.num, left.den):
            return True
        if not any(name.startswith(SINE) for name in _names(left) | _names(right)):
            return False
    if has_letters(left) or has_letters(right):
        return False
    return near(to_decimal(left), to_decimal(right))
