"""The gradient of entropy with respect to a block of the logits that are sampled from."""

from jaxtyping import Float
from torch import Tensor


def entropy_slope(
    finished: Float[Tensor, "N V"],
    logsumexp: Float[Tensor, " N"],
    entropy: Float[Tensor, " N"],
    upstream: Float[Tensor, " N"],
) -> Float[Tensor, "N V"]:
    """-upstream p (log p + entropy), float32; `finished` is changed in place, `logsumexp` is that of all blocks."""
    log_p = finished.sub_(logsumexp[:, None])
    return log_p.exp().mul_(log_p.add_(entropy[:, None])).mul_(-upstream[:, None])
