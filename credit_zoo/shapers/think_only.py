"""Heuristic: only the tokens of the thought before the answer learn.

    A[b,t] = A[b] * T[b] * [ section[b,t] = 0 ] / n[b]        n[b] tokens of that section, of T[b]

Paper: none. A rule that does not beat it has found no more than the response's tags tell. Never ranked.
Implemented: the tokens share the response's credit, so that the mean stays. A response without such a token, as one
that has no tags, is left uniform. Tags and the stop token are of neither section.
"""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from credit_zoo.registry import SHAPERS
from credit_zoo.shapers import _positions as positions
from credit_zoo.types import ShaperInputs


@SHAPERS.register(
    "think_only", paper="none", needs=("section",), control=True, preserves_mean=True, preserves_sign=True
)
@dataclass(frozen=True)
class ThinkOnly:
    """No settings."""

    def __call__(self, x: ShaperInputs) -> Float[Tensor, "B T"]:
        return x.weighted(positions.evenly(x.signals.section == 0, x.mask))
