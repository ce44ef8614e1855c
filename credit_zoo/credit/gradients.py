"""The gradient that each rule makes of one batch, uphill, at the policy that sampled it (ratio 1).

    g = - d loss / d theta = sum_b,t c[b,t] d logp[b,t] / d theta       c = - d loss / d logp, by the base's own loss

All rules share the forward passes; each costs one backward pass. What needs none: a response to which a rule gives no
credit, and a rule whose coefficients are a multiple of another's.
"""

from collections.abc import Callable, Mapping, Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from credit_zoo.credit.projection import Projection
from credit_zoo.objective import Base, TokenBatch, Totals
from credit_zoo.policy import BatchLayout, MicroBatch, Policy, pack
from credit_zoo.rollout import SamplingParams

SAME = 1e-6  # relative difference below which coefficients are a multiple of others


def coefficients(
    base: Base, logp: Float[Tensor, "B T"], credit: Float[Tensor, "B T"], mask: Bool[Tensor, "B T"], max_tokens: int
) -> Float[Tensor, "B T"]:
    """What the gradient of each token's log-probability is multiplied with, uphill; `credit` are token advantages."""
    leaf = logp.detach().clone().requires_grad_(True)
    totals = Totals(len(mask), float(mask.sum()), max_tokens)
    loss, _ = base.objective(TokenBatch(leaf, logp, credit, mask), totals)
    (found,) = torch.autograd.grad(loss, leaf)
    return -found


def rule_gradients(
    policy: Policy,
    rows: BatchLayout,
    sampling: SamplingParams,
    given: Mapping[str, Float[Tensor, "B T"]],
    projection: Projection,
    micro_batch: int,
) -> dict[str, Float[Tensor, "2 K"]]:
    """The projected gradient of every rule, from its coefficients `given`."""
    firsts, multiples = _multiples(given)
    found = {name: projection.zeros() for name in firsts}

    def put(name: str, gradients: Sequence[Tensor | None]) -> None:
        projection.add(found[name], gradients)

    backward_passes(policy, rows, sampling, {name: given[name] for name in firsts}, projection, micro_batch, put)
    return {name: factor * found[first] for name, (first, factor) in multiples.items()}


def backward_passes(
    policy: Policy,
    rows: BatchLayout,
    sampling: SamplingParams,
    given: Mapping[str, Float[Tensor, "B T"]],
    projection: Projection,
    micro_batch: int,
    put: Callable[[str, Sequence[Tensor | None]], None],
) -> None:
    """Hands every rule's gradient of every micro-batch to `put`; they add up to the rule's gradient."""
    for part in _parts(rows, given, micro_batch):
        logp = policy(rows.select(part), sampling.temperature, sampling.truncation).logp
        wanted = [(name, part.cut(one)) for name, one in given.items() if part.cut(one).any()]
        for place, (name, upstream) in enumerate(wanted, 1):
            more = place < len(wanted)
            put(
                name,
                torch.autograd.grad(logp, projection.parameters, upstream, retain_graph=more, allow_unused=True),
            )


def _parts(rows: BatchLayout, given: Mapping[str, Tensor], micro_batch: int) -> list[MicroBatch]:
    """Micro-batches of responses to which as many rules give credit, and none of those to which no rule does."""
    users = torch.stack([one.any(1) for one in given.values()]).sum(0)
    found: list[MicroBatch] = []
    for count in sorted(set(users[users > 0].tolist())):
        some = (users == count).nonzero()[:, 0]
        # Numbered anew: a prompt without a response among them is not read.
        own = torch.unique(rows.row_of[some], return_inverse=True)[1]
        packed = pack(own, rows.lengths[some], rows.prompt_length, rows.mask.shape[1], micro_batch, 0)
        found += [MicroBatch(some[part.rows], part.width) for part in packed]
    return found


def _multiples(given: Mapping[str, Tensor]) -> tuple[list[str], dict[str, tuple[str, float]]]:
    """The rules whose gradients are computed, and of every rule which of these it is a multiple of, and how often."""
    firsts: list[str] = []
    found: dict[str, tuple[str, float]] = {}
    for name, one in given.items():
        found[name] = (name, 1.0)
        for first in firsts:
            factor = float((one * given[first]).sum() / given[first].square().sum().clamp(min=1e-30))
            if (one - factor * given[first]).abs().max() <= SAME * one.abs().max():
                found[name] = (first, factor)
                break
        if found[name][0] == name:
            firsts.append(name)
    return firsts, found
