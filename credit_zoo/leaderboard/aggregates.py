"""The page's aggregates: each rule over all benchmarks, as arXiv:2108.13264 reports them."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from credit_zoo.results import RANKED_FROM, REFERENCE, base_labels, escape, grid, kind, label, measure_labels, stats

_HEADER = ("shaper", "seeds", "IQM", "95% interval", f"P(better than {REFERENCE}) [95%]")


def aggregate(arms: pd.DataFrame) -> list[str]:
    """One table for each base, and for twins and real benchmarks apart, over the measurements that `uniform` has.

    A table needs two measurements of one metric with three seeds of `uniform`: with one, the ranking says it all.
    """
    bases, parts = base_labels(arms["base"]), []
    measured = arms["measure"].map(json.loads)
    keys = [arms["base"], measured.map(kind), measured.map(lambda measure: measure["metric"])]
    for (base, which, metric), rows in arms.groupby(keys, sort=True):
        over, reference = _reference(rows)
        if len(over) < 2:
            continue
        names = measure_labels(rows["measure"])
        listed = escape(", ".join(names[measure] for measure in over))
        parts += [
            f"## Over {len(over)} {'benchmarks' if which == 'real' else 'twins'}, base {escape(bases[base])}\n",
            f"Aggregated {escape(metric)} on {listed}; of each rule the seeds measured on all of them.\n",
            grid(_HEADER, [_cells(rule, over, reference) for _, rule in rows.groupby("arm", sort=True)]),
        ]
    return parts


def _reference(rows: pd.DataFrame) -> tuple[list[str], stats.Scores | None]:
    """The measurements that `uniform` has with three seeds, and its runs' scores on them `[S, M]`.

    Without one `uniform`, or with several of different settings, there is nothing to aggregate over.
    """
    rules = {arm: rule for arm, rule in rows.groupby("arm", sort=True) if _name(rule) == REFERENCE}
    if len(rules) != 1:
        return [], None
    (rule,) = rules.values()
    over = sorted(rule.loc[rule["ranked"].astype(bool), "measure"])
    return over, _scores(rule, over)


def _name(rule: pd.DataFrame) -> str:
    return str(rule.iloc[0]["shaper"]["name"])


def _scores(rule: pd.DataFrame, over: Sequence[str]) -> stats.Scores | None:
    """The scores `[S, M]` of the seeds that have every measurement; None with fewer than three."""
    runs: Mapping[str, Mapping[int, Any]] = dict(zip(rule["measure"], rule["by_seed"], strict=True))
    if not over or not set(over) <= runs.keys():
        return None
    seeds = sorted(set.intersection(*(set(runs[measure]) for measure in over)))
    if len(seeds) < RANKED_FROM:
        return None
    return np.array([[runs[measure][seed].mean() for measure in over] for seed in seeds])


def _cells(rule: pd.DataFrame, over: Sequence[str], reference: stats.Scores | None) -> list[str]:
    """A row; blank where the rule lacks a measurement or seeds."""
    scores = _scores(rule, over)
    name = label(rule.iloc[0]["shaper"])
    if scores is None:
        return [name, "", "", "", ""]
    low, high = stats.iqm_interval(scores)
    interval = f"[{100 * low:.2f}, {100 * high:.2f}]"
    return [name, str(len(scores)), f"{100 * stats.iqm(scores):.2f}", interval, _improvement(rule, scores, reference)]


def _improvement(rule: pd.DataFrame, scores: stats.Scores, reference: stats.Scores | None) -> str:
    if _name(rule) == REFERENCE:
        return "reference"
    if reference is None:
        return ""
    low, high = stats.improvement_interval(scores, reference)
    return f"{stats.probability_of_improvement(scores, reference):.2f} [{low:.2f}, {high:.2f}]"
