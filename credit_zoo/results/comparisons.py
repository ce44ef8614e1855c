"""Many comparisons at once: the p value that an interval stands for, and Holm's adjustment over a family of them.

    p = P(|T| >= t_dof |value - null| / reach)        T: Student's t with `dof` degrees of freedom, t_dof its 95% point
    Holm: p_(i) <- max over j <= i of min(1, (m - j + 1) p_(j)), the p values in ascending order, m of them

`reach` is how far the 95% interval goes from the value towards the null, so that p < 0.05 says what the interval says:
that it leaves the null out. Sources: Altman & Bland, BMJ 2011;343:d2304 (p from an interval); Holm, 1979.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from credit_zoo.results.proportion_interval import beta_cdf
from credit_zoo.results.student import LEVEL, student_t

K = TypeVar("K")
TOLD = round(1 - LEVEL, 9)  # an adjusted p below it tells a rule from what it is compared with


@dataclass(frozen=True)
class Difference:
    """A number with its 95% interval, compared with `null`: `p` alone, `adjusted` over its family."""

    value: float
    low: float
    high: float
    null: float
    p: float
    adjusted: float

    @property
    def told(self) -> int:
        """1 or -1 where the adjusted p tells it from the null, above or below it; 0 where it does not."""
        return self._sign if self.adjusted < TOLD else 0

    @property
    def plain(self) -> int:
        """The same by its own interval, whatever else was compared."""
        return self._sign if self.p < TOLD else 0

    @property
    def _sign(self) -> int:
        return 1 if self.value > self.null else -1


def two_sided(t: float, dof: int) -> float:
    """P(|T| >= |t|) of Student's t: I_{dof / (dof + t^2)}(dof / 2, 1 / 2). Source: Abramowitz & Stegun, 26.7.1."""
    return beta_cdf(dof / (dof + t * t), dof / 2, 0.5) if math.isfinite(t) else 0.0


def p_value(value: float, low: float, high: float, null: float, dof: int) -> float:
    """The two-sided p value of a number with its 95% interval against `null`; 1 where they are equal."""
    away = abs(value - null)
    reach = value - low if value > null else high - value
    if not away > 0:
        return 1.0
    return two_sided(student_t(dof) * away / reach if reach > 0 else math.inf, dof)


def holm(p_values: Mapping[K, float]) -> dict[K, float]:
    """Each p value adjusted for the number of them: below 0.05 for any true null with a probability of at most 5%."""
    adjusted, least = {}, 0.0
    for place, key in enumerate(sorted(p_values, key=lambda one: p_values[one])):
        least = max(least, min(1.0, (len(p_values) - place) * p_values[key]))
        adjusted[key] = least
    return adjusted


def compared(found: Mapping[K, tuple[float, float, float]], null: float, dof: Mapping[K, int]) -> dict[K, Difference]:
    """A family of numbers (value, low, high), each compared with `null`, adjusted over all of them."""
    alone = {key: p_value(*numbers, null, dof[key]) for key, numbers in found.items()}
    adjusted = holm(alone)
    return {key: Difference(*numbers, null, alone[key], adjusted[key]) for key, numbers in found.items()}


def p_text(p: float) -> str:
    """A p value as a cell shows it, without a sign that markdown would take for a tag, on its side of .05."""
    if p < TOLD <= round(p, 3):
        return f"{p:.4f}".removeprefix("0") if round(p, 4) < TOLD else "under .05"
    return f"{p:.3f}".removeprefix("0") if p >= 0.001 or p == 0 else f"{p:.0e}"
