"""Problem families about lengths, perimeters and areas."""

from typing import Any

import numpy as np

from credit_zoo.twins.canvas import BLUE, Canvas, Point
from credit_zoo.twins.contract import Difficulty, Steps
from credit_zoo.twins.figures import letter, names, pick, pose, right_angle, shape, shown, side, ticks
from credit_zoo.twins.numbers import quotient, root
from credit_zoo.twins.twin import Ask, Scene

_TRIPLES = ((3, 4, 5), (5, 12, 13), (8, 15, 17), (7, 24, 25), (20, 21, 29), (12, 35, 37), (9, 40, 41))


def _longest(difficulty: Difficulty, easy: int, hard: int) -> int:
    return round(easy + (hard - easy) * difficulty.reasoning)


class RightTriangle:
    """A Pythagorean triple with one side hidden."""

    def sample(self, rng: np.random.Generator, difficulty: Difficulty) -> dict[str, Any]:
        most = _longest(difficulty, 25, 60)
        triples = [(a * k, b * k, c * k) for a, b, c in _TRIPLES for k in range(1, most // c + 1)]
        one, two, three = triples[rng.integers(len(triples))]
        legs = (one, two) if rng.integers(2) else (two, one)
        return {
            **pose(rng), "sides": (*legs, three), "hidden": int(rng.integers(3)),
            "width": pick(rng, 6, 8), "height": pick(rng, 5, 7),
        }  # fmt: skip

    def draw(self, scene: Scene, canvas: Canvas) -> None:
        corner: Point = (2.4, 9.6)
        points = [(2.4, 9.6 - scene["height"]), corner, (2.4 + scene["width"], 9.6)]
        center = shape(canvas, points, scene["letters"])
        right_angle(canvas, corner, points[0], points[2])
        for place, (start, end) in enumerate(((0, 1), (1, 2), (0, 2))):
            text = shown(scene["sides"][place], place == scene["hidden"])
            side(canvas, points[start], points[end], center, text)

    def ask(self, scene: Scene) -> Ask:
        return Ask(f"find {names(scene, '01', '12', '02')[scene['hidden']]}.")

    def solve(self, scene: Scene, steps: Steps) -> None:
        one, two = (place for place in range(3) if place != scene["hidden"])
        labels = names(scene, "01", "12", "02")
        a = steps.read(labels[one], scene["sides"][one])
        b = steps.read(labels[two], scene["sides"][two])
        if scene["hidden"] == 2:
            square = steps.derive("sum", f"{a}*{a}+{b}*{b}", a * a + b * b)
        else:
            square = steps.derive("rest", f"{b}*{b}-{a}*{a}", b * b - a * a)
        steps.answer(steps.derive("x", f"root({square})", root(square)))


class RectangleArea:
    """A rectangle's area from its sides, or at a higher reasoning dial of two side by side."""

    def sample(self, rng: np.random.Generator, difficulty: Difficulty) -> dict[str, Any]:
        wide = pick(rng, 3, _longest(difficulty, 20, 40))
        cut = pick(rng, 2, 9) if rng.random() < difficulty.reasoning else 0
        return {
            **pose(rng), "wide": wide, "high": pick(rng, 2, _longest(difficulty, 9, 16)), "cut": cut,
            "size": (pick(rng, 6, 8), pick(rng, 4, 7)),
        }  # fmt: skip

    def draw(self, scene: Scene, canvas: Canvas) -> None:
        points = _rectangle(canvas, scene)
        center: Point = ((points[0][0] + points[2][0]) / 2, (points[0][1] + points[2][1]) / 2)
        side(canvas, points[0], points[1], center, str(scene["wide"]))
        side(canvas, points[1], points[2], center, str(scene["high"]))
        if scene["cut"]:
            x = points[0][0] + 3
            canvas.rect((x, points[0][1] + 1.4), (x + 2, points[0][1] + 3))
            canvas.label((x + 1, points[0][1] + 2.2), str(scene["cut"]))

    def ask(self, scene: Scene) -> Ask:
        return Ask("the inner area is cut out. find the area left." if scene["cut"] else "find the area.")

    def solve(self, scene: Scene, steps: Steps) -> None:
        wide, high = names(scene, "01", "12")
        a, b = steps.read(wide, scene["wide"]), steps.read(high, scene["high"])
        area = steps.derive("area", f"{a}*{b}", a * b)
        if scene["cut"]:
            cut = steps.read("cut", scene["cut"])
            area = steps.derive("left", f"{area}-{cut}", area - cut)
        steps.answer(area)


def _rectangle(canvas: Canvas, scene: Scene) -> list[Point]:
    wide, high = scene["size"]
    points: list[Point] = [(1.4, 2.2), (1.4 + wide, 2.2), (1.4 + wide, 2.2 + high), (1.4, 2.2 + high)]
    shape(canvas, points, scene["letters"])
    right_angle(canvas, points[3], points[0], points[2])
    return points


class RectanglePerimeter:
    """A rectangle's perimeter from its sides, or at a higher reasoning dial a side from the perimeter."""

    def sample(self, rng: np.random.Generator, difficulty: Difficulty) -> dict[str, Any]:
        most = _longest(difficulty, 20, 45)
        back = bool(rng.random() < difficulty.reasoning / 2)
        return {
            **pose(rng), "wide": pick(rng, 3, most), "high": pick(rng, 2, most), "back": back,
            "size": (pick(rng, 6, 8), pick(rng, 4, 7)),
        }  # fmt: skip

    def draw(self, scene: Scene, canvas: Canvas) -> None:
        points = _rectangle(canvas, scene)
        center: Point = ((points[0][0] + points[2][0]) / 2, (points[0][1] + points[2][1]) / 2)
        side(canvas, points[0], points[1], center, str(scene["wide"]))
        side(canvas, points[1], points[2], center, shown(scene["high"], scene["back"]))

    def ask(self, scene: Scene) -> Ask:
        if scene["back"]:
            return Ask(f"the perimeter is p={2 * (scene['wide'] + scene['high'])}. find x.")
        return Ask("find the perimeter.")

    def solve(self, scene: Scene, steps: Steps) -> None:
        wide, high = names(scene, "01", "12")
        a = steps.read(wide, scene["wide"])
        if scene["back"]:
            around = 2 * (scene["wide"] + scene["high"])
            half = steps.derive("half", f"{around}/2", quotient(around, 2))
            steps.answer(steps.derive("x", f"{half}-{a}", half - a))
        else:
            b = steps.read(high, scene["high"])
            half = steps.derive("half", f"{a}+{b}", a + b)
            steps.answer(steps.derive("perimeter", f"2*{half}", 2 * half))


class TrianglePerimeter:
    """The sum of a triangle's three sides."""

    def sample(self, rng: np.random.Generator, difficulty: Difficulty) -> dict[str, Any]:
        most = _longest(difficulty, 20, 45)
        one, two = pick(rng, 4, most), pick(rng, 4, most)
        three = pick(rng, abs(one - two) + 1, min(one + two - 1, most))
        return {**pose(rng), "sides": (one, two, three), "apex": pick(rng, 4, 8)}

    def draw(self, scene: Scene, canvas: Canvas) -> None:
        points = [(2, 9.4), (scene["apex"], 2.4), (10, 9.4)]
        center = shape(canvas, points, scene["letters"])
        for place, (start, end) in enumerate(((0, 1), (1, 2), (0, 2))):
            side(canvas, points[start], points[end], center, str(scene["sides"][place]))

    def ask(self, scene: Scene) -> Ask:
        return Ask("find the perimeter.")

    def solve(self, scene: Scene, steps: Steps) -> None:
        a, b, c = (
            steps.read(label, value)
            for label, value in zip(names(scene, "01", "12", "02"), scene["sides"], strict=True)
        )
        two = steps.derive("sum", f"{a}+{b}", a + b)
        steps.answer(steps.derive("perimeter", f"{two}+{c}", two + c))


class SimilarTriangles:
    """A line parallel to the base cuts two sides in one ratio."""

    def sample(self, rng: np.random.Generator, difficulty: Difficulty) -> dict[str, Any]:
        scale = pick(rng, 2, _longest(difficulty, 4, 7))
        one = pick(rng, 2, _longest(difficulty, 9, 15))
        two = pick(rng, 2, _longest(difficulty, 9, 15))
        if rng.random() < difficulty.reasoning / 2 and one % 2:
            # The lower part is the scale and a half of the upper one: the answer may be a fraction.
            upper, lower = 2 * one, one * (2 * scale + 1)
        else:
            upper, lower = one, scale * one
        return {**pose(rng), "upper": (upper, two), "lower": lower, "apex": pick(rng, 5, 7)}

    def draw(self, scene: Scene, canvas: Canvas) -> None:
        top: Point = (scene["apex"], 1.4)
        left, right = (2, 10.6), (10, 10.6)
        low = (top[0] + (left[0] - top[0]) / 2, 6), (top[0] + (right[0] - top[0]) / 2, 6)
        canvas.polygon([left, top, right])
        canvas.line(*low)
        for point, text in zip((top, low[0], low[1], left), "ADEB", strict=True):
            letter(canvas, point, (point[0] + (1 if point[0] < 6 else -1), 6.2), text)
        letter(canvas, right, (6, 9), "C")
        inside: Point = (6, 9)
        for start, end, text in (
            (top, low[0], str(scene["upper"][0])), (low[0], left, str(scene["lower"])),
            (top, low[1], str(scene["upper"][1])), (low[1], right, "x"),
        ):  # fmt: skip
            side(canvas, start, end, inside, text)

    def ask(self, scene: Scene) -> Ask:
        return Ask("DE is parallel to BC. find x.")

    def solve(self, scene: Scene, steps: Steps) -> None:
        one = steps.read("AD", scene["upper"][0])
        long = steps.read("DB", scene["lower"])
        two = steps.read("AE", scene["upper"][1])
        scale = steps.derive("ratio", f"{long}/{one}", quotient(long, one))
        value = scale * two
        steps.answer(steps.derive("x", f"{scale}*{two}", quotient(value, 1)))


class Segments:
    """Points on a line: the whole from its parts, or a part from the whole."""

    def sample(self, rng: np.random.Generator, difficulty: Difficulty) -> dict[str, Any]:
        most = _longest(difficulty, 20, 60)
        three = bool(rng.random() < 0.3 + 0.7 * difficulty.reasoning)
        parts = tuple(pick(rng, 2, most) for _ in range(3 if three else 2))
        return {**pose(rng), "parts": parts, "whole": bool(rng.integers(2)), "row": pick(rng, 4, 8)}

    def draw(self, scene: Scene, canvas: Canvas) -> None:
        count, y = len(scene["parts"]), scene["row"]
        ends = [1.0 + 10.0 * place / count for place in range(count + 1)]
        canvas.line((ends[0], y), (ends[-1], y))
        for x, text in zip(ends, scene["letters"], strict=False):
            canvas.line((x, y - 0.4), (x, y + 0.4))
            canvas.label((x, y + 1.3), text, BLUE)
        for place, value in enumerate(scene["parts"]):
            hidden = not scene["whole"] and place == count - 1
            side(canvas, (ends[place], y), (ends[place + 1], y), (6, 12), shown(value, hidden))
        canvas.line((ends[0], y - 2.2), (ends[-1], y - 2.2))
        for x in (ends[0], ends[-1]):
            canvas.line((x, y - 2.6), (x, y - 1.8))
        whole = shown(sum(scene["parts"]), scene["whole"])
        side(canvas, (ends[0], y - 2.2), (ends[-1], y - 2.2), (6, 12), whole)

    def ask(self, scene: Scene) -> Ask:
        last = len(scene["parts"])
        place = f"0{last}" if scene["whole"] else f"{last - 1}{last}"
        return Ask(f"find {names(scene, place)[0]}.")

    def solve(self, scene: Scene, steps: Steps) -> None:
        count = len(scene["parts"])
        places = [f"{place}{place + 1}" for place in range(count)]
        known = count if scene["whole"] else count - 1
        values = [
            steps.read(label, value)
            for label, value in zip(names(scene, *places[:known]), scene["parts"], strict=False)
        ]
        total = values[0]
        if not scene["whole"]:
            total = steps.read(names(scene, f"0{count}")[0], sum(scene["parts"]))
            values.insert(0, total)
        for place, value in enumerate(values[1:], start=2):
            label = "x" if place == len(values) else "sum" if scene["whole"] else "rest"
            if scene["whole"]:
                total = steps.derive(label, f"{total}+{value}", total + value)
            else:
                total = steps.derive(label, f"{total}-{value}", total - value)
        steps.answer(total)


class Midsegment:
    """A trapezoid's midsegment is the mean of its bases; or one base from the other and the midsegment."""

    def sample(self, rng: np.random.Generator, difficulty: Difficulty) -> dict[str, Any]:
        short = pick(rng, 2, _longest(difficulty, 20, 40))
        gap = pick(rng, 2, 20, 1 if difficulty.reasoning > 0 else 2)
        back = gap % 2 == 0 and bool(rng.integers(2))
        return {**pose(rng), "bases": (short, short + gap), "back": back, "slant": pick(rng, 2, 3)}

    def draw(self, scene: Scene, canvas: Canvas) -> None:
        slant = scene["slant"]
        points: list[Point] = [(1.2, 10), (1.2 + slant, 2.2), (10.8 - slant, 2.2), (10.8, 10)]
        center = shape(canvas, points, scene["letters"])
        left, right = (1.2 + slant / 2, 6.1), (10.8 - slant / 2, 6.1)
        canvas.line(left, right)
        for start, end in ((points[0], left), (left, points[1]), (points[3], right), (right, points[2])):
            ticks(canvas, start, end)
        short, long = scene["bases"]
        side(canvas, points[1], points[2], center, str(short))
        side(canvas, points[0], points[3], center, shown(long, scene["back"]))
        side(canvas, left, right, (6, 12), shown(quotient(short + long, 2), not scene["back"]))

    def ask(self, scene: Scene) -> Ask:
        return Ask("find x.")

    def solve(self, scene: Scene, steps: Steps) -> None:
        top, bottom = names(scene, "12", "03")
        short = steps.read(top, scene["bases"][0])
        if scene["back"]:
            middle = steps.read("middle", quotient(sum(scene["bases"]), 2))
            both = steps.derive("both", f"2*{middle}", 2 * middle)
            steps.answer(steps.derive("x", f"{both}-{short}", both - short))
        else:
            long = steps.read(bottom, scene["bases"][1])
            total = steps.derive("sum", f"{short}+{long}", short + long)
            steps.answer(steps.derive("x", f"{total}/2", quotient(total, 2)))
