"""What puzzle families share: places, grounds, and the choices of those whose missing part is a number."""

from abc import ABC, abstractmethod
from typing import Any

import numpy as np

from credit_zoo.question import Kind
from credit_zoo.twins.canvas import BLACK, RED, Canvas, Color, Point
from credit_zoo.twins.contract import Difficulty
from credit_zoo.twins.twin import Ask, Scene

NUMBER = "number"
# Six places around the middle; opposites are three places apart.
RING: tuple[Point, ...] = ((6, 1.5), (10, 3.5), (10, 8.5), (6, 10.5), (2, 8.5), (2, 3.5))
PALE: tuple[Color, ...] = (
    (250, 200, 200), (200, 215, 250), (200, 240, 200), (250, 235, 170), (235, 210, 245),
)  # fmt: skip


def high(difficulty: Difficulty, easy: int, hard: int) -> int:
    """An upper bound between the two, by the reasoning dial."""
    return round(easy + (hard - easy) * difficulty.reasoning)


class Numbered(ABC):
    """A family whose missing part is a number: half of its scenes have four choices.

    The choices are the truths of four scenes that might as well have been shown, so nothing about them tells
    which one is right.
    """

    @abstractmethod
    def part(self, rng: np.random.Generator, difficulty: Difficulty) -> dict[str, Any]:
        """A scene without choices; "truth" is its missing number."""

    def sample(self, rng: np.random.Generator, difficulty: Difficulty) -> dict[str, Any]:
        """A scene with "choices", empty for half of them."""
        if rng.integers(2):
            return {**self.part(rng, difficulty), "choices": ()}
        while True:
            scenes = [self.part(rng, difficulty) for _ in range(4)]
            found = {str(scene["truth"]): None for scene in scenes}
            if len(found) == 4:
                return {**scenes[0], "choices": tuple(list(found)[place] for place in rng.permutation(4))}


def ask_number(scene: Scene, category: str = NUMBER) -> Ask:
    """The question for the missing number, with the scene's choices if it has any."""
    kind: Kind = "choice" if scene["choices"] else "integer"
    return Ask("what is the missing number?", kind, scene["choices"], category=category)


def shown(value: object, missing: bool) -> str:
    """A part's text: the value, or a question mark where it is missing."""
    return "?" if missing else str(value)


def put(canvas: Canvas, at: Point, text: str, ground: Color) -> None:
    """Glyphs centred on a point, on a ground of their own."""
    canvas.text(round(at[0] - len(text) / 2), int(at[1]), text, RED if text == "?" else BLACK, ground)
