"""Problem families about tables, icons, prices, arrows and plain figures, in the manner of MathVista."""

from itertools import pairwise
from typing import Any

import numpy as np

from credit_zoo.twins.canvas import BLACK, BLUE, GREEN, RED, Canvas, Color, Point
from credit_zoo.twins.charts import FIGURE
from credit_zoo.twins.contract import Difficulty, Steps
from credit_zoo.twins.figures import ALPHABETS, angle, pick, pose, right_angle, side
from credit_zoo.twins.numbers import quotient
from credit_zoo.twins.twin import Ask, Scene

WORD = "math word problem"
TEXTBOOK = "textbook question answering"
GEOMETRY = "geometry problem solving"
COLORS: dict[str, Color] = {"red": RED, "blue": BLUE, "green": GREEN, "black": BLACK}


class TableRow:
    """A table with rows and columns by letters: the sum over one row."""

    def sample(self, rng: np.random.Generator, difficulty: Difficulty) -> dict[str, Any]:
        high = round(20 + 60 * difficulty.reasoning)
        columns = 3 if difficulty.reasoning > 0.5 else 2
        cells = tuple(tuple(pick(rng, 2, high) for _ in range(columns)) for _ in range(3))
        return {"cells": cells, "row": int(rng.integers(3)), "rows": ALPHABETS[rng.integers(1, 3)][:3]}

    def draw(self, scene: Scene, canvas: Canvas) -> None:
        columns = len(scene["cells"][0])
        for place in range(columns):
            canvas.text(4 + 3 * place, 1, "ABC"[place], BLUE)
            canvas.line((2.5 + 3 * place, 0), (2.5 + 3 * place, 12))
        for row, values in enumerate(scene["cells"]):
            canvas.line((0, 2.6 + 3 * row), (2.5 + 3 * columns, 2.6 + 3 * row))
            canvas.text(1, 4 + 3 * row, scene["rows"][row], BLUE)
            for place, value in enumerate(values):
                canvas.text(3 + 3 * place, 4 + 3 * row, str(value))

    def ask(self, scene: Scene) -> Ask:
        return Ask(f"what is the sum of row {scene['rows'][scene['row']]}?", "integer", category=FIGURE)

    def solve(self, scene: Scene, steps: Steps) -> None:
        row = scene["cells"][scene["row"]]
        values = [steps.read(name, value) for name, value in zip("ABC", row, strict=False)]
        steps.answer(steps.derive("sum", "+".join(map(str, values)), sum(values)))


class Icons:
    """Rows of icons, each worth what the key says: one row's worth, or of two rows together."""

    def sample(self, rng: np.random.Generator, difficulty: Difficulty) -> dict[str, Any]:
        counts = tuple(pick(rng, 1, 7) for _ in range(3))
        rows = 2 if rng.random() < difficulty.reasoning else 1
        return {
            "counts": counts, "asked": tuple(sorted(int(place) for place in rng.permutation(3)[:rows])),
            "worth": pick(rng, 2, round(6 + 9 * difficulty.reasoning)), "color": int(rng.integers(4)),
            "letters": ALPHABETS[rng.integers(len(ALPHABETS))][:3],
        }  # fmt: skip

    def draw(self, scene: Scene, canvas: Canvas) -> None:
        fill = list(COLORS.values())[scene["color"]]
        for row, count in enumerate(scene["counts"]):
            canvas.text(0, 1 + 3 * row, scene["letters"][row], BLUE)
            for icon in range(count):
                left = 2 + 1.4 * icon
                canvas.rect((left, 1 + 3 * row), (left + 0.9, 1.9 + 3 * row), BLACK, fill)
            canvas.note(2, 1 + 3 * row, str(count))
        canvas.line((0, 9.3), (12, 9.3))
        canvas.rect((2, 10), (2.9, 10.9), BLACK, fill)
        canvas.text(4, 10, "=")
        canvas.text(5, 10, str(scene["worth"]))

    def ask(self, scene: Scene) -> Ask:
        asked = " and ".join(scene["letters"][place] for place in scene["asked"])
        return Ask(f"how much is {asked} worth?", "integer", category=WORD)

    def solve(self, scene: Scene, steps: Steps) -> None:
        worth = steps.read("key", scene["worth"])
        counts = [steps.read(scene["letters"][place], scene["counts"][place]) for place in scene["asked"]]
        total = counts[0]
        if len(counts) > 1:
            total = steps.derive("sum", f"{counts[0]}+{counts[1]}", counts[0] + counts[1])
        steps.answer(steps.derive("worth", f"{total}*{worth}", total * worth))


