"""Labelled geometry on a canvas: where a vertex letter, a side's length or an angle's size goes.

Points are in cells, as in `credit_zoo.twins.canvas`.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from credit_zoo.twins.canvas import BLACK, BLUE, RED, Canvas, Color, Point

ALPHABETS = ("ABCD", "JKLM", "PQRS")
UNKNOWN = "x"


def pose(rng: np.random.Generator) -> dict[str, Any]:
    """The part of a scene that changes its look and letters only: mirror, flip, letters."""
    return {
        "mirror": bool(rng.integers(2)),
        "flip": bool(rng.integers(2)),
        "letters": ALPHABETS[rng.integers(len(ALPHABETS))],
    }


def pick(rng: np.random.Generator, low: int, high: int, step: int = 1) -> int:
    """A multiple of `step` in [low, high], both multiples of it too."""
    return step * int(rng.integers(low // step, high // step + 1))


def shown(value: object, hidden: bool) -> str:
    """A label's text: the value, or "x" where it is the unknown."""
    return UNKNOWN if hidden else str(value)


def color_of(text: str) -> Color:
    """The unknown is red, everything else black."""
    return RED if text == UNKNOWN else BLACK


def _unit(start: Point, end: Point) -> Point:
    length = math.hypot(end[0] - start[0], end[1] - start[1])
    return ((end[0] - start[0]) / length, (end[1] - start[1]) / length)


def _half_width(direction: Point, text: str) -> float:
    # How far the text's box reaches from its centre along a direction.
    return abs(direction[0]) * len(text) / 2 + abs(direction[1]) / 2


def letter(canvas: Canvas, at: Point, inside: Point, text: str) -> None:
    """Name a vertex, on its side away from the point `inside`."""
    out = _unit(inside, at)
    gap = _half_width(out, text) + 0.2
    canvas.label((at[0] + out[0] * gap, at[1] + out[1] * gap), text, BLUE)


def side(canvas: Canvas, start: Point, end: Point, away: Point, text: str) -> None:
    """Label a side at its middle, on the side away from the point `away`."""
    along = _unit(start, end)
    out = (-along[1], along[0])
    middle = ((start[0] + end[0]) / 2, (start[1] + end[1]) / 2)
    if (away[0] - middle[0]) * out[0] + (away[1] - middle[1]) * out[1] > 0:
        out = (-out[0], -out[1])
    gap = _half_width(out, text) + 0.25
    canvas.label((middle[0] + out[0] * gap, middle[1] + out[1] * gap), text, color_of(text))


def angle(canvas: Canvas, at: Point, first: Point, second: Point, text: str, least: float = 1.0) -> None:
    """Label the angle at a vertex between the rays to two points, `least` cells or more from the vertex."""
    one, two = _unit(at, first), _unit(at, second)
    middle = _unit((0, 0), (one[0] + two[0], one[1] + two[1]))
    sine = abs(one[0] * middle[1] - one[1] * middle[0])
    reach = max((_half_width((-ray[1], ray[0]), text) + 0.1) / sine for ray in (one, two))
    reach = max(min(reach, 3.6), least)
    canvas.label((at[0] + middle[0] * reach, at[1] + middle[1] * reach), text, color_of(text))


def shape(canvas: Canvas, points: Sequence[Point], letters: str) -> Point:
    """Draw a polygon with a letter at each vertex ("" for none) and return its centre."""
    center = (sum(p[0] for p in points) / len(points), sum(p[1] for p in points) / len(points))
    canvas.polygon(points)
    for point, text in zip(points, letters, strict=False):
        letter(canvas, point, center, text)
    return center


def ticks(canvas: Canvas, start: Point, end: Point) -> None:
    """A tick across a side's middle: the mark of equal sides."""
    along = _unit(start, end)
    middle = ((start[0] + end[0]) / 2, (start[1] + end[1]) / 2)
    across = (-along[1] * 0.4, along[0] * 0.4)
    canvas.line((middle[0] - across[0], middle[1] - across[1]), (middle[0] + across[0], middle[1] + across[1]))


def right_angle(canvas: Canvas, at: Point, first: Point, second: Point) -> None:
    """A small square in a right angle at a vertex."""
    one, two = _unit(at, first), _unit(at, second)
    size = 0.8
    corner = (at[0] + size * (one[0] + two[0]), at[1] + size * (one[1] + two[1]))
    canvas.line((at[0] + size * one[0], at[1] + size * one[1]), corner)
    canvas.line((at[0] + size * two[0], at[1] + size * two[1]), corner)


def names(scene: Mapping[str, Any], *places: str) -> list[str]:
    """Letter pairs of a scene for places such as "01", the side from its first to its second letter."""
    letters = scene["letters"]
    return ["".join(sorted(letters[int(place)] for place in pair)) for pair in places]
