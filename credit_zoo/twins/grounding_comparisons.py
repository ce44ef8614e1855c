"""Objects told apart by comparing them with one another: the odd, the larger, the far, the front one."""

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np

from credit_zoo.twins.canvas import Canvas
from credit_zoo.twins.contract import Difficulty, Steps
from credit_zoo.twins.figures import pick
from credit_zoo.twins.objects import FLAT, PALETTE, Box, Thing, answer, apart, draw, find, some, spots
from credit_zoo.twins.twin import Ask, Scene

COLORS = tuple(PALETTE)[:5]
SIZES = ("small", "big")


def reading_order(setting_groups: list[Thing]) -> tuple[Thing, ...]:
    """The objects row by row."""
    return tuple(sorted(setting_groups, key=lambda thing: (thing.top, thing.left)))


def boxes(rng: np.random.Generator, sides: list[int]) -> list[Box]:
    """Square boxes of the given sides, a cell or more apart."""
    while True:
        found = spots(rng, [(side, side) for side in sides])
        if found:
            return found


class _Drawn:
    def draw(self, scene: Scene, canvas: Canvas) -> None:
        """Draw all objects, later ones over earlier ones."""
        for thing in scene["things"]:
            draw(canvas, thing)


@dataclass(frozen=True)
class OddOne(_Drawn):
    """One object differs from all others in one field; at a high reasoning dial another varies in pairs."""

    field: str

    def sample(self, rng: np.random.Generator, difficulty: Difficulty) -> dict[str, Any]:
        count = pick(rng, 3, 4) + int(rng.random() < difficulty.reasoning)
        odd = int(rng.integers(count))
        pools = {"kind": FLAT, "color": COLORS, "size": SIZES}
        looks = {field: [some(rng, pool, 1)[0]] * count for field, pool in pools.items()}
        common, other = some(rng, pools[self.field], 2)
        looks[self.field] = [other if at == odd else common for at in range(count)]
        if count > 3 and rng.random() < difficulty.reasoning:
            # Each value twice or more, so that it singles nothing out.
            varied = "color" if self.field == "kind" else "kind"
            words = some(rng, pools[varied], 2)
            looks[varied] = [words[at % 2] for at in rng.permutation(count)]
        # Many large ones would not fit.
        big = 4 if looks["size"].count("big") == 1 else 3
        found = boxes(rng, [2 if size == "small" else big for size in looks["size"]])
        seen = zip(looks["kind"], looks["color"], looks["size"], found, strict=True)
        setting_groups = [Thing(kind, color, size, *box) for kind, color, size, box in seen]
        return {"things": reading_order(setting_groups)}

    def ask(self, scene: Scene) -> Ask:
        return find("the odd one out", f"odd {self.field}")

    def solve(self, scene: Scene, steps: Steps) -> None:
        setting_groups = scene["things"]
        values = [getattr(thing, self.field) for thing in setting_groups]
        near = sorted(set(values))
        seen = steps.reads(self.field, values, near)
        counts = Counter(seen)
        odd = steps.derive("odd", "once", min(seen, key=lambda value: counts[value]), near)
        answer(steps, next((thing for thing in setting_groups if getattr(thing, self.field) == odd), setting_groups[0]))


class Touching(_Drawn):
    """Of several objects two touch: the larger or the smaller of these."""

    def sample(self, rng: np.random.Generator, difficulty: Difficulty) -> dict[str, Any]:
        one, two = (int(side) for side in rng.permutation([2, 3, 4, 5])[:2])
        count = pick(rng, 1, round(2 + difficulty.reasoning))
        others = [(side, side) for side in rng.integers(2, 4, size=count).tolist()]
        upright, shift = bool(rng.integers(2)), int(rng.integers(abs(one - two) + 1))
        # The pair is laid out as one box, side by side or one above the other.
        pair = (max(one, two), one + two) if upright else (one + two, max(one, two))
        while not (found := spots(rng, [pair, *others])):
            continue
        left, top = found[0][:2]
        first, second = (shift if one < two else 0), (shift if two < one else 0)
        steps = ((first, 0), (second, one)) if upright else ((0, first), (one, second))
        corners = [(left + x, top + y) for x, y in steps]
        cells = [(x, y, x + side, y + side) for (x, y), side in zip(corners, (one, two), strict=True)]
        kinds = ["circle" if flat else "square" for flat in rng.integers(2, size=count + 2)]
        if 2 * shift != abs(one - two):
            # Circles that are not in line would not touch.
            kinds[:2] = ["square", "square"]
        colors = [COLORS[place] for place in rng.integers(len(COLORS), size=count + 2)]
        seen = zip(kinds, colors, [*cells, *found[1:]], strict=True)
        setting_groups = [Thing(kind, color, str(box[2] - box[0]), *box) for kind, color, box in seen]
        return {"things": tuple(setting_groups), "larger": bool(rng.integers(2))}

    def ask(self, scene: Scene) -> Ask:
        return find(f"the {'larger' if scene['larger'] else 'smaller'} of the two that touch", "touching")

    def solve(self, scene: Scene, steps: Steps) -> None:
        pair = reading_order(list(scene["things"][:2]))
        sizes = steps.reads("size", [int(thing.size) for thing in pair])
        word, best = ("max", max(sizes)) if scene["larger"] else ("min", min(sizes))
        best = steps.derive("size", word, best, sizes)
        ranked = sorted(pair, key=lambda thing: int(thing.size), reverse=scene["larger"])
        answer(steps, pair[sizes.index(best)] if best in sizes else ranked[0])


