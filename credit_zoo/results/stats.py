"""Intervals, paired differences and the sizes of differences that a number of seeds can show.

Scores are per-question means over samples, arrays `[S, Q]`: S seeds (training runs) by Q questions, the same
questions in the same order for every seed. Both are samples of something larger, so an interval covers both.
Everything is deterministic: the same scores give the same interval.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from credit_zoo.errors import UsageError
from credit_zoo.results.proportion_interval import share_interval
from credit_zoo.results.student import LEVEL, Z, mean_interval, student_t

Scores: TypeAlias = NDArray[np.float64]
Counts: TypeAlias = NDArray[np.uint16]
Bounds: TypeAlias = tuple[float, float]

DRAWS = 4_000
ROUNDING = 1e-9  # between means of the same answers in another order
# What a comparison of five seeds a side can show, by the points of Student's t for a two-sided 5% test (97.5%) and for
# a power of 80%: unpaired with 2 x 5 - 2 degrees of freedom, paired with 5 - 1.
PLANNED_SEEDS = 5
T975_DOF8, T80_DOF8 = 2.306, 0.889
T975_DOF4, T80_DOF4 = 2.776, 0.941


@dataclass(frozen=True)
class Interval:
    """An estimate with its 95% interval; `seeds` and `questions` say what it rests on."""

    value: float
    low: float
    high: float
    seeds: int
    questions: int


@dataclass(frozen=True)
class Paired:
    """A difference over the seeds that both sides have; `dropped` are the seeds that only one side has.

    `seed_sd` is the standard deviation of the seeds' differences, NaN for one seed.
    """

    interval: Interval
    seeds: tuple[int, ...]
    dropped: tuple[int, ...]
    seed_sd: float


def _checked(scores: Scores) -> Scores:
    scores = np.asarray(scores, dtype=np.float64)
    if scores.ndim != 2 or 0 in scores.shape:
        raise UsageError(f"scores must be [seeds, questions] with at least one of each, got shape {scores.shape}")
    if not np.isfinite(scores).all():
        raise UsageError("scores must be finite: a question without a score cannot be averaged over")
    return scores


def _widening(seeds: int) -> float:
    """By what a bootstrap over S seeds is too narrow: sqrt(S / (S - 1)) t_{S-1} / z. Source: Hesterberg, 2015."""
    return math.sqrt(seeds / (seeds - 1)) * student_t(seeds - 1) / Z


@lru_cache(maxsize=8)  # the arms of a table have as many questions each, and drawing costs more than the means
def _resamples(sizes: tuple[int, ...], draws: int, rng_seed: int) -> tuple[Counts, ...]:
    """How often each of N values is in each of `draws` resamples, `[draws, N]` for each N of `sizes`, in this order."""
    rng = np.random.default_rng(rng_seed)
    return tuple(_counts(rng.integers(size, size=(draws, size))) for size in sizes)


def _counts(picked: NDArray[np.int64]) -> Counts:
    """How often each of N places is in each row of picked places, `[draws, N]` -> `[draws, N]`."""
    draws, size = picked.shape
    cells = picked + size * np.arange(draws)[:, None]
    return np.bincount(cells.ravel(), minlength=draws * size).astype(np.uint16).reshape(draws, size)


def _resampled_means(values: Scores, counts: Counts) -> Scores:
    """The means of the resamples, values `[N]` and counts `[draws, N]` -> `[draws]`."""
    means: Scores = counts @ values / len(values)
    return means


def _shared(scores: Scores) -> float:
    """The share `[0, 1]` of the spread of question means that all seeds have in common: two-way analysis of variance.

    k^2 = max(0, 1 - MS_interaction / MS_questions). The rest is noise within seeds, which the spread between
    seeds holds already; counting it twice would widen every interval.
    """
    if len(scores) < 2 or scores.shape[1] < 2:
        return 1.0
    columns = scores.mean(axis=0)
    rest = scores - columns - scores.mean(axis=1, keepdims=True) + scores.mean()
    between = len(scores) * float(columns.var(ddof=1))
    within = float((rest**2).sum()) / ((len(scores) - 1) * (scores.shape[1] - 1))
    return max(0.0, 1 - within / between) if between > 0 else 0.0


def interval(scores: Scores, over_seeds: bool = True, draws: int = DRAWS, rng_seed: int = 0) -> Interval:
    """The mean of scores `[S, Q]` with a bootstrap interval over seeds and questions.

    Draw = mean + f (mean of S resampled seeds - mean) + k (mean of Q resampled questions - mean), the resampled
    questions shared by all seeds; the interval is the 2.5% and 97.5% points of the draws.
    f = sqrt(S / (S - 1)) t_{S-1} / z corrects the bootstrap's narrowness with few seeds; k drops what seeds do not
    share (`_shared`). With one seed, or `over_seeds=False`, the interval is over questions alone and says nothing about
    another run; over seeds alone, with one question, it is Student's t (`mean_interval`). Sources: Owen, "The
    pigeonhole bootstrap", 2007 (both factors resampled); Hesterberg, "What teachers should know about the bootstrap",
    2015 (f); Agarwal et al., arXiv:2108.13264 (why seeds).
    """
    scores = _checked(scores)
    mean, (count, asked) = float(scores.mean()), scores.shape
    with_seeds = over_seeds and count > 1
    if with_seeds and asked == 1:
        return Interval(*mean_interval(scores.mean(axis=1).tolist()), count, asked)
    # Seeds that agree to the last answer hold no noise that could be counted twice.
    apart = with_seeds and bool(np.ptp(scores.mean(axis=1)) > ROUNDING)
    share = _shared(scores) ** 0.5 if apart else 1.0
    questions, *seeds = _resamples((asked, count) if with_seeds else (asked,), draws, rng_seed)
    deviations = share * _resampled_means(scores.mean(axis=0) - mean, questions)
    for drawn in seeds:
        deviations = deviations + _widening(count) * _resampled_means(scores.mean(axis=1) - mean, drawn)
    low, high = _middle(deviations)
    return Interval(mean, mean + low, mean + high, count, asked)


def _middle(draws: Scores) -> Bounds:
    """The points between which the middle 95% of the draws lie."""
    low, high = np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def paired(
    rule: Mapping[int, Scores], reference: Mapping[int, Scores], over_seeds: bool = True, draws: int = DRAWS
) -> Paired:
    """The difference `rule` - `reference`, seed by seed and question by question, with its interval.

    Both map a seed to scores `[Q]`. Interval of D[s,q] = rule[s,q] - reference[s,q] over the seeds that both have:
    what makes a question hard or a seed lucky for both sides cancels. Source: Miller, "Adding error bars to evals",
    arXiv:2411.00640 (pairing over questions).
    """
    common = sorted(set(rule) & set(reference))
    dropped = tuple(sorted(set(rule) ^ set(reference)))
    if not common:
        raise UsageError(f"no seed is on both sides: {sorted(rule)} and {sorted(reference)}")
    if len({len(scores) for scores in (*rule.values(), *reference.values())}) != 1:
        raise UsageError("both sides must have been asked the same questions, but their numbers differ")
    difference = np.stack([np.asarray(rule[seed]) - np.asarray(reference[seed]) for seed in common])
    spread = between_seed_sd(difference) if len(common) > 1 else math.nan
    return Paired(interval(difference, over_seeds, draws), tuple(common), dropped, spread)


def iqm(scores: Scores) -> float:
    """The interquartile mean of scores of any shape: the lowest and highest quarter (rounded down) are left out.

    Source: Agarwal et al., arXiv:2108.13264.
    """
    return float(_iqms(np.asarray(scores, dtype=np.float64).reshape(1, -1))[0])


def _iqms(rows: Scores) -> Scores:
    """The interquartile mean of each row, `[N, K]` -> `[N]`."""
    count = rows.shape[1]
    if not count:
        raise UsageError("the interquartile mean of no scores is not defined")
    found: Scores = np.sort(rows, axis=1)[:, count // 4 : count - count // 4].mean(axis=1)
    return found


def iqm_interval(scores: Scores, draws: int = DRAWS, rng_seed: int = 0) -> Bounds:
    """The 95% interval of `iqm` over seeds, from run scores `[S, M]` of S >= 2 seeds on M benchmarks.

    Bootstrap: a draw takes S whole seeds with replacement, for one run was measured on every benchmark and its scores
    are not independent; arXiv:2108.13264 draws anew in each benchmark, where other runs were measured. Deviations from
    `iqm(scores)` are widened by `_widening`. The benchmarks and their questions are fixed.
    """
    scores = _checked(scores)
    if len(scores) < 2:
        raise UsageError("one seed has no interval over seeds")
    count, middle = len(scores), iqm(scores)
    picked = np.random.default_rng(rng_seed).integers(count, size=(draws, count))
    low, high = _middle(_widening(count) * (_iqms(scores[picked].reshape(draws, -1)) - middle))
    return middle + low, middle + high


def probability_of_improvement(rule: Scores, reference: Scores) -> float:
    """P(a run of `rule` beats a run of `reference`), run scores `[S]` and `[R]`, a draw counts half.

    mean over pairs of 1[x > y] + 1/2 1[x = y]: the Mann-Whitney statistic over S R; of scores `[S, M]` and `[R, M]` its
    mean over the M benchmarks. Source: Agarwal et al., arXiv:2108.13264.
    """
    if not np.size(rule) or not np.size(reference):
        raise UsageError("the probability of improvement needs at least one run on each side")
    x, y = (np.asarray(side, dtype=np.float64).reshape(len(side), -1) for side in (rule, reference))
    return float((0.5 + 0.5 * np.sign(x[:, None] - y[None])).mean())


def improvement_interval(rule: Scores, reference: Scores) -> Bounds:
    """The 95% interval of `probability_of_improvement` over seeds, from run scores `[S, M]` and `[R, M]`.

    The interval of p^ n wins in n = min(S, R) trials (`share_interval`). The statistic is a mean over matchings, each
    of n pairs of runs that share none, so no distributions give it more variance than n tosses have, p (1 - p) / n; nor
    has a mean over benchmarks, for x (1 - x) is concave. It covers 95% or more, also where the sides' runs do not
    overlap. A bootstrap's percentiles over 3 to 8 seeds cover 86 to 94%: its draws vary (S - 1) / S as much as runs do,
    and agree where the sides hardly overlap. Sources: Hoeffding, 1963 (matchings); Birnbaum & Klose, 1957 (the bound).
    """
    sides = [_checked(side) for side in (rule, reference)]
    return share_interval(probability_of_improvement(*sides), min(map(len, sides)), LEVEL)


def standard_error(correctness: Scores) -> float:
    """The standard error of avg@N over questions, from per-question means `[Q]`; NaN for one question.

    sd(c_q) / sqrt(Q): the samples of a question are one cluster. Source: Miller, arXiv:2411.00640.
    """
    values = np.asarray(correctness, dtype=np.float64).ravel()
    return float(values.std(ddof=1) / len(values) ** 0.5) if len(values) > 1 else float("nan")


def between_seed_sd(scores: Scores) -> float:
    """The standard deviation of the seeds' means, scores `[S, Q]`, S >= 2."""
    scores = _checked(scores)
    if len(scores) < 2:
        raise UsageError("one seed has no spread between seeds")
    return float(scores.mean(axis=1).std(ddof=1))


