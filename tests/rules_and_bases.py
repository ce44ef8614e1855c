"""What goes with what, from the registry: rules by bases, and the pieces that bases are made of.

    python tests/rules_and_bases.py            # writes the generated blocks of docs/rules_and_bases.md

`test_compatibility.py` holds the page to what this file writes, and every pair of the table to a run.
"""

import sys
from pathlib import Path

from credit_zoo.cli.arguments import gin_files, parse
from credit_zoo.experiment.config import resolve
from credit_zoo.leaderboard.readme import fill
from credit_zoo.objective.base import Base
from credit_zoo.objective.compatibility import Budget, refusal
from credit_zoo.registry import PIECES, RATIOS, SHAPERS
from credit_zoo.results import grid

PAGE = Path(__file__).parents[1] / "docs" / "rules_and_bases.md"
PLAIN_GSPO = "base.ratio=gspo"


def bases() -> dict[str, Base]:
    """Every base that a file describes, and the one ratio that erases credit."""
    found = {name: resolve(parse([f"base={name}"])).base for name in gin_files("base")}
    return {**found, PLAIN_GSPO: Base(ratio=RATIOS["gspo"].factory())}


def verdict(shaper: str, base: Base) -> str:
    """In a cell: `yes`, `1 update`, `2+ updates` or `no`."""
    once, again = (refusal(shaper, base, Budget(8, updates)) is None for updates in (1, 2))
    return {(True, True): "yes", (True, False): "1 update", (False, True): "2+ updates"}.get((once, again), "no")


def pairs_block() -> str:
    found = bases()
    rows = [(f"`{shaper}`", *(verdict(shaper, base) for base in found.values())) for shaper in SHAPERS]
    return grid(("rule", *(f"`{name}`" for name in found)), rows)


def pieces_block() -> str:
    rows = []
    for slot, registry in PIECES.items():
        listings = registry.listings()
        for name in registry:
            facts = registry[name].facts
            sees = {"response": "its response", "group": "a prompt's answers", "batch": "the whole step"}[facts.scope]
            rows.append((slot, f"`{name}`", listings[name].summary, sees, listings[name].paper))
    return grid(("slot", "piece", "what it is", "what it sees", "paper"), rows)


def page() -> str:
    return fill(PAGE.read_text(encoding="utf-8"), {"pairs": pairs_block(), "pieces": pieces_block()})


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(f"wrote {PAGE}")
    sys.exit(0)
