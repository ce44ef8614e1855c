"""Tokens after which the update has made the response likelier get more credit.

    F[b,t] = sum_{k>=t} gamma^(k-t) log r[b,k] [ r[b,k] <= cap ]  r ratio to the sampler, gamma = 2^(-1/half_life)
    f[b,t] = clip( exp F[b,t], 1, 1 + span )                          at most 1 where A[b] < 0 and r[b,t] > safety
    A[b,t] = A[b] * f[b,t]                                            0 for responses that were clipped too often

Paper: FIPO, arXiv:2603.19835. Reference: its release in vukrosic/FIPO@17e630a.
Reports: AIME 2024 from 50 to 56 at 32B over DAPO, and answers that go on growing longer, over several updates a
rollout.
Implemented: half-life 32, span 0.2 upwards alone, cap 10 as in the launch file (3 is the code's own), safety 4 as in
the code (10 in the launch file). Log-ratios are cut at +-20. A sum by doubling takes log2(T) steps.
Departs: a response with A < 0 and more than `tolerated` tokens above the cap gets no credit but goes on counting in
the loss's denominator, which it leaves in the release. On the first update after sampling every ratio is 1, and so is
every weight. Reduces to `uniform` at span 0 with any number tolerated.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from credit_zoo import masked
from credit_zoo.errors import UsageError, check_range
from credit_zoo.registry import SHAPERS
from credit_zoo.shapers import _positions as positions
from credit_zoo.types import ShaperInputs

LARGEST = 20.0  # of a log-ratio


@SHAPERS.register(
    "fipo",
    paper="arXiv:2603.19835",
    reference="vukrosic/FIPO@17e630a",
    needs=("log_ratio",),
    stage="update",
    preserves_sign=True,
    reduces_to=("uniform", {"span": 0.0, "tolerated": math.inf}),
)
@dataclass(frozen=True)
class Fipo:
    """How far the future reaches, how much it counts, and what is left out."""

    half_life: float = 32.0  # tokens after which the future counts half, (0, inf)
    span: float = 0.2  # weights lie in [1, 1 + span], [0, 1]
    high_only: bool = True  # False: weights lie in [1 - span, 1 + span]
    cap: float = 10.0  # larger ratios are left out of the future, (1, inf]
    safety: float = 4.0  # ratio above which a token of a response with A < 0 gets no more than A, (1, inf]
    tolerated: float = 1.0  # tokens above the cap that a response with A < 0 may have, [0, inf]; inf = any number

    def __post_init__(self) -> None:
        check_range("fipo.half_life", self.half_life, 0, open_low=True)
        check_range("fipo.span", self.span, 0, 1)
        check_range("fipo.cap", self.cap, 1, open_low=True)
        check_range("fipo.safety", self.safety, 1, open_low=True)
        check_range("fipo.tolerated", self.tolerated, 0)
        if not isinstance(self.high_only, bool):
            raise UsageError(f"fipo.high_only must be True or False, got {self.high_only!r}")

    def __call__(self, x: ShaperInputs) -> Float[Tensor, "B T"]:
        moved = positions.left(x.signals.log_ratio.clamp(-LARGEST, LARGEST), x.mask)
        extreme, losing = moved > math.log(self.cap), (x.advantage < 0)[:, None]
        future = _discounted(torch.where(extreme, 0.0, moved), 2 ** (-1 / self.half_life))
        weights = future.exp().clamp(1 if self.high_only else 1 - self.span, 1 + self.span)
        weights = torch.where(losing & (moved > math.log(self.safety)), weights.clamp(0.8, 1), weights)
        return x.weighted(positions.back(weights * ~self._left_out(extreme, losing), x.mask))

    def _left_out(self, extreme: Bool[Tensor, "B T"], losing: Bool[Tensor, "B 1"]) -> Bool[Tensor, "B 1"]:
        return losing & (masked.count(extreme) > self.tolerated)


def _discounted(values: Float[Tensor, "B T"], gamma: float) -> Float[Tensor, "B T"]:
    """`sum_{k>=t} gamma^(k-t) values[b,k]`, each round over a window twice as long."""
    width, reach = values.shape[1], 1
    while reach < width:
        values = values + gamma**reach * torch.nn.functional.pad(values[:, reach:], (0, reach))
        reach *= 2
    return values
