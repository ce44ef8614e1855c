"""Only uncertain tokens whose distribution changes with the picture learn.

    s      = (1 - (1 - mm[JS])^alpha (1 - mm[|H' - H|])^(1 - alpha)) * mm[H]    mm: min-max over the response's tokens
    M[b,t] = 1 if s[b,t] is among the ceil(keep T) highest of the response else 0
    A[b,t] = A[b] * M[b,t] / mean_t M          H, H' entropy with the picture and under the view, JS divergence [nats]

Paper: VEPO, arXiv:2606.03937. Reference: Leonnnnnn929/VEPO@4247308, score D.
Reports: eight scores, A to H, are in its code; its figures were not checked by us.
Implemented: score D and its mask. The release averages the loss over the kept tokens; dividing by the share kept does
the same for each response.
Departs: the release adds its noise once for each response of a group to one shared picture, so that its deviation grows
from 2 to 6.9; here it is what `noise.std` says. Tokens that tie with the last that is kept are kept.
Reduces to `uniform` at keep = 1.
"""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from credit_zoo import masked
from credit_zoo.errors import check_range
from credit_zoo.registry import SHAPERS
from credit_zoo.shapers import _picture_dependence as picture
from credit_zoo.types import ShaperInputs

EPS = 1e-8  # of the min-max, as in the release


@SHAPERS.register(
    "vepo",
    paper="arXiv:2606.03937",
    reference="Leonnnnnn929/VEPO@4247308",
    needs=("entropy", "view_entropy", "view_divergence"),
    preserves_mean=True,
    preserves_sign=True,
    reduces_to=("uniform", {"keep": 1.0}),
)
@dataclass(frozen=True)
class Vepo:
    """What counts as visual, and how much is kept."""

    alpha: float = 0.7  # share of the divergence in the score, the rest is the change of entropy, [0, 1]
    keep: float = 0.2  # share of a response's tokens, (0, 1]

    def __post_init__(self) -> None:
        check_range("vepo.alpha", self.alpha, 0, 1)
        check_range("vepo.keep", self.keep, 0, 1, open_low=True)

    def __call__(self, x: ShaperInputs) -> Float[Tensor, "B T"]:
        entropy, change = x.signals.entropy, (x.signals.view_entropy - x.signals.entropy).abs()
        parts = (x.signals.view_divergence, change, entropy)
        divergence, change, entropy = (masked.minmax(part, x.mask, EPS) for part in parts)
        visual = 1 - (1 - divergence).clamp(min=0) ** self.alpha * (1 - change).clamp(min=0) ** (1 - self.alpha)
        kept = picture.highest(visual * entropy, x.mask, self.keep)
        return x.weighted(kept * masked.count(x.mask) / masked.count(kept).clamp(min=1))
