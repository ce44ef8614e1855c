"""Tokens in four quadrants, by the advantage's sign and by entropy, each learnt from or not.

    A[b,t] = A[b] * s( sign A[b] , H[b,t] >= quantile_{1-rho}(H over the step) )       s in {0, 1}, H entropy [nats]

Paper: A Polarity-Entropy Analysis, arXiv:2604.11056, four quadrant decomposition.
Reports: gains of reasoning come from the two quadrants of high entropy, which play different parts.
Implemented: four switches, by default the two of high entropy, which is `high_entropy`; the threshold is one over all
valid tokens of the step, and tokens that tie with it are high.
Departs: how the paper draws the line between high and low entropy was not to be read; rho = 0.2 is that of the 80/20
rule. Its own rule, EAPO, is left out: its equation was not to be read. Reduces to `uniform` with all switches on.
"""

from dataclasses import dataclass, fields

import torch
from jaxtyping import Float
from torch import Tensor

from credit_zoo import masked
from credit_zoo.errors import UsageError, check_range
from credit_zoo.registry import SHAPERS
from credit_zoo.types import ShaperInputs


@SHAPERS.register(
    "polarity_entropy",
    paper="arXiv:2604.11056",
    needs=("entropy",),
    scope="batch",
    preserves_sign=True,
    reduces_to=("uniform", {"positive_low": True, "negative_low": True}),
)
@dataclass(frozen=True)
class PolarityEntropy:
    """Where the line is, and which quadrants learn."""

    rho: float = 0.2  # share of tokens that count as uncertain, (0, 1]
    positive_high: bool = True  # uncertain tokens of rewarded responses learn
    positive_low: bool = False  # certain tokens of rewarded responses learn
    negative_high: bool = True  # uncertain tokens of the others learn
    negative_low: bool = False  # certain tokens of the others learn

    def __post_init__(self) -> None:
        check_range("polarity_entropy.rho", self.rho, 0, 1, open_low=True)
        for switch in fields(self)[1:]:
            if not isinstance(getattr(self, switch.name), bool):
                raise UsageError(
                    f"polarity_entropy.{switch.name} must be True or False, got {getattr(self, switch.name)!r}"
                )

    def __call__(self, x: ShaperInputs) -> Float[Tensor, "B T"]:
        high = x.signals.entropy >= masked.quantile(x.signals.entropy, x.mask, 1 - self.rho)
        positive = (high & self.positive_high) | (~high & self.positive_low)
        negative = (high & self.negative_high) | (~high & self.negative_low)
        return x.weighted(torch.where((x.advantage > 0)[:, None], positive, negative).float())
