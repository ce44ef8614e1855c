"""Tokens that need the picture are boosted, those that do not are damped, at a threshold.

    I      = mm[log(1 + S)]                     mm: min-max over the response's valid tokens; S dependence, in [0, 10]
    g      = max(I / tau, floor)                I < tau
    g      = 1 + beta (I - tau) / (1 - tau)     I >= tau
    A[b,t] = A[b] * T g / sum_t g               or A[b] * g without renormalise
    S      = exp(d) - d - 1,  d = log q - log p of the sampled token      q: the policy under the degraded view

Paper: PGPO, arXiv:2604.01840, and OAR, arXiv:2601.07408, which gates another importance by the same function.
Reference: XINGYUN-AI-LAB/XINGYUN_LAB@e2a4e84 (OAR); PGPO has published none.
Reports: PGPO 2.2 points over DAPO at 3B and 2.0 at 7B, one run each; OAR 3.9 to 4.5 over GRPO, no pictures.
Implemented: the gate of both, by default at PGPO's settings; tau_kind="quantile" makes tau a share of the response's
tokens (OAR: 0.25, beta 1, floor 0.1). Where all g are 0 the response stays uniform.
Departs: PGPO hides the picture by masking attention to it; here the view is `train.view`. OAR's importance is what a
token does to the answer; its release takes the threshold of one response as the quantile of the next.
Reduces to `uniform` at beta = 0 and floor = 1.
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

EPS = 1e-8  # below it a scale is none


@SHAPERS.register(
    "gate",
    paper="arXiv:2604.01840",
    reference="XINGYUN-AI-LAB/XINGYUN_LAB@e2a4e84",
    needs=("logp", "view_logp"),
    preserves_sign=True,
    reduces_to=("uniform", {"beta": 0.0, "floor": 1.0}),
)
@dataclass(frozen=True)
class Gate:
    """Where the threshold lies, and what happens on either side."""

    tau: float = 0.4  # the threshold, [0, 1]: an importance, or a share of the response's tokens
    tau_kind: str = "absolute"  # absolute: tau is an importance; quantile: tau is a share of tokens
    beta: float = 2.0  # boost of the most important token, [0, inf)
    floor: float = 0.0  # of what is damped, [0, 1]
    renormalise: bool = True  # to mean 1 over the response

    def __post_init__(self) -> None:
        check_range("gate.tau", self.tau, 0, 1)
        check_range("gate.beta", self.beta, 0)
        check_range("gate.floor", self.floor, 0, 1)
        if self.tau_kind not in ("absolute", "quantile"):
            raise UsageError(f"gate.tau_kind must be absolute or quantile, got {self.tau_kind!r}")
        if not isinstance(self.renormalise, bool):
            raise UsageError(f"gate.renormalise must be True or False, got {self.renormalise!r}")

    def __call__(self, x: ShaperInputs) -> Float[Tensor, "B T"]:
        importance = masked.minmax(picture.dependence(x.signals, x.mask).log1p(), x.mask, EPS)
        tau = torch.full_like(masked.count(x.mask), self.tau)
        if self.tau_kind == "quantile":
            tau = masked.row_quantile(importance, x.mask, self.tau)
        damped = (importance / tau.clamp(min=EPS)).clamp(min=self.floor)
        boosted = 1 + self.beta * (importance - tau) / (1 - tau).clamp(min=EPS)
        gated = torch.where(importance < tau, damped, boosted)
        if not self.renormalise:
            return x.weighted(gated)
        total = masked.total(gated, x.mask)
        share = masked.count(x.mask) / torch.where(total > EPS, total, 1.0)
        return x.weighted(torch.where(total > EPS, gated * share, 1.0))
