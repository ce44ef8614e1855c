"""Control: all tokens but the decisive one share the credit.

    A[b,t] = A[b] * T[b] * (1 - e[b,t]) / sum_t (1 - e[b,t])     e: largest |V(prefix, y_t) - V(prefix)|

Paper: none; the opposite of `oracle_exact`, with the same information. What wrong credit costs: the instrument must put
it far below `uniform`. A response of one token stays uniform. Never ranked.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from credit_zoo import masked
from credit_zoo.registry import SHAPERS
from credit_zoo.types import ShaperInputs


@SHAPERS.register(
    "anti_oracle",
    paper="none",
    needs=("truth_advantage",),
    control=True,
    preserves_mean=True,
    preserves_sign=True,
)
@dataclass(frozen=True)
class AntiOracle:
    """No settings."""

    def __call__(self, x: ShaperInputs) -> Float[Tensor, "B T"]:
        size = masked.fill(x.signals.truth_advantage.abs(), x.mask, -torch.inf)
        decisive = (size == size.amax(1, keepdim=True)) & x.mask
        others = x.mask & ~decisive
        others = torch.where(others.any(1, keepdim=True), others, x.mask)
        return x.weighted(masked.count(x.mask) / masked.count(others).clamp(min=1) * others)
