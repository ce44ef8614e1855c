"""PAPO's perception loss (arXiv:2507.06448): what the policy says must not be what it says blindly.

    perception[b,t] = min(k3(d), 10)        d = clip(log q - log p, -20, 20),  k3(d) = exp(d) - d - 1

p is the policy, with gradient; q is what the policy that the step began with says of the same tokens under a degraded
picture, a constant. A base subtracts `perception_gamma` times its aggregate from the loss. It is an extra loss and no
credit: no rule weighs it, and it acts on every token.

The gradient with respect to log p is 1 - exp(d): it raises a token that the picture made more probable and lowers one
that it made less probable, without bound on the gain but for the limits above, beyond which it is 0.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

LARGEST_LOG, LARGEST_GAP = 20.0, 10.0


def perception_gap(
    logp: Float[Tensor, "B T"], view_logp: Float[Tensor, "B T"], mask: Bool[Tensor, "B T"]
) -> Float[Tensor, "B T"]:
    """The distance of each token, 0 outside the mask; `view_logp` is the signal of that name, without gradient."""
    gap = torch.where(mask, view_logp.detach() - logp, 0.0).clamp(-LARGEST_LOG, LARGEST_LOG)
    return (gap.exp() - gap - 1).clamp(max=LARGEST_GAP)
