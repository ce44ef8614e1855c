r"""A parser of our own for answers in school mathematics; nothing is ever evaluated as code.

    expression := [sign] term (("+" | "-") term)*
    term       := factor (("*" | "/") [sign] factor | factor)*        (from the left: 40/3x is (40/3)x)
    factor     := atom ["^" exponent]
    atom       := number | π | letter | "(" expression ")" | "√" atom | "\frac" atom atom

A number never follows something without a sign between them (`5 6` is two answers), and a doubled sign (`--8`)
is not an answer's form. `13\frac{1}{3}` and `13 1/3` are mixed numbers.
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

MAX_DEPTH = 24
MAX_DIGITS = 30
MAX_COST = 200

_REWRITES: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"\\(?:left|right|displaystyle|big|Big)(?![A-Za-z])|\\[!,;: ]|~"), " "),
    (re.compile(r"\\[dtc]frac"), r"\\frac"),
    (re.compile(r"\\(?:text|mathrm|textrm|operatorname|mbox)\s*\{([^{}]*)\}"), r" \1 "),
    (re.compile(r"\^\s*\{?\s*\\circ\s*\}?|\*?\s*\\degree|\\circ(?![A-Za-z])"), "°"),
    (re.compile(r"\\sqrt|(?<![A-Za-z])sqrt"), "√"),
    (re.compile(r"\\pi(?![A-Za-z])|(?<![A-Za-z\\])pi(?![A-Za-z])"), PI),
    (re.compile(r"\\(?:cdot|times|ast)(?![A-Za-z])"), "*"),
    (re.compile(r"\\div(?![A-Za-z])"), "/"),
    (re.compile(r"\\(?:leqslant|leq|le)(?![A-Za-z])|<="), "≤"),
    (re.compile(r"\\(?:geqslant|geq|ge)(?![A-Za-z])|>="), "≥"),
    (re.compile(r"\\lt(?![A-Za-z])"), "<"),
    (re.compile(r"\\gt(?![A-Za-z])"), ">"),
    (re.compile(r"\\(?:neq|ne)(?![A-Za-z])|!="), "≠"),
    (re.compile(r"\\approx(?![A-Za-z])|≈|≃"), "="),
    (re.compile(r"\\angle(?![A-Za-z])"), "∠"),
    (re.compile(r"\\?\$|\\[()\[\]]"), ""),
    (re.compile(r"\\%"), "%"),
    (re.compile(r"\{,\}"), ","),
    (re.compile(r"\*\*"), "^"),
    (re.compile(r"(?<![\d./^])(\d{1,9})\s+(\d{1,9})\s*/\s*(\d{1,9})(?![\d.])"), r"(\1+\2/\3)"),
)
_THOUSANDS = re.compile(r"(?<![\d.,])\d{1,3}(?:,\d{3})+(?![\d,])")
_TOKEN = re.compile(r"\s*(\d+\.?\d*(?:[eE][-+]?\d+)?|\.\d+(?:[eE][-+]?\d+)?|\\frac|[^\W\d_]+|[-+*/^(){}\[\]√])")
_NUMBER = re.compile(r"(\d*)\.?(\d*)(?:[eE]([-+]?\d+))?")
_CLOSING = {"(": ")", "{": "}"}


def notation(text: str) -> str:
    r"""LaTeX and its ASCII cousins in one notation: `√ π ° ≤ ≥ ≠ ∠ * / ^`, and `\frac` as the one command."""
    for pattern, plain in _REWRITES:
        text = pattern.sub(plain, text)
    return _THOUSANDS.sub(lambda digits: digits.group().replace(",", ""), text).strip()


def parse(text: str) -> Number:
    """The value of an expression in `notation`; `UnreadableError` for any other text."""
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
    return value


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
    """A run of letters is a product of at most two; a longer one is a word."""
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


@dataclass
class _Parser:
    """Recursive descent over the tokens, of bounded depth and bounded work."""

    tokens: list[str]
    at: int = 0
    depth: int = 0
    spent: int = 0

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
            elif self.peek() and self.peek() not in "+-)}]^" and not _is_number(self.peek()):
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
            exponent = to_fraction(self.signed(self.atom))
            if exponent is None or self.peek() == "^":
                raise UnreadableError("an exponent must be one rational number")
            self.spend(value, value, math.ceil(abs(exponent)) if cost(value, value) > 2 else 1)
            value = power(value, exponent)
        return value

    def mixed(self, whole: Number) -> Number:
        r"""`13\frac{1}{3}`; a fraction that is not proper and plain is a factor instead."""
        parts = self.tokens[self.at + 1 : self.at + 7]
        plain = len(parts) == 6 and [parts[at] for at in (0, 2, 3, 5)] == ["{", "}", "{", "}"]
        if not plain or not (parts[1].isdecimal() and parts[4].isdecimal()):
            return whole
        if literal(parts[1]) >= literal(parts[4]):
            raise UnreadableError("neither a mixed number nor clearly a product")
        return add(whole, self.atom())

    def atom(self) -> Number:
        token = self.peek()
        self.at += 1
        if _is_number(token):
            return rational(literal(token))
        if token == PI or (len(token) == 1 and token.isalpha()):
            return symbol(token)
        if token in _CLOSING:
            value = self.expression()
            self.expect(_CLOSING[token])
            return value
        if token == "√":
            return self.root()
        if token == "\\frac":
            top = self.argument()
            return multiply(top, invert(self.argument()))
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

    def argument(self) -> Number:
        r"""An argument of `\frac`: a group, or one digit or letter as in `\frac12`."""
        token = self.peek()
        if token.isdecimal() and len(token) > 1:
            self.tokens[self.at] = token[1:]
            return rational(int(token[0]))
        if token == "\\frac" or not token:
            raise UnreadableError("a fraction without its parts")
        return self.atom()
