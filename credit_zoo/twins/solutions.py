"""One solving procedure, three uses: write the solution, write it with errors, check a sampled one.

The taught form is `<think> A=50; B=60; sum=50+60=110; x=180-110=70</think><answer>70</answer>`.
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import cast

import numpy as np

from credit_zoo.twins.contract import ErrorKind, Procedure, Role, Span, V, Value

OPEN, BETWEEN, CLOSE, END = "<think> ", "; ", "</think><answer>", "</answer>"


class SolutionWriter:
    """Writes the true solution; `spans` grows as the procedure runs, `stated` is the answer's text."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.stated = ""
        self._length = 0

    def write(self, procedure: Procedure) -> tuple[Span, ...]:
        """Run the procedure once and return the solution's spans."""
        procedure(self)
        return tuple(self.spans)

    def read(self, label: str, value: V, near: Sequence[V] = ()) -> V:
        """State a value seen in the picture."""
        return self._state(f"{self._lead()}{label}=", value, near)

    def reads(self, label: str, values: Sequence[V], near: Sequence[V] = ()) -> tuple[V, ...]:
        """State several values seen in the picture."""
        heads = [f"{self._lead()}{label}=", *[","] * (len(values) - 1)]
        return tuple(self._state(head, value, near) for head, value in zip(heads, values, strict=True))

    def derive(self, label: str, expression: str, value: V, near: Sequence[V] = ()) -> V:
        """State a worked-out value."""
        self._put(f"{self._lead()}{label}={expression}=", "filler")
        self._put(str(value), "derived")
        return value

    def answer(self, value: Value | tuple[Value, ...]) -> None:
        """Close the solution with its answer; `stated` has no brackets."""
        listed = isinstance(value, tuple)
        values = value if isinstance(value, tuple) else (value,)
        for place, each in enumerate(values):
            self._put("," if place else CLOSE + "[" * listed, "filler")
            self._put(str(each), "derived")
        self._put("]" * listed + END, "filler")
        self.stated = ",".join(map(str, values))

    def _state(self, head: str, value: V, near: Sequence[V]) -> V:
        self._put(head, "filler")
        self._put(str(value), "read")
        return value

    def _lead(self) -> str:
        return BETWEEN if self.spans else OPEN

    def _put(self, text: str, role: Role) -> None:
        self.spans.append(Span(text, role))
        self._length += len(text)


class _Rehearsal(SolutionWriter):
    """Keeps what the true solution reads and how many steps it derives, for an error to be placed."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Value] = []
        self.derives = 0

    def _state(self, head: str, value: V, near: Sequence[V]) -> V:
        self.seen.append(value)
        return super()._state(head, value, near)

    def derive(self, label: str, expression: str, value: V, near: Sequence[V] = ()) -> V:
        self.derives += 1
        return super().derive(label, expression, value, near)


class ErrorWriter(SolutionWriter):
    """Writes a solution that may have one error in reading and one in reasoning, then goes on consistently.

    `perception` and `reasoning` are the chances of each error in one solution. `errors` holds what was done,
    as (kind, start, end) in characters of the text. A writer writes one solution.
    """

    def __init__(self, rng: np.random.Generator, perception: float = 0.35, reasoning: float = 0.35) -> None:
        super().__init__()
        for name, chance in (("perception", perception), ("reasoning", reasoning)):
            if not 0 <= chance <= 1:
                raise ValueError(f"error chance {name} must be in [0, 1], got {chance}")
        self.errors: list[tuple[ErrorKind, int, int]] = []
        self._rng = rng
        self._chances = (perception, reasoning)
        self._seen: list[Value] = []
        self._targets = (-1, -1)
        self._counts = [0, 0]

    def write(self, procedure: Procedure) -> tuple[Span, ...]:
        """Rehearse the procedure to count its steps, place the errors, then write it."""
        rehearsal = _Rehearsal()
        procedure(rehearsal)
        self._seen = rehearsal.seen
        self._targets = (
            self._target(len(rehearsal.seen), self._chances[0]),
            self._target(rehearsal.derives, self._chances[1]),
        )
        return super().write(procedure)

    def derive(self, label: str, expression: str, value: V, near: Sequence[V] = ()) -> V:
        """State a worked-out value, or a wrong one."""
        wrong = self._pass("reasoning", f"{self._lead()}{label}={expression}=", value, near)
        return super().derive(label, expression, wrong)

    def _state(self, head: str, value: V, near: Sequence[V]) -> V:
        # Besides a misread digit, a reader takes the value of another label.
        return super()._state(head, self._pass("perception", head, value, [*near, *self._seen]), near)

    def _target(self, steps: int, chance: float) -> int:
        # Both draws are always made, so that the second error does not depend on the first chance.
        hit, place = self._rng.random() < chance, self._rng.random()
        return int(place * steps) if hit and steps else -1

    def _pass(self, kind: ErrorKind, head: str, value: V, near: Sequence[Value]) -> V:
        which = 0 if kind == "perception" else 1
        self._counts[which] += 1
        if self._counts[which] - 1 != self._targets[which]:
            return value
        wrong = _mistake(value, near, self._rng)
        if wrong == value:
            return value
        start = self._length + len(head)
        self.errors.append((kind, start, start + len(str(wrong))))
        return wrong


def _mistake(value: V, near: Sequence[Value], rng: np.random.Generator) -> V:
    """A plausible wrong value of the same kind; the value itself where there is none."""
    if isinstance(value, str):
        words = [other for other in near if isinstance(other, str) and other != value]
        return cast(V, words[rng.integers(len(words))]) if words else value
    others = [other for other in near if not isinstance(other, str) and other != value]
    if others and rng.random() < 0.3:
        return cast(V, others[rng.integers(len(others))])
    if isinstance(value, int):
        return cast(V, _wrong_integer(value, rng))
    if isinstance(value, Decimal):
        return cast(V, value + (1, Decimal("0.5"))[rng.integers(2)])
    return cast(V, value + (2 if value < 2 else -1))


def _wrong_integer(value: int, rng: np.random.Generator) -> int:
    size, sign = abs(value), -1 if value < 0 else 1
    if rng.random() < 0.5:
        power = 10 ** int(rng.integers(len(str(size))))
        digit = size // power % 10
        wrong = size + ((digit + int(rng.integers(1, 10))) % 10 - digit) * power
    else:
        step = 5 if size % 5 == 0 and size > 5 else 1
        wrong = size + step * int(rng.choice((-2, -1, 1, 2)))
    # Zero and negative lengths are not plausible, and later steps may divide by the value.
    return sign * (wrong if wrong > 0 else size + 1)
