"""What sampler and trainer disagree on, and its correction.

The engine that samples computes in another order, or precision, than the trainer, so that responses come from a
policy that is not quite the one that is trained. Per token, of the policy before the update:

    r[b,t] = exp(logp_trainer[b,t] - logp_sampler[b,t])          w[b,t] = min(r[b,t], cap)

The token's advantage is multiplied by w, without gradient (truncated importance sampling: Ionides 2008,
doi:10.1198/106186008X320456, for tokens as in "Your Efficient RL Framework Secretly Brings You Off-Policy RL
Training", Yao et al. 2025).
"""

from dataclasses import dataclass, field

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from credit_zoo import masked


@dataclass(frozen=True, eq=False)
class SamplerMismatch:
    """Sums over valid tokens, which add up over micro-batches and processes: tokens, raw ratios, ratios above the
    cap, truncated ratios and their squares, absolute differences of log-probabilities [nats]. They stay on the device
    until they are read.
    """

    sums: Float[Tensor, " 6"] = field(default_factory=lambda: torch.zeros(6, dtype=torch.float64))  # in this order

    def __add__(self, other: "SamplerMismatch") -> "SamplerMismatch":
        return SamplerMismatch(self.sums + other.sums)

    def numbers(self) -> dict[str, float]:
        """Means over tokens, and the effective share of tokens, (sum w)^2 / (n sum w^2)."""
        tokens, ratio, truncated, weight, square, difference = self.sums.tolist()
        n = max(tokens, 1.0)
        return {
            "sampler_ratio": ratio / n if tokens else 1.0,
            "sampler_truncated": truncated / n,
            "sampler_ess": weight**2 / (n * square) if square else 1.0,
            "sampler_difference": difference / n,
        }


def truncated_importance_ratio(
    logp: Float[Tensor, "B T"], sampler_logp: Float[Tensor, "B T"], mask: Bool[Tensor, "B T"], cap: float
) -> tuple[Float[Tensor, "B T"], SamplerMismatch]:
    """The weights `w`, 0 outside the mask, and what was measured on the way; both float32 and without gradient."""
    difference = masked.fill(logp.detach().float() - sampler_logp.float(), mask)
    ratio = masked.fill(difference.exp(), mask)
    weight = ratio.clamp(max=cap)

    counted = (ratio, (ratio > cap).float(), weight, weight.square(), difference.abs())
    sums = [mask.sum(), *(masked.total(values, mask).sum() for values in counted)]
    return weight, SamplerMismatch(torch.stack([value.double() for value in sums]))
