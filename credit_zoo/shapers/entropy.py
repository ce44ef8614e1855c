"""Uncertain tokens get more credit, whether or not they look at the image.

    w_t    = T * softmax_t(mm[H]_t / temperature)             mm: min-max over the response's valid tokens
    A[b,t] = A[b] * w_t                                       H entropy [nats]

Paper: PEPO, arXiv:2603.22847, ablation "exploration-only". Reference: xzxxntxdy/PEPO@2b1e788, which has no such mode.
Reduces to `uniform` as the temperature grows (`inf` is allowed).
Departs from the paper: no equation of this ablation is known to us. This is the reading that keeps PEPO's two steps
for its entropy, min-max and sum-to-T softmax. Raw nats in the softmax would give a handful of tokens all the credit.
With mm[H] spanning [0, 1] the weights still spread by up to a factor e, much further than PEPO's: compare at a
temperature that matches the standard deviation of the weights.
"""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from credit_zoo import masked
from credit_zoo.errors import check_range
from credit_zoo.registry import SHAPERS
from credit_zoo.shapers import _gated_fusion as fusion
from credit_zoo.types import ShaperInputs


@SHAPERS.register(
    "entropy",
    paper="arXiv:2603.22847",
    reference="xzxxntxdy/PEPO@2b1e788",
    needs=("entropy",),
    preserves_mean=True,
    preserves_sign=True,
    reduces_to=("uniform", {"temperature": float("inf")}),
)
@dataclass(frozen=True)
class Entropy:
    """The setting of the softmax."""

    temperature: float = 1.0  # dimensionless, (0, inf]; larger = flatter weights

    def __post_init__(self) -> None:
        check_range("entropy.temperature", self.temperature, 0, open_low=True)

    def __call__(self, x: ShaperInputs) -> Float[Tensor, "B T"]:
        uncertainty = masked.minmax(x.signals.entropy, x.mask, fusion.EPS)
        return x.weighted(fusion.mean_one(uncertainty, x.mask, self.temperature))
