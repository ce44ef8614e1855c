"""Log-probability, entropy and collision probability of tokens, from states, without their matrix of logits.

    z[n,v]       = W[v] h[n] / temperature               of token n before its sampling; forbidden tokens far below
    logp[n]      = z[n,y] - lse(z[n])                    y: the token that was sampled
    entropy[n]   = lse(z[n]) - sum_v p[n,v] z[n,v]       [nats]
    collision[n] = sum_v p[n,v]^2                        the chance to draw the same token twice

    d logp[n] / d z[n,v] = 1[v = y] - p[n,v]             so dh = dz W / temperature, dW = dz^T h / temperature
    d entropy[n] / d z[n,v] = -p[n,v] (log p[n,v] + entropy[n])                  where it is asked for

All are sums over the vocabulary, and are taken over a block of it at a time, in a buffer that is used again:

    lse = logsumexp_b lse_b,   w_b = exp(lse_b - lse),   E[z] = sum_b w_b E_b[z],   collision = sum_b w_b^2 collision_b

The backward pass computes each block once more; every row of W and of its gradient is then touched once. Tokens
without a gradient are left out of it. Everything is accumulated in float32.

Under top-k or top-p (`credit_zoo.policy.truncation`) all of this is of the distribution that is left, p[n,v] = 0 below
floor[n]. Which tokens are left can be told from a whole row of logits only, so that the forward pass then takes some
tokens with their whole vocabulary at a time; the backward pass knows the floors. The sampled token always counts as
left: rounding, or an update since it was sampled, must not make its probability 0.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from credit_zoo.errors import UsageError
from credit_zoo.policy.entropy_slope import entropy_slope
from credit_zoo.policy.truncation import WHOLE, Truncation

# Low enough that a forbidden token has probability 0 in float32, finite so that p * z stays 0.
FORBIDDEN_LOGIT = -1e4

HeadSettings = tuple[float, tuple[int, ...], Truncation]  # temperature, forbidden tokens, what is left


class TokenStatistics(NamedTuple):
    """Of some tokens, float32: `logp` with gradient, `entropy` where it is asked for, `collision` without."""

    logp: Float[Tensor, "*N"]
    entropy: Float[Tensor, "*N"]
    collision: Float[Tensor, "*N"]


class Block(NamedTuple):
    """Of a block's logits, float32. `chosen` is -inf where the sampled token is in another block."""

    chosen: Float[Tensor, " N"]
    logsumexp: Float[Tensor, " N"]
    mean: Float[Tensor, " N"]  # of the logits, under the block's own distribution
    collision: Float[Tensor, " N"]


@runtime_checkable
class Kernel(Protocol):
    """What is done to a block's logits, its own to change; `ids` and `forbidden` count from the block's first token."""

    def reduce(
        self, logits: Float[Tensor, "N V"], ids: Int64[Tensor, " N"], temperature: float, forbidden: Sequence[int]
    ) -> Block: ...

    def gradient(
        self,
        logits: Float[Tensor, "N V"],
        ids: Int64[Tensor, " N"],
        temperature: float,
        forbidden: Sequence[int],
        logsumexp: Float[Tensor, " N"],
        upstream: Float[Tensor, " N"],
    ) -> Float[Tensor, "N V"]:
        """The gradient with respect to the raw logits, given that with respect to logp; `logsumexp` of all blocks."""
        ...


def finish_logits(logits: Float[Tensor, "*N V"], temperature: float, forbidden: Sequence[int]) -> Tensor:
    """The logits that are sampled from, float32. Logits of 32 bits are changed in place."""
    logits = logits.float()
    if temperature != 1:
        logits.div_(temperature)
    for token in forbidden:
        logits[..., token] = FORBIDDEN_LOGIT
    return logits


def _finished_copy(logits: Tensor, *how: Any) -> Tensor:
    return finish_logits(logits.to(torch.float32, copy=True), *how)


