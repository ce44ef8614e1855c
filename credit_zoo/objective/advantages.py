"""Advantages from rewards: the only place that centres and scales rewards.

Every estimator maps rewards `[B]`, group numbers `[B]` and lengths in tokens `[B]` to advantages `[B]`, float32. One of
scope "group" gives 0 to a group whose rewards are all equal, up to rounding; one of scope "batch" is handed the rewards
of all processes together, and gives 0 only where all of these are equal.
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
WHITENING_EPS = 1e-8  # added to the variance


@runtime_checkable
class Estimator(Protocol):
    """Rewards to advantages; `length` counts the tokens that were sampled. One that does not look at lengths may be
    called without them.
    """

    def __call__(
        self, reward: Float[Tensor, " B"], group: Int64[Tensor, " B"], length: Float[Tensor, " B"]
    ) -> Float[Tensor, " B"]: ...


def group_sum(values: Float[Tensor, " B"], group: Int64[Tensor, " B"]) -> Float[Tensor, " B"]:
    """Each response's group total."""
    numbers, index = torch.unique(group, return_inverse=True)
    return values.new_zeros(len(numbers)).index_add_(0, index, values)[index]


def _centred(reward: Tensor, group: Tensor, weight: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Rewards less their group's mean, weighted alike unless told otherwise, and the size of the group, `[B]` each."""
    reward, each = reward.double(), torch.ones_like(reward, dtype=torch.float64)
    weight = each if weight is None else weight.double()
    size = group_sum(each, group)
    centred = reward - group_sum(weight * reward, group) / group_sum(weight, group).clamp(min=1)
    spread = group_sum((reward - group_sum(reward, group) / size).abs(), group) / size
    magnitude = (group_sum(reward.abs(), group) / size).clamp(min=1)
    return torch.where(spread < EQUAL_REWARDS * magnitude, 0.0, centred).float(), size.float()


def _whitened(values: Tensor, length: Tensor) -> Tensor:
    """Values less their mean, over their standard deviation, each counted as often as its response has tokens."""
    values, length = values.double(), length.double()
    count = length.sum().clamp(min=1)
    centred = values - (length * values).sum() / count
    variance = (length * centred.square()).sum() / (count - 1).clamp(min=1)
    return torch.where(variance == 0, 0.0, centred / (variance + WHITENING_EPS).sqrt()).float()


@ESTIMATORS.register("grpo", paper="arXiv:2402.03300, section 4.1.2", scope="group")
@dataclass(frozen=True)
class Grpo:
    """A = (r - mean) / (std + eps) within the group; std with Bessel's correction."""

    eps: float = 1e-4

    def __post_init__(self) -> None:
        check_range("grpo.eps", self.eps, 0)

    def __call__(
        self, reward: Float[Tensor, " B"], group: Int64[Tensor, " B"], length: Float[Tensor, " B"] | None = None
    ) -> Float[Tensor, " B"]:
        centred, size = _centred(reward, group)
        std = (group_sum(centred.square(), group) / (size - 1).clamp(min=1)).sqrt()
        return torch.where(centred == 0, 0.0, centred / (std + self.eps))


@ESTIMATORS.register("dr_grpo", paper="arXiv:2503.20783, section 3.2", scope="group")
@dataclass(frozen=True)
class DrGrpo:
    """A = r - mean within the group: hard and easy prompts count as much as the others."""

    def __call__(
        self, reward: Float[Tensor, " B"], group: Int64[Tensor, " B"], length: Float[Tensor, " B"] | None = None
    ) -> Float[Tensor, " B"]:
        return _centred(reward, group)[0]


@ESTIMATORS.register("rloo", paper="arXiv:2402.14740, equation 8", scope="group")
@dataclass(frozen=True)
class Rloo:
    """A = r - mean of the others in the group = G / (G - 1) * (r - mean)."""

    def __call__(
        self, reward: Float[Tensor, " B"], group: Int64[Tensor, " B"], length: Float[Tensor, " B"] | None = None
    ) -> Float[Tensor, " B"]:
        centred, size = _centred(reward, group)
        return centred * size / (size - 1).clamp(min=1)


@ESTIMATORS.register("opo", paper="arXiv:2505.23585", scope="group")
@dataclass(frozen=True)
class Opo:
    """A = r - sum_j T[j] r[j] / sum_j T[j] within the group: the mean reward of its tokens.

    It is the baseline of least variance where the size of a response's gradient grows with its length.
    """

    def __call__(
        self, reward: Float[Tensor, " B"], group: Int64[Tensor, " B"], length: Float[Tensor, " B"]
    ) -> Float[Tensor, " B"]:
        return _centred(reward, group, length)[0]


@ESTIMATORS.register("maxrl", paper="arXiv:2602.02710", scope="group")
@dataclass(frozen=True)
class MaxRl:
    """A = (r - mean) / mean within the group, 0 where the mean is not above 0: a rare success counts the more.

    Rewards must not be shifted: with a reward for form alone that all answers earn, no success is rare.
    """

    def __call__(
        self, reward: Float[Tensor, " B"], group: Int64[Tensor, " B"], length: Float[Tensor, " B"] | None = None
    ) -> Float[Tensor, " B"]:
        centred, size = _centred(reward, group)
        mean = (group_sum(reward.double(), group) / size).float()
        return torch.where((mean > 0) & (centred != 0), centred / torch.where(mean > 0, mean, 1.0), 0.0)


@ESTIMATORS.register("reinforce_pp", paper="arXiv:2501.03262", scope="batch")
@dataclass(frozen=True)
class ReinforcePp:
    """A = (r - mean) / std over all tokens of the step, whatever their prompts: one response to each will do.

    A prompt whose answers are all right is rewarded, one whose answers are all wrong punished.
    Departs from the paper: KL to the reference is a term of the loss (base.kl_beta) and not a part of the reward.
    """

    def __call__(
        self, reward: Float[Tensor, " B"], group: Int64[Tensor, " B"], length: Float[Tensor, " B"]
    ) -> Float[Tensor, " B"]:
        return _whitened(_centred(reward, torch.zeros_like(group))[0], length)


@ESTIMATORS.register("reinforce_pp_baseline", paper="arXiv:2501.03262", scope="batch")
@dataclass(frozen=True)
class ReinforcePpBaseline:
    """r - mean within the group, then (less its mean) / std over all tokens of the step: one scale for all prompts.

    Departs from the released code: a group of one gets what a group of equal rewards gets, and not its bare reward.
    """

    def __call__(
        self, reward: Float[Tensor, " B"], group: Int64[Tensor, " B"], length: Float[Tensor, " B"]
    ) -> Float[Tensor, " B"]:
        return _whitened(_centred(reward, group)[0], length)
