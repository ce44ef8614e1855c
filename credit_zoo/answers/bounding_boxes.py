"""Boxes: how one is asked for, read from an answer, compared, and told in the numbers that a model speaks.

A box is `x1, y1, x2, y2`, left, top, right and bottom; in an answer it stands as JSON, however loosely written
(`credit_zoo.answers.loose_json`), as one bracketed quadruple or as two corners, with or without words around it.

Decisions where graders may reasonably differ:
- Four bare numbers are no box. Two boxes are no answer, even if they are equal or one is right, and so are a box
  beside something that is to be one and is not (four zeros), and one key given twice.
- Words around a box may say anything but that it is not this one (`not [..]`, `[..] is wrong`) or that it may be
  another (`or`); a bare quadruple has no other number beside it, JSON no four.
- Lists of four numbers count under the names of `_NAMES` alone; under any other they may mean something else (a
  `box_2d` has its top first, a width is no right edge), and stand in the way of a box beside them.
- Corners in the wrong order are not swapped, and the frame of the numbers is told, never guessed from their size.
- A box is right from an intersection over union of 0.5 on (`>=`): papers print "Acc@0.5" and "IoU@50", and VLM-R1's
  evaluation asks for more than 0.5, which differs on an overlap of exactly one half alone.
"""

import math
import re
from collections.abc import Iterator, Sequence
from typing import Literal

from credit_zoo.answers import loose_json
from credit_zoo.answers.loose_json import Value

Box = tuple[float, float, float, float]
Size = tuple[int, int]
Frame = Literal["pixels", "resized", "thousandths", "unit"]

HIT = 0.5
MAX_LENGTH = 1000
_NAMES = frozenset({
    "bbox", "bbox_2d", "bbox2d", "bboxes", "box", "boxes", "bounding_box", "bounding_boxes", "boundingbox",
    "bounding box", "coordinates", "answer",
})  # fmt: skip
_SIDES = (
    ("x1", "y1", "x2", "y2"), ("x_1", "y_1", "x_2", "y_2"), ("xmin", "ymin", "xmax", "ymax"),
    ("x_min", "y_min", "x_max", "y_max"), ("left", "top", "right", "bottom"),
)  # fmt: skip
_CORNERS = ("top_left", "bottom_right")
_NUMBER = re.compile(loose_json.NUMBER)
# Fences, marks of places and tags: what is put around a box, with the digits of its names.
_DRESS = re.compile(r"[`~]{3,}\w*|<\|[^<|>]{0,40}\|>|</?\w{1,40}>|\\boxed\s*\{")
_NAME = re.compile(r"\b(?:bbox_?2d|[xy]_?[12])\b", re.IGNORECASE)
_NUMBERS_AROUND_JSON = 3
_DENIAL = re.compile(
    r"\b(?:not|no|nor|none|never|neither|either|or|without|cannot|false|untrue|invalid|wrong\w*|(?:in|un)correct\w*"
    r"|inaccurate\w*|mistake\w*|mistaken|erroneous\w*|errors?|except\w*|exclud\w*|reject\w*|impossible|instead|rather"
    r"|unlikely|hardly|doubt\w*|avoid\w*|ignor\w*|maybe|perhaps|possibly|unsure|uncertain|too (?:large|small|big)"
    r"|(?:any|every|no)thing but|all but|other than|far from|ruled out|opposite|fails?|bad)\b|n['’]t\b|[≠¬✗✘❌不错]"
    r"|!=|~~",
    re.IGNORECASE,
)


def asks_for_box(expression: str) -> str:
    """The request for the box of what an expression describes, as in VLM-R1's training and evaluation files."""
    end = "" if expression.endswith((".", "!", "?")) else "."
    return f"Please provide the bounding box coordinate of the region this sentence describes: {expression}{end}"


def parse_box(text: str) -> Box | None:
    """The one box of a text, `x2 > x1` and `y2 > y1`, all finite; None if there is none or more than one."""
    text = text.strip()
    if len(text) > MAX_LENGTH:
        return None
    try:
        values, around = loose_json.values_in(_DRESS.sub(" ", text))
    except ValueError:
        return None
    boxes = list(_in_list([values] if _is_corners(values) else values))
    numbers = len(_NUMBER.findall(_NAME.sub(" ", around)))
    if _DENIAL.search(around) or numbers > (_NUMBERS_AROUND_JSON if "{" in text else 0):
        return None
    return boxes[0] if len(boxes) == 1 else None


def _in_list(items: Sequence[Value]) -> Iterator[Box | None]:
    """The boxes of a list of values; None for each that is to be a box and is none."""
    for item in items:
        if isinstance(item, dict):
            yield from _in_object(item)
        elif isinstance(item, list):
            yield from _at_box(item)


def _in_object(fields: dict[str, Value]) -> Iterator[Box | None]:
    told: set[str] = set()
    for sides in (*_SIDES, _CORNERS):
        if fields.keys() >= set(sides):
            told.update(sides)
            yield _box([fields[side] for side in sides])
    for name, value in fields.items():
        if name in told:
            continue
        if name in _NAMES:
            yield from _at_box(value)
        elif isinstance(value, (dict, list)):
            items = value if isinstance(value, list) and any(isinstance(item, dict) for item in value) else [value]
            known = all(isinstance(item, dict) for item in items) and not _DENIAL.search(name.replace("_", " "))
            for box in _in_list(items):
                yield box if known else None


def _at_box(value: Value) -> Iterator[Box | None]:
    """The boxes of what stands where a box is looked for."""
    if isinstance(value, dict):
        yield from _in_object(value)
    elif isinstance(value, list) and any(isinstance(item, (dict, list)) for item in value) and not _is_corners(value):
        yield from _in_list(value)
    else:
        items = value if isinstance(value, list) else [value]
        if any(
            not isinstance(item, str) or _NUMBER.search(item) for item in items
        ):  # words alone are not meant as a box
            yield _box(value)


def _pair(value: Value) -> list[float]:
    """The two numbers of a corner; none if it is no corner."""
    numbers = [item for item in value if isinstance(item, float)] if isinstance(value, list) else []
    return numbers if isinstance(value, list) and len(numbers) == len(value) == 2 else []


def _is_corners(value: Value) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(map(_pair, value))


def _box(value: Value) -> Box | None:
    """Four numbers, or two corners of two, as a box."""
    if not isinstance(value, list):
        return None
    sides = [*_pair(value[0]), *_pair(value[1])] if _is_corners(value) else [_number(side) for side in value]
    if len(sides) != 4 or not all(map(math.isfinite, sides)):
        return None
    x1, y1, x2, y2 = sides
    return (x1, y1, x2, y2) if x2 > x1 and y2 > y1 else None


def _number(value: Value) -> float:
    """A number, or the number that a text is; NaN for anything else."""
    if isinstance(value, str):
        return float(value) if _NUMBER.fullmatch(value.strip()) else math.nan
    return value if isinstance(value, float) else math.nan


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
    return rescale(box, size, span(size, frame, input_size))


def span(size: Size, frame: Frame, input_size: Size) -> Size:
    """The (width, height) of the picture in the numbers of a frame."""
    return {"pixels": size, "resized": input_size, "thousandths": (1000, 1000), "unit": (1, 1)}[frame]


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
