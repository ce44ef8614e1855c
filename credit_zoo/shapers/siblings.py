"""Credit from the group's own answers: who went on with a token against who stood there.

    d[b,t] = s1/(n1 + shrink) - s0/(n0 + shrink)      n1, s1: number and summed A of the answers that hold (c, y_t),
                                                      n0, s0: of those that hold the context c; 0 where n1 = n0
    A[b,t] = (1 - k) * d[b,t] + k * A[b]              k = blend where A[b] > 0, else blend_negative
                                                      c: the last `context` tokens before t, 0: all of them

Paper: none; ours. An estimate of Q(c, y_t) - V(c) from the answers that are there anyway: no extra pass, no extra
sample, no truth. Averages over answers that share (c, y_t) leave the group's gradient as it is (Rao-Blackwell); what
lowers its noise is the baseline V(c) of those that stood at the same place. Both means are shrunk towards 0, the mean
of the group's advantages. A token at which no sibling went another way gets its share of the uniform credit alone.
Wrong answers hold unlikely tokens, whose gradients are long, and so keep a smaller share (a baseline nearer to the one
of least variance). Relatives: KTAE counts tokens without context; VinePPO, SPO and TreeRPO sample the branches that
are counted here. What it gains, and when it cannot: `docs/siblings.md`.
Reduces to `uniform` at blend = blend_negative = 1; answers that share nothing keep these shares of it.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from credit_zoo import masked
from credit_zoo.errors import check_range
from credit_zoo.registry import SHAPERS
from credit_zoo.shapers import _positions as positions
from credit_zoo.types import ShaperInputs

# Of a linear congruential generator over 64 bits (Knuth, MMIX): steps of a hash of tokens in their order.
_MULTIPLIER, _INCREMENT = 6364136223846793005, 1442695040888963407


@SHAPERS.register(
    "siblings", paper="none", scope="group", reduces_to=("uniform", {"blend": 1.0, "blend_negative": 1.0})
)
@dataclass(frozen=True)
class Siblings:
    """How much of a context answers must share, how far means are shrunk, and how much stays uniform."""

    context: int = 6  # tokens before t that must agree, [0, inf); 0: all of them
    shrink: float = 1.0  # answers' worth of prior at the group's mean, [0, inf)
    blend: float = 0.7  # share of the response's own advantage where it is above 0, [0, 1]; 1 = uniform
    blend_negative: float = 0.3  # the same where it is not, [0, 1]; 1 = uniform

    def __post_init__(self) -> None:
        check_range("siblings.context", self.context, 0)
        check_range("siblings.shrink", self.shrink, 0)
        check_range("siblings.blend", self.blend, 0, 1)
        check_range("siblings.blend_negative", self.blend_negative, 0, 1)

    def __call__(self, x: ShaperInputs) -> Float[Tensor, "B T"]:
        ids, valid = x.ids.gather(1, positions.order(x.mask)), positions.packed(x.mask)
        own = x.group[:, None].expand_as(ids)
        context = _numbered(valid, own, self._contexts(ids))
        answers, summed = _answers(context, valid, x.advantage)
        followed = _numbered(valid, context, ids)
        same, summed_same = _answers(followed, valid, x.advantage)
        gain = summed_same / (same + self.shrink).clamp(min=1) - summed / (answers + self.shrink).clamp(min=1)
        gain = torch.where(same == answers, 0.0, gain)
        credit = positions.back(gain, x.mask)
        kept = torch.where(x.advantage > 0, self.blend, self.blend_negative)[:, None]
        return masked.fill((1 - kept) * credit + kept * x.advantage[:, None], x.mask)

    def _contexts(self, ids: Int64[Tensor, "B T"]) -> Int64[Tensor, "B T"]:
        """A hash of the tokens before each: of all, or of the last `context`."""
        width = ids.shape[1]
        found = torch.zeros_like(ids)
        if self.context:
            for back in range(1, self.context + 1):
                before = torch.full_like(ids, -1)  # where the answer had not begun
                before[:, back:] = ids[:, : max(width - back, 0)]
                found = found * _MULTIPLIER + (before + 2) * _INCREMENT
            return found
        for place in range(1, width):
            found[:, place] = found[:, place - 1] * _MULTIPLIER + (ids[:, place - 1] + 2) * _INCREMENT
        return found


def _numbered(valid: Bool[Tensor, "B T"], *keys: Int64[Tensor, "B T"]) -> Int64[Tensor, "B T"]:
    """A number for each different combination of keys among the valid tokens, 0 elsewhere."""
    found = torch.zeros_like(keys[0])
    if valid.any():
        found[valid] = torch.unique(torch.stack([key[valid] for key in keys], 1), dim=0, return_inverse=True)[1]
    return found


def _answers(
    number: Int64[Tensor, "B T"], valid: Bool[Tensor, "B T"], advantage: Float[Tensor, " B"]
) -> tuple[Float[Tensor, "B T"], Float[Tensor, "B T"]]:
    """How many answers have a token of the same number, each counted once, and the sum of their advantages."""
    row = torch.arange(len(number), device=number.device)[:, None].expand_as(number)
    pairs = torch.unique(torch.stack([number[valid], row[valid]], 1), dim=0)
    count, total = (torch.zeros(int(number.max()) + 1, dtype=torch.float64, device=number.device) for _ in range(2))
    count.index_add_(0, pairs[:, 0], torch.ones(len(pairs), dtype=torch.float64, device=number.device))
    total.index_add_(0, pairs[:, 0], advantage[pairs[:, 1]].double())
    return count[number].float(), total[number].float()