def chi_square_cdf(x: float, dof: int) -> float:
    """P(chi-square with `dof` degrees of freedom <= x), x >= 0.

    P(a, x/2) with a = dof / 2, by the series P(a, z) = e^-z z^a / Gamma(a + 1) (1 + z/(a+1) + z^2/((a+1)(a+2)) + ...).
    Source: Abramowitz & Stegun, 26.4.19 and 6.5.29. (The Wilson-Hilferty cube is off by half at 2 degrees of freedom.)
    """
    a, z = dof / 2, x / 2
    term = total = 1.0
    denominator = a
    while term > 1e-16 * total:
        denominator += 1
        term *= z / denominator
        total += term
    return total * math.exp(a * math.log(z) - z - math.lgamma(a + 1)) if z > 0 else 0.0


@cache
def chi_square_point(probability: float, dof: int) -> float:
    """The x at which `chi_square_cdf` is `probability`, in (0, 1): by bisection."""
    if dof < 1 or not 0 < probability < 1:
        raise UsageError(f"needs a degree of freedom and a probability in (0, 1), got {dof} and {probability}")
    low, high = 0.0, float(dof)
    while chi_square_cdf(high, dof) < probability:
        high *= 2
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if chi_square_cdf(middle, dof) < probability else (low, middle)
    return high


