"""What PEPO, its ablations and its null have in common: one scale for two signals, a gate, weights of mean 1.

    mm[v]_t = (v_t - min v) / (max v - min v + eps)           eps = 1e-6; min and max over a response's valid tokens
    fused_t = mm[VS]_t + mm[H]_t                              VS visual similarity, H entropy
    gate_t  = 1 + alpha * tanh(fused_t - mean_t fused)
    w_t     = T * softmax_t(score_t / temperature)            T valid tokens, so that the weights' mean is 1

PEPO, arXiv:2603.22847. Pure functions of `[B, T]` tensors and a bool mask; nothing outside the mask is read.
"""

from credit_zoo import masked
from credit_zoo.masked import Mask, Values

EPS = 1e-6


def fused(similarity: Values, entropy: Values, mask: Mask) -> Values:
    """`mm[VS] + mm[H]`, in [0, 2]: looking at the image and being uncertain count alike."""
    return masked.minmax(similarity, mask, EPS) + masked.minmax(entropy, mask, EPS)


def gate(fusion: Values, mask: Mask, alpha: float) -> Values:
    """`1 + alpha * tanh(fusion - mean fusion)`, in [1 - alpha, 1 + alpha]."""
    return 1 + alpha * (fusion - masked.mean(fusion, mask)).tanh()


def mean_one(scores: Values, mask: Mask, temperature: float) -> Values:
    """`T * softmax(scores / temperature)`: larger temperatures are flatter, an infinite one gives ones."""
    return masked.count(mask) * masked.softmax(scores.float() / temperature, mask)


def gated(similarity: Values, entropy: Values, mask: Mask, alpha: float, temperature: float) -> Values:
    """PEPO's weights: the raw similarity times the gate of the fused signals, through `mean_one`."""
    return mean_one(similarity * gate(fused(similarity, entropy, mask), mask, alpha), mask, temperature)
