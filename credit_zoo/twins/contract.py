"""The plain types that twins, pens and canvases share."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Literal, Protocol, TypeVar, runtime_checkable

Role = Literal["read", "derived", "filler"]
ErrorKind = Literal["perception", "reasoning"]
Value = int | Fraction | Decimal | str
V = TypeVar("V", bound=Value)


@dataclass(frozen=True)
class Span:
    """A piece of a solution and where it comes from.

    "read" was taken from the picture, "derived" was worked out, "filler" is form and copied operands.
    """

    text: str
    role: Role


@dataclass(frozen=True)
class Difficulty:
    """Three dials in [0, 1]; (0, 0, 0) is the easy range.

    `perception` adds noise, lower contrast, stray strokes and labels; `reasoning` adds steps and larger
    numbers; `length` above 0 makes solutions long (`credit_zoo.twins.long_solutions`).
    """

    perception: float = 0.0
    reasoning: float = 0.0
    length: float = 0.0

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if not 0 <= value <= 1:
                raise ValueError(f"difficulty.{name} must be in [0, 1], got {value}")


@dataclass(frozen=True)
class Verdict:
    """What a checker found in a response.

    `followed` is False where the text left the taught form; `errors` holds (kind, start, end) and `roles`
    holds (start, end, role), both in characters of the text, in its order, up to where it left the form. `habits` are
    those of the errors that a habit would have made (`credit_zoo.twins.habits`).
    """

    followed: bool
    first_error: ErrorKind | None
    errors: tuple[tuple[ErrorKind, int, int], ...]
    roles: tuple[tuple[int, int, Role], ...]
    habits: tuple[tuple[ErrorKind, int, int], ...] = ()


@runtime_checkable
class Steps(Protocol):
    """What a solving procedure states its steps to.

    Each call returns the value to go on with, which is not the one given when a writer makes an error or follows a
    text. `near` lists the values a reader could take by mistake (needed for words, optional for numbers).
    """

    def read(self, label: str, value: V, near: Sequence[V] = ()) -> V:
        """State a value seen in the picture: "label=value"."""
        ...

    def reads(self, label: str, values: Sequence[V], near: Sequence[V] = ()) -> tuple[V, ...]:
        """State several values seen in the picture: "label=value,value"."""
        ...

    def derive(self, label: str, expression: str, value: V, near: Sequence[V] = ()) -> V:
        """State a worked-out value: "label=expression=value"."""
        ...

    def answer(self, value: Value | tuple[Value, ...]) -> None:
        """Close the solution with its answer; several values, as those of a box, go in square brackets."""
        ...


Procedure = Callable[[Steps], None]
