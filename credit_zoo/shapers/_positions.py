"""Tokens by their place among the sampled ones, and answers beside those to the same prompt.

A mask need not be a prefix: the t-th token of a response is the t-th that it counts, wherever it stands. `left` and
`back` go from columns to places and back again.
"""

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from credit_zoo import masked
from credit_zoo.masked import Column, Mask, Values
from credit_zoo.types import ShaperInputs


def place(mask: Mask) -> Int64[Tensor, "B T"]:
    """How many valid tokens stand before each valid one; meaningless outside the mask."""
    return mask.long().cumsum(1) - 1


def left(values: Values, mask: Mask) -> Values:
    """Column t holds the t-th valid token of each row; 0 behind the last one."""
    return masked.fill(values, mask).gather(1, order(mask))


def back(values: Values, mask: Mask) -> Values:
    """What `left` moved, in the columns where it stood; 0 outside the mask."""
    return masked.fill(torch.zeros_like(values).scatter(1, order(mask), values), mask)


def order(mask: Mask) -> Int64[Tensor, "B T"]:
    """The columns of each row, valid ones first, in their order."""
    return (~mask).to(torch.uint8).argsort(dim=1, stable=True)


def packed(mask: Mask) -> Bool[Tensor, "B T"]:
    """The mask itself, moved by `left`."""
    return torch.arange(mask.shape[1], device=mask.device) < mask.sum(1, keepdim=True)


def siblings(x: ShaperInputs) -> Float[Tensor, "B B"]:
    """1 where the second of two rows answers the prompt of the first and has a token, itself included; 0 elsewhere."""
    return ((x.group[:, None] == x.group) & x.mask.any(1)).float()


def group_minmax(values: Values, mask: Mask, peers: Float[Tensor, "B B"], eps: float) -> Values:
    """`(v - min) / (max - min + eps)` over the valid tokens of all answers to a prompt."""
    low = _least(masked.fill(values, mask, torch.inf).amin(1), peers)
    high = -_least(-masked.fill(values, mask, -torch.inf).amax(1), peers)
    return masked.fill((values - low) / (high - low + eps), mask)


def _least(values: Float[Tensor, " B"], peers: Float[Tensor, "B B"]) -> Column:
    return torch.where(peers > 0, values, torch.inf).amin(1, keepdim=True)


def evenly(chosen: Bool[Tensor, "B T"], mask: Mask) -> Values:
    """Weights of mean 1 that chosen tokens share evenly and others go without; 1 everywhere where none is chosen."""
    chosen = chosen & mask
    chosen = torch.where(chosen.any(1, keepdim=True), chosen, mask)
    return masked.count(mask) / masked.count(chosen).clamp(min=1) * chosen


def at_least(share: float, mask: Mask) -> Column:
    """The least whole number of tokens that is a share of each row's, at least 1; of 0.1 * 30 three, not four."""
    return (share * masked.count(mask).double() - 1e-9).ceil().clamp(min=1).float()
