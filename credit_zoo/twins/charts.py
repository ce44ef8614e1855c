"""Charts of lettered values: one scene in four styles, and the families that ask about it."""

from itertools import pairwise
from typing import Any

import numpy as np

from credit_zoo.twins.canvas import BLACK, BLUE, GRAY, GREEN, RED, Canvas, Color
from credit_zoo.twins.contract import Difficulty, Steps
from credit_zoo.twins.figures import ALPHABETS, pick
from credit_zoo.twins.numbers import Number, mean
from credit_zoo.twins.twin import Ask, Scene

FIGURE = "figure question answering"
STYLES = ("bars", "line", "table", "dots")
SHADES: tuple[Color, ...] = ((250, 190, 190), (190, 210, 250), (190, 235, 190), (245, 225, 160))
# Levels of the line chart from 0 up, two rows apart so that their numbers do not touch.
_LEVELS = 6
LINES: tuple[Color, ...] = (BLACK, RED, BLUE, GREEN)


def _values(rng: np.random.Generator, difficulty: Difficulty, style: str, count: int) -> tuple[list[int], int]:
    # The unit is what one row of the line chart stands for; elsewhere it is 1.
    if style == "line":
        unit = pick(rng, 1, round(5 + 10 * difficulty.reasoning))
        return [unit * int(level) for level in rng.permutation(np.arange(1, _LEVELS))[:count]], unit
    low, high = (1, 8) if style == "dots" else (2, round(20 + 79 * difficulty.reasoning))
    return [int(value) for value in rng.permutation(np.arange(low, high + 1))[:count]], 1


class Chart:
    """Three or four letters, each with a value of its own, as bars, a line chart, a table or rows of dots."""

    def sample(self, rng: np.random.Generator, difficulty: Difficulty) -> dict[str, Any]:
        """A scene with distinct values; "first" and "second" are the places that a question is about."""
        style = STYLES[rng.integers(len(STYLES))]
        count = 4 if rng.random() < 0.3 + 0.7 * difficulty.reasoning else 3
        values, unit = _values(rng, difficulty, style, count)
        first, second = (int(place) for place in rng.permutation(count)[:2])
        return {
            "style": style, "values": tuple(values), "unit": unit, "first": first, "second": second,
            "letters": ALPHABETS[rng.integers(len(ALPHABETS))][:count],
            "shade": int(rng.integers(len(SHADES))),
        }  # fmt: skip

    def draw(self, scene: Scene, canvas: Canvas) -> None:
        """Draw the values in the scene's style."""
        {"bars": _bars, "line": _line, "table": _table, "dots": _dots}[scene["style"]](scene, canvas)


def _bars(scene: Scene, canvas: Canvas) -> None:
    top = max(scene["values"])
    canvas.line((0, 11), (12, 11))
    for place, (name, value) in enumerate(zip(scene["letters"], scene["values"], strict=True)):
        left = 3 * place
        # Heights are rounded to cells, so that the number above stands on its bar.
        height = max(1, round(9 * value / top))
        canvas.rect((left, 11 - height), (left + 2, 11), fill=SHADES[scene["shade"]])
        canvas.text(left, 10 - height, str(value))
        canvas.text(left, 11, name, BLUE)


def _line(scene: Scene, canvas: Canvas) -> None:
    for level in range(_LEVELS):
        canvas.line((2, 10.5 - 2 * level), (12, 10.5 - 2 * level), (215, 215, 215))
        text = str(level * scene["unit"])
        canvas.text(2 - len(text), 10 - 2 * level, text, GRAY)
    levels = [value / scene["unit"] for value in scene["values"]]
    points = [(3.5 + 2 * place, 10.5 - 2 * level) for place, level in enumerate(levels)]
    for start, end in pairwise(points):
        canvas.line(start, end, LINES[scene["shade"]])
    for point, name in zip(points, scene["letters"], strict=True):
        canvas.circle(point, 0.35, LINES[scene["shade"]], LINES[scene["shade"]])
        canvas.text(int(point[0]), 11, name, BLUE)


