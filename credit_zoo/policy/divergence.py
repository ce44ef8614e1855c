"""What two states beside each token, of one policy that sees two pictures, say of it: without a matrix of logits.

    p = softmax(W h)     q = softmax(W h')     m = (p + q) / 2            h with the picture, h' with a degraded view
    JS[n] = 1/2 sum_v p[n,v] log(p[n,v] / m[n,v]) + 1/2 sum_v q[n,v] log(q[n,v] / m[n,v])        [nats, 0 to log 2]

Twice over the vocabulary, a block of it for both states at a time: first the sums that normalise p and q, together with
log-probability and entropy under q, then JS. Under top-k or top-p each distribution is what is left of its own.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple, cast

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from credit_zoo.policy.lm_head import Kernel, TorchKernel, blocks, cut, finish_logits, in_place_of, reduced, shifted
from credit_zoo.policy.truncation import WHOLE, Truncation

# Blocks of the second round, made of the logits of a block, that are there at one time.
AT_A_TIME = 4


class ComparedStatistics(NamedTuple):
    """Of some tokens, float32, without gradient: `logp` and `entropy` under the degraded view, and its `divergence`
    from the policy that sees the picture [nats].
    """

    logp: Float[Tensor, "*N"]
    entropy: Float[Tensor, "*N"]
    divergence: Float[Tensor, "*N"]


@torch.no_grad()
def compared_statistics(
    hidden: Float[Tensor, "*N D"],
    degraded: Float[Tensor, "*N D"],
    head: nn.Module,
    ids: Int64[Tensor, "*N"],
    temperature: float = 1.0,
    forbidden: Sequence[int] = (),
    at_once: int = 2**22,
    kernel: Kernel | None = None,
    truncation: Truncation = WHOLE,
) -> ComparedStatistics:
    """The statistics of `ids`, each emitted by the two states beside it; `at_once` logits exist at a time, or one
    token's. Raises `UsageError` for a head that is no linear layer.
    """
    both, tokens = torch.cat([hidden.flatten(0, -2), degraded.flatten(0, -2)]), torch.cat([ids.flatten()] * 2)
    settings = (temperature, tuple(forbidden), truncation)

    def forward(states: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        weight, bias = cast(Tensor, head.weight), cast("Tensor | None", head.bias)
        found, logsumexp, floor = reduced(states, weight, bias, tokens, settings, at_once, kernel or TorchKernel())
        total = torch.zeros_like(found.logp)
        for part, z in blocks(states, weight, bias, max(at_once // AT_A_TIME, 1)):
            if floor is not None:
                cut(z, tokens - part.start, floor, temperature)
            logs = finish_logits(z, temperature, shifted(forbidden, part)).sub_(logsumexp[:, None])
            total += _apart(logs)
        here, there = total.chunk(2)
        return found.logp.chunk(2)[1], found.entropy.chunk(2)[1], ((here + there) / 2).clamp(0, math.log(2))

    return ComparedStatistics(*(values.view(ids.shape) for values in in_place_of(head, forward, both)))


def _apart(logs: Float[Tensor, "M V"]) -> Float[Tensor, " M"]:
    """Sums over a block of p log(p / m), the tokens of one distribution behind those of the other."""
    middle = torch.logaddexp(*logs.chunk(2)).sub_(math.log(2))
    return torch.cat([(one.exp() * (one - middle)).sum(-1) for one in logs.chunk(2)])
