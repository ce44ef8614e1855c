"""Uncertain tokens learn, and those that need the picture, by the response's need of it.

    R      = the `uncertain` highest H over all valid tokens of the step                            H entropy [nats]
    P      = the `dependent` highest S over the step      S = exp(d) - d - 1, d = log q - log p of the sampled token
    F[b]   = 1 + strength * tanh((s[b] - median s) / MAD s)              s[b] = mean_t S, over the responses of the step
    A[b,t] = A[b] * (F[b] if in P, 1 if in R alone, else 0)

Paper: CGPO, ACM MM 2026 (no arXiv id). Reference: zsxm1998/awesome-perception-aware-rlvr@160666d, its authors' code.
Reports: a reward for consistent regions besides; its figures were not checked by us.
Implemented: mask and factor. MAD is the median of distances from the median, not scaled; of an even number of responses
both medians are the lower of the two in the middle, as in the release.
Departs: the release keeps `<region>` tokens as well and rewards consistent regions; our answers have neither. Tokens
that tie with a threshold are kept. Reduces to `uniform` at uncertain = 1 and strength = 0.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from credit_zoo import masked
from credit_zoo.errors import check_range
from credit_zoo.registry import SHAPERS
from credit_zoo.shapers import _picture_dependence as picture
from credit_zoo.types import ShaperInputs

EPS = 1e-8  # added to the MAD, as in the release


@SHAPERS.register(
    "cgpo",
    paper="CGPO, ACM MM 2026",
    reference="zsxm1998/awesome-perception-aware-rlvr@160666d",
    needs=("logp", "entropy", "view_logp"),
    scope="batch",
    preserves_sign=True,
    reduces_to=("uniform", {"uncertain": 1.0, "strength": 0.0}),
)
@dataclass(frozen=True)
class Cgpo:
    """Shares of the step's tokens, and how far responses are told apart."""

    uncertain: float = 0.3  # share of tokens kept for their entropy, (0, 1]
    dependent: float = 0.3  # share of tokens kept because they need the picture, (0, 1]
    strength: float = 0.1  # of the factor, [0, 1]

    def __post_init__(self) -> None:
        check_range("cgpo.uncertain", self.uncertain, 0, 1, open_low=True)
        check_range("cgpo.dependent", self.dependent, 0, 1, open_low=True)
        check_range("cgpo.strength", self.strength, 0, 1)

    def __call__(self, x: ShaperInputs) -> Float[Tensor, "B T"]:
        entropy, needed = masked.fill(x.signals.entropy, x.mask), picture.dependence(x.signals, x.mask)
        uncertain = entropy >= masked.quantile(entropy, x.mask, 1 - self.uncertain)
        dependent = needed >= masked.quantile(needed, x.mask, 1 - self.dependent)
        mean, there = masked.mean(needed, x.mask)[:, 0], x.mask.any(1)
        if not there.any():
            return x.weighted(torch.zeros_like(needed))
        away = mean - mean[there].median()
        factor = 1 + self.strength * (away / (away[there].abs().median() + EPS)).tanh()
        return x.weighted(torch.where(dependent, factor[:, None], uncertain.float()))
