r"""A parser of our own for answers in school mathematics; nothing is ever evaluated as code.

    expression := [sign] term (("+" | "-") term)*
    term       := factor (("*" | "/") [sign] factor | factor)*        (from the left: 40/3x is (40/3)x)
    factor     := (atom | function) ["^" exponent] ["°"]
    function   := name ["^" exponent] (group | product of factors without a sign between them) ["°"]
    atom       := number | π | letter | "(" expression ")" | "√" atom | "\frac" atom atom

A number never follows something without a sign between them (`5 6` is two answers), and a doubled sign (`--8`)
is not an answer's form. `13\frac{1}{3}`, `13\frac13` and `13 1/3` are mixed numbers. A letter may have a subscript.
"""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

from credit_zoo.answers.exact_numbers import (
    PI,
    Number,
    UnreadableError,
    add,
    cost,
    invert,
    multiply,
    negate,
    power,
    rational,
    symbol,
    to_fraction,
)
from credit_zoo.answers.trigonometry import FUNCTIONS, apply, multiple_of_pi

MAX_DEPTH = 24
MAX_DIGITS = 30
MAX_COST = 200

_FUNCTION = rf"\\?(?:arc)?(?:{'|'.join(FUNCTIONS)})(?![A-Za-z])"
_TOKEN = re.compile(
    r"\s*(\d+\.?\d*(?:[eE][-+]?\d+)?|\.\d+(?:[eE][-+]?\d+)?|\\frac|"
    rf"{_FUNCTION}|[^\W\d_]_(?:[^\W_]|\{{\w{{1,4}}\}})|[^\W\d_]+|[-+*/^(){{}}\[\]√°])"
)
_NUMBER = re.compile(r"(\d*)\.?(\d*)(?:[eE]([-+]?\d+))?")
_CLOSING = {"(": ")", "{": "}"}


def parse(text: str) -> tuple[Number, bool]:
    """The value of an expression in `notation`, and whether it is in degrees; `UnreadableError` for any other text."""
    tokens = _tokens(text)
    if not tokens:
        raise UnreadableError("nothing to read")
    try:
        parser = _Parser(tokens)
        value = parser.expression()
    except (ArithmeticError, RecursionError) as error:
        raise UnreadableError(str(error)) from error
    if parser.at < len(tokens):
        raise UnreadableError(f"unexpected {tokens[parser.at]}")
    return value, parser.degrees


def _tokens(text: str) -> list[str]:
    tokens: list[str] = []
    at = 0
    text = text.rstrip()
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise UnreadableError(f"unexpected {text[at]}")
        tokens += _split(match.group(1))
        at = match.end()
    return tokens


def _split(token: str) -> list[str]:
    """A run of letters is a product of at most two; a longer one is a word. Subscripts are without braces."""
    if "_" in token:
        return [token.replace("{", "").replace("}", "")]
    if token.lstrip("\\").removeprefix("arc") in FUNCTIONS:
        return [token.lstrip("\\")]
    if not token.replace(PI, "").isalpha():
        return list(token) if token and set(token) == {PI} else [token]
    if len(token.replace(PI, "")) > 2:
        raise UnreadableError(f"a word: {token}")
    return list(token)


def literal(token: str) -> Fraction:
    """The exact value of a decimal literal of bounded length."""
    match = _NUMBER.fullmatch(token)
    if match is None or len(token) > MAX_DIGITS or not (match.group(1) or match.group(2)):
        raise UnreadableError("number out of range")
    whole, decimals, exponent = match.group(1), match.group(2), int(match.group(3) or 0)
    if abs(exponent) > MAX_DIGITS:
        raise UnreadableError("exponent out of range")
    return Fraction(int(whole + decimals or "0")) * Fraction(10) ** (exponent - len(decimals))


def _is_number(token: str) -> bool:
    return token[:1].isdecimal() or (token[:1] == "." and len(token) > 1)


def _is_function(token: str) -> bool:
    return token.removeprefix("arc") in FUNCTIONS


