"""Problem families about angles in degrees."""

from typing import Any

import numpy as np

from credit_zoo.twins.canvas import Canvas, Point
from credit_zoo.twins.contract import Difficulty, Steps
from credit_zoo.twins.figures import angle, letter, pick, pose, shape, shown, side, ticks
from credit_zoo.twins.numbers import quotient
from credit_zoo.twins.twin import Ask, Scene

LEFT: Point = (1.4, 10.2)
RIGHT: Point = (10.6, 10.2)


def _step(difficulty: Difficulty) -> int:
    return 5 if difficulty.reasoning == 0 else 1


class AngleSum:
    """A triangle with two angles given; at a high reasoning dial with side lengths that do not matter."""

    def sample(self, rng: np.random.Generator, difficulty: Difficulty) -> dict[str, Any]:
        step = _step(difficulty)
        first = pick(rng, 25, 100, step)
        second = pick(rng, 25, 155 - first, step)
        extra = pick(rng, 2, 9) if rng.random() < difficulty.reasoning else 0
        return {
            **pose(rng), "angles": (first, second, 180 - first - second), "hidden": int(rng.integers(3)),
            "apex": pick(rng, 4, 8), "extra": extra,
        }  # fmt: skip

    def draw(self, scene: Scene, canvas: Canvas) -> None:
        points = [LEFT, (scene["apex"], 1.6), RIGHT]
        center = shape(canvas, points, scene["letters"])
        for place, value in enumerate(scene["angles"]):
            text = shown(value, place == scene["hidden"])
            angle(canvas, points[place], points[place - 1], points[place - 2], text)
        if scene["extra"]:
            side(canvas, LEFT, RIGHT, center, str(scene["extra"]))

    def ask(self, scene: Scene) -> Ask:
        return Ask("find x.")

    def solve(self, scene: Scene, steps: Steps) -> None:
        one, two = (place for place in range(3) if place != scene["hidden"])
        a = steps.read(scene["letters"][one], scene["angles"][one])
        b = steps.read(scene["letters"][two], scene["angles"][two])
        total = steps.derive("sum", f"{a}+{b}", a + b)
        steps.answer(steps.derive("x", f"180-{total}", 180 - total))


class Isosceles:
    """A triangle with two equal sides: from the apex angle to a base angle, or back."""

    def sample(self, rng: np.random.Generator, difficulty: Difficulty) -> dict[str, Any]:
        base = pick(rng, 25, 80, _step(difficulty))
        return {
            **pose(rng), "base": base, "apex": 180 - 2 * base, "up": bool(rng.integers(2)),
            "right": bool(rng.integers(2)), "height": pick(rng, 1, 4) / 2,
        }  # fmt: skip

    def draw(self, scene: Scene, canvas: Canvas) -> None:
        top: Point = (6, 1 + scene["height"])
        shape(canvas, [LEFT, top, RIGHT], scene["letters"])
        ticks(canvas, LEFT, top)
        ticks(canvas, RIGHT, top)
        angle(canvas, top, LEFT, RIGHT, shown(scene["apex"], scene["up"]))
        corner, other = (RIGHT, LEFT) if scene["right"] else (LEFT, RIGHT)
        angle(canvas, corner, top, other, shown(scene["base"], not scene["up"]))

    def ask(self, scene: Scene) -> Ask:
        return Ask("two sides are equal. find x.")

    def solve(self, scene: Scene, steps: Steps) -> None:
        if scene["up"]:
            base = steps.read(scene["letters"][2 if scene["right"] else 0], scene["base"])
            both = steps.derive("both", f"2*{base}", 2 * base)
            steps.answer(steps.derive("x", f"180-{both}", 180 - both))
        else:
            apex = steps.read(scene["letters"][1], scene["apex"])
            rest = steps.derive("rest", f"180-{apex}", 180 - apex)
            steps.answer(steps.derive("x", f"{rest}/2", quotient(rest, 2)))


