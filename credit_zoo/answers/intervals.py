"""Sets of real numbers that are intervals, and what inequalities leave of the real line."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from credit_zoo.answers.decimals import near
from credit_zoo.answers.exact_numbers import UnreadableError
from credit_zoo.answers.geometry_names import Name
from credit_zoo.answers.units import Unit

INFINITE = Decimal("Infinity")


@dataclass(frozen=True)
class Span:
    """From `low` to `high`; an end that is infinite is open."""

    low: Decimal
    high: Decimal
    low_closed: bool = False
    high_closed: bool = False


@dataclass(frozen=True)
class Region:
    """Spans in ascending order that do not touch, and what lies in them, where that is said."""

    spans: tuple[Span, ...]
    name: Name | None = None
    unit: Unit | None = None


def same_place(left: Decimal, right: Decimal) -> bool:
    """Equal ends, infinite ones too."""
    return left == right or (left.is_finite() and right.is_finite() and near(left, right))


def span(low: Decimal, high: Decimal, low_closed: bool, high_closed: bool) -> Span:
    """The interval between two ends; `UnreadableError` if they do not ascend."""
    if low >= high or same_place(low, high):
        raise UnreadableError("the ends of an interval must ascend")
    return Span(low, high, low_closed and low.is_finite(), high_closed and high.is_finite())


def side(sign: str, bound: Decimal) -> tuple[Span, ...]:
    """The numbers that are `<`, `≤`, `>`, `≥` or `≠` a bound."""
    below, above = Span(-INFINITE, bound, False, sign == "≤"), Span(bound, INFINITE, sign == "≥", False)
    return {"<": (below,), "≤": (below,), ">": (above,), "≥": (above,), "≠": (below, above)}[sign]


def _overlap(one: Span, other: Span) -> Span | None:
    first, second = (one, other) if one.low <= other.low else (other, one)
    low_closed = second.low_closed and (first.low_closed or not same_place(one.low, other.low))
    nearer, farther = (one, other) if one.high <= other.high else (other, one)
    high_closed = nearer.high_closed and (farther.high_closed or not same_place(one.high, other.high))
    if same_place(second.low, nearer.high) or second.low > nearer.high:
        return None
    return Span(second.low, nearer.high, low_closed, high_closed)


def intersection(left: Sequence[Span], right: Sequence[Span]) -> tuple[Span, ...]:
    """What lies in both; `UnreadableError` if nothing of any length does."""
    found = tuple(both for one in left for other in right if (both := _overlap(one, other)))
    if not found:
        raise UnreadableError("inequalities that exclude each other")
    return found


def union(spans: Sequence[Span]) -> tuple[Span, ...]:
    """What lies in any."""
    joined: list[Span] = []
    for one in sorted(spans, key=lambda each: (each.low, not each.low_closed)):
        last = joined[-1] if joined else None
        touches = last and same_place(last.high, one.low) and (last.high_closed or one.low_closed)
        if last and (touches or one.low < last.high):
            end = max((last, one), key=lambda each: (each.high, each.high_closed))
            joined[-1] = Span(last.low, end.high, last.low_closed, end.high_closed)
        else:
            joined.append(one)
    return tuple(joined)


def same_spans(left: Sequence[Span], right: Sequence[Span]) -> bool:
    """Whether two regions hold the same numbers."""
    return len(left) == len(right) and all(
        same_place(one.low, other.low)
        and same_place(one.high, other.high)
        and (one.low_closed, one.high_closed) == (other.low_closed, other.high_closed)
        for one, other in zip(left, right, strict=True)
    )
