"""The instrument on the leaderboard: each rule in one row on the front page, each measurement on a page of its own."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from credit_zoo.credit import CreditRecord, RuleCredit, in_order, judged, number, over_shuffle, rule_label
from credit_zoo.credit import cell as estimate_cell
from credit_zoo.leaderboard.matrix import training_results
from credit_zoo.leaderboard.sections import GENERATED
from credit_zoo.leaderboard.verdicts import mark
from credit_zoo.results import REFERENCE, escape, grid, p_text

COLUMNS = 3  # records side by side
DETAILED = 4  # records whose own table stands beside the overview; the page of credit has all
_HEAD = (
    *("rule", "efficiency x uniform [95%]", "p, Holm", "own shuffle", "over it [95%]"),
    *("AUROC", "rank, right", "rank, wrong", "trained, vs uniform"),
)
_SUMMARY_HEAD = (
    *("rule", "measurements", "told above", "told below", "efficiency: least", "median", "most"),
    "told above own shuffle",
)
_EFFICIENCY = (
    "Efficiency: usable signal squared over noise of a rule's gradient at a fixed policy, times that of `uniform` on "
    "the same batches: at 1.25 it does with 80% of the samples."
)
_SUMMARY = (
    f"{_EFFICIENCY} Measured at several policies, twins and sizes of groups; told: Holm's adjusted p < .05 over the "
    "rules of one measurement.\n"
)
_LEGEND = (
    f"{_EFFICIENCY} \u25b2 above and \u25bc below 1, told by Holm's adjusted "
    "p < .05 over the rules of the column; \u25b3 and \u25bd by the plain interval alone; s: told above its "
    "own shuffle too.\n"
)
_DETAILS = (
    "AUROC: of |credit| for the decisive token of wrong answers. rank: Spearman's correlation of credit with the exact "
    "token advantage A*, in right and in wrong answers. trained: the paired difference to `uniform` in points after "
    "training from these weights under grpo, on the same benchmark, where there are runs.\n"
)
EMPTY = "No measurements yet: `python -m credit_zoo.credit bench=geometry3k shapers=all nulls=true`.\n"


def instrument_summary(credit: Sequence[CreditRecord]) -> str:
    """Each rule in one row: how often it is told from `uniform`, and the range of its efficiency."""
    credit = [one for one in credit if one.sees]
    if not credit:
        return EMPTY
    verdicts = [judged(record) for record in credit]
    rows: list[tuple[tuple[bool, int, float], list[str]]] = []
    for name, control in in_order(credit):
        found = [told[name] for told in verdicts if name in told]
        if not found:
            continue
        values = sorted(one.uniform.value for one in found)
        median = float(np.median(values))
        above, below = (sum(one.uniform.told == sign for one in found) for sign in (1, -1))
        own = [one.shuffle.told > 0 for one in found if one.shuffle is not None]
        cells = [
            *(rule_label(name, control), str(len(found)), str(above or ""), str(below or "")),
            *(f"{one:.2f}" for one in (values[0], median, values[-1])),
            f"{sum(own)} of {len(own)}" if own else "",
        ]
        rows.append(((control, below - above, -median), cells))
    return f"{_SUMMARY}\n{grid(_SUMMARY_HEAD, [cells for _, cells in sorted(rows)])}"


def instrument_page(credit: Sequence[CreditRecord], board: pd.DataFrame) -> str:
    """The page of all measurements."""
    return f"# The instrument, rule by rule\n\n{GENERATED}\n\n{instrument_tables(credit, board)}"


def instrument_tables(credit: Sequence[CreditRecord], board: pd.DataFrame) -> str:
    """The overview in tables of a few columns, then a table for each of the first records."""
    if not credit:
        return EMPTY
    blind, credit = [one.title for one in credit if not one.sees], [one for one in credit if one.sees]
    parts = [_LEGEND]
    if blind:
        parts.append(f"Not shown, for `uniform`'s own signal is not told from 0 there: {escape('; '.join(blind))}.\n")
    for start in range(0, len(credit), COLUMNS):
        parts.append(_overview(credit[start : start + COLUMNS]))
    parts.append(_DETAILS)
    # What was trained from the same weights comes first.
    trained = [training_results(board, record.weights, record.bench) for record in credit]
    order = sorted(range(len(credit)), key=lambda place: (not trained[place], place))
    for place in order[:DETAILED]:
        parts.append(f"### {escape(credit[place].title)}\n")
        parts.append(f"{_compared(credit[place])}\n")
        parts.append(_details(credit[place], trained[place]))
    if len(credit) > DETAILED:
        parts.append(
            f"The other {len(credit) - DETAILED} measurements have their tables in [CREDIT.md](../CREDIT.md).\n"
        )
    return "\n".join(parts)


def _overview(credit: Sequence[CreditRecord]) -> str:
    verdicts = [judged(record) for record in credit]
    rows = []
    for name, control in in_order(credit):
        cells = [
            estimate_cell(number(record, name, record.headline), 2)
            + (mark(told[name].uniform, told[name].shuffle) if name in told else "")
            for record, told in zip(credit, verdicts, strict=True)
        ]
        rows.append([rule_label(name, control), *cells])
    along = ["" if record.headline == "efficiency" else " (along uniform)" for record in credit]
    return grid(["rule", *(f"{record.title}{way}" for record, way in zip(credit, along, strict=True))], rows)


def _compared(record: CreditRecord) -> str:
    """How many rules p is adjusted over, and how many batches are behind the numbers."""
    controls = {one.name for one in record.rules if one.control}
    told = judged(record)
    own = sum(name in controls for name in told)
    return (
        f"{record.batches} batches of {record.settings['prompts']} prompts; {len(told) - own} rules and {own} controls."
    )


def _details(record: CreditRecord, trained: Mapping[str, str]) -> str:
    told, by_name = judged(record), {one.name: one for one in record.rules}
    rows = []
    for name, _ in in_order([record]):
        one = by_name[name]
        shuffle = number(record, f"permuted({name})", record.headline) if name != REFERENCE else None
        verdict = told.get(name)
        rows.append(
            [
                rule_label(name, one.control),
                estimate_cell(one.numbers.get(record.headline), 2),
                p_text(verdict.uniform.adjusted) if verdict else "",
                "" if shuffle is None else f"{shuffle.value:.2f}",
                estimate_cell(over_shuffle(record, one), 2),
                *(_alone(one, column) for column in ("decisive", "rank_right", "rank_wrong")),
                trained.get(name, ""),
            ]
        )
    return grid(_HEAD, rows)


def _alone(one: RuleCredit, column: str) -> str:
    found = one.numbers.get(column)
    return "" if found is None else f"{found.value:.2f}"
