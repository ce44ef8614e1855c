"""Right answers are paid where they are uncertain, wrong ones charged where they are sure.

    r+[b,t] =  a1 + a2 * n+_t * H[b,t] / sum_k H[k,t]                   b right; k: right answers with a t-th token
    r-[b,t] = -a1 - a2 * n-_t * (1 / H[b,t]) / sum_k (1 / H[k,t])       b wrong; k: wrong answers with a t-th token
    A[b,t]  = (r[b,t] - mean r) / std r                                 over a set of tokens; H entropy [nats]

Paper: GTPO and GRPO-S, arXiv:2508.04349, equations 2 to 7, as a reimplementation quotes them
(teilomillet/textpolicy@e88fc30).
Reports: higher rewards and longer reasoning than DAPO, with a1 = 1 and a2 = 0.1. No code was published.
Implemented: both readings of the set. "separate", the paper's equation 6: right and wrong tokens each on their own,
so that both means are 0 and what is left of the outcome is the contrast of entropies. "group": all tokens of the
prompt's answers, so that the outcome stays. A score above 0.5 is right; A[b] is not read.
Departs: entropies are at least `floor`, for one that is all but 0 would take all the blame. Answers that are all
right or all wrong get nothing, as under the filter of DAPO, which the paper trains with.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from credit_zoo.errors import UsageError, check_range
from credit_zoo.registry import SHAPERS
from credit_zoo.shapers import _positions as positions
from credit_zoo.types import ShaperInputs

EPS = 1e-8
NORMALISATIONS = ("separate", "group")


@SHAPERS.register("gtpo", paper="arXiv:2508.04349", needs=("entropy",), scope="group")
@dataclass(frozen=True)
class Gtpo:
    """The two parts of a token's reward, and what it is normalised over."""

    outcome: float = 1.0  # a1, of the outcome, [0, inf)
    entropy: float = 0.1  # a2, of the entropy's share, [0, inf)
    normalize: str = "separate"  # separate: right and wrong tokens each, as in the paper; group: all of them together
    floor: float = 0.01  # least entropy that counts [nats], (0, inf)

    def __post_init__(self) -> None:
        check_range("gtpo.outcome", self.outcome, 0)
        check_range("gtpo.entropy", self.entropy, 0)
        check_range("gtpo.floor", self.floor, 0, open_low=True)
        if self.normalize not in NORMALISATIONS:
            raise UsageError(f"gtpo.normalize must be one of {', '.join(NORMALISATIONS)}, got {self.normalize!r}")

    def __call__(self, x: ShaperInputs) -> Float[Tensor, "B T"]:
        peers, alive = positions.siblings(x), positions.packed(x.mask)
        right = x.correct > 0.5
        alike = peers * (right[:, None] == right)
        reward = self._rewards(x, right, alike)
        among = alike if self.normalize == "separate" else peers
        mixed = (peers.sum(1) > alike.sum(1))[:, None]
        return positions.back(torch.where(mixed, _standardised(reward * alive, alive, among), 0.0), x.mask)

    def _rewards(self, x: ShaperInputs, right: Bool[Tensor, " B"], alike: Float[Tensor, "B B"]) -> Float[Tensor, "B T"]:
        """The reward of the t-th token of each answer."""
        alive = positions.packed(x.mask)
        entropy = positions.left(x.signals.entropy, x.mask).clamp(min=self.floor)
        part = torch.where(right[:, None], entropy, 1 / entropy) * alive
        share = (alike @ alive.float()) * part / (alike @ part).clamp(min=torch.finfo(part.dtype).tiny)
        return torch.where(right, 1.0, -1.0)[:, None] * (self.outcome + self.entropy * share)


def _standardised(
    values: Float[Tensor, "B T"], alive: Bool[Tensor, "B T"], among: Float[Tensor, "B B"]
) -> Float[Tensor, "B T"]:
    """Centred and scaled over the tokens of the rows that belong together; 0 outside."""
    counts = (among @ alive.sum(1, keepdim=True).float()).clamp(min=1)
    centred = (values - among @ values.sum(1, keepdim=True) / counts) * alive
    variance = among @ centred.square().sum(1, keepdim=True) / counts
    return centred / (variance + EPS).sqrt()
