"""Boxes: how one is asked for, read from an answer, compared, and told in the numbers that a model speaks.

A box is `x1, y1, x2, y2`, left, top, right and bottom; in an answer it stands as JSON or as one bracketed quadruple.

Decisions where graders may reasonably differ: four bare numbers are no box, two boxes are no answer even if one
is right, corners in the wrong order are not swapped, and the frame of the numbers is told, never guessed from
their size. A box is right from an intersection over union of 0.5 on (`>=`): papers print "Acc@0.5" and "IoU@50",
and VLM-R1's evaluation asks for more than 0.5, which differs on an overlap of exactly one half alone.
"""

import json
import math
import re
from collections.abc import Iterator
from typing import Any, Literal, NoReturn

Box = tuple[float, float, float, float]
Size = tuple[int, int]
Frame = Literal["pixels", "resized", "thousandths", "unit"]

HIT = 0.5
MAX_LENGTH = 1000
_KEYS = ("bbox_2d", "bbox", "box")
_NUMBER = r"\s*([-+]?(?:\d{1,12}(?:\.\d{0,12})?|\.\d{1,12}))\s*"
_QUADRUPLE = re.compile(
    rf"[\[(]{_NUMBER},{_NUMBER},{_NUMBER},{_NUMBER}[\])]|\({_NUMBER},{_NUMBER}\)\s*,?\s*\({_NUMBER},{_NUMBER}\)"
)
_FENCE = re.compile(r"```(?:json)?\s*(.*?)\s*```", re.DOTALL)


def asks_for_box(expression: str) -> str:
    """The request for the box of what an expression describes, as in VLM-R1's training and evaluation files."""
    end = "" if expression.endswith((".", "!", "?")) else "."
    return f"Please provide the bounding box coordinate of the region this sentence describes: {expression}{end}"


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


def to_frame(box: Box, size: Size, frame: Frame, input_size: Size) -> Box:
    """A box in pixels of a picture of `size` (width, height), in the numbers that a family of models speaks.

    "pixels" of the original; "resized": pixels of the picture of `input_size` that the model is given (Qwen2.5-VL,
    see `smart_resize`); "thousandths" of width and height (InternVL, Qwen2-VL, Qwen3-VL); "unit": 0 to 1. Width and
    height each scale by one number, which leaves every intersection over union as it is.
    """
    spans = {"pixels": size, "resized": input_size, "thousandths": (1000, 1000), "unit": (1, 1)}
    return rescale(box, size, spans[frame])


def smart_resize(
    width: int, height: int, factor: int = 28, min_pixels: int = 4 * 28**2, max_pixels: int = 16384 * 28**2
) -> Size:
    """The (width, height) at which Qwen2-VL and Qwen2.5-VL see a picture: multiples of `factor`, the area in range.

    The rule is that of transformers' image processor, ties to the even multiple; the bounds are those of the
    models' qwen-vl-utils, while a checkpoint's own `preprocessor_config.json` may set others.
    """
    if max(width, height) > 200 * min(width, height):
        raise ValueError(f"a picture of {width} x {height} pixels is more than 200 times as long as wide")
    wide, high = round(width / factor) * factor, round(height / factor) * factor
    if wide * high > max_pixels:
        shrink = math.sqrt(width * height / max_pixels)
        wide, high = (max(factor, math.floor(side / shrink / factor) * factor) for side in (width, height))
    elif wide * high < min_pixels:
        grow = math.sqrt(min_pixels / (width * height))
        wide, high = (math.ceil(side * grow / factor) * factor for side in (width, height))
    return wide, high
