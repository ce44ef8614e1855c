"""The board: what the instrument and training say of every rule, as tables, and the answer in words above them."""

import json
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from credit_zoo.credit import CreditRecord, RuleCredit
from credit_zoo.report.examples import is_shuffle
from credit_zoo.report.tables import Cell, Row, Table, estimate, number, points, side, words
from credit_zoo.results import REFERENCE, kind, label

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

    rows = [_instrument_row(record, one, pages) for record in records for one in record.rules if is_shown(one.name)]
    rows.sort(key=lambda row: (row.tags["status"] == "control", -_height(row)))
    return Table(
        "instrument", "The instrument: every rule's gradient at a fixed policy", INSTRUMENT, tuple(rows), _HINTS,
        ("status", "bench", "policy"),
    )  # fmt: skip


def _height(row: Row) -> float:
    """What the table is ordered by: the headline, and rows without it at the end."""
    found = row.cells[INSTRUMENT.index("efficiency")].sort
    return found if isinstance(found, float) else -math.inf


def of_rule(record: CreditRecord, name: str) -> RuleCredit | None:
    """What a record tells of a rule."""
    return next((one for one in record.rules if one.name == name), None)


def over_shuffle(record: CreditRecord, one: RuleCredit) -> Any:
    """The estimate of a rule's efficiency relative to its shuffle's, along the direction of the headline."""
    return one.numbers.get(record.headline.replace("efficiency", "over_shuffle"))


def _instrument_row(record: CreditRecord, one: RuleCredit, pages: Mapping[str, str]) -> Row:
    shuffle = of_rule(record, SHUFFLE.format(one.name))
    numbers, removed = one.numbers, record.headline.replace("efficiency", "removed")
    reference = one.name == REFERENCE
    headline = numbers.get(record.headline)
    cells = (
        words(one.name, pages.get(one.name, "")),
        words(record.title),
        Cell("reference", 1.0) if reference else estimate(headline, 1.0),
        estimate(shuffle.numbers.get(record.headline) if shuffle else None),
        estimate(over_shuffle(record, one), 1.0),
        estimate(numbers.get(removed)),
        estimate(numbers.get("decisive"), 0.5),
        estimate(numbers.get("rank_right"), 0.0),
        estimate(numbers.get("rank_wrong"), 0.0),
        number(one.mass),
        number(one.cost, 0, percent=True),
    )
    status = "control" if one.control else "reference" if reference else "ranked"
    return Row(cells, {"status": status, "bench": record.bench, "policy": record.model})


def training_table(board: pd.DataFrame, pages: Mapping[str, str], controls: Mapping[str, bool]) -> Table:
    """A row a rule under a base and a measurement; `controls` tells of every rule's name whether it is one."""
    rows = [_training_row(arm, pages, controls) for arm in board.to_dict("records")]
    return Table(
        "training", "Training: the same loop, data and budget", TRAINING, tuple(rows), _HINTS,
        ("status", "bench", "policy", "base"),
    )  # fmt: skip


def _training_row(arm: Mapping[str, Any], pages: Mapping[str, str], controls: Mapping[str, bool]) -> Row:
    section, measure = json.loads(arm["section"]), json.loads(arm["measure"])
    base, source = json.loads(arm["base"]), section["source"]
    rule = arm["shaper"]["name"] if arm["shaper"] else "not trained"
    reference = rule == REFERENCE
    shuffles = [found.interval for _, found in arm["shuffles"]]
    cells = (
        words(label(arm["shaper"]), pages.get(rule, "")),
        words(base["name"] if base else ""),
        words(f"{source['bench']} ({kind(source)})" if source else ""),
        words(f"{measure['bench']} ({kind(measure)})"),
        words(section["model"]["name"]),
        number(section.get("steps"), 0),
        Cell(str(len(arm["by_seed"])), len(arm["by_seed"])),
        points(arm["interval"]),
        Cell("reference", 0.0) if reference else points(arm["difference"] and arm["difference"].interval, True),
        points(shuffles[0] if shuffles else None, True),
        number(100 * arm["before"]),
        number(arm["weight_std"], 3),
        number(arm["ess"], 3),
        number(arm["tokens"], 0),
        number(arm["seconds"], 0),
        words(", ".join((*arm["flags"], *filter(None, [arm["unranked"]])))),
    )
    status = (
        "control" if controls.get(rule) else "reference" if reference else "ranked" if arm["ranked"] else "unranked"
    )
    tags = {"bench": measure["bench"], "policy": section["model"]["name"], "base": base["name"] if base else "none"}
    return Row(cells, {"status": status, **tags})


def answers(records: Sequence[CreditRecord], board: pd.DataFrame) -> list[str]:
    """The answer in words, a sentence or two for each measurement."""
    return [*map(_instrument_answer, records), *_training_answers(board)]


def _instrument_answer(record: CreditRecord) -> str:
    ranked = [one for one in record.rules if not one.control and one.name != REFERENCE]
    told = {one.name: found for one in ranked if (found := one.numbers.get(record.headline))}
    above = [name for name, found in told.items() if side(found.low, found.high, 1.0) == "up"]
    below = sum(side(found.low, found.high, 1.0) == "down" for found in told.values())
    above.sort(key=lambda name: -told[name].value)
    own = [name for name in above if (one := of_rule(record, name)) and _above(over_shuffle(record, one))]
    oracle = of_rule(record, "oracle_exact")
    best = oracle and oracle.numbers.get(record.headline)
    return (
        f"The instrument, {record.title}: of {len(told)} rules {_listed(above)} above uniform"
        + (f" ({', '.join(f'{name} {told[name].value:.2f}' for name in above)} times its efficiency)" if above else "")
        + f" and {below} below, by plain 95% intervals"
        + (f"; of those above, {_listed(own)} above {'its' if len(own) == 1 else 'their'} own shuffle" if above else "")
        + (f". The exact token advantage itself stands at {best.value:.2f}." if best else ".")
    )


def _above(found: Any) -> bool:
    return found is not None and found.low > 1


def _listed(names: Sequence[str]) -> str:
    """Who stands somewhere, as the beginning of a sentence about it."""
    if not names:
        return "none stands"
    verb = "stands" if len(names) == 1 else "stand"
    return f"{', '.join(names[:-1])}{' and ' * (len(names) > 1)}{names[-1]} {verb}"


def _training_answers(board: pd.DataFrame) -> Iterator[str]:
    for (section, measure), arms in board.groupby(["section", "measure"], sort=True) if len(board) else ():
        trained, asked = json.loads(section), json.loads(measure)
        compared = [arm for arm in arms.to_dict("records") if arm["ranked"] and arm["difference"]]
        if not compared:
            continue
        sides = {label(arm["shaper"]): _difference_side(arm) for arm in compared}
        above, below = ([name for name, where in sides.items() if where == one] for one in ("up", "down"))
        rows = "1 row" if len(compared) == 1 else f"{len(compared)} rows"
        yield (
            f"Training of {trained['model']['name']} on {trained['source']['bench']} for {trained['steps']} steps, "
            f"measured on {asked['bench']} ({kind(asked)}): of {rows} with three paired seeds or more "
            f"{_listed(above)} above uniform and {_listed(below)} below."
        )


def _difference_side(arm: Mapping[str, Any]) -> str:
    found = arm["difference"].interval
    return side(found.low, found.high, 0.0)
