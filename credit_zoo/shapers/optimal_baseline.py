"""Every token gets a baseline of its own, the one that makes the gradient's variance least.

    e[b,t] = 1 - 2 pi[b,t] + sum_v pi_v^2                    squared length of the token's gradient in its logits
    W[b,t] = sum_{j<=t} e[b,j]                               energy spent so far
    A[b,t] = A[b] - sum_i A[i] W[i,t] / sum_i W[i,t]         i: the prompt's answers that have a t-th token

Paper: Optimal Token Baseline, arXiv:2602.07078. Reference: verl-project/verl@1dda039.
Reports: a lower variance of the gradient than group means have, and stable long runs, without another pass.
Implemented: the paper's reward-to-go is the outcome at every token, so that estimators which shift and scale a
group's rewards give this form. Energies below 0, which rounding makes, are 0.
Departs: where a response is the only one left it keeps A[b]; verl leaves it its reward without any baseline. The
answer's own reward is in its baseline, as in the reference: a bias of the order of one over the group's size.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from credit_zoo.registry import SHAPERS
from credit_zoo.shapers import _positions as positions
from credit_zoo.types import ShaperInputs

EPS = 1e-8


@SHAPERS.register(
    "optimal_baseline",
    paper="arXiv:2602.07078",
    reference="verl-project/verl@1dda039",
    needs=("logp", "collision"),
    scope="group",
)
@dataclass(frozen=True)
class OptimalBaseline:
    """No settings."""

    def __call__(self, x: ShaperInputs) -> Float[Tensor, "B T"]:
        peers, alive = positions.siblings(x), positions.packed(x.mask)
        chance = x.signals.logp.clamp(max=0).exp()
        energy = positions.left((1 - 2 * chance + x.signals.collision).clamp(min=0), x.mask).cumsum(1) * alive
        advantage = x.advantage[:, None] * alive
        baseline = (peers @ (advantage * energy)) / (peers @ energy + EPS)
        alone = peers @ alive.float() < 2
        return positions.back(advantage - torch.where(alone, 0.0, baseline), x.mask)
