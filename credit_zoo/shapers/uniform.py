"""Every token gets the response's advantage: plain GRPO.

    A[b,t] = A[b]

Paper: DeepSeekMath, arXiv:2402.03300, section 4.1. The rule that every other one is compared with.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from credit_zoo.registry import SHAPERS
from credit_zoo.types import ShaperInputs


@SHAPERS.register("uniform", paper="arXiv:2402.03300", preserves_mean=True, preserves_sign=True)
@dataclass(frozen=True)
class Uniform:
    """No settings."""

    def __call__(self, x: ShaperInputs) -> Float[Tensor, "B T"]:
        return x.weighted(torch.ones_like(x.mask, dtype=torch.float32))
