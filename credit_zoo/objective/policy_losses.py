"""The policy loss of a token, `l` of `credit_zoo.objective.losses`, and which tokens it bounds.

At ratio 1 all of these have the gradient of -A log pi; they differ in what becomes of a token whose ratio has moved, so
with `train.updates=1` none of them differs from `ppo_clip`, but for the tokens that `clip_cov` leaves out.
"""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from credit_zoo.errors import UsageError, check_range
from credit_zoo.objective.covariance import ResponsesOfStep, covariance, highest, least_keys, token_keys
from credit_zoo.registry import LOSSES

# Ratios are of float32's own range.
LARGEST_LOG = 20.0


@dataclass(frozen=True)
class LossInputs:
    """What a policy loss may look at, `[B, T]` each: the log of the ratio and the log-probability, with gradient, the
    tokens' advantages, and the tokens that a loss with a `select` of its own selected, None for any other.
    """

    log_ratio: Float[Tensor, "B T"]
    logp: Float[Tensor, "B T"]
    advantage: Float[Tensor, "B T"]
    mask: Bool[Tensor, "B T"]
    selected: Bool[Tensor, "B T"] | None = None

    @property
    def chosen(self) -> Bool[Tensor, "B T"]:
        """The selected tokens."""
        if self.selected is None:
            raise UsageError("this loss bounds tokens that are selected over the whole step, and none were selected")
        return self.selected


@runtime_checkable
class PolicyLoss(Protocol):
    """Per-token loss `[B, T]` and which tokens it bounded, `[B, T]` bool."""

    def __call__(self, x: LossInputs) -> tuple[Float[Tensor, "B T"], Bool[Tensor, "B T"]]: ...


@runtime_checkable
class SelectingLoss(PolicyLoss, Protocol):
    """A loss of scope "batch": once a step, after the pass of the old policy and before the first gradient, it is shown
    the responses of all processes and selects tokens, `[B, T]` bool.
    """

    def select(self, step: ResponsesOfStep) -> Bool[Tensor, "B T"]: ...


def _clipped(x: LossInputs, low: float, high: float) -> tuple[Float[Tensor, "B T"], Bool[Tensor, "B T"]]:
    """-min(r A, clip(r, 1 - low, 1 + high) A), and where the second is the smaller."""
    ratio = x.log_ratio.exp()
    bounded = ratio.clamp(1 - low, 1 + high)
    free, held = ratio * x.advantage, bounded * x.advantage
    return -torch.minimum(free, held), held < free


@LOSSES.register("ppo_clip", paper="arXiv:1707.06347, equation 7; clip-higher arXiv:2503.14476, equation 10")
@dataclass(frozen=True)
class PpoClip:
    """l = -min(r * A, clip(r, 1 - eps_low, 1 + eps_high) * A)."""

    eps_low: float = 0.2  # below 1, [0, 1]
    eps_high: float = 0.2  # above 1, [0, inf)

    def __post_init__(self) -> None:
        check_range("ppo_clip.eps_low", self.eps_low, 0, 1)
        check_range("ppo_clip.eps_high", self.eps_high, 0)

    def __call__(self, x: LossInputs) -> tuple[Float[Tensor, "B T"], Bool[Tensor, "B T"]]:
        return _clipped(x, self.eps_low, self.eps_high)


@LOSSES.register("dual_clip", paper="arXiv:1912.09729")
@dataclass(frozen=True)
class DualClip:
    """`ppo_clip`, and where A < 0 at most -bound * A: a token that became much more probable though it was bad.

    l = min(-min(r * A, clip(r, 1 - eps_low, 1 + eps_high) * A), -bound * A)        the outer min where A < 0
    """

    eps_low: float = 0.2  # below 1, [0, 1]
    eps_high: float = 0.2  # above 1, [0, inf)
    bound: float = 3.0  # of the ratio where A < 0, (1, inf)

    def __post_init__(self) -> None:
        check_range("dual_clip.eps_low", self.eps_low, 0, 1)
        check_range("dual_clip.eps_high", self.eps_high, 0)
        check_range("dual_clip.bound", self.bound, 1, open_low=True)

    def __call__(self, x: LossInputs) -> tuple[Float[Tensor, "B T"], Bool[Tensor, "B T"]]:
        loss, clipped = _clipped(x, self.eps_low, self.eps_high)
        most = -self.bound * x.advantage
        beyond = (x.advantage < 0) & (loss > most)
        return torch.where(beyond, most, loss), clipped | beyond


@LOSSES.register("cispo", paper="arXiv:2506.13585; without a lower bound arXiv:2510.13786")
@dataclass(frozen=True)
class Cispo:
    """l = -sg[clip(r, lowest, highest)] * A * log pi: the weight of a token is bounded, none loses its gradient.

    Its value means nothing, its gradient does. What counts as clipped is a token whose weight was bounded.
    """

    lowest: float = 0.0  # of the ratio, [0, 1]; 0: no bound
    highest: float = 5.0  # of the ratio, [1, inf)

    def __post_init__(self) -> None:
        check_range("cispo.lowest", self.lowest, 0, 1)
        check_range("cispo.highest", self.highest, 1)

    def __call__(self, x: LossInputs) -> tuple[Float[Tensor, "B T"], Bool[Tensor, "B T"]]:
        ratio = x.log_ratio.detach().clamp(-LARGEST_LOG, LARGEST_LOG).exp()
        bounded = ratio.clamp(self.lowest, self.highest)
        return -bounded * x.advantage * torch.where(x.mask, x.logp, 0.0), bounded != ratio


