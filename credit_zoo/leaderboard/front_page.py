"""The leaderboard's front page: the answer, the instrument, the matrix, curves, costs, and where to read on."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from credit_zoo.credit import CreditRecord
from credit_zoo.leaderboard.answer import answer
from credit_zoo.leaderboard.curves import LEARNING_CURVES
from credit_zoo.leaderboard.definitions import DEFINITIONS
from credit_zoo.leaderboard.instrument_tables import instrument_summary
from credit_zoo.leaderboard.matrix import matrices
from credit_zoo.leaderboard.prediction import Prediction, prediction_text
from credit_zoo.leaderboard.sections import FOLDER, GENERATED, file_of, title_of
from credit_zoo.leaderboard.tables import TABLE_QUESTIONS, TABLE_STEPS
from credit_zoo.results import bullets, distinct_labels, escape

FOREST = "credit.svg"  # beside the page
REPORTED = "reported.md"  # among the sections
INSTRUMENT = "instrument.md"
_FOREST = (
    f"![Efficiency of every rule with its interval, from shuffle to oracle, a panel a policy and twin]({FOREST})\n"
)
_CURVES = (
    f"![Training accuracy of every rule against cost, a panel a setup, bands over the seeds]({LEARNING_CURVES})\n\n"
    "Cost: how often the policy read or drew a token, in millions: 1 to sample, 3 to learn from (forward and "
    "backward), 1 for each extra pass of the rule. It is the same on every machine.\n"
)

_PREDICTION = (
    "Efficiency at the policy that training starts from, against what the rule gained there over `uniform`: the paired "
    "difference in mean training accuracy. The interval draws seeds anew and every efficiency from its own error.\n"
)


@dataclass(frozen=True)
class Contents:
    """What the page is made from: the arms, the instrument's records, the text on costs, whether there are pictures,
    and what was left out: damaged records, trials, and archived files by folder.
    """

    board: pd.DataFrame
    credit: Sequence[CreditRecord]
    costs: str
    forest: bool
    curves: bool
    reported: bool
    predicted: Sequence[Prediction] = ()
    problems: Sequence[str] = ()
    trials: Sequence[str] = ()
    archived: Mapping[str, int] | None = None


def front_page(found: Contents) -> str:
    """The whole page, in the order in which a reader asks."""
    parts = ["# Leaderboard\n", f"{GENERATED}\n", answer(found.board, found.credit, found.predicted)]
    parts += ["## The instrument: how good is a rule's gradient?\n", *([_FOREST] if found.forest else [])]
    parts += [instrument_summary(found.credit)]
    parts += ["## Training: rules by benchmarks\n", matrices(found.board)]
    if found.predicted:
        parts += ["## Does the instrument predict learning?\n", _PREDICTION, prediction_text(found.predicted)]
    parts += ["## Learning curves against cost\n", _CURVES] if found.curves else []
    parts += ["## What a rule costs\n", found.costs]
    parts += ["## Full tables\n", _links(found)]
    parts += _left_out(found)
    return "\n".join([*parts, DEFINITIONS])


def _links(found: Contents) -> str:
    """A line for each page; sections of one name by what tells them apart."""
    keys = sorted(set(found.board["section"])) if len(found.board) else []
    pieces = [{"name": title_of(json.loads(key)), "settings": _flat(json.loads(key))} for key in keys]
    lines = [
        f"- [{escape(title)}]({FOLDER}/{file_of(key)})\n"
        for key, title in zip(keys, distinct_labels(pieces), strict=True)
    ]
    if found.credit:
        lines += [f"- [The instrument, rule by rule, with intervals]({FOLDER}/{INSTRUMENT})\n"]
        lines += ["- [The instrument, all columns](CREDIT.md)\n"] if found.forest else []
    lines += [f"- [Reported by papers, not run here]({FOLDER}/{REPORTED})\n"] if found.reported else []
    return "".join(lines) or "No runs yet.\n"


def _flat(section: Mapping[str, object], before: str = "") -> dict[str, object]:
    """All that tells sections apart, nested names joined by dots."""
    flat: dict[str, object] = {}
    for name, value in section.items():
        flat |= _flat(value, f"{before}{name}.") if isinstance(value, Mapping) else {f"{before}{name}": value}
    return flat


def _left_out(found: Contents) -> list[str]:
    """What is not on the pages, and why."""
    parts = []
    if found.trials:
        least = f"of fewer than {TABLE_STEPS} steps or {TABLE_QUESTIONS} questions"
        parts.append(f"Not shown, for they only try whether it runs ({least}): {escape(', '.join(found.trials))}.\n")
    if found.archived:
        folders = [f"{count} in `{name}`" for name, count in sorted(found.archived.items())]
        parts.append(f"Archived records, of which nothing is mixed in above: {escape(', '.join(folders))}.\n")
    if found.problems:
        parts += ["## Problems\n", "Left out above:\n", bullets(found.problems)]
    return parts
