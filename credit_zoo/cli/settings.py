"""Typed settings from words: `thing.setting=value` against the fields of a frozen dataclass."""

import math
import types
from collections.abc import Sequence
from dataclasses import Field, fields, is_dataclass
from typing import Any, Literal, NoReturn, TypeVar, Union, get_args, get_origin, get_type_hints

from credit_zoo.registry import UsageError, unknown

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
    try:
        return _convert(get_type_hints(cls)[name], text)
    except ValueError:
        wanted = _describe(get_type_hints(cls)[name])
        raise UsageError(f"{thing}.{name} must be {wanted}, got '{text}'") from None


def _convert(kind: Any, text: str) -> Any:
    options = get_args(kind)
    if get_origin(kind) is Literal:
        if text not in options:
            raise ValueError(text)
        return text
    if get_origin(kind) in (Union, types.UnionType):
        if text.lower() == "none" and type(None) in options:
            return None
        return _convert(next(option for option in options if option is not type(None)), text)
    if get_origin(kind) is tuple:
        return tuple(_convert(options[0], part) for part in text.split(","))
    if kind is bool:
        return {"true": True, "false": False}.get(text.lower()) if text.lower() in ("true", "false") else _fail(text)
    if kind is int:
        return int(text.replace("_", ""))
    return _number(text) if kind is float else text


def _number(text: str) -> float:
    value = float(text)
    return _fail(text) if math.isnan(value) else value


def _fail(text: str) -> NoReturn:
    raise ValueError(text)


def _describe(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return "one of " + ", ".join(map(str, get_args(kind)))
    if get_origin(kind) in (Union, types.UnionType):
        return " or ".join(_describe(option) for option in get_args(kind))
    if get_origin(kind) is tuple:
        return f"{_describe(get_args(kind)[0])}, or several, separated by commas"
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
