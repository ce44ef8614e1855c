"""Which rules the instrument tells from `uniform` and from their own shuffle, counting how many it compared."""

from collections.abc import Mapping
from dataclasses import dataclass

from credit_zoo.credit.estimates import Estimate
from credit_zoo.credit.record import CreditRecord, RuleCredit
from credit_zoo.credit.settings import REFERENCE
from credit_zoo.results import Difference, compared


@dataclass(frozen=True)
class RuleVerdict:
    """A rule's efficiency against `uniform`'s, and relative to its own shuffle's where that was measured: against 1."""

    uniform: Difference
    shuffle: Difference | None


def is_shuffle(name: str) -> bool:
    """Whether a row is the shuffle of a rule, which stands beside that and not on its own."""
    return name.startswith("permuted(")


def number(record: CreditRecord, rule: str, name: str) -> Estimate | None:
    """A number of a rule by its name."""
    return next((one.numbers.get(name) for one in record.rules if one.name == rule), None)


def over_shuffle(record: CreditRecord, one: RuleCredit) -> Estimate | None:
    """The efficiency relative to the rule's own shuffle, along the direction that ranks."""
    return one.numbers.get(record.headline.replace("efficiency", "over_shuffle"))


def judged(record: CreditRecord) -> dict[str, RuleVerdict]:
    """The verdict on each rule with an efficiency; rules and controls are families apart, shuffles are in none."""
    found: dict[str, RuleVerdict] = {}
    for control in (False, True):
        family = [one for one in record.rules if one.control is control and one.name != REFERENCE]
        family = [one for one in family if not is_shuffle(one.name)]
        uniform = _compared(record, {one.name: one.numbers.get(record.headline) for one in family})
        shuffle = _compared(record, {one.name: over_shuffle(record, one) for one in family})
        found |= {name: RuleVerdict(difference, shuffle.get(name)) for name, difference in uniform.items()}
    return found


def _compared(record: CreditRecord, numbers: Mapping[str, Estimate | None]) -> dict[str, Difference]:
    known = {name: (one.value, one.low, one.high) for name, one in numbers.items() if one is not None}
    return compared(known, 1.0, dict.fromkeys(known, record.batches - 1))
