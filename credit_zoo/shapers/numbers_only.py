"""Heuristic: only tokens that hold a digit learn.

    A[b,t] = A[b] * T[b] * [ the token's text has a digit ] / n[b]       n[b] such tokens, of T[b]

Paper: none. In mathematics most of what can be wrong is a number; a rule that does not beat it has found no more.
Never ranked.
Implemented: the tokens share the response's credit, so that the mean stays; a response without digits is left
uniform.
"""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from credit_zoo.registry import SHAPERS
from credit_zoo.shapers import _positions as positions
from credit_zoo.types import ShaperInputs


@SHAPERS.register(
    "numbers_only", paper="none", needs=("digit",), control=True, preserves_mean=True, preserves_sign=True
)
@dataclass(frozen=True)
class NumbersOnly:
    """No settings."""

    def __call__(self, x: ShaperInputs) -> Float[Tensor, "B T"]:
        return x.weighted(positions.evenly(x.signals.digit == 1, x.mask))
