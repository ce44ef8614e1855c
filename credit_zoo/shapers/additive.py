"""Image similarity and entropy are added on one scale, without PEPO's gate.

    w_t    = T * softmax_t((mm[VS]_t + mm[H]_t) / temperature)    mm: min-max over the response's valid tokens
    A[b,t] = A[b] * w_t                                           VS visual similarity, H entropy [nats]

Paper: PEPO, arXiv:2603.22847, ablation "additive fusion". Reference: xzxxntxdy/PEPO@2b1e788, which has no such mode.
Reduces to `uniform` as the temperature grows (`inf` is allowed).
Departs from the paper: no equation of this ablation is known to us; this is PEPO's own fused signal in PEPO's own
softmax. It spans up to [0, 2], so its weights spread much further than PEPO's at the same temperature: compare at a
temperature that matches the standard deviation of the weights.
"""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from credit_zoo.errors import check_range
from credit_zoo.registry import SHAPERS
from credit_zoo.shapers import _gated_fusion as fusion
from credit_zoo.types import ShaperInputs


@SHAPERS.register(
    "additive",
    paper="arXiv:2603.22847",
    reference="xzxxntxdy/PEPO@2b1e788",
    needs=("visual_similarity", "entropy"),
    preserves_mean=True,
    preserves_sign=True,
    reduces_to=("uniform", {"temperature": float("inf")}),
)
@dataclass(frozen=True)
class Additive:
    """The setting of the softmax."""

    temperature: float = 1.0  # dimensionless, (0, inf]; larger = flatter weights

    def __post_init__(self) -> None:
        check_range("additive.temperature", self.temperature, 0, open_low=True)

    def __call__(self, x: ShaperInputs) -> Float[Tensor, "B T"]:
        scores = fusion.fused(x.signals.visual_similarity, x.signals.entropy, x.mask)
        return x.weighted(fusion.mean_one(scores, x.mask, self.temperature))
