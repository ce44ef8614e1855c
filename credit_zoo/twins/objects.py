"""Coloured objects on whole cells: what puzzles and grounding scenes are made of.

An object fills its box, whose edges are whole numbers from 0 to 12; `Thing` carries what can be seen of it.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from credit_zoo.twins.canvas import BLACK, BLUE, CELLS, GRAY, GREEN, WHITE, Canvas, Color, Point
from credit_zoo.twins.contract import Steps
from credit_zoo.twins.twin import Ask

RED: Color = (215, 0, 0)
YELLOW: Color = (250, 220, 0)
ORANGE: Color = (255, 140, 0)
PURPLE: Color = (165, 0, 190)
PALETTE: Mapping[str, Color] = {
    "red": RED, "blue": BLUE, "green": GREEN, "yellow": YELLOW, "purple": PURPLE, "orange": ORANGE,
}  # fmt: skip
SHADES: Mapping[str, Color] = {**PALETTE, "gray": GRAY, "white": WHITE}
FLAT = ("circle", "square", "triangle", "diamond")
UNIT = "cells"

Box = tuple[int, int, int, int]
Frame = tuple[float, float, float, float]


class Thing(NamedTuple):
    """An object and its box."""

    kind: str
    color: str
    size: str
    left: int
    top: int
    right: int
    bottom: int

    @property
    def box(self) -> Box:
        """The box's edges: left, top, right, bottom."""
        return self[3:]


def _square(canvas: Canvas, box: Frame, fill: Color) -> None:
    canvas.rect(box[:2], box[2:], BLACK, fill)


def _circle(canvas: Canvas, box: Frame, fill: Color) -> None:
    left, top, right, bottom = box
    canvas.circle(((left + right) / 2, (top + bottom) / 2), (right - left) / 2, BLACK, fill)


def _triangle(canvas: Canvas, box: Frame, fill: Color) -> None:
    left, top, right, bottom = box
    canvas.polygon([(left, bottom), ((left + right) / 2, top), (right, bottom)], BLACK, fill)


def _diamond(canvas: Canvas, box: Frame, fill: Color) -> None:
    left, top, right, bottom = box
    x, y = (left + right) / 2, (top + bottom) / 2
    canvas.polygon([(left, y), (x, top), (right, y), (x, bottom)], BLACK, fill)


def _head(canvas: Canvas, box: Frame) -> float:
    # A person's head takes the upper third; the row where it ends.
    left, top, right, bottom = box
    radius = (bottom - top) / 6
    canvas.circle(((left + right) / 2, top + radius), radius, BLACK, (245, 205, 170))
    return top + 2 * radius


def _man(canvas: Canvas, box: Frame, fill: Color) -> None:
    left, _, right, bottom = box
    neck = _head(canvas, box)
    hip, third = (neck + bottom) / 2 + 0.2, (right - left) / 3
    canvas.rect((left, neck), (right, hip), BLACK, fill)
    canvas.rect((left + third / 3, hip), (left + third, bottom), BLACK, BLACK)
    canvas.rect((right - third, hip), (right - third / 3, bottom), BLACK, BLACK)


def _woman(canvas: Canvas, box: Frame, fill: Color) -> None:
    left, _, right, bottom = box
    neck = _head(canvas, box)
    canvas.polygon([(left, bottom), ((left + right) / 2, neck - 0.2), (right, bottom)], BLACK, fill)


def _house(canvas: Canvas, box: Frame, fill: Color) -> None:
    left, top, right, bottom = box
    eaves, middle = top + (bottom - top) * 0.45, (left + right) / 2
    canvas.polygon([(left, eaves), (middle, top), (right, eaves)], BLACK, BLACK)
    canvas.rect((left, eaves), (right, bottom), BLACK, fill)


def _tree(canvas: Canvas, box: Frame, fill: Color) -> None:
    left, top, right, bottom = box
    crown, middle = top + (bottom - top) * 0.6, (left + right) / 2
    canvas.rect((middle - 0.3, crown), (middle + 0.3, bottom), BLACK, BLACK)
    canvas.polygon([(left, crown), (middle, top), (right, crown)], BLACK, fill)


def _fish(canvas: Canvas, box: Frame, fill: Color) -> None:
    left, top, right, bottom = box
    y, body = (top + bottom) / 2, left + (right - left) * 0.65
    canvas.polygon([(body - 0.3, y), (right, top), (right, bottom)], BLACK, BLACK)
    canvas.polygon([(left, y), ((left + body) / 2, top), (body, y), ((left + body) / 2, bottom)], BLACK, fill)


_DRAWN: Mapping[str, Callable[[Canvas, Frame, Color], None]] = {
    "circle": _circle, "square": _square, "triangle": _triangle, "diamond": _diamond, "man": _man,
    "woman": _woman, "house": _house, "tree": _tree, "fish": _fish,
}  # fmt: skip


def draw(canvas: Canvas, thing: Thing) -> None:
    """Draw an object and note all that can be seen of it."""
    _DRAWN[thing.kind](canvas, thing.box, SHADES[thing.color])
    for value in thing:
        canvas.note(thing.left, thing.top, str(value))


def shape(canvas: Canvas, kind: str, center: Point, radius: float, color: str) -> None:
    """Draw an object around a point, noting nothing."""
    x, y = center
    _DRAWN[kind](canvas, (x - radius, y - radius, x + radius, y + radius), SHADES[color])


def some(rng: np.random.Generator, pool: tuple[str, ...], count: int) -> list[str]:
    """Different words of a pool, in random order."""
    return [pool[place] for place in rng.permutation(len(pool))[:count]]


def spots(rng: np.random.Generator, sizes: Sequence[tuple[int, int]], gap: int = 1) -> list[Box] | None:
    """Boxes of the given (width, height) at random places, `gap` cells or more apart; None if too tight."""
    found: list[Box] = []
    for width, height in sizes:
        for x, y in rng.random((25, 2)).tolist():
            left, top = int(x * (CELLS + 1 - width)), int(y * (CELLS + 1 - height))
            right, bottom = left + width + gap, top + height + gap
            if all(a >= right or b >= bottom or left >= c + gap or top >= d + gap for a, b, c, d in found):
                found.append((left, top, left + width, top + height))
                break
        else:
            return None
    return found


def apart(one: Box, two: Box) -> int:
    """Cells between two boxes along the axis where they are further apart; below 0 where they overlap."""
    across = max(one[0], two[0]) - min(one[2], two[2])
    down = max(one[1], two[1]) - min(one[3], two[3])
    return max(across, down)


def regular(sides: int, center: Point, radius: float) -> list[Point]:
    """The corners of a regular polygon that stands on a side."""
    turns = np.pi * (2 * np.arange(sides) + 1) / sides + np.pi / 2
    return [(center[0] + radius * float(np.cos(t)), center[1] + radius * float(np.sin(t))) for t in turns]


def find(text: str, category: str) -> Ask:
    """The question for an object's box."""
    return Ask(f"find {text}.", "box", category=category, unit=UNIT)


def answer(steps: Steps, thing: Thing) -> None:
    """Read an object's box and answer with it."""
    steps.answer(steps.reads("box", thing.box))
