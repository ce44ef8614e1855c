"""A grid of runs as text: each line holds words as they are typed to `credit_zoo.run`, and spans the runs of its lists.

    # comments run to the end of the line, and may stand between lines that go on; a backslash at the end goes on
    shaper=uniform,pepo,siblings seed=1-8 bench=geometry3k model=habits train.steps=32
    shaper=ranked base=dapo,dr_grpo seed=1-3,5 bench=geometry3k

Lists of `shaper`, `base`, `model`, `scale` and `train_on`, and of `seed` with ranges, are spanned: a run for each
combination. `ranked` and `controls` stand for all rules, and all controls, that are registered. Every other word goes
to each run as it is: `bench=geometry3k,mathvista` is one run that is measured on both.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

from credit_zoo.errors import UsageError
from credit_zoo.registry import SHAPERS

SPANNED = ("shaper", "base", "model", "scale", "train_on")
OWN = ("dry_run", "explain", "resume")  # the sweep's business
ALONE = ("supersedes",)  # what is decided for one run, with a look at it


@dataclass(frozen=True)
class GridRun:
    """One run: its words, and its place: `round` is that of its seed among the seeds of its line, from 0."""

    words: tuple[str, ...]
    line: int
    round: int


def grid_runs(text: str, name: str) -> list[GridRun]:
    """The runs of a grid in their order: first the first seed of every line, so that all rules have as many seeds."""
    found = [run for number, words in _lines(text) for run in _spanned(number, words, name)]
    if not found:
        raise UsageError(f"{name} names no runs: write lines like shaper=uniform,pepo seed=1-8 bench=geometry3k")
    return sorted(found, key=lambda run: (run.round, run.line))


def _lines(text: str) -> Iterator[tuple[int, list[str]]]:
    """The words of each line that has some, by its number."""
    held: list[str] = []
    for number, line in enumerate(text.splitlines(), 1):
        body, comment, _ = (part.strip() for part in line.partition("#"))
        if held and comment and not body:
            continue
        held += body.removesuffix("\\").split()
        if held and not body.endswith("\\"):
            yield number, held
            held = []
    if held:
        raise UsageError("the last line ends with a backslash, which promises another")


def _spanned(number: int, words: Sequence[str], name: str) -> Iterator[GridRun]:
    where, choices, named = f"{name} line {number}", list[list[str]](), set[str]()
    for word in words:
        axis, equals, value = word.partition("=")
        if not equals or not value:
            raise UsageError(f"{where}: '{word}' is not of the form NAME=VALUE")
        if axis in OWN:
            raise UsageError(f"{where}: {axis}= is the sweep's own; leave it out")
        if axis in ALONE:
            raise UsageError(f"{where}: {axis}= is for one run; type it to credit_zoo.run")
        if axis in named and axis in (*SPANNED, "seed"):
            raise UsageError(f"{where}: {axis}= stands twice; join its values by commas, or write two lines")
        named.add(axis)
        choices.append([f"{axis}={one}" for one in _values(axis, value, where)])
    seeds = {choice: place for each in choices for place, choice in enumerate(each) if choice.startswith("seed=")}
    for combination in product(*choices):
        places = [seeds[word] for word in combination if word in seeds]
        yield GridRun(combination, number, places[-1] if places else 0)


def _values(axis: str, value: str, where: str) -> list[str]:
    """The values that a word spans."""
    if axis == "seed":
        return [str(seed) for part in value.split(",") for seed in _range(part, where)]
    if axis not in SPANNED:
        return [value]
    values = _outside_brackets(value)
    if not values:
        raise UsageError(f"{where}: {axis} names nothing in '{value}'")
    if axis == "shaper":
        values = [name for one in values for name in _named(one)]
    if len(set(values)) < len(values):
        raise UsageError(f"{where}: a value of {axis} stands twice in '{value}'")
    return values


def _range(part: str, where: str) -> range:
    first, dash, last = part.partition("-")
    numbers = all(one.isascii() and one.isdigit() for one in ([first, last] if dash else [first]))
    if not numbers or (dash and int(last) < int(first)):
        raise UsageError(f"{where}: seed must be numbers and ranges like 1-8 or 1,2,5-7, got '{part}'")
    return range(int(first), int(last or first) + 1)


def _named(word: str) -> list[str]:
    """A rule, or all that a word stands for."""
    if word not in ("ranked", "controls"):
        return [word]
    return sorted(name for name, one in SHAPERS.listings().items() if one.control == (word == "controls"))


def _outside_brackets(text: str) -> list[str]:
    """The parts between commas that stand in no brackets: `mean(pepo,entropy),uniform` has two."""
    parts, depth = [""], 0
    for sign in text:
        depth += {"(": 1, ")": -1}.get(sign, 0)
        if sign == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += sign
    return [part for part in parts if part]
