"""Control: what the policy is sure of is reinforced, whatever the reward.

    A[b,t] = log pi(y[b,t]) + H[b,t]             H entropy [nats]; 0 on average under the policy

Paper: none; the policy gradient of negative entropy, up to a constant: it lowers the temperature and knows no reward.
Where it learns as fast as `uniform`, reinforcement only sharpens, and credit cannot matter. Never ranked.
"""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from credit_zoo import masked
from credit_zoo.registry import SHAPERS
from credit_zoo.types import ShaperInputs


@SHAPERS.register("sharpen", paper="none", needs=("logp", "entropy"), control=True)
@dataclass(frozen=True)
class Sharpen:
    """No settings."""

    def __call__(self, x: ShaperInputs) -> Float[Tensor, "B T"]:
        return masked.fill(x.signals.logp + x.signals.entropy, x.mask)