class TorchKernel:
    """The reference, on any device."""

    def reduce(self, logits: Tensor, ids: Tensor, temperature: float, forbidden: Sequence[int]) -> Block:
        z = finish_logits(logits, temperature, forbidden)
        inside, place = _within(ids, z.shape[-1])
        highest = z.amax(-1, keepdim=True)
        chosen = z.gather(-1, place)[:, 0].masked_fill(~inside, -torch.inf)
        p = z.sub_(highest).exp()
        total = p.sum(-1)
        mean = highest[:, 0] + z.mul_(p).sum(-1) / total
        collision = (torch.linalg.vector_norm(p, dim=-1) / total).square()
        return Block(chosen, highest[:, 0] + total.log(), mean, collision)

    def gradient(
        self,
        logits: Tensor,
        ids: Tensor,
        temperature: float,
        forbidden: Sequence[int],
        logsumexp: Tensor,
        upstream: Tensor,
    ) -> Tensor:
        scale = upstream / temperature
        inside, place = _within(ids, logits.shape[-1])
        p = finish_logits(logits, temperature, forbidden).sub_(logsumexp[:, None]).exp_()
        return p.mul_(-scale[:, None]).scatter_add_(-1, place, (scale * inside)[:, None]).to(logits.dtype)


def _within(ids: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """Which ids are in a block, and a place in it for each."""
    return (ids >= 0) & (ids < width), ids.clamp(0, width - 1)[:, None]


class _Statistics(torch.autograd.Function):
    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        ids: Tensor,
        settings: HeadSettings,
        at_once: int,
        kernel: Kernel,
        entropy_gradient: bool,
    ) -> tuple[Tensor, Tensor, Tensor]:
        (logp, entropy, collision), logsumexp, floor = reduced(hidden, weight, bias, ids, settings, at_once, kernel)
        ctx.save_for_backward(hidden, weight, bias, ids, logsumexp, floor, entropy if entropy_gradient else None)
        ctx.settings, ctx.at_once, ctx.kernel = settings, at_once, kernel
        ctx.mark_non_differentiable(*(() if entropy_gradient else (entropy,)), collision)
        return logp, entropy, collision

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor, to_entropy: Tensor, _: Any) -> Any:  # type: ignore[override]
        hidden, weight, bias, ids, logsumexp, floor, entropy = ctx.saved_tensors
        temperature, forbidden, _ = ctx.settings
        to_hidden, to_weight, to_bias, *_ = ctx.needs_input_grad
        live = ((upstream != 0) | (to_entropy != 0)).nonzero()[:, 0]
        states, ids, logsumexp, upstream = (x.index_select(0, live) for x in (hidden, ids, logsumexp, upstream))
        floor = None if floor is None else floor.index_select(0, live)
        kept = None if entropy is None else (entropy[live], to_entropy[live] / temperature)
        d_states = torch.zeros_like(states, dtype=torch.float32) if to_hidden else None
        d_weight = torch.empty_like(weight) if to_weight else None
        d_bias = torch.empty_like(bias) if to_bias else None
        for part, z in blocks(states, weight, bias, ctx.at_once):
            near = shifted(forbidden, part)
            if floor is not None:
                cut(z, ids - part.start, floor, temperature)
            slope = None if kept is None else entropy_slope(_finished_copy(z, temperature, near), logsumexp, *kept)
            dz = ctx.kernel.gradient(z, ids - part.start, temperature, near, logsumexp, upstream)
            if slope is not None:
                dz = dz.add_(slope)
            if d_states is not None:
                _add_product(d_states, dz, weight[part])
            if d_weight is not None:
                torch.mm(dz.T, states, out=d_weight[part])
            if d_bias is not None:
                d_bias[part] = dz.sum(0, dtype=torch.float32)
        d_hidden = None
        if d_states is not None:
            d_hidden = torch.zeros_like(hidden).index_copy_(0, live, d_states.to(hidden.dtype))
        return d_hidden, d_weight, d_bias, None, None, None, None, None


def reduced(
    hidden: Float[Tensor, "N D"],
    weight: Float[Tensor, "V D"],
    bias: Float[Tensor, " V"] | None,
    ids: Int64[Tensor, " N"],
    settings: HeadSettings,
    at_once: int,
    kernel: Kernel,
) -> tuple[TokenStatistics, Float[Tensor, " N"], Float[Tensor, " N"] | None]:
    """The statistics, the log of the sum over all (kept) tokens, and the floors of a truncation."""
    temperature, forbidden, truncation = settings
    floor = None
    if truncation.cuts:
        whole, floor = _reduced_left(hidden, weight, bias, ids, settings, at_once, kernel)
        parts = [whole]
    else:
        parts = [
            kernel.reduce(z, ids - part.start, temperature, shifted(forbidden, part))
            for part, z in blocks(hidden, weight, bias, at_once)
        ]
    chosen, logsumexps, means, collisions = (torch.stack(values) for values in zip(*parts, strict=True))
    logsumexp = logsumexps.logsumexp(0)
    share = (logsumexps - logsumexp).exp()
    entropy = (share * (logsumexp - means)).sum(0)
    collision = (share.square() * collisions).sum(0)
    return TokenStatistics(chosen.amax(0) - logsumexp, entropy, collision), logsumexp, floor


