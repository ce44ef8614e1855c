"""Long solutions: a family's question, then more steps from its answer, told in the question's text.

"find x. x is the answer. y=x+17. z=2*y. ... find s." takes 80 to 150 tokens and 7 or 8 steps, all of which rest on
what was read at the beginning: one early misreading ruins the answer.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from credit_zoo.twins.canvas import Canvas
from credit_zoo.twins.contract import Difficulty, Steps, V, Value
from credit_zoo.twins.solutions import SolutionWriter
from credit_zoo.twins.twin import Ask, Family, Scene

NAMES = "yzwvutsr"
MOST = 199  # no value on the way is larger
_TRIES = 200


class _Inner:
    """Passes a family's steps on, and keeps its answer for what follows."""

    def __init__(self, steps: Steps) -> None:
        self._steps = steps
        self.found: Value | tuple[Value, ...] = 0

    def read(self, label: str, value: V, near: Sequence[V] = ()) -> V:
        return self._steps.read(label, value, near)

    def reads(self, label: str, values: Sequence[V], near: Sequence[V] = ()) -> tuple[V, ...]:
        return self._steps.reads(label, values, near)

    def derive(self, label: str, expression: str, value: V, near: Sequence[V] = ()) -> V:
        return self._steps.derive(label, expression, value, near)

    def answer(self, value: Value | tuple[Value, ...]) -> None:
        self.found = value


class _Counted(SolutionWriter):
    """Counts the steps of a true solution and keeps its answer."""

    def __init__(self) -> None:
        super().__init__()
        self.steps, self.found = 0, 0

    def derive(self, label: str, expression: str, value: V, near: Sequence[V] = ()) -> V:
        self.steps += 1
        return super().derive(label, expression, value, near)

    def answer(self, value: Value | tuple[Value, ...]) -> None:
        self.found = value if isinstance(value, int) else 0
        super().answer(value)


@dataclass(frozen=True)
class Longer:
    """A family whose answer is a whole number, with more steps after it."""

    family: Family

    def sample(self, rng: np.random.Generator, difficulty: Difficulty) -> dict[str, Any]:
        for _ in range(_TRIES):
            scene, counted = self.family.sample(rng, difficulty), _Counted()
            counted.write(partial(self.family.solve, scene))
            if 0 < counted.found <= MOST and not self.family.ask(scene).choices:
                steps = 8 if difficulty.length > 0.5 else 7
                return {**scene, "more": _operations(rng, counted.found, steps - counted.steps)}
        raise RuntimeError(f"{type(self.family).__name__} has no whole answers up to {MOST}; it cannot be made longer")

    def draw(self, scene: Scene, canvas: Canvas) -> None:
        self.family.draw(scene, canvas)

    def ask(self, scene: Scene) -> Ask:
        names = ("x", *NAMES)
        told = [f"{names[k + 1]}={_expression(sign, names[k], n)}." for k, (sign, n) in enumerate(scene["more"])]
        base = self.family.ask(scene)
        text = f"{base.text} x is the answer. {' '.join(told)} find {names[len(told)]}."
        return replace(base, text=text, category=base.category)

    def solve(self, scene: Scene, steps: Steps) -> None:
        inner = _Inner(steps)
        self.family.solve(scene, inner)
        value: Any = inner.found
        for name, (sign, number) in zip(NAMES, scene["more"], strict=False):
            found = {"+": value + number, "-": value - number, "*": value * number}[sign]
            value = steps.derive(name, _expression(sign, value, number), found)
        steps.answer(value)


def longer(families: Mapping[str, Family], *without: str) -> dict[str, Family]:
    """The families by their names, made longer, but those that have no whole answers."""
    return {name: Longer(family) for name, family in families.items() if name not in without}


def _operations(rng: np.random.Generator, value: int, count: int) -> tuple[tuple[str, int], ...]:
    """Steps that keep the value between 1 and `MOST`."""
    found = []
    for _ in range(count):
        number = int(rng.integers(2, 20))
        fits = [("+", value + number), ("-", value - number), ("*", value * 2)]
        fits = [(sign, result) for sign, result in fits if 0 < result <= MOST]
        sign, value = fits[rng.integers(len(fits))]
        found.append((sign, 2 if sign == "*" else number))
    return tuple(found)


def _expression(sign: str, value: object, number: int) -> str:
    return f"{number}*{value}" if sign == "*" else f"{value}{sign}{number}"