def _table(scene: Scene, canvas: Canvas) -> None:
    for place, (name, value) in enumerate(zip(scene["letters"], scene["values"], strict=True)):
        row = 3 * place
        canvas.rect((1, row), (4, row + 3))
        canvas.rect((4, row), (9, row + 3))
        canvas.text(2, row + 1, name, BLUE)
        canvas.text(7 - len(str(value)) // 2, row + 1, str(value))


def _dots(scene: Scene, canvas: Canvas) -> None:
    for place, (name, value) in enumerate(zip(scene["letters"], scene["values"], strict=True)):
        row = 3 * place + 1
        canvas.text(0, row, name, BLUE)
        for dot in range(value):
            canvas.circle((2.5 + dot * 1.15, row + 0.5), 0.42, LINES[scene["shade"]], SHADES[scene["shade"]])
        canvas.note(2, row, str(value))


def _read(scene: Scene, steps: Steps, place: int) -> Number:
    value: Number = scene["values"][place]
    return steps.read(scene["letters"][place], value)


def _read_all(scene: Scene, steps: Steps) -> list[Number]:
    return [_read(scene, steps, place) for place in range(len(scene["values"]))]


class ReadOff(Chart):
    """One value."""

    def ask(self, scene: Scene) -> Ask:
        return Ask(f"what is the value of {scene['letters'][scene['first']]}?", "integer", category=FIGURE)

    def solve(self, scene: Scene, steps: Steps) -> None:
        steps.answer(_read(scene, steps, scene["first"]))


class Difference(Chart):
    """How much one value exceeds another."""

    def sample(self, rng: np.random.Generator, difficulty: Difficulty) -> dict[str, Any]:
        scene = super().sample(rng, difficulty)
        low, high = sorted((scene["first"], scene["second"]), key=lambda place: int(scene["values"][place]))
        return {**scene, "first": high, "second": low}

    def ask(self, scene: Scene) -> Ask:
        first, second = scene["letters"][scene["first"]], scene["letters"][scene["second"]]
        return Ask(f"how much more is {first} than {second}?", "integer", category=FIGURE)

    def solve(self, scene: Scene, steps: Steps) -> None:
        a, b = _read(scene, steps, scene["first"]), _read(scene, steps, scene["second"])
        steps.answer(steps.derive("more", f"{a}-{b}", a - b))


class Total(Chart):
    """The sum of all values."""

    def ask(self, scene: Scene) -> Ask:
        return Ask("what is the sum of all values?", "integer", category=FIGURE)

    def solve(self, scene: Scene, steps: Steps) -> None:
        values = _read_all(scene, steps)
        steps.answer(steps.derive("sum", "+".join(map(str, values)), sum(values)))


class Mean(Chart):
    """The mean of two values, with one decimal."""

    def ask(self, scene: Scene) -> Ask:
        first, second = scene["letters"][scene["first"]], scene["letters"][scene["second"]]
        return Ask(f"what is the mean of {first} and {second}?", "float", precision=1, category=FIGURE)

    def solve(self, scene: Scene, steps: Steps) -> None:
        a, b = _read(scene, steps, scene["first"]), _read(scene, steps, scene["second"])
        total = steps.derive("sum", f"{a}+{b}", a + b)
        steps.answer(steps.derive("mean", f"{total}/2", mean(total, 2)))


class Extreme(Chart):
    """Which letter has the highest or the lowest value, as a choice."""

    def sample(self, rng: np.random.Generator, difficulty: Difficulty) -> dict[str, Any]:
        return {**super().sample(rng, difficulty), "highest": bool(rng.integers(2))}

    def ask(self, scene: Scene) -> Ask:
        word = "highest" if scene["highest"] else "lowest"
        return Ask(f"which has the {word} value?", "choice", tuple(scene["letters"]), category=FIGURE)

    def solve(self, scene: Scene, steps: Steps) -> None:
        values = _read_all(scene, steps)
        name, best = ("max", max(values)) if scene["highest"] else ("min", min(values))
        letter = scene["letters"][values.index(best)]
        listed = ",".join(map(str, values))
        steps.answer(steps.derive("which", f"{name}({listed})", letter, tuple(scene["letters"])))


class Compare(Chart):
    """Whether one value exceeds another, yes or no."""

    def sample(self, rng: np.random.Generator, difficulty: Difficulty) -> dict[str, Any]:
        return {**super().sample(rng, difficulty), "no_first": bool(rng.integers(2))}

    def ask(self, scene: Scene) -> Ask:
        first, second = scene["letters"][scene["first"]], scene["letters"][scene["second"]]
        choices = ("no", "yes") if scene["no_first"] else ("yes", "no")
        return Ask(f"is {first} more than {second}?", "choice", choices, category=FIGURE)

    def solve(self, scene: Scene, steps: Steps) -> None:
        a, b = _read(scene, steps, scene["first"]), _read(scene, steps, scene["second"])
        steps.answer(steps.derive("more", f"{a}>{b}", "yes" if a > b else "no", ("yes", "no")))


class CountAbove(Chart):
    """How many values exceed a bound given in the question."""

    def sample(self, rng: np.random.Generator, difficulty: Difficulty) -> dict[str, Any]:
        scene = super().sample(rng, difficulty)
        ranked = sorted(scene["values"])
        place = int(rng.integers(len(ranked)))
        return {**scene, "bound": max(0, ranked[place] - pick(rng, 0, 1))}

    def ask(self, scene: Scene) -> Ask:
        return Ask(f"how many values are >{scene['bound']}?", "integer", category=FIGURE)

    def solve(self, scene: Scene, steps: Steps) -> None:
        above = [int(value > scene["bound"]) for value in _read_all(scene, steps)]
        steps.answer(steps.derive("count", "+".join(map(str, above)), sum(above)))
