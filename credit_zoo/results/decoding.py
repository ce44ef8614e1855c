"""From JSON to the dataclasses of records, strictly: every field that there must be, none besides, each of its type.

Only fields with a `default_factory` may be missing: they are younger than the schema.
"""

import math
import types
from collections.abc import Collection, Mapping
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from credit_zoo.errors import UsageError


@cache
def _form(kind: Any) -> tuple[bool, Any, tuple[Any, ...]]:
    """Whether a type is a dataclass, its origin and its arguments."""
    return is_dataclass(kind), get_origin(kind), get_args(kind)


def decode(kind: Any, value: Any, where: str = "") -> Any:
    """`value` as `kind`, or a `UsageError` that starts with the field's place."""
    of_fields, origin, options = _form(kind)
    if of_fields:
        return _decode_fields(kind, value, where)
    if origin in (Union, types.UnionType):
        return _decode_union(options, value, where)
    if origin is tuple and isinstance(value, list):
        if _all_plain(options[0], value):
            return tuple(value)
        return tuple(decode(options[0], part, f"{where}[{index}]") for index, part in enumerate(value))
    if origin is Mapping and isinstance(value, dict):
        if _all_plain(options[1], value.values()):
            return value
        return {decode(str, key, where): decode(options[1], part, f"{where}.{key}") for key, part in value.items()}
    if origin is Literal and isinstance(value, str) and value in options:
        return value
    if origin is None and _is_plain(kind, value):
        return value
    raise UsageError(f"{where.lstrip('.') or 'the file'}: must be {_describe(kind)}, got {str(value)[:60]!r}")


def _is_plain(kind: Any, value: Any) -> bool:
    if kind is bool or isinstance(value, bool):
        return kind is bool and isinstance(value, bool)
    if kind is float:
        return isinstance(value, (int, float)) and _finite(value)
    return isinstance(value, kind)


@cache
def _plain_types(kind: Any) -> frozenset[type]:
    """The types of the plain values that are of a type or one of a union; a whole number counts as a float too."""
    _, origin, options = _form(kind)
    found = {one for one in (options if origin in (Union, types.UnionType) else (kind,)) if isinstance(one, type)}
    return frozenset(found | {int}) if float in found else frozenset(found)


def _all_plain(kind: Any, values: Collection[Any]) -> bool:
    """Whether all are plain values of a type: a record has thousands of these, and few other values."""
    found = set(map(type, values))
    if not found <= _plain_types(kind) & {str, int, float, bool, type(None)}:
        return False
    if float not in _plain_types(kind):
        return True
    numbers = values if found <= {int, float} else [value for value in values if type(value) in (int, float)]
    return all(map(_finite, numbers))


def _finite(value: float) -> bool:
    """Whether a number is one that a float can hold."""
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def _decode_union(options: tuple[Any, ...], value: Any, where: str) -> Any:
    rest = [option for option in options if option is not type(None)]
    if value is None and len(rest) < len(options):
        return None
    if len(rest) == 1:
        return decode(rest[0], value, where)
    for option in rest:
        if get_origin(option) is tuple and isinstance(value, list):
            return decode(option, value, where)
        if get_origin(option) is None and _is_plain(option, value):
            return value
    raise UsageError(f"{where.lstrip('.')}: must be a plain value or a list of them, got {str(value)[:60]!r}")


@cache
def _fields_of(kind: Any) -> tuple[Mapping[str, Any], frozenset[str]]:
    """The types of a dataclass's fields by name, and the names of those that may be missing."""
    return get_type_hints(kind), frozenset(field.name for field in fields(kind) if field.default_factory is not MISSING)


def _decode_fields(kind: Any, value: Any, where: str) -> Any:
    types_of, later = _fields_of(kind)
    place = where.lstrip(".") or "the file"
    if not isinstance(value, dict):
        raise UsageError(f"{place}: must be a mapping, got {str(value)[:60]!r}")
    if value.keys() != types_of.keys():
        missing, extra = sorted(types_of.keys() - value.keys() - later), sorted(value.keys() - types_of.keys())
        if missing or extra:
            faults = [
                f"{word} {', '.join(keys)}" for word, keys in (("lacks", missing), ("has unknown", extra)) if keys
            ]
            raise UsageError(f"{place}: {' and '.join(faults)}")
    decoded = {name: decode(types_of[name], value[name], f"{where}.{name}") for name in types_of if name in value}
    try:
        return kind(**decoded)
    except UsageError as error:
        raise UsageError(f"{place}: {error}") from None


def _describe(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return "one of " + ", ".join(map(str, get_args(kind)))
    names = {bool: "true or false", int: "a whole number", float: "a finite number", str: "text", tuple: "a list"}
    return names.get(get_origin(kind) or kind, "a mapping")
