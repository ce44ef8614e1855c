"""Tokens that look at the image get more credit, the more so where the policy is uncertain.

    g_t    = mm[VS]_t + mm[H]_t - mean_t(mm[VS] + mm[H])      mm: min-max over the response's valid tokens
    w_t    = T * softmax_t(VS_t * (1 + alpha * tanh(g_t)) / temperature)
    A[b,t] = A[b] * w_t                                       VS visual similarity, H entropy [nats]

Paper: PEPO, arXiv:2603.22847, token weight and gate; the linear schedule of the paper is `train.shaper_schedule`.
Reference: xzxxntxdy/PEPO@2b1e788, whose arithmetic on its own signals is `pepo_release`.
Reduces to `perception` at alpha = 0, and to `uniform` as the temperature grows.
Departs from the paper: a temperature, which the paper's equation does not have (1 = the paper's form; the released
scripts run 1.8). To first order w - 1 = centred(VS * gate) / temperature, so the weights spread only as far as VS does.
"""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from credit_zoo.errors import check_range
from credit_zoo.registry import SHAPERS
from credit_zoo.shapers import _gated_fusion as fusion
from credit_zoo.types import ShaperInputs


@SHAPERS.register(
    "pepo",
    paper="arXiv:2603.22847",
    reference="xzxxntxdy/PEPO@2b1e788",
    needs=("visual_similarity", "entropy"),
    preserves_mean=True,
    preserves_sign=True,
    reduces_to=("perception", {"alpha": 0.0}),
)
@dataclass(frozen=True)
class Pepo:
    """Settings of the gate and of the softmax."""

    alpha: float = 0.05  # strength of the gate, dimensionless, [0, 1]; 0 = perception only
    temperature: float = 1.0  # dimensionless, (0, inf); larger = flatter weights

    def __post_init__(self) -> None:
        check_range("pepo.alpha", self.alpha, 0, 1)
        check_range("pepo.temperature", self.temperature, 0, open_low=True)

    def __call__(self, x: ShaperInputs) -> Float[Tensor, "B T"]:
        similarity, entropy = x.signals.visual_similarity, x.signals.entropy
        return x.weighted(fusion.gated(similarity, entropy, x.mask, self.alpha, self.temperature))
