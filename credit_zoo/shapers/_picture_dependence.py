"""What rules on a degraded view have in common: how much a token depends on the picture, and a response's highest.

    d[b,t] = log q - log p of the sampled token, in [-20, 20]      p with the picture, q under the degraded view
    S[b,t] = min(exp(d) - d - 1, 10)                               k3: over samples of p its mean estimates KL(p || q)

VPPO, arXiv:2510.09285, and PAPO, arXiv:2507.06448, as their code has it. Nothing outside the mask is read.
"""

import torch

from credit_zoo import masked
from credit_zoo.masked import Mask, Values
from credit_zoo.types import TokenSignals

HIGHEST_RATIO, HIGHEST = 20.0, 10.0


def log_ratio(signals: TokenSignals, mask: Mask) -> Values:
    """D of the equation [nats]: below 0 where the picture speaks for the token."""
    return masked.fill(signals.view_logp - signals.logp, mask).clamp(-HIGHEST_RATIO, HIGHEST_RATIO)


def dependence(signals: TokenSignals, mask: Mask) -> Values:
    """S of the equation, in [0, 10]."""
    away = log_ratio(signals, mask)
    return (away.exp() - away - 1).clamp(0, HIGHEST)


def highest(values: Values, mask: Mask, share: float) -> Mask:
    """The `ceil(share * T)` highest valid tokens of each response, and what ties with the last of them."""
    kept = (share * masked.count(mask).double() - 1e-9).ceil().clamp(min=1).long()
    ordered = masked.fill(values, mask, -torch.inf).sort(-1, descending=True).values
    return (values >= ordered.gather(-1, (kept - 1).clamp(max=max(mask.shape[1] - 1, 0)))) & mask
