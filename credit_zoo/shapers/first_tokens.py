"""Heuristic: only the first tokens of a response learn.

    n[b]   = max(1, ceil(share * T[b]))                      T[b] valid tokens, t counts them from 0
    A[b,t] = A[b] * T[b] / n[b] * [ t < n[b] ]

Paper: none. A rule that does not beat a cut at some place has shown nothing of its signal. Never ranked.
Implemented: kept tokens share the response's credit, so that the mean stays. Reduces to `uniform` at share = 1.
"""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from credit_zoo.errors import check_range
from credit_zoo.registry import SHAPERS
from credit_zoo.shapers import _positions as positions
from credit_zoo.types import ShaperInputs


@SHAPERS.register(
    "first_tokens",
    paper="none",
    control=True,
    preserves_mean=True,
    preserves_sign=True,
    reduces_to=("uniform", {"share": 1.0}),
)
@dataclass(frozen=True)
class FirstTokens:
    """How much is kept."""

    share: float = 0.5  # of a response's tokens, (0, 1]; 1 = all

    def __post_init__(self) -> None:
        check_range("first_tokens.share", self.share, 0, 1, open_low=True)

    def __call__(self, x: ShaperInputs) -> Float[Tensor, "B T"]:
        kept = positions.at_least(self.share, x.mask)
        return x.weighted(positions.evenly(positions.place(x.mask) < kept, x.mask))
