"""Puzzle families whose missing part is a colour, a shape or a size, or whose numbers go by one of these."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from credit_zoo.twins.canvas import BLACK, GRAY, RED, WHITE, Canvas, Point
from credit_zoo.twins.contract import Difficulty, Steps
from credit_zoo.twins.figures import pick
from credit_zoo.twins.objects import FLAT, PALETTE, shape, some
from credit_zoo.twins.puzzle_parts import RING, Numbered, ask_number, high, shown
from credit_zoo.twins.twin import Ask, Scene

COLORS = tuple(PALETTE)
RADII = {"small": 0.55, "medium": 0.95, "large": 1.45}
SIZES = tuple(RADII)
POOLS = {"color": COLORS, "kind": FLAT, "size": SIZES}
NAMES = {"color": "color", "kind": "shape", "size": "size", "number": "number"}
MIXES = {
    frozenset(("red", "yellow")): "orange", frozenset(("red", "blue")): "purple",
    frozenset(("blue", "yellow")): "green",
}  # fmt: skip


def _shuffled(rng: np.random.Generator, words: list[str]) -> tuple[str, ...]:
    return tuple(words[place] for place in rng.permutation(len(words)))


def _options(rng: np.random.Generator, field: str, used: list[str]) -> tuple[str, ...]:
    """The used words and one more where there is one, shuffled."""
    spare = [word for word in POOLS[field] if word not in used]
    return _shuffled(rng, [*used, *([spare[rng.integers(len(spare))]] if spare else [])])


def _ask(field: str, scene: Scene, category: str = "") -> Ask:
    text = f"what is the missing {NAMES[field]}?"
    return Ask(text, "choice", scene["choices"], category=category or NAMES[field])


def _mark(canvas: Canvas, center: Point) -> None:
    canvas.text(int(center[0]), int(center[1]), "?", RED)


def _look(rng: np.random.Generator) -> dict[str, Any]:
    """The looks that a scene's rule leaves free."""
    return {
        "kind": FLAT[rng.integers(len(FLAT))], "color": COLORS[rng.integers(len(COLORS))], "size": "large",
        "jitter": int(rng.integers(2)),
    }  # fmt: skip


def _place(canvas: Canvas, scene: Scene, center: Point, field: str, value: str) -> None:
    """An object with the scene's free looks, and one field of its own; a white one where that is missing."""
    look = {**{name: scene[name] for name in ("kind", "color", "size")}, field: value}
    shape(canvas, look["kind"], center, RADII[look["size"]], look["color"])
    canvas.note(int(center[0]), int(center[1]), value)


