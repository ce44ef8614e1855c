r"""The JSON that models write: objects and lists within any text, read more loosely than the standard does.

Besides JSON, these are read: single quotes and none around keys, quotes within strings, a comma before the end, round
brackets, and an object or a list of objects that the text's end leaves open. A key that occurs twice and a list of
numbers left open are no JSON here either. The time is at most quadratic in the text's length: callers cap it first.
"""

import re
from typing import Any, TypeAlias

Value: TypeAlias = float | str | list[Any] | dict[str, Any] | None  # lists and objects hold values again

DEPTH = 8
ATTEMPTS = 16  # brackets of prose, which hold no value
NUMBER = r"[-+]?(?:[0-9]{1,12}(?:\.[0-9]{0,20})?|\.[0-9]{1,20})(?:[eE][-+]?[0-9]{1,3})?"

_OPENER = re.compile(r"[\[({]")
_SPACE = re.compile(r"\s*")
_SCALAR = re.compile(rf"({NUMBER})(?![\w.])|(true|false|null|none|nan|[-+]?infinity)\b", re.IGNORECASE)
_QUOTE = {quote: re.compile(rf"\\.|{quote}", re.DOTALL) for quote in "\"'"}
_BARE_KEY = re.compile(r"\w{1,40}(?=\s*:)")
_KEY = r""""(?:[^"\\]|\\.)*"\s*:|'(?:[^'\\]|\\.)*'\s*:|\w+\s*:"""
# What stands behind a string; any other quote is a part of it.
_AFTER_KEY = re.compile(r"\s*:")
_AFTER_ITEM = re.compile(r"\s*(?:[,\])]|$)")
_AFTER_VALUE = re.compile(rf"\s*(?:[}}\]]|$|,\s*(?:[}}\]]|$|{_KEY}))", re.DOTALL)


def values_in(text: str) -> tuple[list[Value], str]:
    """The objects and lists of a text, in order, and the text around them.

    Raises `ValueError` for a brace that begins no object, and for too many brackets that begin no list.
    """
    found: list[Value] = []
    around: list[str] = []
    at = failed = 0
    for opener in _OPENER.finditer(text):
        if opener.start() < at:
            continue
        try:
            value, end = _value(text, opener.start(), _AFTER_ITEM, DEPTH)
        except ValueError:
            failed += 1
            if opener.group() == "{" or failed > ATTEMPTS:
                raise
            continue
        found.append(value)
        around.append(text[at : opener.start()])
        at = end
    return found, " ".join([*around, text[at:]])


def _value(text: str, at: int, after: re.Pattern[str], depth: int) -> tuple[Value, int]:
    """The value that begins at `at`, and where it ends; `after` tells what stands behind a string."""
    if depth == 0:
        raise ValueError(f"brackets nested more than {DEPTH} deep")
    first = text[at : at + 1]
    if first == "{":
        return _object(text, at + 1, depth - 1)
    if first in ("[", "("):
        return _list(text, at + 1, "]" if first == "[" else ")", depth - 1)
    if first in ('"', "'"):
        return _string(text, at, after)
    scalar = _SCALAR.match(text, at)
    if not scalar:
        raise ValueError(f"no value at character {at}")
    return float(scalar[1]) if scalar[1] else None, scalar.end()


def _string(text: str, at: int, after: re.Pattern[str]) -> tuple[str, int]:
    quote = text[at]
    for mark in _QUOTE[quote].finditer(text, at + 1):
        if mark.group() == quote and after.match(text, mark.end()):
            return text[at + 1 : mark.start()], mark.end()
    raise ValueError(f"the string at character {at} has no end")


def _list(text: str, at: int, closer: str, depth: int) -> tuple[list[Value], int]:
    items: list[Value] = []
    at = _past_space(text, at)
    while text[at : at + 1] not in (closer, ""):
        item, at = _value(text, at, _AFTER_ITEM, depth)
        items.append(item)
        at = _past_comma(text, at, closer)
    if at == len(text) and not (items and all(isinstance(item, dict) for item in items)):
        raise ValueError("a list without its end")
    return items, at + 1


def _object(text: str, at: int, depth: int) -> tuple[dict[str, Value], int]:
    found: dict[str, Value] = {}
    at = _past_space(text, at)
    while text[at : at + 1] not in ("}", ""):
        key, at = _key(text, at)
        if key in found:
            raise ValueError(f"the key {key!r} occurs twice")
        found[key], at = _value(text, _past_space(text, at), _AFTER_VALUE, depth)
        at = _past_comma(text, at, "}")
    if not found and at == len(text):
        raise ValueError("an object without its end")
    return found, at + 1


def _key(text: str, at: int) -> tuple[str, int]:
    """A key in lower case, and where its value may begin."""
    bare = _BARE_KEY.match(text, at)
    if not bare and text[at] not in _QUOTE:
        raise ValueError(f"no key at character {at}")
    key, at = (bare.group(), bare.end()) if bare else _string(text, at, _AFTER_KEY)
    return key.strip().lower(), _past_space(text, at) + 1


def _past_comma(text: str, at: int, closer: str) -> int:
    at = _past_space(text, at)
    if text[at : at + 1] == ",":
        return _past_space(text, at + 1)
    if text[at : at + 1] not in (closer, ""):
        raise ValueError(f"neither a comma nor {closer!r} at character {at}")
    return at


def _past_space(text: str, at: int) -> int:
    space = _SPACE.match(text, at)
    return space.end() if space else at
