"""Puzzle families whose missing part is a number."""

from itertools import pairwise
from typing import Any

import numpy as np

from credit_zoo.twins.canvas import BLACK, GRAY, RED, Canvas
from credit_zoo.twins.contract import Difficulty, Steps
from credit_zoo.twins.figures import pick
from credit_zoo.twins.numbers import quotient
from credit_zoo.twins.objects import regular
from credit_zoo.twins.puzzle_parts import PALE, RING, Numbered, ask_number, high, put, shown
from credit_zoo.twins.twin import Ask, Scene


class _Ring(Numbered):
    """Six numbers in a ring, opposites joined by lines."""

    def draw(self, scene: Scene, canvas: Canvas) -> None:
        fill = PALE[scene["shade"]]
        for start in range(3):
            canvas.line(RING[start], RING[start + 3], GRAY)
        for place, (x, y) in enumerate(RING):
            canvas.circle((x, y), 1.45, BLACK, fill)
            put(canvas, (x, y), shown(scene["values"][place], place == scene["missing"]), fill)

    def ask(self, scene: Scene) -> Ask:
        return ask_number(scene)


class OppositeNumbers(_Ring):
    """Opposite numbers are equal."""

    def part(self, rng: np.random.Generator, difficulty: Difficulty) -> dict[str, Any]:
        values = [int(value) for value in rng.permutation(np.arange(2, high(difficulty, 25, 90)))[:3]]
        missing = int(rng.integers(6))
        return {
            "values": tuple(values * 2), "missing": missing, "shade": int(rng.integers(len(PALE))),
            "truth": values[missing % 3],
        }  # fmt: skip

    def solve(self, scene: Scene, steps: Steps) -> None:
        values, missing = scene["values"], scene["missing"]
        steps.reads("pair", [values[(missing + step) % 6] for step in (1, 4)])
        opposite = steps.read("opposite", values[(missing + 3) % 6])
        steps.answer(steps.derive("missing", "same", opposite))


