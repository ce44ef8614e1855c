"""The page's noise floor: how far runs that differ in their seed alone lie apart, and what five seeds can show."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from credit_zoo.results import RANKED_FROM, REFERENCE, base_labels, grid, label, measure_labels, stats

_SHOWN = f"{stats.PLANNED_SEEDS} seeds each show"
_ALONE = ("measured on", "rule", "base", "seeds", "mean", "sd", "95% interval of sd", f"{_SHOWN} [95%]")
_PAIRED = ("measured on", "rule", "base", "common seeds", "difference", "sd", "95% interval of sd", f"{_SHOWN} [95%]")


def noise_floor(arms: pd.DataFrame) -> list[str]:
    """The noise floor of one section's arms: `uniform` alone, then the paired differences to it.

    Nothing where no measurement has three seeds of `uniform`.
    """
    bases, measures = base_labels(arms["base"]), measure_labels(arms["measure"])
    alone, differences = [], []
    for arm in arms.to_dict("records"):
        names = [measures[arm["measure"]], label(arm["shaper"]), bases.get(arm["base"], "")]
        alone += [names + cells for cells in _alone(arm)]
        differences += [names + cells for cells in _paired(arm)]
    if not alone:
        return []
    parts = ["## Noise floor\n", grid(_ALONE, sorted(alone))]
    if differences:
        parts += [f"Differences to `{REFERENCE}`, paired by seed:\n", grid(_PAIRED, sorted(differences))]
    return parts


def _alone(arm: Mapping[str, Any]) -> list[list[str]]:
    """The row of the reference, if this is it and it has seeds enough."""
    if not arm["many"] or arm["shaper"]["name"] != REFERENCE:
        return []
    spread = _spread(arm["seed_sd"], len(arm["by_seed"]), stats.detectable_unpaired(1))
    return [[str(len(arm["by_seed"])), f"{100 * arm['value']:.2f}", *spread]]


def _paired(arm: Mapping[str, Any]) -> list[list[str]]:
    """The row of a rule's differences, if three of its seeds are the reference's too."""
    found: stats.Paired | None = arm["difference"]
    if found is None or len(found.seeds) < RANKED_FROM:
        return []
    spread = _spread(found.seed_sd, len(found.seeds), stats.detectable_paired(1))
    return [[str(len(found.seeds)), f"{100 * found.interval.value:+.2f}", *spread]]


def _spread(sd: float, seeds: int, factor: float) -> list[str]:
    """A standard deviation, its interval, and the detectable difference, which is `factor` times either."""
    low, high = stats.sd_interval(sd, seeds)
    least = [f"{100 * factor * one:.2f}" for one in (sd, low, high)]
    return [f"{100 * sd:.2f}", f"[{100 * low:.2f}, {100 * high:.2f}]", f"{least[0]} [{least[1]}, {least[2]}]"]
