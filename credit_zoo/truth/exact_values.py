"""The value of every prefix on a twin, in closed form, from the worked solution y* of its question.

    V(x, y*[<k]) = prod_{j>=k} pi(y*_j | x, y*[<j])          the chance that the policy completes y* from there
    A*[t]        = V(prefix, y_t) - V(prefix)                on the part that a response shares with y*
    A*[k]        = -V(y*[<k])                                at its first departure k, and 0 behind it
    A*[t]        = (R - V(y*[<k])) / (T - k),  t >= k        behind a departure that came right all the same

One teacher-forced pass over the solutions gives them all, exactly, as far as y* is the only right response: V misses
what comes right by another way. The rows of A* add up to R - V(x).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from credit_zoo import masked
from credit_zoo.policy import BatchLayout, Policy
from credit_zoo.rollout import SamplingParams
from credit_zoo.types import Prompts


@dataclass(frozen=True)
class ExactValues:
    """Of N questions: the tokens of the solutions `[N, S]` with the stop token behind each, and the values of their
    prefixes `[N, S + 1]`, float32, where `value[n, k]` is that of the first k tokens and 1 from the last on.
    """

    ids: Int64[Tensor, "N S"]
    mask: Bool[Tensor, "N S"]
    value: Float[Tensor, "N V"]


def exact_values(policy: Policy, prompts: Prompts, solutions: Sequence[str], sampling: SamplingParams) -> ExactValues:
    """The values under the distribution that `sampling` draws from; one pass over the solutions."""
    return values_of(policy, prompts, *policy.encoder.responses(solutions), sampling)


@torch.no_grad()
def values_of(
    policy: Policy, prompts: Prompts, ids: Int64[Tensor, "N S"], mask: Bool[Tensor, "N S"], sampling: SamplingParams
) -> ExactValues:
    """The same where the one right response to prompt n are the tokens `ids[n]`, whatever they are."""
    device = prompts.ids.device
    ids, mask = ids.to(device), mask.to(device)
    rows = BatchLayout(prompts, torch.arange(len(prompts), device=device), ids, mask)
    logp = masked.fill(policy(rows, sampling.temperature, sampling.truncation).logp, mask)
    left = logp.flip(1).cumsum(1).flip(1)  # of the tokens from k on
    return ExactValues(ids, mask, torch.cat([left.exp(), torch.ones_like(left[:, :1])], 1))


def token_advantage(
    values: ExactValues, row_of: Int64[Tensor, " B"], ids: Int64[Tensor, "B T"], mask: Bool[Tensor, "B T"],
    correct: Float[Tensor, " B"],
) -> Float[Tensor, "B T"]:  # fmt: skip
    """A* of responses, float32, 0 outside the mask; `row_of[b]` is the question that response b answers, and `mask` a
    prefix, as sampled. A response counts as right where `correct` is 1.
    """
    width = max(ids.shape[1], values.ids.shape[1])
    own, own_mask = _widened(ids, width), _widened(mask, width)
    solution, solution_mask = _widened(values.ids, width)[row_of], _widened(values.mask, width)[row_of]
    shared = ((own == solution) & own_mask & solution_mask).long().cumprod(1).bool()
    value = _widened(values.value, width + 1, 1.0)[row_of]
    departure = shared.sum(1)
    left = value.gather(1, departure[:, None])  # what was still to be won there
    place = torch.arange(width, device=ids.device)
    behind = own_mask & (place >= departure[:, None])
    wrong = torch.where(place == departure[:, None], -left, 0.0)
    right = (1 - left) / masked.count(behind).clamp(min=1)
    advantage = torch.where(shared, value[:, 1:] - value[:, :-1], torch.where((correct >= 1)[:, None], right, wrong))
    return masked.fill(advantage, own_mask)[:, : ids.shape[1]]


def _widened(values: Tensor, width: int, fill: float = 0) -> Tensor:
    return torch.cat([values, values.new_full((len(values), max(0, width - values.shape[1])), fill)], 1)