class ExteriorAngle:
    """A triangle with a side carried on: exterior angle from the two remote ones, or one of these from it."""

    def sample(self, rng: np.random.Generator, difficulty: Difficulty) -> dict[str, Any]:
        step = _step(difficulty)
        first, second = pick(rng, 30, 75, step), pick(rng, 30, 75, step)
        return {**pose(rng), "angles": (first, second, first + second), "hidden": int(rng.integers(3))}

    def draw(self, scene: Scene, canvas: Canvas) -> None:
        left, top, corner, end = (1.4, 10.2), (3.6, 1.6), (7.4, 10.2), (11.8, 10.2)
        shape(canvas, [left, top, corner], scene["letters"])
        canvas.line(corner, end)
        texts = [shown(value, place == scene["hidden"]) for place, value in enumerate(scene["angles"])]
        angle(canvas, left, top, corner, texts[0])
        angle(canvas, top, left, corner, texts[1])
        angle(canvas, corner, top, end, texts[2])

    def ask(self, scene: Scene) -> Ask:
        return Ask("find x.")

    def solve(self, scene: Scene, steps: Steps) -> None:
        labels = (scene["letters"][0], scene["letters"][1], "out")
        one, two = (place for place in range(3) if place != scene["hidden"])
        a = steps.read(labels[one], scene["angles"][one])
        b = steps.read(labels[two], scene["angles"][two])
        if scene["hidden"] == 2:
            steps.answer(steps.derive("x", f"{a}+{b}", a + b))
        else:
            steps.answer(steps.derive("x", f"{b}-{a}", b - a))


class ParallelogramAngles:
    """A parallelogram: the next angle, or at a higher reasoning dial its part beside a diagonal."""

    def sample(self, rng: np.random.Generator, difficulty: Difficulty) -> dict[str, Any]:
        step = _step(difficulty)
        given = pick(rng, 40, 85, step)
        part = pick(rng, 20, 180 - given - 60, step) if rng.random() < difficulty.reasoning else 0
        return {**pose(rng), "given": given, "part": part, "slant": pick(rng, 2, 4)}

    def draw(self, scene: Scene, canvas: Canvas) -> None:
        slant = scene["slant"]
        points = [(1.2, 9.4), (1.2 + slant, 2.6), (10.8, 2.6), (10.8 - slant, 9.4)]
        shape(canvas, points, scene["letters"])
        angle(canvas, points[0], points[1], points[3], str(scene["given"]))
        if scene["part"]:
            canvas.line(points[1], points[3])
            angle(canvas, points[1], points[0], points[3], str(scene["part"]))
            angle(canvas, points[1], points[2], points[3], "x")
        else:
            angle(canvas, points[1], points[0], points[2], "x")

    def ask(self, scene: Scene) -> Ask:
        return Ask("opposite sides are parallel. find x.")

    def solve(self, scene: Scene, steps: Steps) -> None:
        a = steps.read(scene["letters"][0], scene["given"])
        if scene["part"]:
            part = steps.read("part", scene["part"])
            whole = steps.derive(scene["letters"][1], f"180-{a}", 180 - a)
            steps.answer(steps.derive("x", f"{whole}-{part}", whole - part))
        else:
            steps.answer(steps.derive("x", f"180-{a}", 180 - a))


class CircleAngles:
    """A central and an inscribed angle over one arc: the inscribed one is half of the central one."""

    def sample(self, rng: np.random.Generator, difficulty: Difficulty) -> dict[str, Any]:
        return {
            **pose(rng), "inscribed": pick(rng, 20, 75, _step(difficulty)), "up": bool(rng.integers(2)),
            "top": pick(rng, 4, 8),
        }  # fmt: skip

    def draw(self, scene: Scene, canvas: Canvas) -> None:
        center: Point = (6, 6)
        x = scene["top"]
        points = [(1.8, 7.9), (x, 6 - (4.6**2 - (x - 6) ** 2) ** 0.5), (10.2, 7.9)]
        canvas.circle(center, 4.6)
        for point, text in zip(points, scene["letters"], strict=False):
            letter(canvas, point, center, text)
        for end in (points[0], points[2]):
            canvas.line(points[1], end)
            canvas.line(center, end)
        letter(canvas, center, (6, 9), "O")
        angle(canvas, points[1], points[0], points[2], shown(scene["inscribed"], not scene["up"]))
        angle(canvas, center, points[0], points[2], shown(2 * scene["inscribed"], scene["up"]))

    def ask(self, scene: Scene) -> Ask:
        return Ask("O is the center of the circle. find x.")

    def solve(self, scene: Scene, steps: Steps) -> None:
        if scene["up"]:
            a = steps.read(scene["letters"][1], scene["inscribed"])
            steps.answer(steps.derive("x", f"2*{a}", 2 * a))
        else:
            central = steps.read("O", 2 * scene["inscribed"])
            steps.answer(steps.derive("x", f"{central}/2", quotient(central, 2)))


