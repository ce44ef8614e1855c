"""What the instrument tells, in words: counted over its measurements; the tables have each."""

from collections.abc import Sequence

import numpy as np

from credit_zoo.credit import CreditRecord, judged
from credit_zoo.leaderboard.wording import listed, many
from credit_zoo.results import REFERENCE, Difference


def instrument_above(credit: Sequence[CreditRecord]) -> list[str]:
    """What the instrument tells above `uniform`, counted over its measurements; the tables have each."""
    seen = [one for one in credit if one.sees]
    if not seen:
        return []
    rules = {one.name for record in seen for one in record.rules if not one.control} - {REFERENCE}
    what = f"efficiency of the gradient; {many(len(seen), 'measurement')} of policies, twins and sizes of groups"
    above = _counted(seen, 1)
    tells = f"tells above `{REFERENCE}` {listed(above)}" if above else f"tells no rule above `{REFERENCE}`"
    return [f"The instrument ({what}, {many(len(rules), 'rule')}) {tells}."]


def instrument_besides(credit: Sequence[CreditRecord]) -> list[str]:
    """What else the instrument tells, and where it sees nothing."""
    seen, blind = [one for one in credit if one.sees], [one.title for one in credit if not one.sees]
    own, below, controls = _over_shuffle(seen), _counted(seen, -1), _counted(seen, 1, controls=True)
    said = []
    if own:
        where = f"Of the measurements that tell a rule above `{REFERENCE}` and have its own shuffle"
        said.append(f"{where}, so many tell it above that too: {listed(own)}.")
    if controls:
        said.append(f"Of the controls the instrument tells above `{REFERENCE}` {listed(controls)}.")
    if below:
        said.append(f"The instrument tells below `{REFERENCE}` {listed(below)}.")
    if blind:
        where = listed([f"`{one}`" for one in blind])
        said.append(f"At {where} it sees nothing: `{REFERENCE}`'s own signal is not told from 0.")
    return said


def _counted(seen: Sequence[CreditRecord], sign: int, controls: bool = False) -> list[str]:
    """Rules that are told on one side, with how many of their measurements tell them, and their range in all."""
    found: dict[str, list[Difference]] = {}
    for record in seen:
        control = {one.name: one.control for one in record.rules}
        for name, verdict in judged(record).items():
            if control[name] == controls:
                found.setdefault(name, []).append(verdict.uniform)
    told = {name: sum(one.told == sign for one in every) for name, every in found.items()}
    values = {name: [one.value for one in every] for name, every in found.items()}
    order = sorted(filter(told.get, found), key=lambda name: (-told[name], -sign * np.median(values[name]), name))
    return [f"{name} ({told[name]} of {len(found[name])}; {_range(values[name])})" for name in order]


def _over_shuffle(seen: Sequence[CreditRecord]) -> list[str]:
    """Of the rules that are told above uniform somewhere: how often above their own shuffle too."""
    looked: dict[str, list[bool]] = {}
    for record in seen:
        control = {one.name: one.control for one in record.rules}
        for name, verdict in judged(record).items():
            if verdict.uniform.told > 0 and verdict.shuffle is not None and not control[name]:
                looked.setdefault(name, []).append(verdict.shuffle.told > 0)
    order = sorted(looked, key=lambda name: (-sum(looked[name]), name))
    return [f"{name} ({sum(looked[name])} of {len(looked[name])})" for name in order]


def _range(values: Sequence[float]) -> str:
    ends = f"{min(values):.2f}", f"{max(values):.2f}"
    return ends[0] if ends[0] == ends[1] else f"{ends[0]} to {ends[1]}"
