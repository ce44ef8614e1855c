"""Objects told apart by what they are made for: to fill a gap, to hold a ball, to open a lock."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from credit_zoo.twins.canvas import BLACK, CELLS, WHITE, Canvas
from credit_zoo.twins.contract import Difficulty, Steps
from credit_zoo.twins.figures import pick
from credit_zoo.twins.grounding_comparisons import COLORS, reading_order
from credit_zoo.twins.objects import FLAT, SHADES, Thing, answer, draw, find, some, spots
from credit_zoo.twins.twin import Ask, Scene


def _jittered(rng: np.random.Generator, sizes: list[tuple[int, int]], top: int, bottom: int) -> list[tuple[int, int]]:
    """Places side by side for things of the given (width, height) between two rows, spare room at random."""
    spare = CELLS - sum(width for width, _ in sizes) - (len(sizes) - 1)
    cuts = sorted(int(cut) for cut in rng.integers(spare + 1, size=len(sizes)))
    found, at = [], 0
    for (width, height), cut in zip(sizes, cuts, strict=True):
        found.append((at + cut, top + int(rng.integers(bottom - top - height + 1))))
        at += width + 1
    return found


class Gap:
    """A wall with a gap, and blocks of different widths: the one as wide as the gap."""

    def sample(self, rng: np.random.Generator, difficulty: Difficulty) -> dict[str, Any]:
        widths = [int(width) for width in rng.permutation([1, 2, 3, 4, 5])[:3]]
        while sum(widths) > CELLS - 2:
            widths = [int(width) for width in rng.permutation([1, 2, 3, 4, 5])[:3]]
        depth, color = pick(rng, 1, 2), some(rng, COLORS, 3)
        places = _jittered(rng, [(width, depth) for width in widths], 0, 7)
        fit = int(rng.integers(3))
        setting_groups = [
            Thing("square", shade, str(width), left, top, left + width, top + depth)
            for shade, width, (left, top) in zip(color, widths, places, strict=True)
        ]
        return {
            "things": tuple(setting_groups), "fit": fit, "depth": depth, "wall": pick(rng, 8, 9),
            "at": pick(rng, 1, CELLS - 1 - widths[fit]),
        }  # fmt: skip

    def draw(self, scene: Scene, canvas: Canvas) -> None:
        width, left, wall = int(scene["things"][scene["fit"]].size), scene["at"], scene["wall"]
        right, floor = left + width, wall + scene["depth"]
        notch = [(left, wall), (left, floor), (right, floor), (right, wall)]
        canvas.polygon([(0, CELLS), (0, wall), *notch, (CELLS, wall), (CELLS, CELLS)], BLACK, SHADES["gray"])
        canvas.note(left, wall, str(width))
        for thing in scene["things"]:
            draw(canvas, thing)

    def ask(self, scene: Scene) -> Ask:
        return find("the block that fits into the gap", "gap")

    def solve(self, scene: Scene, steps: Steps) -> None:
        setting_groups = scene["things"]
        gap = steps.read("gap", int(setting_groups[scene["fit"]].size))
        widths = steps.reads("width", [int(thing.size) for thing in setting_groups])
        fit = steps.derive("fits", "same", min(widths, key=lambda width: abs(width - gap)), widths)
        answer(steps, setting_groups[widths.index(fit) if fit in widths else scene["fit"]])


class Holding:
    """Open boxes of different widths and a ball: the smallest box that is wide enough for it."""

    def sample(self, rng: np.random.Generator, difficulty: Difficulty) -> dict[str, Any]:
        count = 3 if rng.random() < 0.5 + 0.5 * difficulty.reasoning else 2
        while True:
            widths = [int(width) for width in rng.permutation(np.arange(2, 7))[:count]]
            ball, height = pick(rng, 2, 4), pick(rng, 2, 3)
            found = spots(rng, [(ball, ball), *((width, height) for width in widths)])
            if found and max(widths) > ball:
                break
        shades = some(rng, COLORS, count + 1)
        seen = zip(shades[1:], widths, found[1:], strict=True)
        setting_groups = reading_order([Thing("box", shade, str(width), *box) for shade, width, box in seen])
        wide = str(min(width for width in widths if width > ball))
        fit = next(place for place, thing in enumerate(setting_groups) if thing.size == wide)
        return {"things": setting_groups, "ball": Thing("circle", shades[0], str(ball), *found[0]), "fit": fit}

    def draw(self, scene: Scene, canvas: Canvas) -> None:
        draw(canvas, scene["ball"])
        for thing in scene["things"]:
            left, top, right, bottom = thing.box
            canvas.polygon(
                [(left, top), (left + 0.3, top), (left + 0.3, bottom - 0.4), (right - 0.3, bottom - 0.4),
                 (right - 0.3, top), (right, top), (right, bottom), (left, bottom)],
                BLACK, SHADES[thing.color],
            )  # fmt: skip
            for value in thing:
                canvas.note(left, top, str(value))

    def ask(self, scene: Scene) -> Ask:
        return find("the smallest box that can hold the ball", "holding")

    def solve(self, scene: Scene, steps: Steps) -> None:
        setting_groups = scene["things"]
        ball = steps.read("ball", int(scene["ball"].size))
        widths = steps.reads("width", [int(thing.size) for thing in setting_groups])
        held = [width for width in widths if width > ball]
        best = steps.derive("holds", "more", min(held or widths), widths)
        answer(steps, setting_groups[widths.index(best) if best in widths else scene["fit"]])


@dataclass(frozen=True)
class Key:
    """A lock and three keys: the key of the lock's colour, or the one with a head like the keyhole."""

    field: str

    def sample(self, rng: np.random.Generator, difficulty: Difficulty) -> dict[str, Any]:
        kinds, colors = some(rng, FLAT, 1) * 3, some(rng, COLORS, 1) * 3
        if self.field == "kind":
            kinds = some(rng, FLAT, 3)
        else:
            colors = some(rng, COLORS, 3)
        size = 3 if rng.random() < 0.5 else 2
        places = _jittered(rng, [(size, size + 2)] * 3, 6, CELLS)
        keys = [
            Thing(kind, color, str(size), left, top, left + size, top + size + 2)
            for kind, color, (left, top) in zip(kinds, colors, places, strict=True)
        ]
        fit = int(rng.integers(3))
        shade = colors[fit] if self.field == "color" else "gray"
        return {"things": tuple(keys), "fit": fit, "lock": (kinds[fit], shade), "at": pick(rng, 0, CELLS - 4)}

    def draw(self, scene: Scene, canvas: Canvas) -> None:
        (kind, color), left = scene["lock"], scene["at"]
        canvas.circle((left + 2, 1.5), 1.2, BLACK, WHITE)
        canvas.circle((left + 2, 1.5), 0.8, BLACK, WHITE)
        canvas.rect((left, 2), (left + 4, 5.6), BLACK, SHADES[color])
        if self.field == "kind":
            draw(canvas, Thing(kind, "white", "small", left + 1, 3, left + 3, 5))
        else:
            canvas.circle((left + 2, 3.5), 0.5, BLACK, BLACK)
            canvas.rect((left + 1.8, 3.5), (left + 2.2, 5), BLACK, BLACK)
        canvas.note(left, 2, color)
        for key in scene["things"]:
            left, top, right, bottom = key.box
            middle = (left + right) / 2
            head = top + right - left
            canvas.rect((middle - 0.2, head), (middle + 0.2, bottom), BLACK, SHADES[key.color])
            for row in (bottom - 0.9, bottom - 0.3):
                canvas.rect((middle, row), (middle + 0.8, row + 0.25), BLACK, SHADES[key.color])
            draw(canvas, key._replace(bottom=head))
            canvas.note(left, top, str(bottom))

    def ask(self, scene: Scene) -> Ask:
        return find("the key that opens the lock", f"key {'color' if self.field == 'color' else 'shape'}")

    def solve(self, scene: Scene, steps: Steps) -> None:
        setting_groups = scene["things"]
        values = [getattr(thing, self.field) for thing in setting_groups]
        lock = steps.read("lock", values[scene["fit"]], values)
        seen = steps.reads("key", values, values)
        fit = steps.derive("fits", "same", lock if lock in seen else seen[scene["fit"]], values)
        answer(steps, setting_groups[seen.index(fit) if fit in seen else scene["fit"]])
