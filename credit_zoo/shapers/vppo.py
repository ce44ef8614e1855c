"""Only tokens that need the picture most learn; responses that need it more count more.

    S      = exp(d) - d - 1, at most 10,  d = log q - log p of the sampled token       q: the policy under the view
    M[b,t] = 1 if S[b,t] is among the ceil(keep T) highest of the response else 0
    F[b]   = low + (1 - low) n[b] / mean_b n,  n = min-max over the batch of mean_t S          so that mean_b F = 1
    A[b,t] = A[b] * F[b] * M[b,t]               divided by the mean of M over the step for denominator="kept"

Paper: VPPO, arXiv:2510.09285. Reference: huaixuheqing/VPPO-RL@a23c54b.
Reports: gains over DAPO at 7B, one run each; in PIVOT's reproductions VPPO is above DAPO in two of three settings.
Implemented: mask and factor as its code has them, S at the sampled token. "all": the loss counts every token, as there,
so that gradients shrink to about `keep` of their size; "kept": as if it counted those that are kept.
Departs: minimum, maximum and mean are of the whole step over all processes, where the code takes the device's
mini-batch for the first two and the micro-batch for the third. Its penalty on entropy is no part of a shaper. Tokens
that tie with the last that is kept are kept. Reduces to `uniform` at keep = 1 and low = 1.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from credit_zoo import masked
from credit_zoo.errors import UsageError, check_range
from credit_zoo.registry import SHAPERS
from credit_zoo.shapers import _picture_dependence as picture
from credit_zoo.types import ShaperInputs

EPS = 1e-6  # spread of the responses' means below which all count alike, as in the release


@SHAPERS.register(
    "vppo",
    paper="arXiv:2510.09285",
    reference="huaixuheqing/VPPO-RL@a23c54b",
    needs=("logp", "view_logp"),
    scope="batch",
    preserves_sign=True,
    reduces_to=("uniform", {"keep": 1.0, "low": 1.0}),
)
@dataclass(frozen=True)
class Vppo:
    """How much is kept of a response, and how far responses are told apart."""

    keep: float = 0.4  # share of a response's tokens, (0, 1]
    low: float = 0.9  # factor of the response that needs the picture least, [0, 1]; 1 = all count alike
    denominator: str = "all"  # all: of every token; kept: divide by the share kept, so that gradients keep their size

    def __post_init__(self) -> None:
        check_range("vppo.keep", self.keep, 0, 1, open_low=True)
        check_range("vppo.low", self.low, 0, 1)
        if self.denominator not in ("all", "kept"):
            raise UsageError(f"vppo.denominator must be all or kept, got {self.denominator!r}")

    def __call__(self, x: ShaperInputs) -> Float[Tensor, "B T"]:
        needed = picture.dependence(x.signals, x.mask)
        kept = picture.highest(needed, x.mask, self.keep).float()
        if self.denominator == "kept":
            kept = kept / masked.mean(kept.view(1, -1), x.mask.view(1, -1)).clamp(min=EPS)
        return x.weighted(kept * self._factor(needed, x))

    def _factor(self, needed: Float[Tensor, "B T"], x: ShaperInputs) -> Float[Tensor, "B 1"]:
        """F of the equation; 1 where the responses do not differ."""
        there, mean = x.mask.any(1)[None], masked.mean(needed, x.mask)[:, 0][None]
        low, high = masked.fill(mean, there, torch.inf).amin(), masked.fill(mean, there, -torch.inf).amax()
        if not high - low > EPS:
            return torch.ones_like(mean).T
        scaled = (mean - low) / (high - low)
        return (self.low + (1 - self.low) * scaled / masked.mean(scaled, there)).T
