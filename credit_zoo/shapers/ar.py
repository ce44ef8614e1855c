"""Likely tokens get more credit, so that rare ones do not swamp the gradient.

    A[b,t] = A[b] * (alpha * pi[b,t] + 1 - alpha)            pi probability of the sampled token, (0, 1]

Paper: AR-Lopti, arXiv:2505.12929, advantage reweighting. Reference: zhyang2226/AR-Lopti@cbeb333.
Reports: rare tokens have the largest gradients and dominate the update; alpha = 0.2 alone, 0.3 beside Lopti.
Implemented: the weight on both signs, from the probability under the policy that sampled.
Departs: Lopti, two optimizer steps a batch, is left out. The mean weight is below 1, which lowers the learning rate,
as in the release: `renormalised(ar)` undoes that. Reduces to `uniform` at alpha = 0.
"""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from credit_zoo.errors import check_range
from credit_zoo.registry import SHAPERS
from credit_zoo.types import ShaperInputs


@SHAPERS.register(
    "ar",
    paper="arXiv:2505.12929",
    reference="zhyang2226/AR-Lopti@cbeb333",
    needs=("logp",),
    preserves_sign=True,
    reduces_to=("uniform", {"alpha": 0.0}),
)
@dataclass(frozen=True)
class AdvantageReweighting:
    """How much the probability counts."""

    alpha: float = 0.2  # share of the weight that follows the probability, [0, 1]; 0 = uniform

    def __post_init__(self) -> None:
        check_range("ar.alpha", self.alpha, 0, 1)

    def __call__(self, x: ShaperInputs) -> Float[Tensor, "B T"]:
        return x.weighted(self.alpha * x.signals.logp.clamp(max=0).exp() + 1 - self.alpha)