@dataclass
class _Parser:
    """Recursive descent over the tokens, of bounded depth and bounded work."""

    tokens: list[str]
    at: int = 0
    depth: int = 0
    spent: int = 0
    degrees: bool = False

    def spend(self, left: Number, right: Number, times: int = 1) -> None:
        self.spent += times * cost(left, right)
        if self.spent > MAX_COST:
            raise UnreadableError("too much work")

    def peek(self, ahead: int = 0) -> str:
        return self.tokens[self.at + ahead] if self.at + ahead < len(self.tokens) else ""

    def take(self, token: str) -> bool:
        if self.peek() != token:
            return False
        self.at += 1
        return True

    def expect(self, token: str) -> None:
        if not self.take(token):
            raise UnreadableError(f"expected {token}")

    def signed(self, read: Callable[[], Number]) -> Number:
        if self.take("-"):
            return negate(read())
        self.take("+")
        return read()

    def expression(self) -> Number:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise UnreadableError("nested too deep")
        value = self.signed(self.term)
        while self.peek() in ("+", "-"):
            minus = self.tokens[self.at] == "-"
            self.at += 1
            right = self.term()
            self.spend(value, right)
            value = add(value, negate(right) if minus else right)
        self.depth -= 1
        return value

    def term(self) -> Number:
        value = self.factor()
        while True:
            if self.take("*"):
                right = self.signed(self.factor)
            elif self.take("/"):
                right = invert(self.signed(self.factor))
            elif self.peek() and self.peek() not in "+-)}]^°" and not _is_number(self.peek()):
                right = self.factor()
            else:
                return value
            self.spend(value, right)
            value = multiply(value, right)

    def factor(self) -> Number:
        start = self.at
        value = self.atom()
        if self.at == start + 1 and self.tokens[start].isdecimal() and self.peek() == "\\frac":
            value = self.mixed(value)
        if self.take("^"):
            value = self.raised(value, self.exponent())
        if self.take("°"):
            self.degrees = True
        return value

    def exponent(self) -> Fraction:
        exponent = to_fraction(self.signed(self.atom))
        if exponent is None or self.peek() == "^":
            raise UnreadableError("an exponent must be one rational number")
        return exponent

    def raised(self, value: Number, exponent: Fraction) -> Number:
        self.spend(value, value, math.ceil(abs(exponent)) if cost(value, value) > 2 else 1)
        return power(value, exponent)

    def mixed(self, whole: Number) -> Number:
        r"""`13\frac{1}{3}`; a fraction whose parts are not plain numbers is a factor instead."""
        self.at += 1
        value, plain = self.fraction()
        part = to_fraction(value)
        if not plain or part is None:
            self.spend(whole, value)
            return multiply(whole, value)
        if part >= 1:
            raise UnreadableError("neither a mixed number nor clearly a product")
        return add(whole, value)

    def function(self, name: str) -> Number:
        """A trigonometric function of one group, or of the factors that follow it up to a sign."""
        self.depth += 1
        if self.depth > MAX_DEPTH or _is_function(self.peek()):
            raise UnreadableError("nested too deep")
        exponent = self.exponent() if self.take("^") else Fraction(1)
        if exponent == -1:
            name, exponent = f"arc{name}", Fraction(1)
        outside, self.degrees = self.degrees, False
        angle = self.angle()
        value = apply(name, angle, self.degrees)
        self.degrees = outside
        self.depth -= 1
        return self.raised(value, exponent)

    def angle(self) -> Number:
        if self.peek() in _CLOSING:
            value = self.atom()
            if self.take("°"):
                self.degrees = True
            return value
        value = self.factor()
        while self.peek() == "\\frac" or (self.peek()[:1].isalpha() and not _is_function(self.peek())):
            right = self.factor()
            self.spend(value, right)
            value = multiply(value, right)
        if multiple_of_pi(value) is not None and self.take("/"):
            value = multiply(value, invert(self.factor()))
        return value

    def atom(self) -> Number:
        token = self.peek()
        self.at += 1
        if _is_number(token):
            return rational(literal(token))
        if _is_function(token):
            return self.function(token)
        if token == PI or token[:1].isalpha():
            return symbol(token)
        if token in _CLOSING:
            value = self.expression()
            self.expect(_CLOSING[token])
            return value
        if token == "√":
            return self.root()
        if token == "\\frac":
            return self.fraction()[0]
        raise UnreadableError(f"unexpected {token or 'end'}")

    def root(self) -> Number:
        index = Fraction(2)
        if self.take("["):
            index = literal(self.peek())
            self.at += 1
            self.expect("]")
        if index.denominator != 1 or index < 2 or self.peek() in ("√", "\\frac"):
            raise UnreadableError("not a root")
        return power(self.atom(), 1 / index)

    def fraction(self) -> tuple[Number, bool]:
        r"""What follows `\frac`, and whether both parts are plain numbers."""
        top, plain_top = self.argument()
        bottom, plain_bottom = self.argument()
        self.spend(top, bottom)
        return multiply(top, invert(bottom)), plain_top and plain_bottom

    def argument(self) -> tuple[Number, bool]:
        r"""An argument of `\frac`: a group, or one digit or letter as in `\frac12`; and whether it is plain digits."""
        token = self.peek()
        if token.isdecimal() and len(token) > 1:
            self.tokens[self.at] = token[1:]
            return rational(int(token[0])), True
        if token == "\\frac" or not token:
            raise UnreadableError("a fraction without its parts")
        plain = token.isdecimal() or (token == "{" and self.peek(1).isdecimal() and self.peek(2) == "}")
        return self.atom(), plain