def _add_product(total: Tensor, left: Tensor, right: Tensor) -> None:
    if left.dtype == total.dtype:
        total.addmm_(left, right)
    else:
        total.add_(left @ right)


def shifted(tokens: Sequence[int], part: slice) -> tuple[int, ...]:
    """Those tokens of the vocabulary that are in a block, counted from its first."""
    return tuple(token - part.start for token in tokens if part.start <= token < part.stop)


def blocks(hidden: Tensor, weight: Tensor, bias: Tensor | None, at_once: int) -> Iterator[tuple[slice, Tensor]]:
    """Raw logits of all tokens, a block of the vocabulary at a time, all in one buffer."""
    rows = max(len(hidden), 1)
    width = min(max(at_once // rows, 1), len(weight))
    buffer = hidden.new_empty(len(hidden) * width)
    for start in range(0, len(weight), width):
        part = slice(start, min(start + width, len(weight)))
        block = buffer[: len(hidden) * (part.stop - start)].view(len(hidden), part.stop - start)
        z = torch.mm(hidden, weight[part].T, out=block)
        yield part, z if bias is None else z.add_(bias[part])


def _reduced_left(
    hidden: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    ids: Tensor,
    settings: HeadSettings,
    at_once: int,
    kernel: Kernel,
) -> tuple[Block, Tensor]:
    """The reductions of what a truncation leaves, and its floors, some tokens at a time."""
    temperature, forbidden, truncation = settings
    rows = max(at_once // len(weight), 1)
    found, floors = [], []
    for states, chosen in zip(hidden.split(rows), ids.split(rows), strict=True):
        raw = torch.mm(states, weight.T)
        z = finish_logits(raw if bias is None else raw.add_(bias), temperature, forbidden)
        floors.append(truncation.floor(z))
        below = (z < floors[-1][:, None]).scatter_(-1, chosen[:, None], False)
        found.append(kernel.reduce(z.masked_fill_(below, FORBIDDEN_LOGIT), chosen, 1.0, ()))
    return Block(*(torch.cat(values) for values in zip(*found, strict=True))), torch.cat(floors)


def cut(logits: Tensor, ids: Tensor, floor: Tensor, temperature: float) -> None:
    """Forbids what is below the floors of a block of raw logits, in place, but for the sampled tokens."""
    inside, place = _within(ids, logits.shape[-1])
    below = (logits.float() / temperature) < floor[:, None]
    below.scatter_(-1, place, below.gather(-1, place) & ~inside[:, None])
    logits.masked_fill_(below, FORBIDDEN_LOGIT * temperature)


def token_statistics(
    hidden: Float[Tensor, "*N D"],
    head: nn.Module,
    ids: Int64[Tensor, "*N"],
    temperature: float = 1.0,
    forbidden: Sequence[int] = (),
    at_once: int = 2**22,
    kernel: Kernel | None = None,
    truncation: Truncation = WHOLE,
    entropy_gradient: bool = False,
) -> TokenStatistics:
    """The statistics of `ids`, each emitted by the state beside it, of the distribution that `truncation` leaves;
    `at_once` logits exist at a time, or one token's. `head` is a linear layer; anything else raises `UsageError`.
    """
    tokens, settings = ids.flatten(), (temperature, tuple(forbidden), truncation)

    def forward(linear: nn.Linear, states: Tensor) -> Any:
        how = (settings, at_once, kernel or TorchKernel(), entropy_gradient)
        return _Statistics.apply(states, linear.weight, linear.bias, tokens, *how)

    found = in_place_of(head, forward, hidden.flatten(0, -2))
    return TokenStatistics(*(values.view(ids.shape) for values in found))


def in_place_of(head: nn.Module, forward: Callable[[nn.Linear, Tensor], Any], states: Float[Tensor, "N D"]) -> Any:
    """`forward(head, states)`, called as the head itself, so that whoever gathers a layer's weights before it runs
    (ZeRO-3), or looks at its inputs, does so here. Raises `UsageError` for a head that is no linear layer.
    """
    if not isinstance(head, nn.Linear):
        raise UsageError(f"the language head must be a linear layer, this model's is a {type(head).__name__}")
    own = {name: vars(head)[name] for name in ("forward",) if name in vars(head)}
    vars(head)["forward"] = partial(forward, head)
    try:
        return head(states)
    finally:
        del vars(head)["forward"]
        vars(head).update(own)
