"""Exact arithmetic for the numbers of school mathematics: rationals, roots, pi, and polynomials in letters.

A value is a quotient of two sums of terms; a term is a rational times powers of symbols, where a symbol is a
letter, pi, or a prime number under a root. Such roots are linearly independent over the rationals and pi is
transcendental, so two values are equal exactly if their terms are. What has no such form (the root of a sum) is
a float. Sizes are bounded: whatever grows past the bounds is `UnreadableError`.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import NoReturn

Monomial = tuple[tuple[str, Fraction], ...]
Terms = Mapping[Monomial, Fraction]

MAX_TERMS = 12
MAX_BITS = 512
MAX_POWER = 64
MAX_SUM_POWER = 8
MAX_ROOT = 12
PI = "π"
_PRIMES = [n for n in range(2, 1000) if all(n % d for d in range(2, math.isqrt(n) + 1))]
_ONE: Terms = {(): Fraction(1)}


class UnreadableError(ValueError):
    """The text is no expression of this grammar, or one too large to be an answer."""


@dataclass(frozen=True)
class Quotient:
    """`num / den`, each a sum of terms; letters and pi may have any power, primes one in (0, 1)."""

    num: Terms
    den: Terms = field(default_factory=lambda: _ONE)


Number = Quotient | float


def rational(value: Fraction | int) -> Quotient:
    """A rational number as a value."""
    return Quotient(_sized({(): Fraction(value)}))


def symbol(name: str) -> Quotient:
    """A letter, or `PI`."""
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
    if isinstance(left, float) or isinstance(right, float):
        return _finite(to_float(left) + to_float(right))
    if left.den == right.den:
        return Quotient(_plus(left.num, right.num), left.den)
    return Quotient(_plus(_times(left.num, right.den), _times(right.num, left.den)), _times(left.den, right.den))


def negate(value: Number) -> Number:
    """The value with the other sign."""
    return multiply(rational(-1), value)


def multiply(left: Number, right: Number) -> Number:
    """The product."""
    if isinstance(left, float) or isinstance(right, float):
        return _finite(to_float(left) * to_float(right))
    return Quotient(_times(left.num, right.num), _times(left.den, right.den))


def invert(value: Number) -> Number:
    """One over the value; a single term moves into the numerator."""
    if isinstance(value, float):
        return _finite(1 / value) if value else _refuse("division by zero")
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
    value = to_float(base)
    return _finite(value ** float(exponent)) if value >= 0 else _refuse("root of a negative number")


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


def to_float(value: Number) -> float:
    """The number as a float; `UnreadableError` if it holds letters or leaves the range."""
    if isinstance(value, float):
        return value
    den = _sum(value.den)
    return _finite(_sum(value.num) / den) if den else _refuse("division by zero")


def _sum(terms: Terms) -> float:
    total = 0.0
    for monomial, factor in terms.items():
        term = float(factor)
        for name, exponent in monomial:
            if name != PI and not name.isdecimal():
                raise UnreadableError("letters in a number")
            term *= (math.pi if name == PI else float(name)) ** float(exponent)
        total += term
    return total


def _finite(value: float) -> float:
    return value if math.isfinite(value) else _refuse("out of range")


def _refuse(why: str) -> NoReturn:
    raise UnreadableError(why)


def to_fraction(value: Number) -> Fraction | None:
    """The value if it is rational."""
    if isinstance(value, float) or value.den != _ONE:
        return None
    return value.num.get((), Fraction(0)) if set(value.num) <= {()} else None


def cost(left: Number, right: Number) -> int:
    """How many products of terms a product takes; the parser adds them up."""
    if isinstance(left, float) or isinstance(right, float):
        return 1
    return len(left.num) * len(right.num) + len(left.den) * len(right.den)


def has_letters(value: Number) -> bool:
    """Whether any letter remains in the value."""
    if isinstance(value, float):
        return False
    names = {name for terms in (value.num, value.den) for monomial in terms for name, _ in monomial}
    return any(name != PI and not name.isdecimal() for name in names)


def same_number(left: Number, right: Number) -> bool:
    """`a/b = c/d` exactly if `ad = bc`; values without an exact form agree to nine digits."""
    if isinstance(left, Quotient) and isinstance(right, Quotient):
        return _times(left.num, right.den) == _times(right.num, left.den)
    if has_letters(left) or has_letters(right):
        return False
    return math.isclose(to_float(left), to_float(right), rel_tol=1e-9, abs_tol=1e-12)
