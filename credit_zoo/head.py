"""Log-probability, entropy and collision probability of tokens, from states, without their matrix of logits.

    z[n,v]       = W h[n] / temperature                  of token n before its sampling; forbidden tokens far below
    logp[n]      = z[n,y] - lse(z[n])                    y: the token that was sampled
    entropy[n]   = lse(z[n]) - sum_v p[n,v] z[n,v]       [nats]
    collision[n] = sum_v p[n,v]^2                        the chance to draw the same token twice

    d logp[n] / d z[n,v] = (1[v = y] - p[n,v])

Logits exist for a few tokens at a time, in one buffer that turns into the probabilities. They are computed again in
the backward pass. Everything is accumulated in float32.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.utils.checkpoint import checkpoint

# Low enough that a forbidden token has probability 0 in float32, finite so that p * z stays 0.
FORBIDDEN_LOGIT = -1e4
# How many logits exist at once unless a number of tokens is asked for: 64 MiB in float32.
LOGITS_AT_ONCE = 2**24


class TokenStatistics(NamedTuple):
    """Of some tokens, float32: `logp` with gradient, `entropy` and `collision` without."""

    logp: Float[Tensor, "*N"]
    entropy: Float[Tensor, "*N"]
    collision: Float[Tensor, "*N"]


Reduce = Callable[
    [Float[Tensor, "N V"], Int64[Tensor, " N"], float, tuple[int, ...]],
    tuple[Float[Tensor, " N"], Float[Tensor, " N"], Float[Tensor, " N"]],
]


def finish_logits(logits: Float[Tensor, "*N V"], temperature: float, forbidden: Sequence[int]) -> Tensor:
    """The logits that are sampled from, float32. Logits of 32 bits are changed in place."""
    logits = logits.float()
    if temperature != 1:
        logits.div_(temperature)
    for token in forbidden:
        logits[..., token] = FORBIDDEN_LOGIT
    return logits


class _Reduced(torch.autograd.Function):
    """The statistics of one chunk. What the backward pass needs is kept in the chunk's own buffer."""

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any, logits: Tensor, ids: Tensor, temperature: float, forbidden: tuple[int, ...]
    ) -> tuple[Tensor, Tensor, Tensor]:
        # The head's output is nobody else's: it is not copied.
        z = finish_logits(logits, temperature, forbidden)
        z.sub_(z.amax(-1, keepdim=True))
        chosen = z.gather(-1, ids[:, None])[:, 0]
        p = z.exp()
        total = p.sum(-1)
        log_total = total.log()
        entropy = log_total - torch.linalg.vecdot(p, z) / total
        del z
        p.div_(total[:, None])
        collision = torch.linalg.vecdot(p, p)
        ctx.save_for_backward(p, ids)
        ctx.temperature, ctx.dtype = temperature, logits.dtype
        ctx.mark_non_differentiable(entropy, collision)
        return chosen - log_total, entropy, collision

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor, *_: Any) -> Any:  # type: ignore[override]
        p, ids = ctx.saved_tensors
        scale = upstream / ctx.temperature
        gradient = p.mul_(-scale[:, None]).scatter_add_(-1, ids[:, None], scale[:, None])
        return gradient.to(ctx.dtype), None, None, None


reduced: Reduce = _Reduced.apply


def token_statistics(
    hidden: Float[Tensor, "*N D"],
    head: nn.Module,
    ids: Int64[Tensor, "*N"],
    temperature: float = 1.0,
    forbidden: Sequence[int] = (),
    chunk: int = 0,
    reduce: Reduce = reduced,
) -> TokenStatistics:
    """The statistics of `ids`, each emitted by the state beside it. Logits exist for `chunk` tokens at a time (0: as
    many as make 2**24 logits).
    """

    def one(states: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return reduce(head(states), tokens, temperature, tuple(forbidden))

    flat, tokens = hidden.flatten(0, -2), ids.flatten()
    size = chunk or max(LOGITS_AT_ONCE // int(head.weight.shape[0]), 1)
    parts = [
        checkpoint(one, *pair, use_reentrant=False, preserve_rng_state=False)
        for pair in zip(flat.split(size), tokens.split(size), strict=True)
    ]
    return TokenStatistics(*(torch.cat(values).view(ids.shape) for values in zip(*parts, strict=True)))
