"""What a user typed or handed over and cannot be used: one error, and how it is said."""

import difflib
from collections.abc import Iterable


class UsageError(ValueError):
    """Something the user typed or handed over cannot be used; the message says what to do next."""


def unknown(kind: str, given: str, names: Iterable[str]) -> UsageError:
    """The error for a name that nothing has: the nearest one and the whole list."""
    known = sorted(names)
    near = difflib.get_close_matches(given, known, n=1, cutoff=0.5)
    hint = f" Did you mean '{near[0]}'?" if near else ""
    return UsageError(f"no {kind} named '{given}'.{hint} There are: {', '.join(known)}")


def first_line(error: BaseException) -> str:
    """The first line of an error's text that says something; its type where none does."""
    lines = [line.strip() for line in str(error).splitlines()]
    return next(filter(None, lines), type(error).__name__)


def check_range(name: str, value: object, low: float, high: float = float("inf"), open_low: bool = False) -> None:
    """Raises unless `low <= value <= high` (`low < value` with `open_low`), naming the setting as it is typed."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not is_number or not low <= value <= high or (open_low and value == low):  # type: ignore[operator]
        bounds = f"{'(' if open_low else '['}{low:g}, {high:g}{')' if high == float('inf') else ']'}"
        raise UsageError(f"{name} must be in {bounds}, got {value!r}")


def check_schema(found: int, own: int) -> None:
    """Raises for a record of another schema."""
    if found != own:
        raise UsageError(f"schema {found} is not {own}, the one that this version reads and writes")
