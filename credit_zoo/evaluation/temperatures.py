"""What a lower temperature alone gives: accuracy at T = 1, 0.6, 0.3 and 0, of any model on any set.

A policy whose mistakes are noise around a right mode gets better whenever it is sharpened, by training or by dividing
its logits. What reinforcement reaches says something of reward only where it lies above this row.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from credit_zoo.evaluation.harness import EvalConfig

TEMPERATURES = (1.0, 0.6, 0.3, 0.0)  # of the softmax; 0 is greedy


def passes(settings: "EvalConfig") -> "Iterator[tuple[float, EvalConfig]]":
    """Each temperature of the row with the settings that measure it: one answer at 0, `samples` elsewhere."""
    for temperature in TEMPERATURES:
        samples = settings.samples if temperature else 1
        yield temperature, replace(settings, temperature=temperature, samples=samples, greedy=False)
