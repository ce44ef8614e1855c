"""Typed settings from words: `thing.setting=value` against the fields of a frozen dataclass."""

import math
import types
from collections.abc import Iterator, Sequence
from dataclasses import Field, fields, is_dataclass
from typing import Any, Literal, NoReturn, TypeVar, Union, get_args, get_origin, get_type_hints

from credit_zoo.errors import UsageError, unknown

S = TypeVar("S")


def setting(cls: type, thing: str, name: str) -> "Field[Any]":
    """The field of `cls` called `name`; an unknown one is answered with the nearest and the list."""
    assert is_dataclass(cls)
    known = {field.name: field for field in fields(cls)}
    if name not in known:
        raise unknown(f"setting of '{thing}'", name, known) if known else UsageError(f"'{thing}' has no settings")
    return known[name]


def coerce(cls: type, thing: str, name: str, text: str) -> Any:
    """The value that `text` stands for, by the type of the field; raises `UsageError` naming the setting."""
    setting(cls, thing, name)
    kind = get_type_hints(cls)[name]
    try:
        return _convert(kind, text)
    except ValueError:
        raise UsageError(f"{thing}.{name} must be {_describe(kind)}, got '{text}'") from None
    except TypeError:
        raise UsageError(
            f"{thing}.{name} cannot be typed: its type is {kind}; a setting is a number, true or false, text, one of "
            "several words, none, or a tuple of these"
        ) from None


def _convert(kind: Any, text: str) -> Any:
    """Raises ValueError for a text that is no value of the type, TypeError for a type that no text stands for."""
    options = get_args(kind)
    if get_origin(kind) is Literal:
        return _only(option for option in options if str(option) == text)
    if get_origin(kind) in (Union, types.UnionType):
        if text.lower() == "none" and type(None) in options:
            return None
        return _first(tuple(option for option in options if option is not type(None)), text)
    if get_origin(kind) is tuple:
        return _tuple(options, text)
    if kind is bool:
        return {"true": True, "false": False}.get(text.lower()) if text.lower() in ("true", "false") else _fail(text)
    if kind is int:
        return int(text.replace("_", ""))
    if kind in (str, Any):
        return text
    if kind is float:
        return _number(text)
    raise TypeError(kind)


def _first(kinds: Sequence[Any], text: str) -> Any:
    """The value by the first of the types that takes the text."""
    for kind in kinds[:-1]:
        try:
            return _convert(kind, text)
        except ValueError:
            continue
    return _convert(kinds[-1], text)


def _tuple(kinds: tuple[Any, ...], text: str) -> tuple[Any, ...]:
    """Values with commas between them, in brackets or not; `()` has none."""
    inside = text[1:-1] if text[:1] + text[-1:] in ("()", "[]") else text
    parts = [part.strip() for part in inside.removesuffix(",").split(",")] if inside.strip() else []
    if len(kinds) == 2 and kinds[1] is Ellipsis:
        return tuple(_convert(kinds[0], part) for part in parts)
    if len(parts) != len(kinds):
        raise ValueError(text)
    return tuple(_convert(kind, part) for kind, part in zip(kinds, parts, strict=True))


def _number(text: str) -> float:
    value = float(text)
    return _fail(text) if math.isnan(value) else value


def _only(found: Iterator[Any]) -> Any:
    for value in found:
        return value
    raise ValueError


def _fail(text: str) -> NoReturn:
    raise ValueError(text)


def _describe(kind: Any) -> str:
    options = get_args(kind)
    if get_origin(kind) is Literal:
        return "one of " + ", ".join(map(str, options))
    if get_origin(kind) in (Union, types.UnionType):
        return " or ".join(_describe(option) for option in options)
    if get_origin(kind) is tuple:
        any_number = len(options) == 2 and options[1] is Ellipsis
        parts = [_describe(option) for option in (options[:1] if any_number else options)]
        return f"values with commas between, each {parts[0]}" if any_number else f"{', '.join(parts)}, with commas"
    names = {bool: "true or false", int: "a whole number", float: "a number", type(None): "none"}
    return names.get(kind, "text")


def from_arguments(cls: type[S], arguments: Sequence[str], thing: str = "") -> S:
    """An instance of a dataclass from `setting=value` words, for the commands that have one group of settings."""
    values: dict[str, Any] = {}
    for word in arguments:
        name, equals, text = word.partition("=")
        if not equals:
            raise UsageError(f"'{word}' is not of the form SETTING=VALUE")
        values[name] = coerce(cls, thing or cls.__name__.lower(), name, text)
    return cls(**values)


def as_arguments(settings: object) -> tuple[str, ...]:
    """The words that `from_arguments` makes an equal instance of: those settings that differ from their defaults."""
    assert is_dataclass(settings)
    changed = [(one, getattr(settings, one.name)) for one in fields(settings)]
    return tuple(f"{one.name}={_typed(value)}" for one, value in changed if value != one.default)


def _typed(value: object) -> str:
    if isinstance(value, bool) or value is None:
        return str(value).lower()
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