class OppositeSums(_Ring):
    """Opposite numbers add up to the same everywhere."""

    def part(self, rng: np.random.Generator, difficulty: Difficulty) -> dict[str, Any]:
        total = pick(rng, 10, high(difficulty, 25, 99))
        parts = [int(part) for part in rng.permutation(np.arange(1, (total + 1) // 2))[:3]]
        turns = rng.integers(2, size=3)
        parts = [total - part if turn else part for part, turn in zip(parts, turns, strict=True)]
        values = (*parts, *(total - part for part in parts))
        missing = int(rng.integers(6))
        return {
            "values": values, "missing": missing, "shade": int(rng.integers(len(PALE))),
            "truth": values[missing],
        }  # fmt: skip

    def solve(self, scene: Scene, steps: Steps) -> None:
        values, missing = scene["values"], scene["missing"]
        a, b = steps.reads("pair", [values[(missing + step) % 6] for step in (1, 4)])
        total = steps.derive("sum", f"{a}+{b}", a + b)
        opposite = steps.read("opposite", values[(missing + 3) % 6])
        steps.answer(steps.derive("missing", f"{total}-{opposite}", total - opposite))


class _Grid(Numbered):
    """Nine numbers in a grid."""

    def draw(self, scene: Scene, canvas: Canvas) -> None:
        fill = PALE[scene["shade"]]
        for place, value in enumerate(scene["values"]):
            left, top = 4 * (place % 3), 4 * (place // 3)
            canvas.rect((left, top), (left + 4, top + 4), BLACK, fill)
            put(canvas, (left + 2, top + 1.5), shown(value, place == scene["missing"]), fill)

    def ask(self, scene: Scene) -> Ask:
        return ask_number(scene)


class GridRows(_Grid):
    """In every row the last number is the sum of the two before it."""

    def part(self, rng: np.random.Generator, difficulty: Difficulty) -> dict[str, Any]:
        values: list[int] = []
        for _ in range(3):
            a, b = (pick(rng, 2, high(difficulty, 12, 49)) for _ in range(2))
            values += [a, b, a + b]
        missing = int(rng.integers(9))
        return {
            "values": tuple(values), "missing": missing, "shade": int(rng.integers(len(PALE))),
            "truth": values[missing],
        }  # fmt: skip

    def solve(self, scene: Scene, steps: Steps) -> None:
        row, place = divmod(scene["missing"], 3)
        a, b = steps.reads("row", [scene["values"][3 * row + col] for col in range(3) if col != place])
        if place == 2:
            steps.answer(steps.derive("missing", f"{a}+{b}", a + b))
        else:
            steps.answer(steps.derive("missing", f"{b}-{a}", b - a))


class EqualRows(_Grid):
    """All rows have the same sum."""

    def part(self, rng: np.random.Generator, difficulty: Difficulty) -> dict[str, Any]:
        total = pick(rng, 15, high(difficulty, 40, 90))
        values: list[int] = []
        for _ in range(3):
            a, b = sorted(int(cut) for cut in rng.permutation(np.arange(1, total))[:2])
            values += [a, b - a, total - b]
        missing = int(rng.integers(9))
        return {
            "values": tuple(values), "missing": missing, "shade": int(rng.integers(len(PALE))),
            "truth": values[missing],
        }  # fmt: skip

    def solve(self, scene: Scene, steps: Steps) -> None:
        row, place = divmod(scene["missing"], 3)
        full = (row + 1) % 3
        a, b, c = steps.reads("full", scene["values"][3 * full : 3 * full + 3])
        total = steps.derive("sum", f"{a}+{b}+{c}", a + b + c)
        d, e = steps.reads("row", [scene["values"][3 * row + col] for col in range(3) if col != place])
        steps.answer(steps.derive("missing", f"{total}-{d}-{e}", total - d - e))


class Sequence(Numbered):
    """Five numbers on a winding path, with a constant step."""

    def part(self, rng: np.random.Generator, difficulty: Difficulty) -> dict[str, Any]:
        step = pick(rng, 2, high(difficulty, 7, 12))
        first = pick(rng, 1, high(difficulty, 25, 50))
        values = [first + step * place for place in range(5)]
        if rng.integers(2):
            values.reverse()
        missing = int(rng.integers(5))
        return {
            "values": tuple(values), "missing": missing, "flip": bool(rng.integers(2)),
            "drop": pick(rng, 3, 5), "shade": int(rng.integers(len(PALE))), "truth": values[missing],
        }  # fmt: skip

    def draw(self, scene: Scene, canvas: Canvas) -> None:
        points = [(2 + 2 * place, 3.5 + scene["drop"] * (place % 2)) for place in range(5)]
        for start, end in pairwise(points):
            canvas.line(start, end, GRAY)
        fill = PALE[scene["shade"]]
        for place, point in enumerate(points):
            canvas.circle(point, 1.4, BLACK, fill)
            put(canvas, point, shown(scene["values"][place], place == scene["missing"]), fill)

    def ask(self, scene: Scene) -> Ask:
        return ask_number(scene)

    def solve(self, scene: Scene, steps: Steps) -> None:
        values, missing = scene["values"], scene["missing"]
        start = 0 if missing > 1 else missing + 1
        a, b = steps.reads("pair", values[start : start + 2])
        down = b < a
        step = steps.derive("step", f"{a}-{b}" if down else f"{b}-{a}", abs(b - a))
        if missing > 1:
            before = steps.read("before", values[missing - 1])
            sign, value = ("-", before - step) if down else ("+", before + step)
            steps.answer(steps.derive("missing", f"{before}{sign}{step}", value))
        else:
            after = steps.read("after", values[missing + 1])
            sign, value = ("+", after + step) if down else ("-", after - step)
            steps.answer(steps.derive("missing", f"{after}{sign}{step}", value))


class Products(Numbered):
    """Three triangles of numbers: the top one is the product of the two below."""

    def part(self, rng: np.random.Generator, difficulty: Difficulty) -> dict[str, Any]:
        pairs = [(pick(rng, 2, high(difficulty, 7, 9)), pick(rng, 2, 9)) for _ in range(3)]
        values = [value for a, b in pairs for value in (a, b, a * b)]
        missing = 3 * int(rng.integers(3)) + (2 if rng.integers(2) else int(rng.integers(2)))
        return {
            "values": tuple(values), "missing": missing, "shade": int(rng.integers(len(PALE))),
            "flip": bool(rng.integers(2)), "truth": values[missing],
        }  # fmt: skip

    def draw(self, scene: Scene, canvas: Canvas) -> None:
        for number, (left, top) in enumerate(((0, 0), (6, 0), (3, 6))):
            corners = [(left, top + 5.6), (left + 6, top + 5.6), (left + 3, top)]
            canvas.polygon(corners, BLACK, PALE[scene["shade"]])
            for place, (x, y) in enumerate(((1.5, 4.5), (4.5, 4.5), (3, 3.5))):
                at = 3 * number + place
                text = shown(scene["values"][at], at == scene["missing"])
                put(canvas, (left + x, top + y), text, PALE[scene["shade"]])

    def ask(self, scene: Scene) -> Ask:
        return ask_number(scene)

    def solve(self, scene: Scene, steps: Steps) -> None:
        number, place = divmod(scene["missing"], 3)
        a, b, product = scene["values"][3 * number : 3 * number + 3]
        if place == 2:
            a, b = steps.reads("pair", (a, b))
            steps.answer(steps.derive("missing", f"{a}*{b}", a * b))
        else:
            side = steps.read("side", (a, b)[1 - place])
            product = steps.read("product", product)
            steps.answer(steps.derive("missing", f"{product}/{side}", quotient(product, side)))


class Sides(Numbered):
    """Polygons whose number is a multiple of their sides."""

    def part(self, rng: np.random.Generator, difficulty: Difficulty) -> dict[str, Any]:
        factor = pick(rng, 2, high(difficulty, 7, 12))
        sides = [int(count) for count in rng.permutation([3, 4, 5, 6])]
        missing = int(rng.integers(4))
        return {
            "sides": tuple(sides), "factor": factor, "missing": missing,
            "shade": int(rng.integers(len(PALE))), "truth": factor * sides[missing],
        }  # fmt: skip

    def draw(self, scene: Scene, canvas: Canvas) -> None:
        fill = PALE[scene["shade"]]
        for place, sides in enumerate(scene["sides"]):
            left, top = 6 * (place % 2), 6 * (place // 2)
            canvas.polygon(regular(sides, (left + 3, top + 3.3), 2.65), BLACK, fill)
            text = shown(scene["factor"] * sides, place == scene["missing"])
            put(canvas, (left + 3, top + 3.5), text, fill)
            canvas.note(left + 3, top + 3, str(sides))

    def ask(self, scene: Scene) -> Ask:
        return ask_number(scene, "number & shape")

    def solve(self, scene: Scene, steps: Steps) -> None:
        _scaled(scene, steps, "sides")


class Heights(Numbered):
    """Stacks of blocks whose number is a multiple of their height."""

    def part(self, rng: np.random.Generator, difficulty: Difficulty) -> dict[str, Any]:
        factor = pick(rng, 2, high(difficulty, 7, 12))
        heights = [int(count) for count in rng.permutation(np.arange(1, 9))[:4]]
        missing = int(rng.integers(4))
        return {
            "heights": tuple(heights), "factor": factor, "missing": missing,
            "shade": int(rng.integers(len(PALE))), "truth": factor * heights[missing],
        }  # fmt: skip

    def draw(self, scene: Scene, canvas: Canvas) -> None:
        fill = PALE[scene["shade"]]
        for place, height in enumerate(scene["heights"]):
            for block in range(height):
                canvas.rect((3 * place + 0.5, 9 - block), (3 * place + 2.5, 10 - block), BLACK, fill)
            text = shown(scene["factor"] * height, place == scene["missing"])
            canvas.text(3 * place + (1 if len(text) < 2 else 0), 11, text, RED if text == "?" else BLACK)
            canvas.note(3 * place, 9, str(height))

    def ask(self, scene: Scene) -> Ask:
        return ask_number(scene, "number & size")

    def solve(self, scene: Scene, steps: Steps) -> None:
        _scaled(scene, steps, "heights")


def _scaled(scene: Scene, steps: Steps, name: str) -> None:
    """One part gives the factor between its size and its number, the missing part's size then its number."""
    missing = scene["missing"]
    known = (missing + 1) % 4
    label = name if name == "sides" else "height"
    size = steps.read(label, scene[name][known])
    number = steps.read("number", scene["factor"] * scene[name][known])
    factor = steps.derive("factor", f"{number}/{size}", quotient(number, size))
    own = steps.read(label, scene[name][missing])
    steps.answer(steps.derive("missing", f"{own}*{factor}", own * factor))
