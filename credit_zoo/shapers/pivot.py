"""Tokens that the picture speaks for are pushed further, as are uncertain ones before them.

    c_t    = 1 - q_t / p_t, at least -1            of the sampled token; q: the policy under the degraded view
    F_t    = sum_k gamma^k c_{t+k} / sum_k gamma^k,  k = 1 ... window, as far as the response goes
    U_t    = c_t + future * (u F - its least-squares line over t)_t,  u_t = 1 - exp(-H_t / mean_t H)
    A[b,t] = A[b] + beta * |A[b]| * U_t            0 where that has not the sign of A[b]; H entropy [nats]

Paper: PIVOT, arXiv:2609.18057, its visual anchor advantage. Reference: none published.
Reports: comparisons with DAPO, PAPO and VPPO in three settings, one run each.
Implemented: the advantage as its text has it.
Departs: beta, future, gamma and window stand in an appendix that we have not seen: these values are ours. c, unbounded
where the view speaks for the token, is cut at -1. The replay of best answers is no part of a shaper.
Reduces to `uniform` at beta = 0.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from credit_zoo import masked
from credit_zoo.errors import check_range
from credit_zoo.registry import SHAPERS
from credit_zoo.shapers import _picture_dependence as picture
from credit_zoo.types import ShaperInputs

EPS = 1e-8  # below it a scale is none


@SHAPERS.register(
    "pivot",
    paper="arXiv:2609.18057",
    needs=("logp", "entropy", "view_logp"),
    preserves_sign=True,
    reduces_to=("uniform", {"beta": 0.0}),
)
@dataclass(frozen=True)
class Pivot:
    """How far credit is moved, and how far ahead a token is held to account."""

    beta: float = 0.5  # of the whole change, [0, inf)
    future: float = 0.5  # weight of what follows, [0, inf)
    gamma: float = 0.9  # discount of what follows, per token, (0, 1]
    window: int = 8  # tokens ahead, [1, inf)

    def __post_init__(self) -> None:
        check_range("pivot.beta", self.beta, 0)
        check_range("pivot.future", self.future, 0)
        check_range("pivot.gamma", self.gamma, 0, 1, open_low=True)
        check_range("pivot.window", self.window, 1)

    def __call__(self, x: ShaperInputs) -> Float[Tensor, "B T"]:
        contrast = masked.fill(1 - picture.log_ratio(x.signals, x.mask).exp(), x.mask).clamp(min=-1)
        mean = masked.mean(x.signals.entropy, x.mask)
        unsure = 1 - (-masked.fill(x.signals.entropy, x.mask).clamp(min=0) / mean.clamp(min=EPS)).exp()
        change = contrast + self.future * _detrended(unsure * self._ahead(contrast, x), x)
        advantage = x.advantage[:, None]
        moved = advantage + self.beta * advantage.abs() * change
        return masked.fill(torch.where(moved * advantage > 0, moved, 0.0), x.mask)

    def _ahead(self, contrast: Float[Tensor, "B T"], x: ShaperInputs) -> Float[Tensor, "B T"]:
        """F of the equation, over the valid tokens in their order; 0 for the last one."""
        order = (~x.mask).to(torch.uint8).argsort(dim=1, stable=True)
        values, there = contrast.gather(1, order), x.mask.gather(1, order).float()
        total, weight = torch.zeros_like(values), torch.zeros_like(values)
        for ahead in range(1, min(self.window, values.shape[1] - 1) + 1):
            total[:, :-ahead] += self.gamma**ahead * (values * there)[:, ahead:]
            weight[:, :-ahead] += self.gamma**ahead * there[:, ahead:]
        found = torch.where(weight > 0, total / weight.clamp(min=EPS), 0.0)
        return masked.fill(torch.zeros_like(found).scatter(1, order, found), x.mask)


def _detrended(values: Float[Tensor, "B T"], x: ShaperInputs) -> Float[Tensor, "B T"]:
    """What is left of each response's values beside their least-squares line over places."""
    place = masked.fill(x.mask.cumsum(1).float(), x.mask)
    away, level = place - masked.mean(place, x.mask), values - masked.mean(values, x.mask)
    slope = masked.total(away * level, x.mask) / masked.total(away.square(), x.mask).clamp(min=EPS)
    return masked.fill(level - slope * away, x.mask)
