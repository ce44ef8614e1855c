"""Boxes in answers: one `x1, y1, x2, y2`, as JSON or as one bracketed quadruple, and how far two overlap.

Decisions where graders may reasonably differ: four bare numbers are no box, two boxes are no answer even if one
is right, corners in the wrong order are not swapped, and the frame of the numbers is told, never guessed from
their size.
"""

import json
import math
import re
from collections.abc import Iterator
from typing import Any, NoReturn

Box = tuple[float, float, float, float]

MAX_LENGTH = 1000
_KEYS = ("bbox_2d", "bbox", "box")
_NUMBER = r"\s*([-+]?(?:\d{1,12}(?:\.\d{0,12})?|\.\d{1,12}))\s*"
_QUADRUPLE = re.compile(
    rf"[\[(]{_NUMBER},{_NUMBER},{_NUMBER},{_NUMBER}[\])]|\({_NUMBER},{_NUMBER}\)\s*,?\s*\({_NUMBER},{_NUMBER}\)"
)
_FENCE = re.compile(r"```(?:json)?\s*(.*?)\s*```", re.DOTALL)


def parse_box(text: str) -> Box | None:
    """The one box of a text, `x2 > x1` and `y2 > y1`, all finite; None if there is none or more than one."""
    text = text.strip()
    if len(text) > MAX_LENGTH:
        return None
    fenced = _FENCE.fullmatch(text)
    text = fenced.group(1) if fenced else text
    try:
        boxes = list(_in_json(json.loads(text, parse_constant=_no_constant)))
    except (ValueError, RecursionError):
        boxes = _in_text(text)
    return boxes[0] if len(boxes) == 1 else None


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no coordinate")


def _in_json(value: Any) -> Iterator[Box]:
    """The boxes of a JSON value: a quadruple, an object that holds one, or a list of such objects."""
    if isinstance(value, dict):
        for name in _KEYS:
            if name in value:
                yield from _checked(value[name])
    elif isinstance(value, list) and any(isinstance(item, (dict, list)) for item in value):
        for item in value:
            yield from _checked(item) if isinstance(item, list) else _in_json(item)
    elif isinstance(value, list):
        yield from _checked(value)


def _in_text(text: str) -> list[Box]:
    quadruples = list(_QUADRUPLE.finditer(text))
    rest = _QUADRUPLE.sub("", text)
    if len(quadruples) != 1 or any(char.isdecimal() for char in rest):
        return []
    return list(_checked([number for number in quadruples[0].groups() if number is not None]))


def _checked(values: Any) -> Iterator[Box]:
    if not isinstance(values, list) or len(values) != 4:
        return
    if not all(isinstance(value, (int, float, str)) and not isinstance(value, bool) for value in values):
        return
    try:
        x1, y1, x2, y2 = (float(value) for value in values)
    except (ValueError, OverflowError):
        return
    if all(math.isfinite(value) for value in (x1, y1, x2, y2)) and x2 > x1 and y2 > y1:
        yield x1, y1, x2, y2


def iou(left: Box, right: Box) -> float:
    """Intersection over union, in [0, 1]."""
    width = min(left[2], right[2]) - max(left[0], right[0])
    height = min(left[3], right[3]) - max(left[1], right[1])
    if width <= 0 or height <= 0:
        return 0.0
    areas = [(box[2] - box[0]) * (box[3] - box[1]) for box in (left, right)]
    both = width * height
    union = areas[0] + areas[1] - both
    return min(1.0, both / union) if union > 0 and math.isfinite(union) else 0.0


def rescale(box: Box, size: tuple[float, float], to: tuple[float, float]) -> Box:
    """The box in a picture of another (width, height); `size=(1000, 1000)` reads thousandths."""
    x, y = to[0] / size[0], to[1] / size[1]
    return box[0] * x, box[1] * y, box[2] * x, box[3] * y
