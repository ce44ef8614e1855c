"""The generated parts of README.md and of docs/, each between `<!-- name -->` and `<!-- /name -->`."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from credit_zoo.errors import UsageError
from credit_zoo.lab import ProbeRecord, credit_table
from credit_zoo.leaderboard.matrix import matrices
from credit_zoo.leaderboard.rule_costs import extra_passes_cell
from credit_zoo.registry import SHAPERS, Listing, ShaperFacts
from credit_zoo.results import grid


def leaderboard_block(board: pd.DataFrame) -> str:
    """The matrices without controls and without rules of fewer than three seeds; the page has the rest."""
    return matrices(board[board["ranked"].astype(bool)] if len(board) else board)


def shapers_block(listings: Mapping[str, Listing]) -> str:
    """The zoo, with what each rule has measured."""
    rows = [
        (f"`{name}`", one.summary, one.paper, _cost(SHAPERS[name].facts))
        for name, one in sorted(listings.items())
        if one.paper
    ]
    return grid(("shaper", "rule", "paper", "signals, extra passes"), rows)


def _cost(facts: ShaperFacts) -> str:
    """The signals of a rule, and how many passes without gradient a step makes for them."""
    signals = ", ".join(f"`{name}`" for name in facts.needs) or "none"
    several = "; several updates a rollout" if facts.stage == "update" else ""
    return f"{signals}; {extra_passes_cell(facts)}{several}"


def warm_start_block(paths: Sequence[Path]) -> str:
    """What each shipped policy can do before reinforcement, from its folder's `warm_start.json`."""
    rows: list[Sequence[str]] = []
    columns: list[str] = []
    for path in paths:
        made = json.loads(path.read_text(encoding="utf-8"))
        start = made["settings"].get("start", "nothing")
        last = (start, f"{made['settings']['steps']} of {made['settings']['batch']}", str(made["test_questions"]))
        for twin, found in made["accuracy_percent"].items():
            columns = list(found)
            rows.append((path.parent.name, twin, *(f"{value:.1f}" for value in found.values()), *last))
    return grid(("model", "twin", *columns, "begun with", "steps", "test questions"), rows)


def credit_block(records: Sequence[ProbeRecord]) -> str:
    """What signals and rules see in the small model on the twin that the tables train on."""
    return credit_table([record for record in records if record.title == "geometry3k"])


def fill(text: str, blocks: Mapping[str, str]) -> str:
    """A page with every block between its marks."""
    for name, block in blocks.items():
        start, end = marks_of(name)
        if text.count(start) != 1 or text.count(end) != 1:
            raise UsageError(f"the page has no place for '{name}': put {start.strip()} and {end} in it, once")
        text = text[: text.index(start) + len(start)] + block + text[text.index(end) :]
    return text


def fill_pages(pages: Mapping[Path, str], blocks: Mapping[str, str]) -> dict[Path, str]:
    """The pages that hold a block, filled; every block stands on one of them, once."""
    held = {path: {name: blocks[name] for name in blocks if marks_of(name)[0] in text} for path, text in pages.items()}
    for name in blocks:
        places = [path.name for path, found in held.items() if name in found]
        if len(places) != 1:
            where = " and ".join(places) or "none"
            start, end = marks_of(name)
            raise UsageError(
                f"'{name}' stands on {where} of the pages: put {start.strip()} and {end} on one of them, once"
            )
    return {path: fill(pages[path], found) for path, found in held.items() if found}


def marks_of(name: str) -> tuple[str, str]:
    """The lines before and behind a block."""
    return f"<!-- {name} -->\n", f"<!-- /{name} -->"
