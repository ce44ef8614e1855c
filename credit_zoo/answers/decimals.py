"""Decimals of 50 digits, for values that have no exact form: roots of sums, and sines of odd angles.

A decimal that somebody wrote has 30 digits at most, so that it never passes for such a value by nearness.
"""

from decimal import Context, Decimal, DivisionByZero, InvalidOperation, Overflow
from fractions import Fraction
from functools import lru_cache

CONTEXT = Context(prec=50, Emin=-99_999, Emax=99_999, traps=[InvalidOperation, DivisionByZero, Overflow])
PI_DECIMAL = Decimal("3.14159265358979323846264338327950288419716939937510582097")
_NEAR = Decimal("1e-40")


def from_fraction(value: Fraction) -> Decimal:
    """The nearest decimal."""
    return CONTEXT.divide(Decimal(value.numerator), Decimal(value.denominator))


def raised(base: Decimal, exponent: Fraction) -> Decimal:
    """`base ** exponent` of a positive base; `ArithmeticError` outside the range of `CONTEXT`."""
    if exponent == Fraction(1, 2):
        return CONTEXT.sqrt(base)
    return CONTEXT.power(base, from_fraction(exponent))


@lru_cache(maxsize=512)
def sine(degrees: Fraction) -> Decimal:
    """The sine of an angle from 0 to 90 degrees, by its series."""
    angle = CONTEXT.multiply(from_fraction(degrees / 180), PI_DECIMAL)
    turned = CONTEXT.minus(CONTEXT.multiply(angle, angle))
    term = total = angle
    for order in range(2, 80, 2):
        term = CONTEXT.divide(CONTEXT.multiply(term, turned), Decimal(order * (order + 1)))
        total = CONTEXT.add(total, term)
    return total


def near(left: Decimal, right: Decimal) -> bool:
    """Whether two decimals agree to 40 digits, or to 40 places after the point."""
    gap = CONTEXT.abs(CONTEXT.subtract(left, right))
    size = max(CONTEXT.abs(left), CONTEXT.abs(right), Decimal(1))
    return gap <= CONTEXT.multiply(_NEAR, size)
