"""The loss of a step: the only place that averages over tokens.

    loss = sum_b f[b] * sum_t mask[b,t] * ( l(ratio[b,t], A[b,t]) + beta k3(ref) - eta H[b,t] - gamma perception[b,t] )
    k3(other) = exp(other - logp) - (other - logp) - 1                                    (Schulman, 2020)

`ratio`, `l` (the policy loss) and `f` (the aggregation) are registered pieces; what stands beside `l` is not a rule's
to weigh: KL to the reference, an entropy bonus, and the distance to what the policy says without the picture
(`credit_zoo.objective.perception`). `f` comes from the lengths of the responses and the totals of the *whole* step, so
a sum over micro-batches or processes is the loss of the step, exactly.
"""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from credit_zoo import masked
from credit_zoo.errors import UsageError
from credit_zoo.objective.perception import perception_gap
from credit_zoo.objective.policy_losses import LossInputs, PolicyLoss
from credit_zoo.objective.ratios import Ratio
from credit_zoo.registry import AGGREGATIONS


@dataclass(frozen=True)
class Totals:
    """Counts over the whole step, all micro-batches and processes: `responses`, valid `tokens`, and the token
    limit `max_tokens` of a response.
    """

    responses: float
    tokens: float
    max_tokens: int


@runtime_checkable
class Aggregation(Protocol):
    """The coefficient `f` of each response's token sum, `[B, 1]`."""

    def __call__(self, length: Float[Tensor, "B 1"], totals: Totals) -> Float[Tensor, "B 1"]: ...


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
    """Sums over valid tokens, which add up over micro-batches: tokens, those that the policy loss bounded, the k3
    estimate of KL(old || current), of KL(current || reference) where there is a reference, and the distance to the view
    without the picture where that is asked for. They stay on the device, which reading one waits for.
    """

    sums: Float[Tensor, " 5"]  # float64, in this order

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

    @property
    def perception(self) -> float:
        return float(self.sums[4])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LossStats) and torch.equal(self.sums, other.sums)

    __hash__ = None  # type: ignore[assignment]

    def __add__(self, other: "LossStats") -> "LossStats":
        return LossStats(self.sums + other.sums)


def k3(log_ratio: Float[Tensor, "B T"]) -> Float[Tensor, "B T"]:
    """exp(x) - x - 1: an unbiased, non-negative estimate of KL(p || q) on samples of p, x = log q - log p."""
    return log_ratio.exp() - log_ratio - 1


@dataclass(frozen=True)
class TokenBatch:
    """What the loss is computed from, `[B, T]` each. None where nothing asks for it: `reference_logp` of a reference
    policy, `entropy` with gradient, `view_logp` of the same policy with a degraded picture, and `selected`, the tokens
    that a policy loss of scope "batch" selected.
    """

    logp: Float[Tensor, "B T"]
    old_logp: Float[Tensor, "B T"]
    advantage: Float[Tensor, "B T"]
    mask: Bool[Tensor, "B T"]
    reference_logp: Float[Tensor, "B T"] | None = None
    entropy: Float[Tensor, "B T"] | None = None
    view_logp: Float[Tensor, "B T"] | None = None
    selected: Bool[Tensor, "B T"] | None = None


@dataclass(frozen=True)
class Objective:
    """The pieces of the loss, and the weights of what stands beside the policy loss, which no shaper touches."""

    ratio: Ratio
    loss: PolicyLoss
    aggregation: Aggregation
    kl_beta: float = 0.0
    entropy_beta: float = 0.0
    perception_gamma: float = 0.0

    def __call__(self, batch: TokenBatch, totals: Totals) -> tuple[Float[Tensor, ""], LossStats]:
        """The share of the step's loss that these responses hold, and its statistics."""
        mask, old_logp = batch.mask, batch.old_logp.detach()
        log_ratio = self.ratio(batch.logp, old_logp, mask)
        seen = LossInputs(log_ratio, batch.logp, batch.advantage.detach(), mask, batch.selected)
        per_token, clipped = self.loss(seen)
        beside, reference_kl, perception = self._beside(batch)
        coefficient = self.aggregation(masked.count(mask), totals)
        loss = (coefficient * masked.total(per_token + beside, mask)).sum()
        with torch.no_grad():
            old_kl = k3(torch.where(mask, batch.logp - old_logp, 0.0))
            sums = [masked.total(values, mask).sum() for values in (old_kl, reference_kl, perception)]
            whole = [masked.count(mask).sum(), (clipped & mask).sum(), *sums]
        return loss, LossStats(torch.stack([value.double() for value in whole]))

    def _beside(self, batch: TokenBatch) -> tuple[Tensor, Tensor, Tensor]:
        """What is added to the policy loss of each token, KL to the reference, and the distance to the view."""
        nothing = torch.zeros_like(batch.logp, dtype=torch.float32)
        beside, reference_kl, perception = nothing, nothing, nothing
        if batch.reference_logp is not None and self.kl_beta > 0:
            reference_kl = k3(torch.where(batch.mask, batch.reference_logp.detach() - batch.logp, 0.0))
            beside = beside + self.kl_beta * reference_kl
        if self.entropy_beta:
            entropy = _asked_for("base.entropy_beta", "entropy", batch.entropy)
            beside = beside - self.entropy_beta * torch.where(batch.mask, entropy, 0.0)
        if self.perception_gamma > 0:
            view = _asked_for("base.perception_gamma", "view_logp", batch.view_logp)
            perception = perception_gap(batch.logp, view, batch.mask)
            beside = beside - self.perception_gamma * perception
        return beside, reference_kl, perception


def _asked_for(setting: str, signal: str, values: Tensor | None) -> Tensor:
    if values is None:
        raise UsageError(f"{setting} needs '{signal}' of every response, which was not measured")
    return values
