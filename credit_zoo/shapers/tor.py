"""Uncertain tokens learn, those that need the picture learn half, the rest not at all.

    R      = the uncertain tokens: the `uncertain` highest H over all valid tokens of the step      H entropy [nats]
    P      = the dependent ones: the `dependent` highest |log p - log q| over the step     q: the policy without picture
    A[b,t] = A[b] * (1 if in R, half if in P alone, else 0)

Paper: ToR, arXiv:2603.25077. Reference: none published; third-party code was read.
Reports: gains over GRPO, one run each; its row of GRPO is the one that another paper (NoisyRollout) printed.
Implemented: the three weights, both thresholds over the whole step.
Departs: its entropy is of what top-p 0.95 leaves, ours of the distribution that is sampled from (sampling.top_p=0.95
makes them one); tokens that tie with a threshold are kept, where it draws lots. The view is `train.view`.
Reduces to `uniform` at uncertain = 1.
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


@SHAPERS.register(
    "tor",
    paper="arXiv:2603.25077",
    needs=("logp", "entropy", "view_logp"),
    scope="batch",
    preserves_sign=True,
    reduces_to=("uniform", {"uncertain": 1.0}),
)
@dataclass(frozen=True)
class Tor:
    """Shares of the step's tokens, and the weight of the second kind."""

    uncertain: float = 0.3  # share of tokens of weight 1, (0, 1]
    dependent: float = 0.3  # share of tokens that need the picture, (0, 1]
    half: float = 0.5  # weight of those that only need the picture, [0, 1]

    def __post_init__(self) -> None:
        check_range("tor.uncertain", self.uncertain, 0, 1, open_low=True)
        check_range("tor.dependent", self.dependent, 0, 1, open_low=True)
        check_range("tor.half", self.half, 0, 1)

    def __call__(self, x: ShaperInputs) -> Float[Tensor, "B T"]:
        entropy, away = masked.fill(x.signals.entropy, x.mask), picture.log_ratio(x.signals, x.mask).abs()
        uncertain = entropy >= masked.quantile(entropy, x.mask, 1 - self.uncertain)
        dependent = away >= masked.quantile(away, x.mask, 1 - self.dependent)
        return x.weighted(torch.where(uncertain, 1.0, self.half * dependent.float()))
