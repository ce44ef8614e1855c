"""Systematic mistakes: what a reader with bad habits sees and what a reasoner with bad habits concludes.

Both are plain functions of what is seen or asked, so that the same question is mistaken in the same way each time. That
makes a wrong answer the most probable one, which no sharpening of a policy mends, where a slip
(`credit_zoo.twins.solutions.ErrorWriter`) is noise around a right one.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import cast

from credit_zoo.twins.contract import V, Value

# Glyphs that look alike, at the first place of a number alone.
GLYPHS: Mapping[str, str] = {"3": "8", "6": "5"}
# Looks that are close to each other.
LOOKS: Mapping[str, str] = {
    "red": "orange", "blue": "purple", "circle": "diamond", "medium": "large", "man": "woman",
}  # fmt: skip
# At the third corner of a figure, the third column of a table, the number that was read just before is read again.
NEIGHBOURS = frozenset(("C", "L", "R"))

_LISTED = re.compile(r"(?:max|min)\(([0-9,]+)\)")
_SUM_LABELS = frozenset(("x", "half", "perimeter", "missing"))
_Operation = Callable[..., int]
# The form of an expression, and what is made of its numbers.
_OPERATIONS: Sequence[tuple[str, re.Pattern[str], _Operation]] = (
    ("halving forgotten", re.compile(r"([0-9]+)/2"), lambda whole: whole),
    ("doubling forgotten", re.compile(r"2\*([0-9]+)"), lambda half: half),
    ("square of the sum", re.compile(r"([0-9]+)\*\1\+([0-9]+)\*\2"), lambda a, b: (a + b) ** 2),
    ("square of the difference", re.compile(r"([0-9]+)\*\1-([0-9]+)\*\2"), lambda a, b: (a - b) ** 2),
    ("sum for product", re.compile(r"([0-9]+)\*([0-9]+)"), lambda a, b: a + b),
    ("last one left out", re.compile(r"([0-9]+)\+([0-9]+)\+[0-9]+"), lambda a, b: a + b),
)
_DIFFERENCE = re.compile(r"([0-9]+)\+([0-9]+)")
_AFTER = re.compile(r"after ([a-z]+)")
# Words of a choice among several, where the habit takes another one.
_SIDES = frozenset(("min", "max", "less", "more", "once", "other", "rest", "inner", "outer"))


def misread(label: str, value: V, before: Value | None) -> V:
    """What a reader with habits sees at a label where `value` stands; `before` is the value read just before, None for
    the first. The value itself where no habit applies.
    """
    if isinstance(value, str):
        return cast(V, LOOKS.get(value, value))
    if not isinstance(value, int) or value <= 0:
        return value
    if label in NEIGHBOURS and isinstance(before, int):
        return cast(V, before)
    text = str(value)
    return cast(V, int(GLYPHS.get(text[0], text[0]) + text[1:]))


def misreasoned(label: str, expression: str, value: V, near: Sequence[V] = ()) -> V:
    """What a reasoner with habits concludes from an expression whose result is `value`; `near` lists the results it
    could take by mistake. The value itself where no habit applies.
    """
    if isinstance(value, str):
        return cast(V, _other_word(expression, value, [word for word in near if isinstance(word, str)]))
    if expression in _SIDES:
        numbers = [number for number in near if isinstance(number, int)]
        away = [abs(number - value) if isinstance(value, int) else 0 for number in numbers]
        return cast(V, numbers[away.index(max(away))] if numbers else value)
    if not isinstance(value, int):
        return value
    for _, form, operation in _OPERATIONS:
        if match := form.fullmatch(expression):
            return cast(V, operation(*map(int, match.groups())))
    if label in _SUM_LABELS and (match := _DIFFERENCE.fullmatch(expression)):
        return cast(V, abs(int(match[1]) - int(match[2])))
    return value


def habit_of(label: str, expression: str) -> str | None:
    """The name of the reasoning habit that an expression invites, None without one."""
    for name, form, _ in _OPERATIONS:
        if form.fullmatch(expression):
            return name
    if label in _SUM_LABELS and _DIFFERENCE.fullmatch(expression):
        return "difference for sum"
    if _AFTER.fullmatch(expression):
        return "step skipped"
    listed = _LISTED.fullmatch(expression) or expression in _SIDES or ">" in expression
    return "wrong side" if listed else "first part kept" if re.fullmatch("[a-z]+[+-][a-z]+", expression) else None


def _other_word(expression: str, value: str, near: Sequence[str]) -> str:
    """The word that stands for the habit: the one before, the first part, the other extreme, the other of two."""
    if match := _AFTER.fullmatch(expression):
        return match[1]
    if match := _LISTED.fullmatch(expression):
        numbers = [int(number) for number in match[1].split(",")]
        worst = min(numbers) if expression.startswith("max") else max(numbers)
        return near[numbers.index(worst)] if len(near) == len(numbers) else value
    if parts := re.fullmatch("([a-z]+)[+-][a-z]+", expression):
        return parts[1]
    if expression in _SIDES or ">" in expression:
        return next((word for word in near if word != value), value)
    return value