@dataclass(frozen=True)
class Lookup(Numbered):
    """Six objects: one field settles the other, a colour or a number; three pairs in any order."""

    key: str
    value: str

    def sample(self, rng: np.random.Generator, difficulty: Difficulty) -> dict[str, Any]:
        if self.value == "number":
            return super().sample(rng, difficulty)
        words = some(rng, POOLS[self.value], 3)
        return {**self._pairs(rng, words), "choices": _options(rng, self.value, words)}

    def part(self, rng: np.random.Generator, difficulty: Difficulty) -> dict[str, Any]:
        numbers = rng.permutation(np.arange(2, high(difficulty, 25, 90)))[:3]
        return self._pairs(rng, [int(number) for number in numbers])

    def _pairs(self, rng: np.random.Generator, values: list[Any]) -> dict[str, Any]:
        order, keys, missing = rng.permutation(6), some(rng, POOLS[self.key], 3), int(rng.integers(6))
        valued = tuple(values[place // 2] for place in order)
        return {
            **_look(rng), "keys": tuple(keys[place // 2] for place in order), "values": valued,
            "missing": missing, "truth": valued[missing],
        }  # fmt: skip

    def draw(self, scene: Scene, canvas: Canvas) -> None:
        for place, (key, value) in enumerate(zip(scene["keys"], scene["values"], strict=True)):
            left, top = 4 * (place % 3) + scene["jitter"], 6 * (place // 3)
            center, hidden = (left + 1.5, top + 2.0), place == scene["missing"]
            look = {**scene, self.key: key}
            if self.value == "number":
                canvas.text(left + 1, top + 4, shown(value, hidden), RED if hidden else BLACK)
            else:
                look["color"] = "white" if hidden else value
                canvas.note(left, top, str(value))
                if hidden:
                    _mark(canvas, (left + 1, top + 4))
            _place(canvas, look, center, self.key, key)

    def ask(self, scene: Scene) -> Ask:
        category = f"{self.value} & {NAMES[self.key]}"
        return ask_number(scene, category) if self.value == "number" else _ask(self.value, scene, category)

    def solve(self, scene: Scene, steps: Steps) -> None:
        keys, values, missing = scene["keys"], scene["values"], scene["missing"]
        key = steps.read(NAMES[self.key], keys[missing], sorted(set(keys)))
        known = [place for place in range(6) if place != missing and keys[place] == key]
        near = sorted(set(values))
        steps.answer(steps.read(key, values[known[0] if known else missing], near))


class OppositeColors:
    """A ring of six colours, opposites the same."""

    def sample(self, rng: np.random.Generator, difficulty: Difficulty) -> dict[str, Any]:
        words = some(rng, COLORS, 3)
        return {
            **_look(rng), "values": tuple(words * 2), "missing": int(rng.integers(6)),
            "choices": _options(rng, "color", words),
        }  # fmt: skip

    def draw(self, scene: Scene, canvas: Canvas) -> None:
        for start in range(3):
            canvas.line(RING[start], RING[start + 3], GRAY)
        for place, center in enumerate(RING):
            if place == scene["missing"]:
                canvas.circle(center, 1.4, BLACK, WHITE)
                _mark(canvas, center)
            else:
                _place(canvas, scene, center, "color", scene["values"][place])

    def ask(self, scene: Scene) -> Ask:
        return _ask("color", scene)

    def solve(self, scene: Scene, steps: Steps) -> None:
        values, missing = scene["values"], scene["missing"]
        steps.reads("pair", [values[(missing + step) % 6] for step in (1, 4)], values)
        opposite = steps.read("opposite", values[(missing + 3) % 6], values)
        steps.answer(steps.derive("missing", "same", opposite, values))


class Mixing:
    """Three sums of colours."""

    def sample(self, rng: np.random.Generator, difficulty: Difficulty) -> dict[str, Any]:
        values: list[str] = []
        for place in rng.permutation(3):
            parts, mixed = list(MIXES.items())[place]
            values += [*_shuffled(rng, sorted(parts)), mixed]
        # A mixed colour is asked for as often as one of its parts: no colour is a better guess.
        place = int(rng.integers(2)) if rng.integers(2) else 2
        missing = 3 * int(rng.integers(3)) + place
        wrong = some(rng, tuple(color for color in COLORS if color != values[missing]), 3)
        choices = _shuffled(rng, [values[missing], *wrong])
        return {**_look(rng), "values": tuple(values), "missing": missing, "choices": choices}

    def draw(self, scene: Scene, canvas: Canvas) -> None:
        for place, value in enumerate(scene["values"]):
            center = (4 * (place % 3) + 1.5 + scene["jitter"], 4 * (place // 3) + 1.5)
            if place == scene["missing"]:
                _mark(canvas, center)
            else:
                _place(canvas, scene, center, "color", value)
            if place % 3 < 2:
                canvas.text(int(center[0]) + 2, int(center[1]), "+="[place % 3])

    def ask(self, scene: Scene) -> Ask:
        return _ask("color", scene)

    def solve(self, scene: Scene, steps: Steps) -> None:
        row, place = divmod(scene["missing"], 3)
        a, b, mixed = scene["values"][3 * row : 3 * row + 3]
        if place == 2:
            a, b = steps.reads("pair", (a, b), COLORS)
            steps.answer(steps.derive("missing", f"{a}+{b}", MIXES.get(frozenset((a, b)), mixed), COLORS))
        else:
            whole = steps.read("mixed", mixed, COLORS)
            part, true = steps.read("part", (a, b)[1 - place], COLORS), (a, b)[place]
            fitting = (one for one in COLORS if MIXES.get(frozenset((one, part))) == whole)
            steps.answer(steps.derive("missing", f"{whole}-{part}", next(fitting, true), COLORS))


@dataclass(frozen=True)
class Cycle:
    """Eight objects, row by row, whose field goes through the same three values again and again."""

    field: str

    def sample(self, rng: np.random.Generator, difficulty: Difficulty) -> dict[str, Any]:
        words = some(rng, POOLS[self.field], 3)
        return {
            **_look(rng), "cycle": tuple(words), "missing": pick(rng, 3, 7), "row": pick(rng, 1, 3),
            "choices": _options(rng, self.field, words),
        }  # fmt: skip

    def draw(self, scene: Scene, canvas: Canvas) -> None:
        for place in range(8):
            center = (3 * (place % 4) + 1.5, 6 * (place // 4) + scene["row"] + 0.5)
            if place == scene["missing"]:
                _mark(canvas, center)
            else:
                _place(canvas, scene, center, self.field, scene["cycle"][place % 3])

    def ask(self, scene: Scene) -> Ask:
        return _ask(self.field, scene)

    def solve(self, scene: Scene, steps: Steps) -> None:
        cycle = steps.reads("cycle", scene["cycle"], scene["cycle"])
        before = steps.read("before", scene["cycle"][(scene["missing"] - 1) % 3], scene["cycle"])
        place = cycle.index(before) if before in cycle else scene["missing"] - 1
        steps.answer(steps.derive("missing", f"after {before}", cycle[(place + 1) % 3], scene["cycle"]))


@dataclass(frozen=True)
class Latin:
    """Three rows, each with the same three values of a field."""

    field: str

    def sample(self, rng: np.random.Generator, difficulty: Difficulty) -> dict[str, Any]:
        words = some(rng, POOLS[self.field], 3)
        values = [word for _ in range(3) for word in _shuffled(rng, words)]
        return {
            **_look(rng), "values": tuple(values), "missing": int(rng.integers(9)),
            "choices": _options(rng, self.field, words),
        }  # fmt: skip

    def draw(self, scene: Scene, canvas: Canvas) -> None:
        for place, value in enumerate(scene["values"]):
            left, top = 4 * (place % 3), 4 * (place // 3)
            canvas.rect((left, top), (left + 4, top + 4), GRAY)
            if place == scene["missing"]:
                _mark(canvas, (left + 2, top + 1))
            else:
                _place(canvas, scene, (left + 2, top + 2), self.field, value)

    def ask(self, scene: Scene) -> Ask:
        return _ask(self.field, scene)

    def solve(self, scene: Scene, steps: Steps) -> None:
        values, (row, place) = scene["values"], divmod(scene["missing"], 3)
        full = (row + 1) % 3
        every = steps.reads("full", values[3 * full : 3 * full + 3], values)
        seen = steps.reads("row", [values[3 * row + col] for col in range(3) if col != place], values)
        rest = next((value for value in every if value not in seen), values[scene["missing"]])
        steps.answer(steps.derive("missing", "rest", rest, values))


class Reflection:
    """Three rows of four shapes, the right half the mirror image of the left one."""

    def sample(self, rng: np.random.Generator, difficulty: Difficulty) -> dict[str, Any]:
        rows = [some(rng, FLAT, 2) for _ in range(3)]
        values = tuple(value for a, b in rows for value in (a, b, b, a))
        colors = tuple(COLORS[place] for place in rng.integers(len(COLORS), size=3))
        return {
            **_look(rng), "values": values, "colors": colors, "missing": int(rng.integers(12)),
            "choices": _shuffled(rng, list(FLAT)),
        }  # fmt: skip

    def draw(self, scene: Scene, canvas: Canvas) -> None:
        canvas.line((6, 0), (6, 12), GRAY, 2)
        for place, value in enumerate(scene["values"]):
            row, col = divmod(place, 4)
            center = (3 * col + 1.5, 4 * row + 1.5 + scene["jitter"])
            if place == scene["missing"]:
                _mark(canvas, center)
            else:
                _place(canvas, {**scene, "color": scene["colors"][row]}, center, "kind", value)

    def ask(self, scene: Scene) -> Ask:
        return _ask("kind", scene)

    def solve(self, scene: Scene, steps: Steps) -> None:
        row, col = divmod(scene["missing"], 4)
        inner, outer = (2, 3) if col < 2 else (1, 0)
        pair = steps.reads("mirror", [scene["values"][4 * row + at] for at in (inner, outer)], FLAT)
        near = col in (1, 2)
        steps.answer(steps.derive("missing", "inner" if near else "outer", pair[0 if near else 1], pair))
