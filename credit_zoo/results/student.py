"""Student's t: its points, and the interval of a mean."""

import math
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np

from credit_zoo.errors import UsageError

LEVEL = 0.95
Z = NormalDist().inv_cdf(0.5 + LEVEL / 2)
# Two-sided 95% points of Student's t for 1, 2, ... degrees of freedom; beyond them a series is right to 0.003.
_T = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)


def student_t(dof: int) -> float:
    """The two-sided 95% point of Student's t. Source: Abramowitz & Stegun, 26.7.5 (series) and table 26.10."""
    if dof < 1:
        raise UsageError(f"a t interval needs at least one degree of freedom, got {dof}")
    if dof <= len(_T):
        return _T[dof - 1]
    first, second = (Z**3 + Z) / 4, (5 * Z**5 + 16 * Z**3 + 3 * Z) / 96
    return Z + first / dof + second / dof**2


def mean_interval(values: Sequence[float]) -> tuple[float, float, float]:
    """A mean with its 95% interval by Student's t; one value has none, and its interval is infinite."""
    found, count = np.asarray(values, dtype=np.float64), len(values)
    value = float(found.mean())
    reach = student_t(count - 1) * float(found.std(ddof=1)) / math.sqrt(count) if count > 1 else math.inf
    return value, value - reach, value + reach
