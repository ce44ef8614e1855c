"""Which rules are told from `uniform`, and from their own shuffle, when it is counted how many were compared.

The rules of one table under one base are a family: their p values are adjusted over it (`credit_zoo.results.compared`).
Controls are a family of their own, for they are no candidates.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from credit_zoo.results import RANKED_FROM, REFERENCE, Difference, compared, stats


def judged(arms: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The arms of one table with `from_uniform` and `from_shuffle`: a `Difference`, None where nothing is compared."""
    found = [arm | {"from_uniform": None, "from_shuffle": None} for arm in arms]
    for family in _families(found):
        for column, pairs in (("from_uniform", _to_uniform(family)), ("from_shuffle", _to_shuffle(family))):
            numbers = {place: _numbers(pair) for place, pair in pairs.items()}
            told = compared(numbers, 0.0, {place: len(pair.seeds) - 1 for place, pair in pairs.items()})
            for place, difference in told.items():
                family[place][column] = difference
    return found


def _families(arms: Sequence[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    """Rules and controls of each base apart, of code that counts."""
    for key in sorted({(arm["base"], arm["control"]) for arm in arms}):
        yield [arm for arm in arms if (arm["base"], arm["control"]) == key and arm["current"]]


def _to_uniform(family: Sequence[dict[str, Any]]) -> dict[int, stats.Paired]:
    """The paired differences to `uniform` over three seeds or more."""
    pairs = {place: arm["difference"] for place, arm in enumerate(family)}
    return {place: pair for place, pair in pairs.items() if pair and len(pair.seeds) >= RANKED_FROM}


def _to_shuffle(family: Sequence[dict[str, Any]]) -> dict[int, stats.Paired]:
    """The same to each rule's own shuffle, the first of those that it has."""
    pairs = {place: [pair for _, pair in arm["shuffles"][:1]] for place, arm in enumerate(family)}
    return {place: pair[0] for place, pair in pairs.items() if pair and len(pair[0].seeds) >= RANKED_FROM}


def _numbers(pair: stats.Paired) -> tuple[float, float, float]:
    return pair.interval.value, pair.interval.low, pair.interval.high


def is_reference(arm: Mapping[str, Any]) -> bool:
    """Whether an arm is `uniform`."""
    return arm["shaper"] is not None and arm["shaper"]["name"] == REFERENCE


def mark(found: Difference | None, shuffle: Difference | None = None) -> str:
    """What a cell says of a comparison: told above or below, by its own interval alone, told from its shuffle."""
    signs = {1: "\u25b2", -1: "\u25bc"}
    hints = {1: "\u25b3", -1: "\u25bd"}
    sign = "" if found is None else signs.get(found.told) or hints.get(found.plain, "")
    own = "s" if shuffle is not None and shuffle.told > 0 else ""
    return f" {sign}{own}" if sign or own else ""


LEGEND = (
    "\u25b2 above and \u25bc below `uniform`, told by Holm's adjusted p < .05 over the rules of the column; \u25b3 and "
    "\u25bd by the plain interval alone; s: told above its own shuffle too."
)
