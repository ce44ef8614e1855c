"""The rules as a table, and the room that is called to get it."""

from dataclasses import fields
from types import ModuleType
from typing import TYPE_CHECKING

from credit_zoo.registry import SHAPERS

if TYPE_CHECKING:
    import pandas as pd


def shapers() -> "pd.DataFrame":
    """Every rule with its facts, one row a rule: what it does, its paper, the signals that it needs, its scope, what
    it promises, its settings with their defaults. A notebook shows it as a table.
    """
    import pandas as pd

    rows = {}
    for name in SHAPERS:
        entry, listing = SHAPERS[name], SHAPERS.listings()[name]
        facts = entry.facts
        rows[name] = {
            "rule": listing.summary,
            "paper": facts.paper,
            "needs": ", ".join(facts.needs),
            "scope": facts.scope,
            "preserves_mean": facts.preserves_mean,
            "preserves_sign": facts.preserves_sign,
            "settings": ", ".join(f"{one.name}={one.default}" for one in fields(entry.factory)),
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("shaper")


class Zoo(ModuleType):
    """The room itself: `credit_zoo.shapers` holds the rules, `credit_zoo.shapers()` lists them."""

    def __call__(self) -> "pd.DataFrame":
        return shapers()
