"""Values of the trigonometric functions: exact at multiples of 15 degrees, a symbol for any other angle.

A function of letters, or of a number that has neither degrees nor pi, is a symbol too: it equals itself alone.
"""

from fractions import Fraction

from credit_zoo.answers.exact_numbers import (
    PI,
    SINE,
    Number,
    Quotient,
    add,
    invert,
    multiply,
    negate,
    power,
    rational,
    symbol,
    to_fraction,
)

FUNCTIONS = ("sin", "cos", "tan", "cot", "sec", "csc")
_HALF = Fraction(1, 2)
_PI_ALONE = ((PI, Fraction(1)),)


def _root(square: int, over: int) -> Number:
    return multiply(rational(Fraction(1, over)), power(rational(square), _HALF))


_SINES = {
    0: rational(0), 30: rational(_HALF), 45: _root(2, 2), 60: _root(3, 2), 90: rational(1),
    15: add(_root(6, 4), negate(_root(2, 4))), 75: add(_root(6, 4), _root(2, 4)),
    18: add(_root(5, 4), rational(Fraction(-1, 4))), 54: add(_root(5, 4), rational(Fraction(1, 4))),
}  # fmt: skip


def _sine(degrees: Fraction) -> Number:
    degrees %= 360
    if degrees > 180:
        return negate(_sine(degrees - 180))
    acute = min(degrees, 180 - degrees)
    exact = _SINES.get(acute.numerator) if acute.denominator == 1 else None
    return symbol(f"{SINE}{acute}") if exact is None else exact


def _at(function: str, degrees: Fraction) -> Number:
    sine, cosine = _sine(degrees), _sine(degrees + 90)
    top, bottom = {
        "sin": (sine, rational(1)), "cos": (cosine, rational(1)), "tan": (sine, cosine), "cot": (cosine, sine),
        "sec": (rational(1), cosine), "csc": (rational(1), sine),
    }[function]  # fmt: skip
    return multiply(top, invert(bottom))


def multiple_of_pi(value: Number) -> Fraction | None:
    """`a` of `a π`; None for any other value, 0 among them."""
    if isinstance(value, Quotient) and to_fraction(Quotient(value.den)) == 1 and set(value.num) == {_PI_ALONE}:
        return value.num[_PI_ALONE]
    return None


def apply(function: str, angle: Number, in_degrees: bool) -> Number:
    """The function's value at an angle; `arcsin` and its like are symbols. `UnreadableError` at a pole."""
    degrees = to_fraction(angle)
    if not in_degrees and degrees != 0:
        turn = multiple_of_pi(angle)
        degrees = None if turn is None else 180 * turn
    if degrees is None or function not in FUNCTIONS:
        return symbol(f"{function}({_spelled(angle)}{'°' if in_degrees else ''})")
    return _at(function, degrees)


def _spelled(value: Number) -> str:
    """One text for all spellings of an angle, equal quotients of sums apart."""
    if not isinstance(value, Quotient):
        return str(value)
    sums = (sorted(terms.items()) for terms in (value.num, value.den))
    return "/".join("+".join(f"{factor}*{monomial}" for monomial, factor in terms) for terms in sums)
