"""What a rule costs: the passes that it adds, and its step's time and memory, times those of `uniform`."""

from collections.abc import Mapping, Sequence
from typing import Any

from credit_zoo.credit import CreditRecord
from credit_zoo.registry import SHAPERS, ShaperFacts
from credit_zoo.results import REFERENCE, grid
from credit_zoo.sampled_signals import passes_beside_sampling

_HEAD = ("rule", "signals", "extra passes", "step [quartiles]", "peak memory")
_LEGEND = """Extra passes: without gradient, beside the one that is learned from; in brackets where another engine
samples, or in half precision. Time and peak memory of a step: an update without sampling, times that of `uniform` in
the same process (`python -m credit_zoo.profile`).
"""


def rule_costs(credit: Sequence[CreditRecord], speed: Mapping[str, Mapping[str, Any]]) -> str:
    """A row a rule that the instrument or the profile measured; controls cost nobody anything and are left out."""
    alone = _alone(speed)
    names = sorted({*alone, *(one.name for record in credit for one in record.rules if not one.control)})
    rows = [[name, *_facts(name), *alone.get(name, ("", ""))] for name in names]
    return "\n".join([_LEGEND, grid(_HEAD, rows)]) if rows else "Nothing was measured yet.\n"


def _facts(name: str) -> tuple[str, str]:
    """Signals and extra passes; blank for a rule that is not here."""
    if name not in SHAPERS:
        return "", ""
    facts = SHAPERS[name].facts
    return ", ".join(facts.needs) or "none", extra_passes_cell(facts)


def extra_passes_cell(facts: ShaperFacts) -> str:
    """How many there are where the policy itself samples in float32, and in brackets otherwise, if those are more."""
    beside = passes_beside_sampling(facts)
    return str(beside) if beside == facts.extra_passes else f"{beside} ({facts.extra_passes})"


def _alone(speed: Mapping[str, Mapping[str, Any]]) -> dict[str, tuple[str, str]]:
    """Time and peak memory of the measured step; other ways to compute the same have a comma in their names."""
    rows = speed["steps"]["found"]["rows"] if "steps" in speed else []
    peaks = {row["name"]: row["peak"] for row in rows}
    return {
        row["name"]: (
            f"{row['ratio']['median']:.2f} [{row['ratio']['low']:.2f}, {row['ratio']['high']:.2f}]",
            f"{row['peak'] / peaks[REFERENCE]:.3f}",
        )
        for row in rows
        if "," not in row["name"]
        and REFERENCE in peaks
        and row["name"] in SHAPERS
        and not SHAPERS.is_control(row["name"])
    }
