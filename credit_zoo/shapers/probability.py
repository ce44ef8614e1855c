"""Only tokens that the policy was not sure of learn.

    A[b,t] = A[b] * [ pi[b,t] < below ]                      pi probability of the sampled token

Paper: SPO, arXiv:2505.23564, probability mask. Reference: AIFrameResearch/SPO@b9fc6a2.
Reports: tokens drawn with a probability of 0.9 or more are no decisions; they are left out of the loss.
Implemented: the mask alone, beside any estimator of the advantage.
Departs: SPO's advantages of segments need rollouts of their own. It averages over the tokens that are kept; here the
loss goes on counting every token: `renormalised(probability)` undoes that per response. What is below 0.9 depends on
the sampling temperature. Reduces to `uniform` for a bound above 1.
"""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from credit_zoo.errors import check_range
from credit_zoo.registry import SHAPERS
from credit_zoo.types import ShaperInputs


@SHAPERS.register(
    "probability",
    paper="arXiv:2505.23564",
    reference="AIFrameResearch/SPO@b9fc6a2",
    needs=("logp",),
    preserves_sign=True,
    reduces_to=("uniform", {"below": 2.0}),
)
@dataclass(frozen=True)
class Probability:
    """The bound."""

    below: float = 0.9  # probability from which on a token is left out, (0, inf); above 1 none is

    def __post_init__(self) -> None:
        check_range("probability.below", self.below, 0, open_low=True)

    def __call__(self, x: ShaperInputs) -> Float[Tensor, "B T"]:
        return x.weighted((x.signals.logp.clamp(max=0).exp() < self.below).float())
