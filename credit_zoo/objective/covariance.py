"""Which tokens of a step would cost entropy: the covariance of advantage and log-probability (arXiv:2505.22617).

Everything is of all valid tokens of the step, over all processes, in float64, so that order and padding, which only
change the order of sums, do not change what is selected.
"""

import hashlib
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor


@dataclass(frozen=True)
class ResponsesOfStep:
    """All responses of a step: `advantage` `[B]` from the estimator, before any rule; `logp` `[B, T]` of the policy
    that the step began with; `mask` and token `ids` `[B, T]`; `group` `[B]` numbers their prompts.
    """

    advantage: Float[Tensor, " B"]
    logp: Float[Tensor, "B T"]
    mask: Bool[Tensor, "B T"]
    ids: Int64[Tensor, "B T"]
    group: Int64[Tensor, " B"]


def covariance(step: ResponsesOfStep) -> Float[Tensor, "B T"]:
    """(A[b] - mean A) * (logp[b,t] - mean logp), means over all valid tokens, -inf outside the mask."""
    advantage = step.advantage.double()[:, None].expand(step.mask.shape)
    product = _centred(advantage, step.mask) * _centred(step.logp.double(), step.mask)
    return torch.where(step.mask, product, -torch.inf)


def _centred(values: Float[Tensor, "B T"], mask: Bool[Tensor, "B T"]) -> Float[Tensor, "B T"]:
    valid = torch.where(mask, values, 0.0)
    return valid - valid.sum() / mask.sum().clamp(min=1)


def highest(values: Float[Tensor, "B T"], candidates: Bool[Tensor, "B T"], count: int) -> Bool[Tensor, "B T"]:
    """The candidates with the `count` highest values; what ties with the last of them is taken too."""
    found = values[candidates]
    if len(found) <= count:
        return candidates
    return candidates & (values >= found.topk(count).values[-1])


def least_keys(keys: Float[Tensor, "B T"], candidates: Bool[Tensor, "B T"], count: int) -> Bool[Tensor, "B T"]:
    """`count` of the candidates, those with the least keys."""
    return highest(-keys, candidates, count)


def token_keys(step: ResponsesOfStep, seed: int) -> Float[Tensor, "B T"]:
    """A random number in [0, 1) for every valid token, drawn from the seed, the prompt's number and the response's
    tokens alone; 0 outside the mask.
    """
    keys = torch.zeros(step.mask.shape, dtype=torch.float64)
    mask, ids = step.mask.cpu(), step.ids.cpu()
    for row, number in enumerate(step.group.tolist()):
        valid = mask[row]
        said = repr((seed, number, ids[row, valid].tolist()))
        digest = hashlib.blake2b(said.encode(), digest_size=8).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(digest, "big"))
        keys[row, valid] = torch.rand(int(valid.sum()), generator=generator, dtype=torch.float64)
    return keys.to(step.mask.device)
