"""Numbers about a step: what the progress bar, the tracker and the record's curve show."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

import torch
from torch import Tensor

from credit_zoo import masked
from credit_zoo.objective import weights
from credit_zoo.types import ShaperInputs

# An advantage that rounding leaves of a reward equal to its group's mean: a weight is no number there.
ROUNDING = 1e-5
KEPT_MEANS = ("kept_reward", "kept_accuracy", "kept_truncated", "kept_length")


@dataclass(frozen=True)
class WeightSpread:
    """How far a rule departs from uniform: the weights `W = A[b,t] / A[b]` of responses with an advantage.

    `std` over all their tokens; `ess` the mean over responses of the effective share of tokens,
    (sum W)^2 / (T sum W^2), 1 for uniform; `quantiles` p05, p50, p95; `gini` the mean over responses of the Gini
    coefficient of |W|, 0 for uniform and 1 - 1/T for a single token; `same_sign` the share of all their tokens whose
    credit has the sign of the response's, W > 0.
    """

    std: float
    ess: float
    quantiles: tuple[float, float, float]
    gini: float = 0.0
    same_sign: float = 1.0

    @classmethod
    def part(cls, token_advantage: Tensor, x: ShaperInputs) -> tuple[Tensor, Tensor]:
        """Weights `[B, T]` of a micro-batch and the mask of those that count: where the advantage is not 0, up to
        rounding.
        """
        counted = x.mask & (x.advantage.abs() > ROUNDING)[:, None]
        return weights(token_advantage, x).detach(), counted

    @classmethod
    def of(cls, w: Tensor, mask: Tensor) -> "WeightSpread":
        """The spread of a step's weights `[B, T]`; a step without any advantage counts as uniform."""
        # In one copy: an accelerator would be waited for at every number.
        w, counted = torch.stack([w.float(), mask.float()]).cpu()
        mask = counted == 1
        valid = w[mask]
        if not len(valid):
            return cls(0.0, 1.0, (1.0, 1.0, 1.0))
        square = masked.count(mask) * masked.total(w.square(), mask)
        ess = (masked.total(w, mask).square() / square.clamp(min=1e-12)).clamp(max=1)
        rows = mask.any(1)
        gini, same = _gini(w.abs(), mask)[rows].mean(), (valid > 0).float().mean()
        of_all = [valid.std(correction=0), ess[rows].mean(), gini, same]
        numbers = torch.stack([*of_all, *masked.quantiles(valid, 0.05, 0.5, 0.95)])
        std, share, unequal, alike, low, middle, high = numbers.tolist()
        return cls(std, share, (low, middle, high), unequal, alike)

    def numbers(self) -> dict[str, float]:
        """Each under its name."""
        quantiles = dict(zip(("p05", "p50", "p95"), self.quantiles, strict=True))
        return {"std": self.std, "ess": self.ess, **quantiles, "gini": self.gini, "same_sign": self.same_sign}


def _gini(values: Tensor, mask: Tensor) -> Tensor:
    """Of each row's valid values, which are not negative, `[B, 1]`: sum_i (2 i - n - 1) v_i / (n sum_i v_i), ascending
    from i = 1; 0 for a row of zeros.
    """
    ordered, count = masked.fill(values, mask).sort(-1).values, masked.count(mask)
    # Zeros outside the mask come first and count for nothing.
    place = torch.arange(1, mask.shape[-1] + 1, device=mask.device) - (mask.shape[-1] - count)
    weighted = ((2 * place - count - 1) * ordered).sum(-1, keepdim=True)
    # Of equal values rounding may leave a little below 0, which no record takes.
    return (weighted / (count * ordered.sum(-1, keepdim=True)).clamp(min=1e-12)).clamp(0, 1)


@dataclass(frozen=True)
class StepReport:
    """One step. `reward`, `accuracy` (the mean score), `truncated` and `length` are means over all sampled responses,
    `kept_...` over those that a filter left to train on, 0 where it left none. All that follows is of the latter:
    entropy and KL in nats per token; `old_kl` estimates KL(old || current), `reference_kl` KL(current || reference).
    `sampler_...` is what sampler and trainer disagree on (`credit_zoo.rollout.importance_correction`); `perception` the
    distance to the policy without the picture per token, 0 where no base asks for it; `agreement` of every two signals
    that were measured (`credit_zoo.training.signal_agreement`). Of the kept response tokens, `trained_tokens` were read
    with a gradient in the last update; `entropy` is the mean over `measured_tokens` and `agreement` that of
    `compared_tokens`, those of responses that teach; what is measured is all, where sampling told it.
    """

    step: int
    loss: float
    reward: float
    accuracy: float
    truncated: float
    length: float
    kept_reward: float
    kept_accuracy: float
    kept_truncated: float
    kept_length: float
    entropy: float
    clip_fraction: float
    old_kl: float
    reference_kl: float
    weight_std: float
    weight_ess: float
    weight_quantiles: tuple[float, float, float]
    grad_norm: float
    sampled_tokens: int
    kept_tokens: int
    sampled_prompts: int
    kept_prompts: int
    resampling_rounds: int
    seconds: float
    sampler_ratio: float = 1.0
    sampler_truncated: float = 0.0
    sampler_ess: float = 1.0
    sampler_difference: float = 0.0
    weight_gini: float = 0.0
    weight_same_sign: float = 1.0
    perception: float = 0.0
    agreement: Mapping[str, float] = field(default_factory=dict)
    trained_tokens: int = 0
    measured_tokens: int = 0
    compared_tokens: int = 0

    def short(self) -> dict[str, str]:
        """What fits beside a progress bar."""
        return {
            "reward": f"{self.reward:.3f}",
            "acc": f"{self.accuracy:.3f}",
            "entropy": f"{self.entropy:.3f}",
            "clip": f"{self.clip_fraction:.3f}",
            "wstd": f"{self.weight_std:.3f}",
            "s": f"{self.seconds:.1f}",
        }

    def scalars(self) -> dict[str, float]:
        """Every number, for a tracker and the record; no mean over responses that there are none of."""
        several = ("weight_quantiles", "agreement")
        values = {name: value for name, value in asdict(self).items() if name not in several}
        if not self.kept_prompts:
            values = {name: value for name, value in values.items() if name not in KEPT_MEANS}
        names = ("weight_p05", "weight_p50", "weight_p95")
        return {**values, **dict(zip(names, self.weight_quantiles, strict=True)), **self.agreement}
