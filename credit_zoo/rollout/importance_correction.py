"""What sampler and trainer disagree on, and its correction.

The engine that samples computes in another order, or precision, than the trainer, so that responses come from a
policy that is not quite the one that is trained. Per token, of the policy before the update:

    r[b,t] = exp(logp_trainer[b,t] - logp_sampler[b,t])          w[b,t] = min(r[b,t], cap)

The token's advantage is multiplied by w, without gradient (truncated importance sampling: Ionides 2008,
doi:10.1198/106186008X320456, for tokens as in "Your Efficient RL Framework Secretly Brings You Off-Policy RL
Training", Yao et al. 2025).
"""

from dataclasses import astuple, dataclass

from jaxtyping import Bool, Float
from torch import Tensor

from credit_zoo import masked


@dataclass(frozen=True)
class SamplerMismatch:
    """Sums over valid tokens, which add up over micro-batches and processes: tokens, raw ratios, ratios above the
    cap, truncated ratios and their squares, absolute differences of log-probabilities [nats].
    """

    tokens: float = 0.0
    ratio: float = 0.0
    truncated: float = 0.0
    weight: float = 0.0
    square: float = 0.0
    difference: float = 0.0

    def __add__(self, other: "SamplerMismatch") -> "SamplerMismatch":
        return SamplerMismatch(*(one + two for one, two in zip(astuple(self), astuple(other), strict=True)))

    def numbers(self) -> dict[str, float]:
        """Means over tokens, and the effective share of tokens, (sum w)^2 / (n sum w^2)."""
        n = max(self.tokens, 1.0)
        return {
            "sampler_ratio": self.ratio / n if self.tokens else 1.0,
            "sampler_truncated": self.truncated / n,
            "sampler_ess": self.weight**2 / (n * self.square) if self.square else 1.0,
            "sampler_difference": self.difference / n,
        }


def truncated_importance_ratio(
    logp: Float[Tensor, "B T"], sampler_logp: Float[Tensor, "B T"], mask: Bool[Tensor, "B T"], cap: float
) -> tuple[Float[Tensor, "B T"], SamplerMismatch]:
    """The weights `w`, 0 outside the mask, and what was measured on the way; both float32 and without gradient."""
    difference = masked.fill(logp.detach().float() - sampler_logp.float(), mask)
    ratio = masked.fill(difference.exp(), mask)
    weight = ratio.clamp(max=cap)

    def total(values: Tensor) -> float:
        return float(masked.total(values, mask).sum())

    sums = (ratio, (ratio > cap).float(), weight, weight.square(), difference.abs())
    return weight, SamplerMismatch(float(mask.sum()), *map(total, sums))
