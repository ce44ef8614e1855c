"""Uncertain tokens get a bonus, bounded by the advantage so that no sign is turned.

    A[b,t] = A[b] + min( alpha * H[b,t] , |A[b]| / kappa )           H entropy [nats]

Paper: Reasoning with Exploration, arXiv:2506.14758. No official code is named; several ports agree on the equation.
Reports: longer reasoning and a higher pass@K with alpha = 0.4 and kappa = 2, on GRPO and on PPO.
Implemented: the equation, with the entropy of the distribution that the token was drawn from, without gradient.
Departs: nothing known. The bonus is never negative: advantages of a group no longer sum to 0, and right answers gain
what wrong ones are spared. Reduces to `uniform` at alpha = 0.
"""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from credit_zoo import masked
from credit_zoo.errors import check_range
from credit_zoo.registry import SHAPERS
from credit_zoo.types import ShaperInputs


@SHAPERS.register(
    "cheng",
    paper="arXiv:2506.14758",
    needs=("entropy",),
    preserves_sign=True,
    reduces_to=("uniform", {"alpha": 0.0}),
)
@dataclass(frozen=True)
class Cheng:
    """Size and bound of the bonus."""

    alpha: float = 0.4  # advantage per nat, [0, inf); 0 = uniform
    kappa: float = 2.0  # the bonus is at most |A| / kappa, [1, inf); below 1 it could turn a sign

    def __post_init__(self) -> None:
        check_range("cheng.alpha", self.alpha, 0)
        check_range("cheng.kappa", self.kappa, 1)

    def __call__(self, x: ShaperInputs) -> Float[Tensor, "B T"]:
        advantage = x.advantage[:, None]
        bonus = (self.alpha * x.signals.entropy.clamp(min=0)).minimum(advantage.abs() / self.kappa)
        return masked.fill(advantage + bonus, x.mask)
