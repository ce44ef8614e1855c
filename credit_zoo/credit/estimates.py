"""Signal and noise of gradients from independent batches, without bias, with the error of each number.

    m, tr C     mean and total variance of a rule's gradient g_b over B batches; J' the true direction, in J parts
    |m|^2       mean over b != b' of g_b . g_b'                     tr C = mean over b of |g_b|^2, less |m|^2
    (m.J')^2    mean over b != b' of (g_b . J')(g_b' . J')          |J'|^2 = mean over j != j' of J'_j . J'_j'
    SNR = |m|^2 / tr C        cosine = m.J' / |m||J'|        progress = (m.J')^2 / |J'|^2 / tr C
    efficiency = progress of a rule / progress of uniform, on the same batches: its inverse is the share of uniform's
                 samples that would do as well
    between = mean over b of g_b . h_b, less its mean over b != b'  h_b: uniform on other answers to the same questions
    sampling = 1 - between / tr C of uniform                        what no rule of credit can touch is `between`
    removed  = (1 - 1 / efficiency) / sampling                      of the sampling noise, the share that a rule removes

Leaving out the terms b = b' is what makes them unbiased. All are functions of the products alone (`Products`). Errors
are those of the jackknife: each batch is left out once, and each part of the direction; intervals are at 95%, with
Student's t for the batches.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from credit_zoo.errors import UsageError
from credit_zoo.results import student_t

Matrix: TypeAlias = NDArray[np.float64]
Vectors: TypeAlias = NDArray[np.floating[Any]]
LEAST = 4  # batches, and parts of the direction


@dataclass(frozen=True)
class Estimate:
    """A number with its standard error and its 95% interval."""

    value: float
    error: float
    low: float
    high: float


@dataclass(frozen=True)
class Products:
    """Scalar products: `own` `[B, B]` of a rule's gradients, `along` `[B, J]` of these with the parts of the
    direction, `direction` `[J, J]` of the parts,
    and `again` `[B, B]` with a second sample's gradients, where there is one.
    """

    own: Matrix
    along: Matrix
    direction: Matrix
    again: Matrix | None = None

    def __post_init__(self) -> None:
        batches, parts = self.along.shape
        if min(batches, parts) < LEAST:
            raise UsageError(
                f"signal and noise are told from {LEAST} batches and parts or more, got {batches}, {parts}"
            )

    @classmethod
    def of(cls, gradients: Vectors, parts: Vectors, again: Vectors | None = None) -> "Products":
        """From gradients `[B, K]` and the parts of the direction `[J, K]`."""
        mine, theirs = gradients.astype(np.float64), parts.astype(np.float64)
        other = None if again is None else mine @ again.astype(np.float64).T
        return cls(mine @ mine.T, mine @ theirs.T, theirs @ theirs.T, other)

    def without_batch(self, batch: int) -> "Products":
        """The products without one batch."""
        own, along = _left(_left(self.own, batch, 0), batch, 1), _left(self.along, batch, 0)
        again = None if self.again is None else _left(_left(self.again, batch, 0), batch, 1)
        return _Fewer(own, along, self.direction, again)

    def without_part(self, part: int) -> "Products":
        """The products without one part of the direction."""
        direction = _left(_left(self.direction, part, 0), part, 1)
        return _Fewer(self.own, _left(self.along, part, 1), direction, self.again)


class _Fewer(Products):
    """Products of which the jackknife left something out: those of one batch fewer than there must be are fine."""

    def __post_init__(self) -> None:
        pass


def _left(values: Matrix, index: int, axis: int) -> Matrix:
    found: Matrix = np.delete(values, index, axis)
    return found


def _ratio(part: float, whole: float) -> float:
    """NaN over 0: where no answer of any batch has an advantage there is neither signal nor noise."""
    return part / whole if whole else float("nan")


def off_diagonal(products: Matrix) -> float:
    """The mean over b != b'."""
    count = len(products)
    return float((products.sum() - np.trace(products)) / (count * (count - 1)))


def power(p: Products) -> float:
    """|m|^2."""
    return off_diagonal(p.own)


def noise(p: Products) -> float:
    """The total variance, tr C."""
    return float(np.trace(p.own)) / len(p.own) - power(p)


def snr(p: Products) -> float:
    """|m|^2 / tr C."""
    return _ratio(power(p), noise(p))


def cosine(p: Products) -> float:
    """Between m and J'; NaN where the batches do not tell the length of either from 0."""
    lengths = power(p) * off_diagonal(p.direction)
    return float(p.along.mean()) / lengths**0.5 if lengths > 0 else float("nan")


def progress(p: Products) -> float:
    """(m.J')^2 / |J'|^2 / tr C, negative where a rule points away from J'."""
    steps = p.along.mean(1)
    squared = off_diagonal(np.outer(steps, steps))
    signed = squared if steps.mean() >= 0 else -abs(squared)
    return _ratio(_ratio(signed, off_diagonal(p.direction)), noise(p))


def between(p: Products) -> float:
    """The variance of what is expected of a batch's questions, part of tr C."""
    assert p.again is not None
    return float(np.trace(p.again)) / len(p.again) - off_diagonal(p.again)


def sampling_share(p: Products) -> float:
    """The share of tr C that comes from sampling answers, and not from which questions are asked."""
    return 1 - _ratio(between(p), noise(p))


def efficiency(rule: Products, uniform: Products) -> float:
    """Relative to uniform on the same batches."""
    return _ratio(progress(rule), progress(uniform))


def removed(rule: Products, uniform: Products) -> float:
    """The share of uniform's sampling noise that a rule removes, at equal progress; -inf where it makes none."""
    ratio = efficiency(rule, uniform)
    if math.isnan(ratio):
        return ratio
    return _ratio(1 - 1 / ratio, sampling_share(uniform)) if ratio > 0 else float("-inf")


def ceiling(uniform: Products) -> float:
    """The efficiency of a rule that had no sampling noise at all."""
    share = sampling_share(uniform)
    return 1 / (1 - share) if share < 1 else float("inf")


def jackknife(statistic: Callable[..., float], *products: Products) -> Estimate:
    """A statistic of one or several sets of products on the same batches, with its error."""
    value = statistic(*products)
    batches, parts = products[0].along.shape
    over_batches = [statistic(*(one.without_batch(batch) for one in products)) for batch in range(batches)]
    over_parts = [statistic(*(one.without_part(part) for one in products)) for part in range(parts)]
    error = float(np.hypot(_error(over_batches), _error(over_parts)))
    reach = student_t(batches - 1) * error
    return Estimate(value, error, value - reach, value + reach)


def _error(left_out: list[float]) -> float:
    """The jackknife's standard error; infinite where one of the values is not a number."""
    values = np.array(left_out)
    if not np.isfinite(values).all():
        return float("inf")
    count = len(values)
    return float(np.sqrt((count - 1) / count * ((values - values.mean()) ** 2).sum()))


def statistics(rules: Mapping[str, Products], reference: str) -> dict[str, dict[str, Estimate]]:
    """SNR, cosine, efficiency and, where there is a second sample, the sampling noise removed, of every rule."""
    uniform, found = rules[reference], {}
    for name, one in rules.items():
        numbers = {"snr": jackknife(snr, one), "cosine": jackknife(cosine, one)}
        numbers["efficiency"] = jackknife(efficiency, one, uniform)
        if uniform.again is not None:
            numbers["removed"] = jackknife(removed, one, uniform)
        found[name] = numbers
    return found
