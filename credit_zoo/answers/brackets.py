"""Texts with brackets: their parts at signs that stand outside, and whether one pair holds the whole."""

import re

from credit_zoo.answers.exact_numbers import UnreadableError

MAX_ITEMS = 12
_OPENING, _CLOSING = "([{⟨", ")]}⟩"


def split(text: str, pattern: re.Pattern[str]) -> list[str]:
    """The parts of a text at the matches that stand in no brackets."""
    inside, depth = [], 0
    for sign in text:
        depth += (sign in _OPENING) - (sign in _CLOSING)
        inside.append(depth > 0)
    parts, start = [], 0
    for match in pattern.finditer(text):
        if not inside[match.start()]:
            parts.append(text[start : match.start()].strip())
            start = match.end()
    parts.append(text[start:].strip())
    if len(parts) > MAX_ITEMS or (len(parts) > 1 and "" in parts):
        raise UnreadableError("too many items, or an empty one")
    return parts


def bracketed(text: str) -> bool:
    """Whether the first bracket is closed by the last sign, be it of another kind."""
    if text[:1] not in tuple(_OPENING) or text[-1:] not in tuple(_CLOSING):
        return False
    depth = 0
    for at, sign in enumerate(text):
        depth += (sign in _OPENING) - (sign in _CLOSING)
        if depth == 0:
            return at == len(text) - 1
    return False
