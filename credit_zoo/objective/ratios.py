"""The importance ratio: how much more probable tokens are now than when they were sampled, as a log `[B, T]`.

    r[b,t] = pi(y[b,t]) / pi_old(y[b,t])        s[b] = exp(mean_t log r[b,t])

A ratio of the whole response keeps a rule's credit only where each token still has a gradient of its own.
"""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from credit_zoo import masked
from credit_zoo.registry import RATIOS

# e^10 is far outside any clip range, and finite.
HIGHEST_LOG = 10.0


@runtime_checkable
class Ratio(Protocol):
    """log of the importance ratio, `[B, T]`."""

    def __call__(
        self, logp: Float[Tensor, "B T"], old_logp: Float[Tensor, "B T"], mask: Bool[Tensor, "B T"]
    ) -> Float[Tensor, "B T"]: ...


@RATIOS.register("token", paper="arXiv:1707.06347")
@dataclass(frozen=True)
class TokenRatio:
    """pi(token) / pi_old(token), one ratio per token."""

    def __call__(
        self, logp: Float[Tensor, "B T"], old_logp: Float[Tensor, "B T"], mask: Bool[Tensor, "B T"]
    ) -> Float[Tensor, "B T"]:
        return torch.where(mask, logp - old_logp, 0.0)


@RATIOS.register("gspo_token", paper="arXiv:2507.18071", one_verdict=True)
@dataclass(frozen=True)
class GspoToken:
    """sg[s[b]] * pi / sg[pi]: the response's value, with log s at most 10, and each token's own gradient.

    The clip range is the loss's and belongs to s, a mean of logs: the paper has ppo_clip.eps_low=3e-4 and
    ppo_clip.eps_high=4e-4. On a response that is outside of it the sign of a token's advantage decides whether the
    token is clipped.
    """

    def __call__(
        self, logp: Float[Tensor, "B T"], old_logp: Float[Tensor, "B T"], mask: Bool[Tensor, "B T"]
    ) -> Float[Tensor, "B T"]:
        response = masked.mean(logp.detach() - old_logp, mask).clamp(max=HIGHEST_LOG)
        return torch.where(mask, response + (logp - logp.detach()), 0.0)


@RATIOS.register("gspo", paper="arXiv:2507.18071", keeps_token_credit=False, one_verdict=True)
@dataclass(frozen=True)
class Gspo:
    """s[b] for every token, whose gradient is the mean of all tokens': only the mean advantage of a response counts.

    With one advantage for all tokens it has `gspo_token`'s gradient; any other credit is erased, so that it goes with
    the uniform rule alone.
    """

    def __call__(
        self, logp: Float[Tensor, "B T"], old_logp: Float[Tensor, "B T"], mask: Bool[Tensor, "B T"]
    ) -> Float[Tensor, "B T"]:
        response = masked.mean(torch.where(mask, logp - old_logp, 0.0), mask).clamp(max=HIGHEST_LOG)
        return torch.where(mask, response, 0.0)
