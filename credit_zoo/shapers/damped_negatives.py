"""Heuristic: wrong answers count for less than right ones, whatever their tokens.

    A[b,t] = A[b]               where A[b] > 0
    A[b,t] = scale * A[b]       elsewhere

Paper: none. What a rule that treats the two signs differently has to beat: where wrong answers hold unlikely tokens,
whose gradients are long, a baseline below the group's mean has less variance, and this is one. Never ranked.
Reduces to `uniform` at scale = 1.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from credit_zoo.errors import check_range
from credit_zoo.registry import SHAPERS
from credit_zoo.types import ShaperInputs


@SHAPERS.register(
    "damped_negatives", paper="none", control=True, preserves_sign=True, reduces_to=("uniform", {"scale": 1.0})
)
@dataclass(frozen=True)
class DampedNegatives:
    """How much wrong answers count."""

    scale: float = 0.3  # of advantages that are not above 0, [0, 1]; 1 = uniform

    def __post_init__(self) -> None:
        check_range("damped_negatives.scale", self.scale, 0, 1)

    def __call__(self, x: ShaperInputs) -> Float[Tensor, "B T"]:
        scale = torch.where(x.advantage > 0, 1.0, self.scale)[:, None]
        return x.weighted(scale.expand(x.mask.shape))
