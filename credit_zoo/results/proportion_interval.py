"""The interval of a share, for any number of trials, whole or not. Standard library only."""

import math
from functools import cache

from credit_zoo.errors import UsageError

_HALVINGS = 40  # of [0, 1], to twelve digits


def beta_cdf(x: float, a: float, b: float) -> float:
    """P(Beta(a, b) <= x) for x in [0, 1] and a, b > 0: the regularised incomplete beta function I_x(a, b).

    I_x(a, b) = x^a (1 - x)^b / (a B(a, b)) (1 + sum_n (a + b) ... (a + b + n) / ((a + 1) ... (a + 1 + n)) x^(n + 1)),
    and 1 - I_{1 - x}(b, a) in the upper half, where the series is slow. Source: Abramowitz & Stegun, 26.5.2 and 26.5.4.
    """
    if a <= 0 or b <= 0 or not 0 <= x <= 1:
        raise UsageError(f"a beta distribution needs a, b > 0 and x in [0, 1], got {a}, {b} and {x}")
    if x in (0, 1):
        return float(x)
    if x > 0.5:
        return 1 - beta_cdf(1 - x, b, a)
    term = total = 1.0
    step = 0
    while term > 1e-17 * total:
        term *= (a + b + step) / (a + 1 + step) * x
        total += term
        step += 1
    log_beta = math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)
    return total * math.exp(a * math.log(x) + b * math.log1p(-x) - log_beta) / a


@cache  # shares of few trials are few
def share_interval(share: float, trials: float, level: float) -> tuple[float, float]:
    """The mid-P interval of a probability of which `share` in [0, 1] was seen in `trials` trials.

    From the p at which 1/2 P(X >= k) + 1/2 P(X > k) is (1 - level) / 2 to the one at which the same of <= and < is, for
    k = share n wins in n trials; P(X >= k) = I_p(k, n - k + 1). Clopper and Pearson's interval counts P(X = k) whole,
    and is wider than `level` asks for. Source: Lancaster, 1961.
    """
    if not 0 <= share <= 1 or trials <= 0 or not 0 < level < 1:
        raise UsageError(f"needs a share in [0, 1] of more than 0 trials, got {share} of {trials} at {level}")
    tail = (1 - level) / 2
    return _least(share * trials, trials, tail), 1 - _least((1 - share) * trials, trials, tail)


def _least(wins: float, trials: float, tail: float) -> float:
    """The probability at which as many wins or more, these very ones counted half, have the probability `tail`."""
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS if wins > 0 else 0):
        middle = (low + high) / 2
        more = beta_cdf(middle, wins + 1, trials - wins) if wins < trials else 0.0
        tails = (beta_cdf(middle, wins, trials - wins + 1) + more) / 2
        low, high = (middle, high) if tails < tail else (low, middle)
    return low
