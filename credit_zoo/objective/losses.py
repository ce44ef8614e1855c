"""The policy loss: the only place that averages over tokens.

    loss = sum_b f[b] * sum_t mask[b,t] * ( l(ratio[b,t], A[b,t]) + beta * k3[b,t] )
    k3   = exp(ref - logp) - (ref - logp) - 1                                             (Schulman, 2020)

`ratio` (token level or, later, sequence level), `l` (the policy loss) and `f` (the aggregation) are registered
pieces. `f` comes from the lengths of the responses and the totals of the *whole* step, so a sum over micro-batches
or processes is the loss of the step, exactly.
"""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from credit_zoo import masked
from credit_zoo.errors import check_range
from credit_zoo.registry import AGGREGATIONS, LOSSES, RATIOS


@dataclass(frozen=True)
class Totals:
    """Counts over the whole step, all micro-batches and processes: `responses`, valid `tokens`, and the token
    limit `max_tokens` of a response.
    """

    responses: float
    tokens: float
    max_tokens: int


@runtime_checkable
class Ratio(Protocol):
    """log of the importance ratio, `[B, T]`."""

    def __call__(
        self, logp: Float[Tensor, "B T"], old_logp: Float[Tensor, "B T"], mask: Bool[Tensor, "B T"]
    ) -> Float[Tensor, "B T"]: ...


@runtime_checkable
class PolicyLoss(Protocol):
    """Per-token loss `[B, T]` and which tokens it clipped, `[B, T]` bool."""

    def __call__(
        self, log_ratio: Float[Tensor, "B T"], advantage: Float[Tensor, "B T"]
    ) -> tuple[Float[Tensor, "B T"], Bool[Tensor, "B T"]]: ...


@runtime_checkable
class Aggregation(Protocol):
    """The coefficient `f` of each response's token sum, `[B, 1]`."""

    def __call__(self, length: Float[Tensor, "B 1"], totals: Totals) -> Float[Tensor, "B 1"]: ...


@RATIOS.register("token", paper="arXiv:1707.06347")
@dataclass(frozen=True)
class TokenRatio:
    """pi(token) / pi_old(token), one ratio per token."""

    def __call__(
        self, logp: Float[Tensor, "B T"], old_logp: Float[Tensor, "B T"], mask: Bool[Tensor, "B T"]
    ) -> Float[Tensor, "B T"]:
        return torch.where(mask, logp - old_logp, 0.0)


@LOSSES.register("ppo_clip", paper="arXiv:1707.06347, equation 7; clip-higher arXiv:2503.14476, equation 10")
@dataclass(frozen=True)
class PpoClip:
    """l = -min(r * A, clip(r, 1 - eps_low, 1 + eps_high) * A)."""

    eps_low: float = 0.2
    eps_high: float = 0.2

    def __post_init__(self) -> None:
        check_range("ppo_clip.eps_low", self.eps_low, 0, 1)
        check_range("ppo_clip.eps_high", self.eps_high, 0)

    def __call__(
        self, log_ratio: Float[Tensor, "B T"], advantage: Float[Tensor, "B T"]
    ) -> tuple[Float[Tensor, "B T"], Bool[Tensor, "B T"]]:
        ratio = log_ratio.exp()
        clipped = ratio.clamp(1 - self.eps_low, 1 + self.eps_high)
        return -torch.minimum(ratio * advantage, clipped * advantage), clipped * advantage < ratio * advantage


@AGGREGATIONS.register("seq_mean_token_mean", paper="arXiv:2402.03300, equation 3")
@dataclass(frozen=True)
class SeqMeanTokenMean:
    """Mean over responses of the mean over their tokens: f = 1 / (B * T[b])."""

    def __call__(self, length: Float[Tensor, "B 1"], totals: Totals) -> Float[Tensor, "B 1"]:
        return 1 / (length.clamp(min=1) * max(totals.responses, 1))


@AGGREGATIONS.register("token_mean", paper="arXiv:2503.14476, equation 12")
@dataclass(frozen=True)
class TokenMean:
    """Mean over all tokens of the step: f = 1 / sum_b T[b]."""

    def __call__(self, length: Float[Tensor, "B 1"], totals: Totals) -> Float[Tensor, "B 1"]:
        return torch.full_like(length, 1 / max(totals.tokens, 1))


@AGGREGATIONS.register("seq_mean_token_sum", paper="arXiv:2503.20783, section 3.2")
@dataclass(frozen=True)
class SeqMeanTokenSum:
    """Mean over responses of the token sum over a constant: f = 1 / (B * max_tokens)."""

    def __call__(self, length: Float[Tensor, "B 1"], totals: Totals) -> Float[Tensor, "B 1"]:
        return torch.full_like(length, 1 / (max(totals.responses, 1) * totals.max_tokens))


@dataclass(frozen=True, eq=False)
class LossStats:
    """Sums over valid tokens, which add up over micro-batches: tokens, clipped tokens, the k3 estimate of
    KL(old || current), and of KL(current || reference) where there is a reference. They stay on the device, which
    reading one waits for.
    """

    sums: Float[Tensor, " 4"]  # float64, in this order

    @property
    def tokens(self) -> float:
        return float(self.sums[0])

    @property
    def clipped(self) -> float:
        return float(self.sums[1])

    @property
    def old_kl(self) -> float:
        return float(self.sums[2])

    @property
    def reference_kl(self) -> float:
        return float(self.sums[3])

    def __add__(self, other: "LossStats") -> "LossStats":
        return LossStats(self.sums + other.sums)


def k3(log_ratio: Float[Tensor, "B T"]) -> Float[Tensor, "B T"]:
    """exp(x) - x - 1: an unbiased, non-negative estimate of KL(p || q) on samples of p, x = log q - log p."""
    return log_ratio.exp() - log_ratio - 1


@dataclass(frozen=True)
class TokenBatch:
    """What the loss is computed from, `[B, T]` each; `reference_logp` is None without a reference policy."""

    logp: Float[Tensor, "B T"]
    old_logp: Float[Tensor, "B T"]
    advantage: Float[Tensor, "B T"]
    mask: Bool[Tensor, "B T"]
    reference_logp: Float[Tensor, "B T"] | None = None


@dataclass(frozen=True)
class Objective:
    """The pieces of the loss; `kl_beta` weighs the distance to the reference, which no shaper touches."""

    ratio: Ratio
    loss: PolicyLoss
    aggregation: Aggregation
    kl_beta: float = 0.0

    def __call__(self, batch: TokenBatch, totals: Totals) -> tuple[Float[Tensor, ""], LossStats]:
        """The share of the step's loss that these responses hold, and its statistics."""
        log_ratio = self.ratio(batch.logp, batch.old_logp.detach(), batch.mask)
        per_token, clipped = self.loss(log_ratio, batch.advantage.detach())
        reference_kl = torch.zeros_like(log_ratio)
        if batch.reference_logp is not None and self.kl_beta > 0:
            reference_kl = k3(torch.where(batch.mask, batch.reference_logp.detach() - batch.logp, 0.0))
            per_token = per_token + self.kl_beta * reference_kl
        coefficient = self.aggregation(masked.count(batch.mask), totals)
        loss = (coefficient * masked.total(per_token, batch.mask)).sum()
        with torch.no_grad():
            old_kl = masked.total(k3(log_ratio), batch.mask).sum()
            sums = (masked.count(batch.mask).sum(), (clipped & batch.mask).sum(), old_kl)
            whole = [*sums, masked.total(reference_kl, batch.mask).sum()]
        return loss, LossStats(torch.stack([value.double() for value in whole]))
