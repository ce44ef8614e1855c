"""The record as a table for a terminal."""

import math
from collections.abc import Sequence

from credit_zoo.credit.record import CreditRecord, RuleCredit, ordered

COLUMNS = {
    "efficiency": "efficiency",
    "adam_efficiency": "in Adam's",
    "removed": "noise removed",
    "by_uniform_efficiency": "along uniform",
    "cosine": "cosine",
    "snr": "SNR",
    "decisive": "AUROC decisive",
    "first_error": "first error",
    "rank_right": "rank, right",
    "rank_wrong": "rank, wrong",
}


def record_text(record: CreditRecord) -> str:
    """What was measured, uniform's noise, and a line a rule: numbers with half the width of their intervals."""
    facts = [
        f"{record.title}: {record.batches} batches of {record.settings['prompts']} prompts, "
        f"{record.responses} responses, accuracy {record.accuracy:.3f}, {record.length:.1f} tokens, "
        f"{record.live:.0%} with an advantage",
        f"direction: {record.direction}; {record.numbers} of {record.parameters} numbers kept, "
        f"error of a product {record.projection_error:.2%}; {record.seconds:.0f} s",
    ]
    noise = ", ".join(f"{name} {_number(one)}" for name, one in record.noise.items())
    facts.append(f"uniform's noise: {noise}")
    if record.way is not None:
        exact = _number(record.way.exact.get("efficiency"))
        facts.append(
            f"closed form: V {record.way.closed:.3f}, sampled {record.way.sampled:.3f}, {record.way.another:.0%} of "
            f"right answers came another way; without any sampling noise {exact} x uniform"
        )
    head = ["rule", *(COLUMNS[name] for name in _columns(record)), "mass", "cost"]
    if record.monte_carlo:
        sampled = ", ".join(f"{name} {_number(one)}" for name, one in record.monte_carlo.items())
        facts.append(f"values by Monte Carlo against the closed form: {sampled}")
    return "\n".join([*facts, "", _aligned([head, *(_row(record, one) for one in ordered(record))])])


def _columns(record: CreditRecord) -> list[str]:
    """The headline first; what is told along the closed form only where that sees most right answers."""
    closed = ("efficiency", "adam_efficiency", "removed")
    others = [name for name in COLUMNS if name not in ("by_uniform_efficiency", *closed)]
    return [*closed, *others] if record.headline == "efficiency" else [record.headline, *others]


def _row(record: CreditRecord, one: RuleCredit) -> list[str]:
    numbers = [_number(one.numbers.get(name)) for name in _columns(record)]
    return [f"{one.name}{' (control)' if one.control else ''}", *numbers, f"{one.mass:.2f}", f"{one.cost:.0%}"]


def _number(one: object) -> str:
    if one is None or not math.isfinite(one.value):  # type: ignore[attr-defined]
        return "-"
    return f"{one.value:.3f} +- {one.high - one.value:.3f}"  # type: ignore[attr-defined]


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)
