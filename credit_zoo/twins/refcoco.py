"""The twin of RefCOCO: an expression that fits one object among three to eight, answered by its box.

A box is "left,top,right,bottom" in cells of 7 pixels, whole numbers from 0 to 12. The real set's val, testA
and testB differ in what is looked for; here that is the category, within every split: "mixed" (anything, as
in val), "people" (men and women alone, as in testA) and "things" (no people, as in testB).

An expression goes by attributes ("the red circle"), by place ("the leftmost circle") or by relation ("the
circle left of the red square"). It is minimal: without any of its attributes, or without its place or
relation, it would not single the object out clearly.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from credit_zoo.twins.canvas import Canvas
from credit_zoo.twins.contract import Difficulty, Steps
from credit_zoo.twins.figures import pick
from credit_zoo.twins.objects import FLAT, PALETTE, Thing, answer, draw, find, spots
from credit_zoo.twins.twin import Ask, Scene, Twin

PEOPLE = ("man", "woman")
THINGS = ("house", "tree", "fish", *FLAT)
KINDS: Mapping[str, tuple[str, ...]] = {"mixed": (*PEOPLE, *THINGS), "people": PEOPLE, "things": THINGS}
NOUNS: Mapping[str, str] = {"mixed": "object", "people": "person", "things": "object"}
COLORS = tuple(PALETTE)[:5]
_FLAT_SIZES: Mapping[str, tuple[tuple[int, int], ...]] = {"small": ((2, 2),), "big": ((3, 3), (4, 4))}
_TALL_SIZES: Mapping[str, tuple[tuple[int, int], ...]] = {"small": ((2, 3),), "big": ((3, 5),)}
SIZES: Mapping[str, Mapping[str, tuple[tuple[int, int], ...]]] = {
    **dict.fromkeys(FLAT, _FLAT_SIZES), **dict.fromkeys((*PEOPLE, "tree"), _TALL_SIZES),
    "house": _FLAT_SIZES, "fish": {"small": ((3, 2),), "big": ((5, 3),)},
}  # fmt: skip
FIELDS = ("kind", "color", "size")
# The word, the edge that counts, and the sign that turns the wanted extreme into the lowest number.
PLACES = (
    ("leftmost", "left", 1), ("rightmost", "right", -1), ("topmost", "top", 1), ("lowest", "bottom", -1),
)  # fmt: skip
# The words, the reference's edge, the edge of the object, and the same sign.
RELATIONS = (
    ("left of", "left", "right", 1), ("right of", "right", "left", -1),
    ("above", "top", "bottom", 1), ("below", "bottom", "top", -1),
)  # fmt: skip

# An attribute for each field, None where it is left open.
Wanted = tuple[str | None, ...]
_MASKS = sorted(product((True, False), repeat=len(FIELDS)), key=sum)


class Sayings:
    """What can be said of each object by its attributes, and which objects that fits."""

    def __init__(self, setting_groups: Sequence[Thing]) -> None:
        self.setting_groups = setting_groups
        # Fewest attributes first, and first those that people name first.
        self.of: list[list[Wanted]] = []
        self.fits: dict[Wanted, list[int]] = {}
        for at, thing in enumerate(setting_groups):
            looks = (thing.kind, thing.color, thing.size)
            told = [tuple(value if on else None for value, on in zip(looks, mask, strict=True)) for mask in _MASKS]
            self.of.append(told)
            for wanted in told:
                self.fits.setdefault(wanted, []).append(at)

    def alone(self, target: int) -> list[Wanted]:
        """The descriptions that fit the target alone."""
        return [wanted for wanted in self.of[target] if len(self.fits[wanted]) == 1]


def _phrase(wanted: Wanted, group: str, place: str = "") -> str:
    kind, color, size = wanted
    return " ".join(word for word in ("the", place, size, color, kind or NOUNS[group]) if word)


def _order(setting_groups: Sequence[Thing], members: Sequence[int], edge: str) -> tuple[int, ...]:
    """The members in reading order across the axis that is asked about: no place in it is likelier."""
    if edge in ("left", "right"):
        return tuple(sorted(members, key=lambda at: (setting_groups[at].top, setting_groups[at].left)))
    return tuple(sorted(members, key=lambda at: (setting_groups[at].left, setting_groups[at].top)))


def _along(setting_groups: Sequence[Thing], edge: str, sign: int) -> tuple[list[int], list[int]]:
    """Every object's edge and twice its middle on the same axis, both lowest for the furthest that way."""
    low, high = ("left", "right") if edge in ("left", "right") else ("top", "bottom")
    lows, highs = [getattr(thing, low) for thing in setting_groups], [getattr(thing, high) for thing in setting_groups]
    edges = lows if edge == low else highs
    return [sign * at for at in edges], [sign * (one + two) for one, two in zip(lows, highs, strict=True)]


def _too_plain(rng: np.random.Generator, wanted: Wanted) -> bool:
    # Most expressions name an attribute besides place or relation, as people do.
    return not any(wanted) and rng.random() < 0.7


def by_attribute(rng: np.random.Generator, said: Sayings, group: str, most: int) -> dict[str, Any] | None:
    """An expression by attributes alone."""
    target = int(rng.integers(len(said.setting_groups)))
    alone = said.alone(target)
    shortest = [wanted for wanted in alone if wanted.count(None) == alone[0].count(None)]
    # One attribute is seldom enough: the object is to be told from some that share one.
    if not shortest or (shortest[0].count(None) > 1 and rng.random() < 0.6):
        return None
    wanted = shortest[rng.integers(len(shortest))]
    return {"target": target, "wanted": wanted, "text": _phrase(wanted, group)}


