"""Only the most uncertain tokens learn (the 80/20 rule).

    M[b,t] = 1 if H[b,t] >= quantile_{1-rho}(H over all valid tokens of the step, or of the response) else 0
    A[b,t] = A[b] * M[b,t]            divided by the mean of M over the step for denominator="kept"; H entropy [nats]

Paper: Beyond the 80/20 Rule, arXiv:2506.01939.
Reports: a fifth of the tokens learns as well as all of them at 8B and better at 32B; the threshold is one over a
batch.
Implemented: both thresholds and both denominators that are in use. "all": the loss goes on counting every token, as
in TRL, ms-swift and VPPO, so that gradients shrink to about rho of their size. "kept": as if it counted those that
are kept, as in VEPO. Tokens that tie with the threshold are kept.
Departs: the paper's batch may be a micro-batch; here it is the whole step over all processes, because a threshold
over a micro-batch depends on how the step was cut, and so is not offered. Reduces to `uniform` at rho = 1.
"""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from credit_zoo import masked
from credit_zoo.errors import UsageError, check_range
from credit_zoo.registry import SHAPERS
from credit_zoo.types import ShaperInputs

CHOICES = {"threshold": ("batch", "response"), "denominator": ("all", "kept")}


@SHAPERS.register(
    "high_entropy",
    paper="arXiv:2506.01939",
    needs=("entropy",),
    scope="batch",
    preserves_sign=True,
    reduces_to=("uniform", {"rho": 1.0}),
)
@dataclass(frozen=True)
class HighEntropy:
    """How much is kept, of what, and whether its size is made up for."""

    rho: float = 0.2  # share of tokens kept, (0, 1]; 1 = all
    threshold: str = "batch"  # over the valid tokens of the step (batch) or of each response (response)
    denominator: str = (
        "all"  # all: of every token; kept: divide by the share kept, so that weights average 1 over the step
    )

    def __post_init__(self) -> None:
        check_range("high_entropy.rho", self.rho, 0, 1, open_low=True)
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices:
                raise UsageError(f"high_entropy.{name} must be {' or '.join(choices)}, got {getattr(self, name)!r}")

    def __call__(self, x: ShaperInputs) -> Float[Tensor, "B T"]:
        quantile = masked.quantile if self.threshold == "batch" else masked.row_quantile
        bound = quantile(x.signals.entropy, x.mask, 1 - self.rho)
        kept = masked.fill((x.signals.entropy >= bound).float(), x.mask)
        if self.denominator == "kept":
            kept = kept / masked.mean(kept.view(1, -1), x.mask.view(1, -1))
        return x.weighted(kept)
