"""Which tokens top-k and top-p leave of a distribution: one rule, for sampler and trainer alike.

    kept[n] = { v : z[n,v] >= floor[n] }           z: tempered logits, vision tokens forbidden

The `top_k` largest logits are kept, and of those the fewest whose probabilities, among what top-k left, reach `top_p`;
whatever ties with the last of them is kept too (vLLM counts so as well). The floor lies halfway between the last
token that is kept and the first that is not, so that rounding by another order of sums does not move the set.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

# Probabilities that miss `top_p` by less have reached it: float32 does not hold 0.1 + 0.2 to be 0.3.
ROUNDING = 1e-6


@dataclass(frozen=True)
class Truncation:
    """The settings of the rule; `top_k=0` and `top_p=1` keep everything."""

    top_k: int = 0
    top_p: float = 1.0

    @property
    def cuts(self) -> bool:
        """Whether anything may be left out."""
        return self.top_k > 0 or self.top_p < 1

    def floor(self, logits: Float[Tensor, "B V"]) -> Float[Tensor, " B"]:
        """The floor of each row; -inf where all is kept."""
        if not self.cuts:
            return logits.new_full((len(logits),), -torch.inf)
        width = logits.shape[-1]
        largest = logits.topk(min(self.top_k or width, width)).values
        last = largest[:, -1:]
        if self.top_p < 1:
            total = logits.masked_fill(logits < last, -torch.inf).logsumexp(-1, keepdim=True)
            p = (largest - total).exp()
            count = (p.cumsum(-1) - p < self.top_p - ROUNDING).sum(-1, keepdim=True)
            last = largest.gather(-1, (count - 1).clamp(min=0))
        first_cut = logits.masked_fill(logits >= last, -torch.inf).amax(-1, keepdim=True)
        middle = (last + first_cut) / 2
        return torch.where(middle > first_cut, middle, last)[:, 0]


WHOLE = Truncation()
