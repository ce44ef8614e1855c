"""The board: what the instrument and training say of every rule, as tables."""

import json
import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import pandas as pd

from credit_zoo.credit import CreditRecord, RuleCredit, RuleVerdict, is_shuffle, judged, over_shuffle
from credit_zoo.credit import number as number_of
from credit_zoo.leaderboard import WHILE_LEARNING
from credit_zoo.report.tables import Cell, Row, Table, difference, estimate, number, points, words
from credit_zoo.results import REFERENCE, distinct_labels, kind

SHUFFLE = "permuted({})"
INSTRUMENT = ("rule", "policy", "efficiency", "own shuffle", "over own shuffle", "noise removed", "decisive token",
              "rank, right", "rank, wrong", "mass", "cost")  # fmt: skip
_HINTS = {
    "efficiency": "usable signal squared over noise of the rule's gradient, times uniform's; at 1.25 a rule does with "
    "80% of uniform's samples as well; 95% interval",
    "own shuffle": "the same of the same credit at other tokens of the same response",
    "over own shuffle": "the rule's efficiency relative to its shuffle's: where the interval holds 1 it has not shown "
    "that its tokens matter",
    "noise removed": "the share of uniform's sampling noise that is gone, at equal progress",
    "decisive token": "AUROC of |credit| for the token at which a wrong answer lost most of its value; 0.5 is chance",
    "rank, right": "Spearman's correlation of credit with the exact token advantage A*, in right answers",
    "rank, wrong": "the same in wrong answers",
    "mass": "sum of |credit|, relative to uniform's",
    "cost": "of the rule's gradient, as a share of uniform's forward and backward pass",
    "vs uniform": "the difference to uniform under the same base, paired by seed and question, in points; 95% interval",
    "std W": "spread of the token weights, mean over the run",
    "ESS": "effective sample size of the weights, as a share: near 1 the rule did next to nothing",
}
TRAINING = ("rule", "base", "trained on", "measured on", "policy", "steps", "seeds", "result", "vs uniform",
            "vs own shuffle", "before", "std W", "ESS", "tokens", "seconds", "flags")  # fmt: skip


def instrument_table(
    records: Sequence[CreditRecord], pages: Mapping[str, str], only: Collection[str] | None = None
) -> Table:
    """A row a rule and record; without `only`, which names rules, all but shuffles, which stand beside their rules.
    `pages` maps rules to their pages.
    """

    def is_shown(name: str) -> bool:
        return not is_shuffle(name) if only is None else name in only

    rows = [
        _instrument_row(record, one, verdicts.get(one.name), pages)
        for record, verdicts in ((record, judged(record)) for record in records)
        for one in record.rules
        if is_shown(one.name)
    ]
    rows.sort(key=lambda row: (row.tags["status"] == "control", -_height(row)))
    return Table(
        "instrument", "The instrument: every rule's gradient at a fixed policy", INSTRUMENT, tuple(rows), _HINTS,
        ("status", "bench", "policy"),
    )  # fmt: skip


def _height(row: Row) -> float:
    """What the table is ordered by: the headline, and rows without it at the end."""
    found = row.cells[INSTRUMENT.index("efficiency")].sort
    return found if isinstance(found, float) else -math.inf


def _instrument_row(
    record: CreditRecord, one: RuleCredit, verdict: RuleVerdict | None, pages: Mapping[str, str]
) -> Row:
    numbers, removed = one.numbers, record.headline.replace("efficiency", "removed")
    reference = one.name == REFERENCE
    told, own = (verdict.uniform, verdict.shuffle) if verdict else (None, None)
    cells = (
        words(one.name, pages.get(one.name, "")),
        words(record.title),
        Cell("reference", 1.0) if reference else estimate(numbers.get(record.headline), told),
        estimate(number_of(record, SHUFFLE.format(one.name), record.headline)),
        estimate(over_shuffle(record, one), own),
        estimate(numbers.get(removed)),
        estimate(numbers.get("decisive")),
        estimate(numbers.get("rank_right")),
        estimate(numbers.get("rank_wrong")),
        number(one.mass),
        number(one.cost, 0, percent=True),
    )
    status = "control" if one.control else "reference" if reference else "ranked"
    return Row(cells, {"status": status, "bench": record.bench, "policy": record.model})


def training_table(board: pd.DataFrame, pages: Mapping[str, str]) -> Table:
    """A row a rule under a base and a measurement."""
    arms = board.to_dict("records")
    names = iter(distinct_labels([arm["shaper"] for arm in arms if arm["shaper"]]))
    rows = [_training_row(arm, next(names) if arm["shaper"] else "not trained", pages) for arm in arms]
    return Table(
        "training", "Training: the same loop, data and budget", TRAINING, tuple(rows), _HINTS,
        ("status", "bench", "when", "policy", "base"),
    )  # fmt: skip


def _training_row(arm: Mapping[str, Any], name: str, pages: Mapping[str, str]) -> Row:
    section, measure = json.loads(arm["section"]), json.loads(arm["measure"])
    base, source = json.loads(arm["base"]), section["source"]
    rule = arm["shaper"]["name"] if arm["shaper"] else "not trained"
    reference = rule == REFERENCE
    cells = (
        words(name, pages.get(rule, "")),
        words(base["name"] if base else ""),
        words(f"{source['bench']} ({kind(source)})" if source else ""),
        words(
            f"{measure['bench']} ({kind(measure)}){', while learning' if measure['metric'] == WHILE_LEARNING else ''}"
        ),
        words(section["model"]["name"]),
        number(section.get("steps"), 0),
        Cell(str(len(arm["by_seed"])), len(arm["by_seed"])),
        points(arm["interval"]),
        Cell("reference", 0.0) if reference else difference(arm["difference"], arm["from_uniform"]),
        difference(arm["shuffles"][0][1] if arm["shuffles"] else None, arm["from_shuffle"]),
        number(100 * arm["before"]),
        number(arm["weight_std"], 3),
        number(arm["ess"], 3),
        number(arm["tokens"], 0),
        number(arm["seconds"], 0),
        words(", ".join((*arm["flags"], *filter(None, [arm["unranked"]])))),
    )
    status = "control" if arm["control"] else "reference" if reference else "ranked" if arm["ranked"] else "unranked"
    tags = {
        "bench": measure["bench"],
        "when": "while learning" if measure["metric"] == WHILE_LEARNING else "after training",
        "policy": section["model"]["name"],
        "base": base["name"] if base else "none",
    }
    return Row(cells, {"status": status, **tags})
