"""Exact arithmetic that stays an integer where it can.

A checked text may state fractions where whole numbers were taught, so steps take both.
"""

import math
from decimal import Decimal
from fractions import Fraction

Number = int | Fraction


def quotient(top: Number, bottom: Number) -> Number:
    """The exact quotient: an integer where it is whole, else a Fraction (which prints as 7/2)."""
    exact = Fraction(top) / bottom
    return exact.numerator if exact.denominator == 1 else exact


def mean(total: Number, count: int) -> Decimal:
    """The mean with one decimal, as 7.0 or 9.5."""
    return (Decimal(round(Fraction(total) / count * 10)) / 10).quantize(Decimal("0.1"))


def root(square: Number) -> int:
    """The square root rounded down; 0 for a negative number, which only an error can bring."""
    return math.isqrt(max(0, int(square)))