def by_place(rng: np.random.Generator, said: Sayings, group: str, most: int) -> dict[str, Any] | None:
    """An expression by the outermost place among two or more of a kind."""
    word, edge, sign = PLACES[rng.integers(len(PLACES))]
    target = int(rng.integers(len(said.setting_groups)))
    edges, middles = _along(said.setting_groups, edge, sign)
    for wanted in said.of[target]:
        members = said.fits[wanted]
        # Outermost by its edge and by its middle, so that no reader could mean another.
        inner = [at for at in members if edges[at] > edges[target] and middles[at] > middles[target]]
        if len(members) < 2 or len(inner) < len(members) - 1:
            continue
        if len(members) > most or _too_plain(rng, wanted):
            return None
        return {
            "target": target, "text": _phrase(wanted, group, word), "edge": edge, "sign": sign,
            "members": _order(said.setting_groups, members, edge),
        }  # fmt: skip
    return None


def by_relation(rng: np.random.Generator, said: Sayings, group: str, most: int) -> dict[str, Any] | None:
    """An expression by the side of another object on which one of a kind lies, and no other of it."""
    words, near, edge, sign = RELATIONS[rng.integers(len(RELATIONS))]
    setting_groups = said.setting_groups
    target, reference = (int(place) for place in rng.permutation(len(setting_groups))[:2])
    alone = said.alone(reference)
    edges, middles = _along(setting_groups, edge, sign)
    if not alone or edges[target] > sign * getattr(setting_groups[reference], near):
        return None
    for wanted in said.of[target]:
        others = [at for at in said.fits[wanted] if at not in (target, reference)]
        # The others lie clearly elsewhere, not half on that side.
        if any(middles[other] < middles[reference] for other in others):
            continue
        if not 1 <= len(others) < most or _too_plain(rng, wanted):
            return None
        return {
            "target": target, "text": f"{_phrase(wanted, group)} {words} {_phrase(alone[0], group)}",
            "edge": edge, "sign": sign, "reference": reference, "near": near,
            "members": _order(setting_groups, [target, *others], edge),
        }  # fmt: skip
    return None


_BY = {"attribute": by_attribute, "place": by_place, "relation": by_relation}


@dataclass(frozen=True)
class Refer:
    """Expressions of one way over objects of one group."""

    group: str
    way: str

    def sample(self, rng: np.random.Generator, difficulty: Difficulty) -> dict[str, Any]:
        most = (2 if self.way == "relation" else 3) + (difficulty.reasoning > 0)
        while True:
            said = Sayings(self._things(rng, difficulty))
            # Laying out a scene takes longer than looking for something to say about it.
            for _ in range(6):
                told = _BY[self.way](rng, said, self.group, most)
                if told:
                    return {"things": tuple(said.setting_groups), **told}

    def _things(self, rng: np.random.Generator, difficulty: Difficulty) -> list[Thing]:
        count = pick(rng, 3, round(5 + 3 * difficulty.reasoning))
        # Few kinds and colours: objects share them, and no single word tells one from the others.
        pool = KINDS[self.group]
        kinds = [pool[place] for place in rng.permutation(len(pool))[:3]]
        colors = [COLORS[place] for place in rng.permutation(len(COLORS))[:3]]
        bigs = 0.5 if count < 6 else 0.2
        while True:
            looks, sizes = [], []
            for first, second, third, fourth in rng.random((count, 4)).tolist():
                kind, size = kinds[int(first * len(kinds))], "big" if third < bigs else "small"
                fits = SIZES[kind][size]
                looks.append((kind, colors[int(second * 3)], size))
                sizes.append(fits[int(fourth * len(fits))])
            boxes = spots(rng, sizes)
            if boxes:
                return [Thing(*look, *box) for look, box in zip(looks, boxes, strict=True)]

    def draw(self, scene: Scene, canvas: Canvas) -> None:
        for thing in scene["things"]:
            draw(canvas, thing)

    def ask(self, scene: Scene) -> Ask:
        return find(scene["text"], self.group)

    def solve(self, scene: Scene, steps: Steps) -> None:
        setting_groups, target = scene["things"], scene["target"]
        if self.way == "attribute":
            # What the expression leaves open is read, the size last: it is seen by comparing alone.
            for place in [place for place, value in enumerate(scene["wanted"]) if value is None][:1]:
                steps.read(
                    FIELDS[place], setting_groups[target][place], sorted({thing[place] for thing in setting_groups})
                )
        else:
            target = self._among(scene, steps)
        answer(steps, setting_groups[target])

    def _among(self, scene: Scene, steps: Steps) -> int:
        """Read the edges that count, and go on with the member whose edge is the wanted one."""
        setting_groups, members, edge, sign = scene["things"], scene["members"], scene["edge"], scene["sign"]
        limit = None
        if "reference" in scene:
            limit = steps.read("edge", getattr(setting_groups[scene["reference"]], scene["near"]))
        edges = steps.reads(edge, [getattr(setting_groups[at], edge) for at in members])
        if limit is None:
            word, best = ("min", min(edges)) if sign > 0 else ("max", max(edges))
        else:
            word = "less" if sign > 0 else "more"
            within = [value for value in edges if sign * value <= sign * limit]
            best = sign * max((sign * value for value in within or edges), default=0)
        best = steps.derive(edge, word, best, edges)
        return int(members[edges.index(best)]) if best in edges else int(scene["target"])


TWIN = Twin(
    name="refcoco",
    version=2,
    shaded=True,
    families={f"{group} by {way}": Refer(group, way) for way in _BY for group in KINDS},
)
