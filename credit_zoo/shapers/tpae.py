"""A token that behaves unlike the same token in the group's right answers loses credit.

    z      = (S, H) of a token                S = exp(d) - d - 1, d = log q - log p; H entropy [nats]
    M[b,t] = Mahalanobis distance of z from the z of the same token (type) in the right answers to the same prompt
    A[b,t] = A[b] + sigmoid(min(0, tau - M[b,t])) - 1/2              q: the policy under the degraded view

Paper: TPAE, arXiv:2609.39168, of which we know a summary. Reference: none published.
Reports: 16 answers to a prompt, and adjustments that only take away; its figures were not checked by us.
Implemented: the covariance by Ledoit and Wolf's shrinkage, at the paper's tau, the 99% of a Gaussian's distances.
Departs: how few tokens a Gaussian is fitted on is not told: at least `least`, and a type with fewer is left alone; so
is a group without a right answer. "Right" is a score above one half. Reduces to `uniform` at tau = infinity.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from credit_zoo import masked
from credit_zoo.errors import check_range
from credit_zoo.registry import SHAPERS
from credit_zoo.shapers import _picture_dependence as picture
from credit_zoo.types import ShaperInputs

RIDGE = 1e-6  # of a covariance, relative to 1: tokens that are all alike have none
Points = Float[Tensor, "N 2"]


@SHAPERS.register(
    "tpae",
    paper="arXiv:2609.39168",
    needs=("logp", "entropy", "view_logp"),
    scope="group",
    reduces_to=("uniform", {"tau": float("inf")}),
)
@dataclass(frozen=True)
class Tpae:
    """From where on a token is unlike the others, and how many of these there must be."""

    tau: float = 3.03  # distance that goes unpunished, in standard deviations, [0, inf]
    least: int = 4  # tokens of right answers that a Gaussian is fitted on, [2, inf)

    def __post_init__(self) -> None:
        check_range("tpae.tau", self.tau, 0)
        check_range("tpae.least", self.least, 2)

    def __call__(self, x: ShaperInputs) -> Float[Tensor, "B T"]:
        points = torch.stack([picture.dependence(x.signals, x.mask), x.signals.entropy], -1)[x.mask].double()
        kinds = torch.stack([x.group[:, None].expand_as(x.ids), x.ids], -1)[x.mask]
        right = (x.correct > 0.5)[:, None].expand_as(x.mask)[x.mask]
        kind = torch.unique(kinds, dim=0, return_inverse=True)[1]
        penalty = torch.zeros_like(x.mask, dtype=torch.float32)
        if len(points):
            beyond = (self.tau - _distance(points, kind, right, self.least)).clamp(max=0)
            penalty[x.mask] = (beyond.sigmoid() - 0.5).float()
        return masked.fill(x.advantage[:, None] + penalty, x.mask)


def _distance(points: Points, kind: Int64[Tensor, " N"], right: Tensor, least: int) -> Float[Tensor, " N"]:
    """The distance of each token from those of its kind that are right; 0 where there are fewer than `least`."""
    size = int(kind.max()) + 1

    def summed(values: Tensor) -> Tensor:
        total = values.new_zeros(size, *values.shape[1:])
        return total.index_add_(0, kind[right], values[right])

    count = summed(torch.ones(len(points), dtype=points.dtype, device=points.device))
    n = count.clamp(min=1)[:, None]
    away = points - (summed(points) / n)[kind]
    covariance = summed(away[:, :, None] * away[:, None, :]) / n[..., None]
    spread = covariance.diagonal(dim1=1, dim2=2).mean(1)
    target = spread[:, None, None] * torch.eye(2, dtype=points.dtype, device=points.device)
    unlike = (covariance - target).square().sum((1, 2))
    noise = (summed(away.square().sum(1).square()) / n[:, 0] - covariance.square().sum((1, 2))) / n[:, 0]
    shrink = torch.where(unlike > 0, (noise.clamp(min=0) / unlike.clamp(min=1e-300)).clamp(max=1), 1.0)[:, None, None]
    fitted = (
        shrink * target + (1 - shrink) * covariance + RIDGE * torch.eye(2, dtype=points.dtype, device=points.device)
    )
    squared = (away * torch.linalg.solve(fitted[kind], away[:, :, None])[..., 0]).sum(1)
    return torch.where(count[kind] >= least, squared.clamp(min=0).sqrt(), 0.0)
