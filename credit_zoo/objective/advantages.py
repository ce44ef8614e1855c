"""Advantages from rewards: the only place that centres and scales rewards.

Every estimator maps rewards `[B]` and group numbers `[B]` to advantages `[B]`, float32. A group whose rewards are
all equal, up to rounding, gets advantage 0 from each of them.
"""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from credit_zoo.errors import check_range
from credit_zoo.registry import ESTIMATORS

# Below this spread, for rewards up to 1, and below this share of their size, for larger ones, a group's rewards
# differ by rounding alone, and dividing by the spread would amplify noise.
EQUAL_REWARDS = 1e-6


@runtime_checkable
class Estimator(Protocol):
    """Rewards to advantages."""

    def __call__(self, reward: Float[Tensor, " B"], group: Int64[Tensor, " B"]) -> Float[Tensor, " B"]: ...


def group_sum(values: Float[Tensor, " B"], group: Int64[Tensor, " B"]) -> Float[Tensor, " B"]:
    """Each response's group total."""
    numbers, index = torch.unique(group, return_inverse=True)
    return values.new_zeros(len(numbers)).index_add_(0, index, values)[index]


def _centred(reward: Tensor, group: Tensor) -> tuple[Tensor, Tensor]:
    """Rewards less their group's mean, and the size of the group, `[B]` each."""
    reward = reward.double()
    size = group_sum(torch.ones_like(reward), group)
    centred = reward - group_sum(reward, group) / size
    spread = group_sum(centred.abs(), group) / size
    magnitude = (group_sum(reward.abs(), group) / size).clamp(min=1)
    return torch.where(spread < EQUAL_REWARDS * magnitude, 0.0, centred).float(), size.float()


@ESTIMATORS.register("grpo", paper="arXiv:2402.03300, section 4.1.2")
@dataclass(frozen=True)
class Grpo:
    """A = (r - mean) / (std + eps) within the group; std with Bessel's correction."""

    eps: float = 1e-4

    def __post_init__(self) -> None:
        check_range("grpo.eps", self.eps, 0)

    def __call__(self, reward: Float[Tensor, " B"], group: Int64[Tensor, " B"]) -> Float[Tensor, " B"]:
        centred, size = _centred(reward, group)
        std = (group_sum(centred.square(), group) / (size - 1).clamp(min=1)).sqrt()
        return torch.where(centred == 0, 0.0, centred / (std + self.eps))


@ESTIMATORS.register("dr_grpo", paper="arXiv:2503.20783, section 3.2")
@dataclass(frozen=True)
class DrGrpo:
    """A = r - mean within the group: hard and easy prompts count as much as the others."""

    def __call__(self, reward: Float[Tensor, " B"], group: Int64[Tensor, " B"]) -> Float[Tensor, " B"]:
        return _centred(reward, group)[0]


@ESTIMATORS.register("rloo", paper="arXiv:2402.14740, equation 8")
@dataclass(frozen=True)
class Rloo:
    """A = r - mean of the others in the group = G / (G - 1) * (r - mean)."""

    def __call__(self, reward: Float[Tensor, " B"], group: Int64[Tensor, " B"]) -> Float[Tensor, " B"]:
        centred, size = _centred(reward, group)
        return centred * size / (size - 1).clamp(min=1)