class Prices:
    """Coloured goods with prices: what some of one and one of another cost."""

    def sample(self, rng: np.random.Generator, difficulty: Difficulty) -> dict[str, Any]:
        high = round(20 + 30 * difficulty.reasoning)
        return {
            "goods": tuple(str(name) for name in rng.permutation(list(COLORS))),
            "round": bool(rng.integers(2)),
            "prices": tuple(pick(rng, 2, high) for _ in range(4)),
            "many": pick(rng, 2, 3 if difficulty.reasoning > 0 else 2),
            "asked": tuple(int(place) for place in rng.permutation(4)[:2]),
        }  # fmt: skip

    def draw(self, scene: Scene, canvas: Canvas) -> None:
        for place, (name, price) in enumerate(zip(scene["goods"], scene["prices"], strict=True)):
            col, row = 2 + 6 * (place % 2), 1 + 6 * (place // 2)
            if scene["round"]:
                canvas.circle((col + 1, row + 1), 1, BLACK, COLORS[name])
            else:
                canvas.rect((col, row), (col + 2, row + 2), BLACK, COLORS[name])
            canvas.text(col, row + 3, str(price))

    def ask(self, scene: Scene) -> Ask:
        number = {2: "two", 3: "three"}[scene["many"]]
        first, second = (scene["goods"][place] for place in scene["asked"])
        return Ask(f"how much do {number} {first} and one {second} cost?", "integer", category=WORD)

    def solve(self, scene: Scene, steps: Steps) -> None:
        a, b = (steps.read(scene["goods"][place], scene["prices"][place]) for place in scene["asked"])
        part = steps.derive("part", f"{scene['many']}*{a}", scene["many"] * a)
        steps.answer(steps.derive("cost", f"{part}+{b}", part + b))


class FoodChain:
    """Arrows from food to eater among four letters: who eats whom, one or two arrows on."""

    def sample(self, rng: np.random.Generator, difficulty: Difficulty) -> dict[str, Any]:
        letters = ALPHABETS[rng.integers(len(ALPHABETS))]
        hops = 2 if rng.random() < difficulty.reasoning else 1
        return {
            "chain": tuple(letters[place] for place in rng.permutation(4)), "hops": hops,
            "start": int(rng.integers(4 - hops)), "turn": int(rng.integers(4)), "back": bool(rng.integers(2)),
            "jitter": tuple(pick(rng, 0, 1) for _ in range(8)),
        }  # fmt: skip

    def draw(self, scene: Scene, canvas: Canvas) -> None:
        corners = [(2, 2), (9, 2), (9, 9), (2, 9)]
        if scene["back"]:
            corners.reverse()
        corners = corners[scene["turn"] :] + corners[: scene["turn"]]
        jitter = scene["jitter"]
        cells = [(col - jitter[2 * i], row - jitter[2 * i + 1]) for i, (col, row) in enumerate(corners)]
        for name, (col, row) in zip(scene["chain"], cells, strict=True):
            canvas.text(col, row, name, BLUE)
        centers = [(col + 0.5, row + 0.5) for col, row in cells]
        for start, end in pairwise(centers):
            _arrow(canvas, start, end)

    def ask(self, scene: Scene) -> Ask:
        food = scene["chain"][scene["start"]]
        text = f"what eats {food}?" if scene["hops"] == 1 else f"what eats the eater of {food}?"
        choices = tuple(sorted(name for name in scene["chain"] if name != food))
        return Ask(f"arrows go from food to eater. {text}", "choice", choices, category=TEXTBOOK)

    def solve(self, scene: Scene, steps: Steps) -> None:
        eater = ""
        for hop in range(scene["hops"]):
            # A wrongly read eater leads on from itself, and past the end of the chain from its start.
            place = scene["chain"].index(eater) + 1 if eater else scene["start"] + 1
            following = scene["chain"][place % 4]
            eater = steps.read("next" if hop else "eater", following, scene["chain"])
        steps.answer(eater)


def _arrow(canvas: Canvas, start: Point, end: Point) -> None:
    length = ((end[0] - start[0]) ** 2 + (end[1] - start[1]) ** 2) ** 0.5
    along = ((end[0] - start[0]) / length, (end[1] - start[1]) / length)
    tail = (start[0] + along[0], start[1] + along[1])
    head = (end[0] - along[0], end[1] - along[1])
    canvas.line(tail, head)
    neck = (head[0] - 1.3 * along[0], head[1] - 1.3 * along[1])
    wings = [(neck[0] - 0.7 * along[1] * turn, neck[1] + 0.7 * along[0] * turn) for turn in (-1, 1)]
    canvas.polygon([head, *wings], BLACK, BLACK)


class TriangleArea:
    """A triangle's area from its base and height."""

    def sample(self, rng: np.random.Generator, difficulty: Difficulty) -> dict[str, Any]:
        base = pick(rng, 4, round(20 + 20 * difficulty.reasoning), 2)
        return {
            **pose(rng), "base": base, "height": pick(rng, 2, round(9 + 11 * difficulty.reasoning)),
            "apex": pick(rng, 4, 7),
        }  # fmt: skip

    def draw(self, scene: Scene, canvas: Canvas) -> None:
        foot, top = (scene["apex"], 9.6), (scene["apex"], 2)
        canvas.polygon([(1, 9.6), top, (11, 9.6)])
        canvas.line(foot, top)
        right_angle(canvas, foot, top, (11, 9.6))
        side(canvas, (1, 9.6), (11, 9.6), (6, 0), str(scene["base"]))
        side(canvas, foot, top, (0, 6), str(scene["height"]))

    def ask(self, scene: Scene) -> Ask:
        return Ask("find the area.", "integer", category=GEOMETRY)

    def solve(self, scene: Scene, steps: Steps) -> None:
        a, b = steps.read("base", scene["base"]), steps.read("height", scene["height"])
        both = steps.derive("both", f"{a}*{b}", a * b)
        steps.answer(steps.derive("area", f"{both}/2", quotient(both, 2)))


class RightAngle:
    """A right angle cut in two parts, four choices."""

    def sample(self, rng: np.random.Generator, difficulty: Difficulty) -> dict[str, Any]:
        step = 5 if difficulty.reasoning == 0 else 1
        given = pick(rng, 20, 70, step)
        truth = 90 - given
        # Wrong choices come from the truth's own range: no relation among choices may give it away.
        wrong = [value for value in range(20, 71, step) if value != truth]
        others = [int(value) for value in rng.permutation(wrong)[:3]]
        others.insert(int(rng.integers(4)), truth)
        return {**pose(rng), "given": given, "choices": tuple(others), "reach": pick(rng, 0, 2)}

    def draw(self, scene: Scene, canvas: Canvas) -> None:
        reach = scene["reach"]
        corner, up, along, cut = (1.5, 10.5), (1.5, 1 + reach), (11 - reach, 10.5), (8.2 + reach / 2, 3.4)
        canvas.line(corner, up)
        canvas.line(corner, along)
        canvas.line(corner, cut)
        right_angle(canvas, corner, up, along)
        angle(canvas, corner, up, cut, str(scene["given"]), 4.2)
        angle(canvas, corner, cut, along, "x", 4.2)

    def ask(self, scene: Scene) -> Ask:
        choices = tuple(str(value) for value in scene["choices"])
        return Ask("find x.", "choice", choices, category=GEOMETRY)

    def solve(self, scene: Scene, steps: Steps) -> None:
        a = steps.read("part", scene["given"])
        steps.answer(steps.derive("x", f"90-{a}", 90 - a))


class RegularPolygon:
    """The perimeter of a polygon with equal sides, one of them labelled."""

    def sample(self, rng: np.random.Generator, difficulty: Difficulty) -> dict[str, Any]:
        return {
            **pose(rng), "sides": pick(rng, 3, 6 if difficulty.reasoning == 0 else 8),
            "length": pick(rng, 2, round(20 + 30 * difficulty.reasoning)), "turn": pick(rng, 0, 3),
            "at": int(rng.integers(3)),
        }  # fmt: skip

    def draw(self, scene: Scene, canvas: Canvas) -> None:
        count = scene["sides"]
        turns = 2 * np.pi * (np.arange(count) / count + scene["turn"] / 16)
        points = [(6 + 3.8 * float(np.cos(turn)), 6 + 3.8 * float(np.sin(turn))) for turn in turns]
        canvas.polygon(points)
        side(canvas, points[scene["at"]], points[(scene["at"] + 1) % count], (6, 6), str(scene["length"]))
        canvas.note(6, 6, str(count))

    def ask(self, scene: Scene) -> Ask:
        return Ask("all sides are equal. find the perimeter.", "integer", category=GEOMETRY)

    def solve(self, scene: Scene, steps: Steps) -> None:
        length = steps.read("side", scene["length"])
        count = steps.read("count", scene["sides"])
        steps.answer(steps.derive("perimeter", f"{count}*{length}", count * length))