class Diameter:
    """A triangle over a diameter has a right angle: the third angle from the second."""

    def sample(self, rng: np.random.Generator, difficulty: Difficulty) -> dict[str, Any]:
        return {**pose(rng), "given": pick(rng, 20, 70, _step(difficulty)), "top": pick(rng, 4, 8)}

    def draw(self, scene: Scene, canvas: Canvas) -> None:
        x = scene["top"]
        points = [(1.4, 6.5), (x, 6.5 - (4.6**2 - (x - 6) ** 2) ** 0.5), (10.6, 6.5)]
        canvas.circle((6, 6.5), 4.6)
        shape(canvas, points, scene["letters"])
        letter(canvas, (6, 6.5), (6, 5), "O")
        canvas.circle((6, 6.5), 0.2)
        angle(canvas, points[0], points[1], points[2], str(scene["given"]), 2.2)
        angle(canvas, points[2], points[1], points[0], "x", 2.2)

    def ask(self, scene: Scene) -> Ask:
        return Ask("O is the center of the circle. find x.")

    def solve(self, scene: Scene, steps: Steps) -> None:
        a = steps.read(scene["letters"][0], scene["given"])
        total = steps.derive("sum", f"90+{a}", 90 + a)
        steps.answer(steps.derive("x", f"180-{total}", 180 - total))


class StraightLine:
    """Two or three angles side by side on a straight line."""

    def sample(self, rng: np.random.Generator, difficulty: Difficulty) -> dict[str, Any]:
        step = _step(difficulty)
        two = bool(rng.integers(2))
        first = pick(rng, 30, 80 if two else 150, step)
        second = pick(rng, 25, 75, step) if two else 0
        return {**pose(rng), "first": first, "second": second, "rise": pick(rng, 7, 11)}

    def draw(self, scene: Scene, canvas: Canvas) -> None:
        left, foot, right = (0.6, scene["rise"]), (6, scene["rise"]), (11.4, scene["rise"])
        rays = [(2.4, foot[1] - 5.6), (9.6, foot[1] - 5.6)] if scene["second"] else [(5, foot[1] - 6)]
        canvas.line(left, right)
        for ray in rays:
            canvas.line(foot, ray)
        around = [left, *rays, right]
        texts = [str(scene["first"]), *([str(scene["second"])] if scene["second"] else []), "x"]
        for place, text in enumerate(texts):
            angle(canvas, foot, around[place], around[place + 1], text, 2.8)

    def ask(self, scene: Scene) -> Ask:
        return Ask("find x.")

    def solve(self, scene: Scene, steps: Steps) -> None:
        a = steps.read("side", scene["first"])
        if scene["second"]:
            b = steps.read("middle", scene["second"])
            total = steps.derive("sum", f"{a}+{b}", a + b)
            steps.answer(steps.derive("x", f"180-{total}", 180 - total))
        else:
            steps.answer(steps.derive("x", f"180-{a}", 180 - a))


class Quadrilateral:
    """A quadrilateral with three angles given."""

    def sample(self, rng: np.random.Generator, difficulty: Difficulty) -> dict[str, Any]:
        step = _step(difficulty)
        given = [pick(rng, 60, 120, step) for _ in range(3)]
        hidden = int(rng.integers(4))
        given.insert(hidden, 360 - sum(given))
        return {**pose(rng), "angles": tuple(given), "hidden": hidden, "shift": pick(rng, 0, 2)}

    def draw(self, scene: Scene, canvas: Canvas) -> None:
        shift = scene["shift"]
        points = [(1.4, 10.2), (1.4 + shift, 2), (9.6, 1.6 + shift), (10.6, 10.2)]
        shape(canvas, points, scene["letters"])
        for place, value in enumerate(scene["angles"]):
            text = shown(value, place == scene["hidden"])
            angle(canvas, points[place], points[place - 1], points[(place + 1) % 4], text)

    def ask(self, scene: Scene) -> Ask:
        return Ask("find x.")

    def solve(self, scene: Scene, steps: Steps) -> None:
        given = [place for place in range(4) if place != scene["hidden"]]
        a, b, c = (steps.read(scene["letters"][place], scene["angles"][place]) for place in given)
        total = steps.derive("sum", f"{a}+{b}+{c}", a + b + c)
        steps.answer(steps.derive("x", f"360-{total}", 360 - total))
