"""Only the most uncertain tokens of the batch learn (the 80/20 rule).

    M[b,t] = 1 if H[b,t] >= quantile_{1-rho}(H over all valid tokens of the step) else 0
    A[b,t] = A[b] * M[b,t]            divided by the mean of M over the step with `rescale`; H entropy [nats]

Paper: Beyond the 80/20 Rule, arXiv:2506.01939, threshold over the batch, rho = 0.2. Tokens that tie with the threshold
are kept. The loss goes on counting every token, as in TRL, so that gradients shrink to about rho of their size;
`rescale` undoes that on average.
Reduces to `uniform` at rho = 1.
Departs from the paper: its batch is a micro-batch; here it is the whole step over all processes, so that the result
does not depend on how the step was cut.
"""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from credit_zoo import masked
from credit_zoo.errors import UsageError, check_range
from credit_zoo.registry import SHAPERS
from credit_zoo.types import ShaperInputs


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
    """How much is kept, and whether its size is made up for."""

    rho: float = 0.2  # share of tokens kept, (0, 1]; 1 = all
    rescale: bool = False  # divide by the share kept, so that weights average 1 over the step

    def __post_init__(self) -> None:
        check_range("high_entropy.rho", self.rho, 0, 1, open_low=True)
        if not isinstance(self.rescale, bool):
            raise UsageError(f"high_entropy.rescale must be True or False, got {self.rescale!r}")

    def __call__(self, x: ShaperInputs) -> Float[Tensor, "B T"]:
        threshold = masked.quantile(x.signals.entropy, x.mask, 1 - self.rho)
        kept = masked.fill((x.signals.entropy >= threshold).float(), x.mask)
        if self.rescale:
            kept = kept / masked.mean(kept.view(1, -1), x.mask.view(1, -1))
        return x.weighted(kept)
