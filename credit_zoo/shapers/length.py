"""Heuristic: short answers to a prompt get more credit than long ones.

    w[b]   = T[b]^(-power) / mean_i T[i]^(-power)            T valid tokens; i: the answers to the prompt of b
    A[b,t] = A[b] * w[b]

Paper: none. A rule whose weights follow length has to beat length itself. Never ranked.
Implemented: one weight a response, 1 on average over the prompt's answers. Reduces to `uniform` at power = 0; a
negative power favours long answers.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from credit_zoo import masked
from credit_zoo.errors import check_range
from credit_zoo.registry import SHAPERS
from credit_zoo.shapers import _positions as positions
from credit_zoo.types import ShaperInputs


@SHAPERS.register(
    "length",
    paper="none",
    scope="group",
    control=True,
    preserves_sign=True,
    reduces_to=("uniform", {"power": 0.0}),
)
@dataclass(frozen=True)
class Length:
    """How much length counts."""

    power: float = 1.0  # of 1 / length, [-4, 4]; 0 = uniform

    def __post_init__(self) -> None:
        check_range("length.power", self.power, -4, 4)

    def __call__(self, x: ShaperInputs) -> Float[Tensor, "B T"]:
        peers = positions.siblings(x)
        size = masked.count(x.mask).clamp(min=1) ** -self.power
        mean = peers @ size / peers.sum(1, keepdim=True).clamp(min=1)
        return x.weighted((size / torch.where(mean > 0, mean, 1.0)).expand(x.mask.shape))
