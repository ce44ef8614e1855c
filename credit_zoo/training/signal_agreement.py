"""How far two signals say the same of a step's tokens: rules that follow signals which agree are one rule."""

import math
from collections.abc import Mapping
from itertools import combinations

import torch
from jaxtyping import Bool, Float
from torch import Tensor

TOP = 0.2  # of all tokens


@torch.no_grad()
def agreement(signals: Mapping[str, Float[Tensor, "B T"]], mask: Bool[Tensor, "B T"]) -> dict[str, float]:
    """Of every pair of signals, over all valid tokens together, `spearman/one~other`, the correlation of their ranks
    in [-1, 1], 0 where one is constant; and `top20/one~other`, the share of the highest fifth of one that is among the
    highest fifth of the other. What ties with the last of a fifth belongs to it, and the share is then of the larger;
    0.2 is chance. Names in alphabetical order; nothing without two tokens.
    """
    names = sorted(signals)
    # In one copy: an accelerator would be waited for at every number.
    *rows, kept = torch.stack([*(signals[name].float() for name in names), mask.float()]).cpu()
    if int(kept.sum()) < 2:
        return {}
    valid = {name: values[kept == 1].double() for name, values in zip(names, rows, strict=True)}
    ranks = {name: _ranks(values) for name, values in valid.items()}
    tops = {name: _top(values) for name, values in valid.items()}
    found: dict[str, float] = {}
    for one, other in combinations(names, 2):
        found[f"spearman/{one}~{other}"] = _correlation(ranks[one], ranks[other])
        largest = torch.maximum(tops[one].sum(), tops[other].sum())
        found[f"top20/{one}~{other}"] = float((tops[one] & tops[other]).sum() / largest)
    return found


def _ranks(values: Float[Tensor, " N"]) -> Float[Tensor, " N"]:
    """Ranks from 0; equal values share the mean of theirs."""
    _, place, count = torch.unique(values, return_inverse=True, return_counts=True)
    return ((count.cumsum(0) - count).double() + (count - 1) / 2)[place]


def _top(values: Float[Tensor, " N"]) -> Bool[Tensor, " N"]:
    return values >= values.topk(math.ceil(TOP * len(values))).values[-1]


def _correlation(one: Float[Tensor, " N"], other: Float[Tensor, " N"]) -> float:
    one, other = one - one.mean(), other - other.mean()
    sizes = float(one.norm() * other.norm())
    return float(one @ other) / sizes if sizes else 0.0