@LOSSES.register("sapo", paper="arXiv:2511.20347")
@dataclass(frozen=True)
class Sapo:
    """l = -4 / tau * sigmoid(tau * (r - 1)) * A: a soft gate on each token, whose slope at r = 1 is 1.

    tau = temperature_positive where A > 0, temperature_negative elsewhere, each token by its own advantage. Nothing
    counts as clipped.
    """

    temperature_positive: float = 1.0  # tau of the tokens with A > 0, (0, inf)
    temperature_negative: float = 1.05  # tau of the others, (0, inf)

    def __post_init__(self) -> None:
        check_range("sapo.temperature_positive", self.temperature_positive, 0, open_low=True)
        check_range("sapo.temperature_negative", self.temperature_negative, 0, open_low=True)

    def __call__(self, x: LossInputs) -> tuple[Float[Tensor, "B T"], Bool[Tensor, "B T"]]:
        ratio = x.log_ratio.clamp(-LARGEST_LOG, LARGEST_LOG).exp()
        tau = torch.where(x.advantage > 0, self.temperature_positive, self.temperature_negative)
        gate = 4 / tau * torch.sigmoid(tau * (ratio - 1))
        return -gate * x.advantage, torch.zeros_like(x.mask)


@LOSSES.register("clip_cov", paper="arXiv:2505.22617", scope="batch")
@dataclass(frozen=True)
class ClipCov:
    """`ppo_clip`, times 0 for some tokens whose covariance is high: those that would cost entropy.

    cov[b,t] = (A[b] - mean A) * (log pi_old[b,t] - mean log pi_old)        means over the valid tokens of the step

    Of the tokens with lowest < cov < highest, a share of all N tokens, max(1, floor(share N)), is drawn at random.
    Departs from the paper: the means are the step's, not a micro-batch's; A is the response's own advantage, before any
    rule; log pi is that of the policy that the step began with, so that the selection holds for all its updates (the
    paper selects anew in each, among the tokens that are not clipped); and the draw is made from a hash of the
    response's group, its tokens and `seed`, so that order, micro-batches and processes leave it alone.
    """

    share: float = 2e-4  # of all tokens, (0, 1]
    lowest: float = 1.0  # covariance from which on tokens may be drawn
    highest: float = 5.0  # covariance up to which
    eps_low: float = 1.0  # of the ratio's clip range, [0, 1]
    eps_high: float = 1.0  # of the ratio's clip range, [0, inf)
    seed: int = 0  # of the draw, [0, inf)

    def __post_init__(self) -> None:
        check_range("clip_cov.share", self.share, 0, 1, open_low=True)
        check_range("clip_cov.highest", self.highest, self.lowest, open_low=True)
        check_range("clip_cov.eps_low", self.eps_low, 0, 1)
        check_range("clip_cov.eps_high", self.eps_high, 0)
        check_range("clip_cov.seed", self.seed, 0)

    def select(self, step: ResponsesOfStep) -> Bool[Tensor, "B T"]:
        cov = covariance(step)
        count = max(1, int(self.share * int(step.mask.sum())))
        return least_keys(token_keys(step, self.seed), step.mask & (cov > self.lowest) & (cov < self.highest), count)

    def __call__(self, x: LossInputs) -> tuple[Float[Tensor, "B T"], Bool[Tensor, "B T"]]:
        loss, clipped = _clipped(x, self.eps_low, self.eps_high)
        return torch.where(x.chosen, 0.0, loss), clipped | x.chosen


@LOSSES.register("kl_cov", paper="arXiv:2505.22617", scope="batch")
@dataclass(frozen=True)
class KlCov:
    """l = -r * A, plus beta * |log r| for the tokens of the highest covariance; the ratio is clipped nowhere.

    The covariance is `clip_cov`'s, with its departures; max(1, floor(share N)) of the step's N tokens are selected. In
    the first update of a step |log r| has no slope, so with train.updates=1 nothing is held back.
    """

    share: float = 2e-3  # of all tokens, (0, 1]; the paper has 2e-3 for 7B and 2e-4 for 32B
    beta: float = 1.0  # weight of |log r|, [0, inf)

    def __post_init__(self) -> None:
        check_range("kl_cov.share", self.share, 0, 1, open_low=True)
        check_range("kl_cov.beta", self.beta, 0)

    def select(self, step: ResponsesOfStep) -> Bool[Tensor, "B T"]:
        return highest(covariance(step), step.mask, max(1, int(self.share * int(step.mask.sum()))))

    def __call__(self, x: LossInputs) -> tuple[Float[Tensor, "B T"], Bool[Tensor, "B T"]]:
        held = torch.where(x.chosen, self.beta * x.log_ratio.abs(), 0.0)
        return held - x.log_ratio.exp() * x.advantage, torch.zeros_like(x.mask)