class FarAway(_Drawn):
    """Some objects stand in a group, one is alone: how many cells lie between each and the one next to it."""

    def sample(self, rng: np.random.Generator, difficulty: Difficulty) -> dict[str, Any]:
        count = 4 if rng.random() < 0.3 + 0.7 * difficulty.reasoning else 3
        looks = [(FLAT[rng.integers(len(FLAT))], COLORS[rng.integers(len(COLORS))]) for _ in range(count)]
        while True:
            sides = rng.integers(2, 4, size=count).tolist()
            found = boxes(rng, sides)
            gaps = [min(apart(box, other) for other in found if other != box) for box in found]
            if sorted(gaps)[-1] >= sorted(gaps)[-2] + 2 and sorted(gaps)[-2] <= 2:
                break
        setting_groups = [Thing(*look, str(side), *box) for look, side, box in zip(looks, sides, found, strict=True)]
        ordered = reading_order(setting_groups)
        return {"things": ordered, "gaps": tuple(gaps[setting_groups.index(thing)] for thing in ordered)}

    def draw(self, scene: Scene, canvas: Canvas) -> None:
        super().draw(scene, canvas)
        for thing, gap in zip(scene["things"], scene["gaps"], strict=True):
            canvas.note(thing.left, thing.top, str(gap))

    def ask(self, scene: Scene) -> Ask:
        return find("the object furthest from the others", "far away")

    def solve(self, scene: Scene, steps: Steps) -> None:
        true = scene["gaps"]
        gaps = steps.reads("gap", true)
        far = steps.derive("gap", "max", max(gaps), gaps)
        answer(steps, scene["things"][gaps.index(far) if far in gaps else true.index(max(true))])


class Hiding(_Drawn):
    """Two objects overlap: the one in front or the one behind."""

    def sample(self, rng: np.random.Generator, difficulty: Difficulty) -> dict[str, Any]:
        count = pick(rng, 3, round(4 + difficulty.reasoning))
        kinds = [("circle", "square")[place] for place in rng.integers(2, size=count)]
        if kinds[:2] == ["circle", "circle"]:
            # Two circles whose boxes share a corner need not meet.
            kinds[rng.integers(2)] = "square"
        colors = some(rng, COLORS, count)
        sides = rng.integers(2, 4, size=count).tolist()
        # The corner that is hidden leaves every edge of the object behind to be seen.
        one, two = (int(side) for side in rng.integers(3, 5, size=2))
        pair = (one + two - 1, one + two - 1)
        while not (found := spots(rng, [pair, *((side, side) for side in sides[2:])])):
            continue
        left, top, right, bottom = found[0]
        a, b = (left, top, left + one, top + one), (right - two, bottom - two, right, bottom)
        if rng.integers(2):
            a, b = (right - one, top, right, top + one), (left, bottom - two, left + two, bottom)
        if rng.integers(2):
            a, b = b, a
        seen = zip(kinds, colors, [a, b, *found[1:]], strict=True)
        setting_groups = tuple(Thing(kind, color, str(box[2] - box[0]), *box) for kind, color, box in seen)
        return {"things": setting_groups, "front": bool(rng.integers(2))}

    def ask(self, scene: Scene) -> Ask:
        words = "that hides part of another" if scene["front"] else "that is partly hidden"
        return find(f"the object {words}", "hiding")

    def solve(self, scene: Scene, steps: Steps) -> None:
        behind, front = scene["things"][:2]
        near = [thing.color for thing in scene["things"]]
        pair = steps.reads("pair", [thing.color for thing in reading_order([behind, front])], near)
        color = steps.read("front", front.color, near)
        if not scene["front"]:
            other = next((each for each in pair if each != color), color)
            color = steps.derive("behind", "other", other, near)
        answer(steps, next((thing for thing in scene["things"] if thing.color == color), front))
