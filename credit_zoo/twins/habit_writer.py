"""Writes solutions as somebody with bad habits would: wrong in the same way each time, and free where nothing matters.

Habits make a wrong answer the most probable one; freedom makes tokens uncertain that decide nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from credit_zoo.twins.contract import ErrorKind, Procedure, Role, Span, V, Value
from credit_zoo.twins.habits import misread, misreasoned
from credit_zoo.twins.solutions import BETWEEN, OPEN, SolutionWriter

# Names that a result may have instead of its own.
NAMES = ("sum", "both", "half", "rest", "part", "product", "number", "value", "next", "x")


@dataclass(frozen=True)
class Freedom:
    """What a solution leaves open though nothing depends on it.

    `order` is the chance that readings which stand side by side are shuffled, `names` that a result is given any name,
    `remarks` the number of remarks in parentheses: three random digits, or a reading told again.
    """

    order: float = 0.0
    names: float = 0.0
    remarks: int = 0

    def __post_init__(self) -> None:
        for name, chance in (("order", self.order), ("names", self.names)):
            if not 0 <= chance <= 1:
                raise ValueError(f"freedom {name} must be in [0, 1], got {chance}")
        if self.remarks < 0:
            raise ValueError(f"freedom remarks must be 0 or more, got {self.remarks}")


@dataclass(frozen=True)
class _Piece:
    """A part of a statement; `error` is what was done to it."""

    text: str
    role: Role
    error: ErrorKind | None = None


class _Forms(SolutionWriter):
    """Which of a true solution's results a habit would change."""

    def __init__(self) -> None:
        super().__init__()
        self.invite: list[int] = []
        self.statements = 0
        self._derived = 0

    def derive(self, label: str, expression: str, value: V, near: Sequence[V] = ()) -> V:
        if misreasoned(label, expression, value, near) != value:
            self.invite.append(self._derived)
        self._derived += 1
        self.statements += 1
        return super().derive(label, expression, value, near)

    def reads(self, label: str, values: Sequence[V], near: Sequence[V] = ()) -> tuple[V, ...]:
        self.statements += 1
        return super().reads(label, values, near)

    def read(self, label: str, value: V, near: Sequence[V] = ()) -> V:
        self.statements += 1
        return super().read(label, value, near)


class HabitWriter(SolutionWriter):
    """Writes a solution in which habits may be followed, then goes on consistently.

    `perception` and `reasoning` are the shares of solutions in which the habit of each kind is followed wherever it
    applies; of reasoning that is the first result that invites one. `errors` holds what was done, as (kind, start,
    end) in characters of the text. A writer writes one solution.
    """

    def __init__(
        self,
        rng: np.random.Generator,
        perception: float = 0.75,
        reasoning: float = 0.75,
        freedom: Freedom | None = None,
    ) -> None:
        super().__init__()
        for name, share in (("perception", perception), ("reasoning", reasoning)):
            if not 0 <= share <= 1:
                raise ValueError(f"share of habits {name} must be in [0, 1], got {share}")
        self.errors: list[tuple[ErrorKind, int, int]] = []
        self._rng = rng
        self._freedom = freedom or Freedom()
        # All draws are made whatever the settings are, so that one dial does not change what another one does.
        follows = rng.random(2)
        self._misreads, self._misreasons = bool(follows[0] < perception), bool(follows[1] < reasoning)
        self._wrong_step = -1
        self._derived = self._written = 0
        self._before: Value | None = None
        self._waiting: list[list[_Piece]] = []  # readings whose order is not settled
        self._said: list[str] = []
        self._remarks: frozenset[int] = frozenset()

    def write(self, procedure: Procedure) -> tuple[Span, ...]:
        """Rehearse the procedure to find the step that a habit changes, then write it."""
        forms = _Forms()
        procedure(forms)
        self._wrong_step = forms.invite[0] if forms.invite and self._misreasons else -1
        places = self._rng.permutation(forms.statements)[: self._freedom.remarks]
        self._remarks = frozenset(int(place) for place in places)
        return super().write(procedure)

    def read(self, label: str, value: V, near: Sequence[V] = ()) -> V:
        """State a value seen in the picture, or what habit makes of it."""
        return self.reads(label, (value,), near)[0]

    def reads(self, label: str, values: Sequence[V], near: Sequence[V] = ()) -> tuple[V, ...]:
        """State several values seen in the picture."""
        stated, pieces = [], [_Piece(f"{label}=", "filler")]
        for place, value in enumerate(values):
            if place:
                pieces.append(_Piece(",", "filler"))
            seen = misread(label, value, self._before) if self._misreads else value
            pieces.append(_Piece(str(seen), "read", "perception" if seen != value else None))
            stated.append(seen)
            self._before = value
        self._waiting.append(pieces)
        return tuple(stated)

    def derive(self, label: str, expression: str, value: V, near: Sequence[V] = ()) -> V:
        """State a worked-out value, or what habit makes of it."""
        self._settle()
        here, self._derived = self._derived == self._wrong_step, self._derived + 1
        found = misreasoned(label, expression, value, near) if here else value
        free = self._rng.random() < self._freedom.names
        name = NAMES[self._rng.integers(len(NAMES))] if free else label
        wrong: ErrorKind | None = "reasoning" if found != value else None
        self._state_pieces([_Piece(f"{name}={expression}=", "filler"), _Piece(str(found), "derived", wrong)])
        return found

    def answer(self, value: Value | tuple[Value, ...]) -> None:
        """Close the solution with its answer."""
        self._settle()
        super().answer(value)

    def _settle(self) -> None:
        """Writes the readings that wait, in their order or shuffled."""
        if self._rng.random() < self._freedom.order:
            self._waiting = [self._waiting[place] for place in self._rng.permutation(len(self._waiting))]
        for pieces in self._waiting:
            self._said.append("".join(piece.text for piece in pieces))
            self._state_pieces(pieces)
        self._waiting = []

    def _state_pieces(self, pieces: Sequence[_Piece]) -> None:
        first = replace(pieces[0], text=(BETWEEN if self.spans else OPEN) + pieces[0].text)
        for piece in [first, *pieces[1:]]:
            if piece.error is not None:
                self.errors.append((piece.error, self._length, self._length + len(piece.text)))
            self._put(piece.text, piece.role)
        if self._written in self._remarks:
            self._put(f" ({self._remark()})", "filler")
        self._written += 1

    def _remark(self) -> str:
        digits, again = "".join(map(str, self._rng.integers(10, size=3))), self._rng.random() < 0.5
        said = self._said[int(self._rng.integers(len(self._said)))] if self._said else digits
        return said if again else digits
