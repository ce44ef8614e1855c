"""Following a sampled solution along its procedure: what role each part has, and what is wrong in it.

What is free in the taught form is free here: readings that stand side by side may come in any order, a result may have
any name, and a statement may be followed by a remark in parentheses, of which nothing depends.
"""

import re
from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from typing import cast

from credit_zoo.twins.contract import ErrorKind, Procedure, Role, V, Value, Verdict
from credit_zoo.twins.habits import misread, misreasoned
from credit_zoo.twins.solutions import BETWEEN, CLOSE, END, OPEN

# Lengths are bounded: Python refuses to convert very long digit strings, and no taught number is longer.
_INTEGER = re.compile(r"-?[0-9]{1,9}")
_FRACTION = re.compile(r"-?[0-9]{1,9}/[0-9]{1,9}")
_DECIMAL = re.compile(r"-?[0-9]{1,9}\.[0-9]{1,9}")
_WORD = re.compile(r"[A-Za-z]+")
_STATED = re.compile(r"[^;<=\s]+")
_LISTED = re.compile(r"[^;<=,\]\s]+")
_ANSWER = re.compile(r"[^<]+")
_REMARK = re.compile(r" \([^()<;]*\)")
# A whole reading, whatever its label; a worked-out value has two signs of equality.
_READING = re.compile(rf"(?:{re.escape(OPEN)}|{BETWEEN})([A-Za-z]+)=[^;<=()]*(?:{_REMARK.pattern})?(?=[;<]|$)")


class _LeftError(Exception):
    """The text left the taught form."""


class SolutionChecker:
    """Follows a sampled response along the procedure and finds its errors; never raises."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._begin = self._at = len(text) - len(text.lstrip())
        self._errors: list[tuple[ErrorKind, int, int]] = []
        self._habits: list[tuple[ErrorKind, int, int]] = []
        self._roles: list[tuple[int, int, Role]] = []
        self._ahead: dict[int, int] = {}  # readings that were taken before their turn: from, to
        self._before: Value | None = None

    def follow(self, procedure: Procedure) -> Verdict:
        """Run the procedure against the text."""
        followed = True
        try:
            procedure(self)
            if self._text[self._at :].strip():
                raise _LeftError
        except (_LeftError, ArithmeticError, ValueError, TypeError, LookupError):
            # A stated value out of range can make the procedure itself fail: nothing taught goes on there.
            followed = False
        errors, habits = (tuple(sorted(found, key=lambda one: one[1])) for found in (self._errors, self._habits))
        return Verdict(followed, errors[0][0] if errors else None, errors, tuple(sorted(self._roles)), habits)

    def read(self, label: str, value: V, near: Sequence[V] = ()) -> V:
        """Take the value that the text states for the label."""
        return self.reads(label, (value,), near)[0]

    def reads(self, label: str, values: Sequence[V], near: Sequence[V] = ()) -> tuple[V, ...]:
        """Take the values that the text lists for the label."""
        self._pass_taken()
        turn = self._at
        self._at = found = self._find(label)
        self._expect(re.escape(f"{self._lead}{label}="))
        stated, pattern = [], _LISTED if len(values) > 1 else _STATED
        for place, value in enumerate(values):
            if place:
                self._expect(",")
            stated.append(self._stated(value, pattern, "read", "perception", misread(label, value, self._before)))
            self._before = value
        self._remark()
        if found > turn:
            self._ahead[found] = self._at
            self._at = turn
        return tuple(stated)

    def derive(self, label: str, expression: str, value: V, near: Sequence[V] = ()) -> V:
        """Take the result that the text states; operands copied wrongly are a reasoning error."""
        self._pass_taken()
        form = re.sub(r"[0-9]+", "[0-9]+", re.escape(expression))
        self._expect(re.escape(self._lead) + "[A-Za-z]+=")
        start, end = self._at, self._expect(form + "=")
        if self._text[start : end - 1] != expression:
            self._errors.append(("reasoning", start, end - 1))
            stated = self._stated(value, _STATED, "derived", None)
        else:
            habit = misreasoned(label, expression, value, near)
            stated = self._stated(value, _STATED, "derived", "reasoning", habit)
        self._remark()
        return stated

    def answer(self, value: Value | tuple[Value, ...]) -> None:
        """Compare the stated answer with the one carried here."""
        self._pass_taken()
        listed = isinstance(value, tuple)
        for place, each in enumerate(value if isinstance(value, tuple) else (value,)):
            self._expect("," if place else re.escape(CLOSE + "[" * listed))
            self._stated(each, _LISTED if listed else _ANSWER, "derived", "reasoning")
        self._expect(re.escape("]" * listed + END))

    @property
    def _lead(self) -> str:
        return OPEN if self._at == self._begin else BETWEEN

    def _find(self, label: str) -> int:
        """Where the reading of a label begins: here, or among the readings that follow side by side."""
        place = self._at
        while match := _READING.match(self._text, place):
            if match[1] == label and place not in self._ahead:
                return place
            place = match.end()
        return self._at

    def _pass_taken(self) -> None:
        while self._at in self._ahead:
            self._at = self._ahead.pop(self._at)

    def _expect(self, pattern: str) -> int:
        match = re.compile(pattern).match(self._text, self._at)
        if match is None:
            raise _LeftError
        return self._take(match, "filler")

    def _remark(self) -> None:
        if match := _REMARK.match(self._text, self._at):
            self._take(match, "filler")

    def _take(self, match: re.Match[str], role: Role) -> int:
        self._roles.append((match.start(), match.end(), role))
        self._at = match.end()
        return self._at

    def _stated(
        self, value: V, pattern: re.Pattern[str], role: Role, error: ErrorKind | None, habit: Value | None = None
    ) -> V:
        match = pattern.match(self._text, self._at)
        if match is None:
            raise _LeftError
        stated = _parse(match.group().strip(), value)
        self._take(match, role)
        if error is not None and stated != value:
            self._errors.append((error, match.start(), match.end()))
            if stated == habit:
                self._habits.append((error, match.start(), match.end()))
        return stated


def _parse(text: str, like: V) -> V:
    """The value that a text states, of the kind (word or number) of `like`."""
    if isinstance(like, str):
        if _WORD.fullmatch(text) or text == like:
            return cast(V, text)
    elif _INTEGER.fullmatch(text):
        return cast(V, int(text))
    elif _FRACTION.fullmatch(text):
        return cast(V, Fraction(text))
    elif _DECIMAL.fullmatch(text):
        return cast(V, Decimal(text) if isinstance(like, Decimal) else Fraction(text))
    raise _LeftError