def sd_interval(sd: float, count: int) -> Bounds:
    """The 95% interval of a standard deviation `sd` (n - 1) that was estimated from `count` normal values.

    sd sqrt((n - 1) / c) at the points c = 97.5% and 2.5% of chi-square with n - 1 degrees of freedom.
    """
    if count < 2:
        raise UsageError("one value has no spread")
    low, high = (sd * ((count - 1) / chi_square_point(p, count - 1)) ** 0.5 for p in ((1 + LEVEL) / 2, (1 - LEVEL) / 2))
    return low, high


def detectable_unpaired(seed_sd: float) -> float:
    """The smallest true difference that five runs a side show: unpaired, two-sided 5% test, 80% power.

    delta = (t_{0.975, 8} + t_{0.80, 8}) sd sqrt(2 / 5), for a standard deviation `seed_sd` between the seeds of either
    side. Source: Colas et al., "How many random seeds?", arXiv:1806.08295.
    """
    return (T975_DOF8 + T80_DOF8) * seed_sd * math.sqrt(2 / PLANNED_SEEDS)


def detectable_paired(difference_sd: float) -> float:
    """The same for five pairs of runs with one seed each: delta = (t_{0.975, 4} + t_{0.80, 4}) sd / sqrt(5).

    `difference_sd` is the standard deviation of the differences between the two runs of a seed.
    """
    return (T975_DOF4 + T80_DOF4) * difference_sd / math.sqrt(PLANNED_SEEDS)
