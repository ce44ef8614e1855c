"""What a rule costs: the passes that it adds, and its step's time and memory, times those of `uniform`."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from credit_zoo.credit import CreditRecord
from credit_zoo.registry import SHAPERS, ShaperFacts
from credit_zoo.results import RANKED_FROM, REFERENCE, grid
from credit_zoo.sampled_signals import passes_beside_sampling

_HEAD = (
    *("rule", "signals", "extra passes", "step in training [quartiles]", "runs"),
    *("step, measured alone [quartiles]", "peak memory"),
)
_LEGEND = """Times those of `uniform`, at the same base, seed and settings. Extra passes: without gradient, beside the
one that is learned from; in brackets where another engine samples, or in half precision. In training: the median step
of a run over that of `uniform`'s run of the same seed, on machines that did other work as well. Measured alone:
`python -m credit_zoo.profile`, an update without sampling.
"""


def rule_costs(board: pd.DataFrame, credit: Sequence[CreditRecord], speed: Mapping[str, Mapping[str, Any]]) -> str:
    """A row a rule that was trained or measured; controls cost nobody anything and are left out."""
    trained, alone = _in_training(board), _alone(speed)
    measured = {one.name for record in credit for one in record.rules if not one.control}
    names = sorted({*trained, *alone, *measured})
    rows = [[name, *_facts(name), *trained.get(name, ("", "")), *alone.get(name, ("", ""))] for name in names]
    return "\n".join([_LEGEND, grid(_HEAD, rows)]) if rows else "Nothing was trained or measured yet.\n"


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


def _in_training(board: pd.DataFrame) -> dict[str, tuple[str, str]]:
    """The ratio over the pairs of runs of one seed, with quartiles, and how many pairs, from three on."""
    ratios: dict[str, list[float]] = {}
    for _, arms in board.groupby(["section", "base"], sort=True) if len(board) else ():
        first = arms[arms["measure"] == min(arms["measure"])].to_dict("records")
        references = [arm for arm in first if _name(arm) == REFERENCE and arm["current"]]
        for arm in first:
            if len(references) == 1 and not arm["control"]:
                ratios.setdefault(_name(arm), []).extend(_pairs(arm["step_seconds"], references[0]["step_seconds"]))
    return {name: (_quartiles(found), str(len(found))) for name, found in ratios.items() if len(found) >= RANKED_FROM}


def _name(arm: Mapping[str, Any]) -> str:
    return str(arm["shaper"]["name"]) if arm["shaper"] else ""


def _pairs(rule: Mapping[int, float], reference: Mapping[int, float]) -> Iterator[float]:
    """Time over time, of the seeds that both sides have and know the time of."""
    for seed in sorted(rule.keys() & reference.keys()):
        if rule[seed] > 0 and reference[seed] > 0:
            yield rule[seed] / reference[seed]


def _quartiles(ratios: Sequence[float]) -> str:
    low, middle, high = np.quantile(ratios, [0.25, 0.5, 0.75])
    return f"{middle:.2f} [{low:.2f}, {high:.2f}]"


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
