"""A contact sheet of a twin: `python -m credit_zoo.twins.sheet geometry3k out.png`."""

import argparse
import textwrap
from importlib import import_module
from pathlib import Path

from PIL import Image, ImageDraw

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


def main() -> None:
    """Write the sheet that the command line asks for."""
    parser = argparse.ArgumentParser(description="Draw a contact sheet of a twin's examples.")
    parser.add_argument("twin", help="the module's name, such as geometry3k")
    parser.add_argument("out", type=Path, help="the PNG file to write")
    parser.add_argument("--perception", type=float, default=0.0)
    parser.add_argument("--reasoning", type=float, default=0.0)
    parser.add_argument("--start", type=int, default=0, help="the first example's index")
    given = parser.parse_args()
    twin: Twin = import_module(f"credit_zoo.twins.{given.twin}").TWIN
    sheet(twin, Difficulty(given.perception, given.reasoning), given.start).save(given.out)


if __name__ == "__main__":
    main()
