"""A small picture made of glyph cells with line drawing between them.

The picture is 84x84 RGB, 12x12 cells of 7 pixels; a glyph fills one cell, which is one vision patch, so
that a tiny model can read it. Points are (x, y) in cells from the top left corner, 0 to 12, y downwards.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from credit_zoo.twins.contract import Difficulty

Point = tuple[float, float]
Color = tuple[int, int, int]

CELLS = 12
CELL = 7
WHITE: Color = (255, 255, 255)
BLACK: Color = (0, 0, 0)
GRAY: Color = (140, 140, 140)
RED: Color = (200, 0, 0)
BLUE: Color = (0, 0, 200)
GREEN: Color = (0, 140, 0)

# Rows of glyphs: a line of characters, then their seven pixel lines of five pixels each.
_FONT = """
0     1     2     3     4     5     6     7     8     9     ?     .     :     /     -     +
.###. ..#.. .###. ##### ...#. ##### ..### ##### .###. .###. .###. ..... ..... ..... ..... .....
#...# .##.. #...# ....# ..##. #.... .#... ....# #...# #...# #...# ..... .##.. ....# ..... ..#..
#..## ..#.. ....# ...#. .#.#. ####. #.... ....# #...# #...# ....# ..... .##.. ...#. ..... ..#..
#.#.# ..#.. .###. ..##. #..#. ....# ####. ...#. .###. .#### ..##. ..... ..... ..#.. ##### #####
##..# ..#.. #.... ....# ##### ....# #...# ..#.. #...# ....# ..#.. ..... .##.. .#... ..... ..#..
#...# ..#.. #.... #...# ...#. #...# #...# .#... #...# ...#. ..... .##.. .##.. #.... ..... ..#..
.###. .###. ##### .###. ...#. .###. .###. #.... .###. ###.. ..#.. .##.. ..... ..... ..... .....
=     %     A     B     C     D     E     F     G     H     I     J     K     L     M     N
..... ##... ..#.. ####. .###. ####. ##### ##### .#### #...# .###. ..### #...# #.... #...# #...#
..... ##..# .#.#. #...# #...# #...# #.... #.... #...# #...# ..#.. ...#. #..#. #.... ##.## #...#
##### ...#. #...# #...# #.... #...# #.... #.... #.... #...# ..#.. ...#. #.#.. #.... #.#.# ##..#
..... ..#.. #...# ####. #.... #...# ####. ####. #.... ##### ..#.. ...#. ##... #.... #.#.# #.#.#
##### .#... ##### #...# #.... #...# #.... #.... #..## #...# ..#.. ...#. #.#.. #.... #.#.# #..##
..... #..## #...# #...# #...# #...# #.... #.... #...# #...# ..#.. #..#. #..#. #.... #...# #...#
..... ...## #...# ####. .###. ####. ##### #.... .#### #...# .###. .##.. #...# ##### #...# #...#
O     P     Q     R     S     T     U     V     W     X     Y     Z     a     b     c     d
.###. ####. .###. ####. .###. ##### #...# #...# #...# #...# #...# ##### ..... #.... ..... ....#
#...# #...# #...# #...# #...# #.#.# #...# #...# #...# #...# #...# ....# ..... #.... ..... ....#
#...# #...# #...# #...# #.... ..#.. #...# #...# #...# .#.#. .#.#. ...#. .##.. #.##. .###. .##.#
#...# ####. #...# ####. .###. ..#.. #...# #...# #.#.# ..#.. ..#.. .###. ...#. ##..# #...# #..##
#...# #.... #.#.# #.#.. ....# ..#.. #...# #...# #.#.# .#.#. ..#.. .#... .###. #...# #.... #...#
#...# #.... #..#. #..#. #...# ..#.. #...# .#.#. #.#.# #...# ..#.. #.... #..#. ##..# #...# #..##
.###. #.... .##.# #...# .###. ..#.. .###. ..#.. .#.#. #...# ..#.. ##### .#### #.##. .###. .##.#
e     f     g     h     i     j     k     l     m     n     o     p     q     r     s     t
..... ...#. ..... #.... ..#.. ...#. #.... .##.. ..... ..... ..... ..... ..... ..... ..... ..#..
..... ..#.# .#### #.... ..... ..... #.... ..#.. ..... ..... ..... ..... ..... ..... ..... ..#..
.###. ..#.. #...# #.##. .##.. ...#. #..#. ..#.. ##.#. #.##. .###. ####. .##.# #.##. .#### #####
#...# .###. #...# ##..# ..#.. ...#. #.#.. ..#.. #.#.# ##..# #...# #...# #..## ##..# #.... ..#..
##### ..#.. .#### #...# ..#.. ...#. ##... ..#.. #.#.# #...# #...# ####. .#### #.... .###. ..#..
#.... ..#.. ....# #...# ..#.. #..#. #.#.. ..#.. #.#.# #...# #...# #.... ....# #.... ....# ..#.#
.###. ..#.. .###. #...# .###. .##.. #..#. .###. #.#.# #...# .###. #.... ....# #.... ####. ...#.
u     v     w     x     y     z
..... ..... ..... ..... ..... .....
..... ..... ..... ..... ..... .....
#...# #...# #...# #...# #...# #####
#...# #...# #...# .#.#. #...# ...#.
#...# #...# #.#.# ..#.. .#### ..#..
#..## .#.#. #.#.# .#.#. ....# .#...
.##.# ..#.. .#.#. #...# .###. #####
"""


def _glyphs() -> dict[str, NDArray[np.bool_]]:
    lines = _FONT.strip("\n").split("\n")
    found = {}
    for top in range(0, len(lines), 8):
        for place, character in enumerate(lines[top].split()):
            rows = [lines[top + 1 + y][6 * place : 6 * place + 5] for y in range(CELL)]
            cell = np.zeros((CELL, CELL), dtype=np.bool_)
            cell[:, 1:6] = [[mark == "#" for mark in row] for row in rows]
            found[character] = cell
    return found


def _shade() -> NDArray[np.uint8]:
    fall = np.linspace(255, 105, CELLS * CELL).astype(np.uint8)
    pixels = np.full((CELLS * CELL, CELLS * CELL, 3), 255, dtype=np.uint8)
    pixels[:, :, 0], pixels[:, :, 1] = fall[None, :], fall[:, None]
    return pixels


_SHADE = _shade()
GLYPHS = _glyphs()
_STRAY = "aeghkmnrtuvwyz"


class Canvas:
    """Collects lines and labels, then renders them; `mirror` and `flip` turn positions over, never glyphs.

    `shaded` gives the ground less red to the right and less green to the bottom, as light falls off in a room: a cue
    to absolute places for a model that has no position embeddings.
    `drawn` lists the labels as (column, row, text) in the finished picture's cells, and with them what
    `note` recorded of other readable attributes, which are in `noted` alone.
    """

    def __init__(self, mirror: bool = False, flip: bool = False, shaded: bool = False) -> None:
        self.drawn: list[tuple[int, int, str]] = []
        self.noted: list[tuple[int, int, str]] = []
        self._mirror, self._flip = mirror, flip
        self._image = Image.fromarray(_SHADE) if shaded else Image.new("RGB", (CELLS * CELL, CELLS * CELL), WHITE)
        self._draw = ImageDraw.Draw(self._image)
        self._stamps: dict[tuple[int, int], tuple[str, Color, Color]] = {}

    def text(self, col: int, row: int, text: str, color: Color = BLACK, ground: Color = WHITE) -> None:
        """Put glyphs in the cells from (col, row) rightwards, over any line; raises where they do not fit."""
        col, row = self._turned_cell(col, row, len(text))
        for place, character in enumerate(text):
            cell = (col + place, row)
            if not (0 <= cell[0] < CELLS and 0 <= row < CELLS):
                raise ValueError(f"label {text!r} at cell {cell} leaves the {CELLS}x{CELLS} grid; move it")
            if cell in self._stamps:
                covered = self._stamps[cell][0]
                raise ValueError(f"label {text!r} would cover {covered!r} at cell {cell}; move it")
            if character not in GLYPHS:
                raise ValueError(f"no glyph for {character!r}; the font has {''.join(GLYPHS)}")
            self._stamps[cell] = (character, color, ground)
        self.drawn.append((col, row, text))

    def label(self, center: Point, text: str, color: Color = BLACK) -> None:
        """Put glyphs in the cells nearest to a centre, within the grid."""
        col = min(max(round(center[0] - len(text) / 2), 0), CELLS - len(text))
        row = min(max(round(center[1] - 0.5), 0), CELLS - 1)
        self.text(col, row, text, color)

    def note(self, col: int, row: int, text: str) -> None:
        """Record something readable at a cell that is not a glyph, such as a colour or a height."""
        self.noted.append((*self._turned_cell(col, row, 1), text))
        self.drawn.append(self.noted[-1])

    def line(self, start: Point, end: Point, color: Color = BLACK, width: int = 1) -> None:
        """A straight line; `width` in pixels."""
        self._draw.line([self._pixel(start), self._pixel(end)], fill=color, width=width)

    def polygon(self, points: Sequence[Point], color: Color = BLACK, fill: Color | None = None) -> None:
        """A closed outline, filled where `fill` is given."""
        self._draw.polygon([self._pixel(point) for point in points], outline=color, fill=fill)

    def rect(self, start: Point, end: Point, color: Color = BLACK, fill: Color | None = None) -> None:
        """An upright rectangle between two corners."""
        (left, top), (right, bottom) = start, end
        self.polygon([(left, top), (right, top), (right, bottom), (left, bottom)], color, fill)

    def circle(self, center: Point, radius: float, color: Color = BLACK, fill: Color | None = None) -> None:
        """A circle; `radius` in cells."""
        x, y = self._pixel(center)
        reach = radius * CELL
        self._draw.ellipse([x - reach, y - reach, x + reach, y + reach], outline=color, fill=fill)

    def arc(self, center: Point, radius: float, start: float, end: float, color: Color = BLACK) -> None:
        """An arc from one angle to another, in degrees counter-clockwise from the right."""
        turns = np.linspace(math.radians(start), math.radians(end), 13)
        points = [(center[0] + radius * math.cos(a), center[1] - radius * math.sin(a)) for a in turns]
        self._draw.line([self._pixel(point) for point in points], fill=color)

    def plain(self) -> NDArray[np.uint8]:
        """The pixels, 84x84x3, of the lines drawn so far under all labels."""
        pixels = np.array(self._image)
        for (col, row), (character, color, ground) in self._stamps.items():
            cell = pixels[row * CELL : (row + 1) * CELL, col * CELL : (col + 1) * CELL]
            cell[:] = ground
            cell[GLYPHS[character]] = color
        return pixels

    def finish(self, difficulty: Difficulty, rng: np.random.Generator) -> Image.Image:
        """The finished 84x84 picture; the perception dial adds stray strokes and labels, haze and noise."""
        dial = difficulty.perception
        for _ in range(round(3 * dial)):
            start, end = rng.uniform(0, CELLS, 2), rng.uniform(0, CELLS, 2)
            self.line((start[0], start[1]), (end[0], end[1]), GRAY)
        for _ in range(round(3 * dial)):
            self._stray(rng)
        pixels = self.plain()
        if dial > 0:
            hazy = 128 + (pixels - 128.0) * (1 - 0.5 * dial)
            pixels = np.clip(hazy + rng.normal(0, 30 * dial, pixels.shape), 0, 255).astype(np.uint8)
        return Image.fromarray(pixels)

    def _stray(self, rng: np.random.Generator) -> None:
        col, row = (int(place) for place in rng.integers(CELLS, size=2))
        # A letter beside a label would read as part of it.
        if not any((near, row) in self._stamps for near in (col - 1, col, col + 1)):
            self._stamps[col, row] = (_STRAY[rng.integers(len(_STRAY))], GRAY, WHITE)

    def _pixel(self, point: Point) -> Point:
        # The last pixel is at 83: an edge on the grid's border stays in the picture, also when turned over.
        last = CELLS * CELL - 1
        x, y = min(point[0] * CELL, last), min(point[1] * CELL, last)
        return (last - x if self._mirror else x, last - y if self._flip else y)

    def _turned_cell(self, col: int, row: int, length: int) -> tuple[int, int]:
        return (CELLS - col - length if self._mirror else col, CELLS - 1 - row if self._flip else row)
