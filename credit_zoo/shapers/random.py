"""Control: credit at random, as positive weights that know nothing.

    A[b,t] = A[b] * T[b] * u[b,t] / sum_t u[b,t]             u exponential, drawn from the seed and the response's ids

Paper: none. Each share of the credit is as likely as any other: a rule has to beat noise of its own spread. Never
ranked.
Implemented: the draws follow from a hash of the seed and of the response's valid token ids in their order, so that
padding, the rows' order, micro-batches and processes leave them alone.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from credit_zoo import masked
from credit_zoo.errors import check_range
from credit_zoo.registry import SHAPERS
from credit_zoo.shapers._seeds import seed_of
from credit_zoo.types import ShaperInputs


@SHAPERS.register("random", paper="none", control=True, preserves_mean=True, preserves_sign=True)
@dataclass(frozen=True)
class Random:
    """The seed of the draws."""

    seed: int = 0  # of the weights that are drawn, [0, inf)

    def __post_init__(self) -> None:
        check_range("random.seed", self.seed, 0)

    def __call__(self, x: ShaperInputs) -> Float[Tensor, "B T"]:
        drawn = torch.zeros(x.mask.shape, device=x.mask.device)
        for row, valid in enumerate(x.mask):
            generator = torch.Generator().manual_seed(seed_of(self.seed, x.ids[row, valid]))
            uniform = torch.rand(int(valid.sum()), generator=generator, dtype=torch.float64)
            drawn[row, valid] = -(1 - uniform).log().float().to(drawn.device)
        return x.weighted(drawn / masked.mean(drawn, x.mask).clamp(min=torch.finfo(torch.float32).tiny))
