"""Mask arithmetic: the only place that divides by a masked count.

Every function works along the last dimension of `[B, T]` values under a bool mask, accumulates in float32,
never reads what stands outside the mask (NaN and infinity included), and returns zeros for empty rows.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

Values = Float[Tensor, "B T"]
Mask = Bool[Tensor, "B T"]
Column = Float[Tensor, "B 1"]


def fill(values: Values, mask: Mask, value: float = 0.0) -> Values:
    """`values` in float32 with everything outside the mask replaced by `value`."""
    return torch.where(mask, values.float(), value)


def count(mask: Mask) -> Column:
    """Valid tokens per row, float32 `[B, 1]`."""
    return mask.sum(-1, keepdim=True).float()


def total(values: Values, mask: Mask) -> Column:
    """Sum over valid tokens per row, `[B, 1]`."""
    return fill(values, mask).sum(-1, keepdim=True)


def mean(values: Values, mask: Mask) -> Column:
    """Mean over valid tokens per row, `[B, 1]`; 0 for an empty row."""
    return total(values, mask) / count(mask).clamp(min=1)


def std(values: Values, mask: Mask) -> Column:
    """Population standard deviation over valid tokens per row, `[B, 1]`; 0 for an empty row."""
    return mean((values.float() - mean(values, mask)).square(), mask).sqrt()


def minmax(values: Values, mask: Mask, eps: float = 1e-6) -> Values:
    """`(v - min) / (max - min + eps)` per row, in [0, 1]; a constant row gives zeros."""
    low = fill(values, mask, torch.inf).amin(-1, keepdim=True)
    high = fill(values, mask, -torch.inf).amax(-1, keepdim=True)
    return fill((values.float() - low) / (high - low + eps), mask)


def softmax(scores: Values, mask: Mask) -> Values:
    """Softmax over the valid tokens of each row: rows sum to 1, empty rows are zeros."""
    top = fill(scores, mask, -torch.inf).amax(-1, keepdim=True)
    weights = fill((scores.float() - top).exp(), mask)
    return weights / weights.sum(-1, keepdim=True).clamp(min=torch.finfo(torch.float32).tiny)


def quantile(values: Values, mask: Mask, q: float) -> Tensor:
    """Quantile of all valid entries of the whole tensor together (linear interpolation), a scalar; 0 if none."""
    return quantiles(values[mask], q)[0]


def quantiles(values: Float[Tensor, " N"], *shares: float) -> Float[Tensor, " Q"]:
    """Quantiles of a list of values (linear interpolation), float32; zeros if it is empty.

    By sorting: `torch.quantile` refuses more than 16 million entries.
    """
    ordered = values.float().sort().values
    if not len(ordered):
        return ordered.new_zeros(len(shares))
    found = []
    for share in shares:
        place = share * (len(ordered) - 1)
        low = int(place)
        high = min(low + 1, len(ordered) - 1)
        found.append(ordered[low] + (ordered[high] - ordered[low]) * (place - low))
    return torch.stack(found)


def row_quantile(values: Values, mask: Mask, q: float) -> Column:
    """Quantile of the valid entries of each row (linear interpolation), `[B, 1]`; 0 for an empty row."""
    ordered = fill(values, mask, torch.inf).sort(-1).values
    place = q * (count(mask) - 1).clamp(min=0).double()
    low, high = (end.long() for end in (place.floor(), place.ceil()))
    below, above = (torch.where(mask.any(-1, keepdim=True), ordered.gather(-1, end), 0.0) for end in (low, high))
    return below + (above - below) * (place - low).float()
