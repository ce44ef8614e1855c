"""A contact sheet of a twin: examples with their questions and worked solutions."""

import textwrap
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from PIL import Image, ImageDraw

from credit_zoo.errors import unknown
from credit_zoo.twins.contract import Difficulty
from credit_zoo.twins.twin import Twin

_COLUMNS, _ROWS, _SCALE, _CAPTION = 6, 4, 3, 60


def sheet(twin: Twin, difficulty: Difficulty, start: int = 0) -> Image.Image:
    """Training examples from `start` on, 6x4, enlarged three times, question and solution under each."""
    width, height = 84 * _SCALE + 12, 84 * _SCALE + _CAPTION
    page = Image.new("RGB", (_COLUMNS * width, _ROWS * height), (255, 255, 255))
    draw = ImageDraw.Draw(page)
    for place in range(_COLUMNS * _ROWS):
        example = twin.example("train", start + place, difficulty)
        picture = example.question.image
        assert picture is not None, "a twin's question has a picture"
        left, top = place % _COLUMNS * width, place // _COLUMNS * height
        big = picture.resize((84 * _SCALE, 84 * _SCALE), Image.Resampling.NEAREST)
        page.paste(big, (left + 6, top + 2))
        choices = f" [{', '.join(example.question.choices)}]" if example.question.choices else ""
        lines = [
            *textwrap.wrap(example.question.text + choices, 42),
            *textwrap.wrap("".join(span.text for span in example.solution), 42),
        ]
        draw.multiline_text((left + 6, top + 84 * _SCALE + 3), "\n".join(lines), fill=(0, 0, 0), spacing=0)
        frame = [left + 5, top + 1, left + 6 + 84 * _SCALE, top + 2 + 84 * _SCALE]
        draw.rectangle(frame, outline=(180, 180, 180))
    return page


@dataclass(frozen=True)
class Sheet:
    """Which examples to draw, and where to."""

    twin: str = "geometry3k"  # the module's name
    out: str = "sheet.png"  # the picture
    perception: float = 0.0  # dial of difficulty, [0, 1]
    reasoning: float = 0.0  # dial of difficulty, [0, 1]
    first: int = 0  # the first example's index


def write_sheet(settings: Sheet) -> int:
    """Draws the sheet; returns the exit status."""
    names = sorted(file.stem for file in Path(__file__).parent.glob("*.py") if "\nTWIN = " in file.read_text("utf-8"))
    if settings.twin not in names:
        raise unknown("twin", settings.twin, names)
    twin: Twin = import_module(f"credit_zoo.twins.{settings.twin}").TWIN
    sheet(twin, Difficulty(settings.perception, settings.reasoning), settings.first).save(settings.out)
    print(f"wrote {settings.out}")
    return 0
