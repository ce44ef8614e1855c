"""Intervals, paired differences and the sizes of differences that a number of seeds can show.

Scores are per-question means over samples, arrays `[S, Q]`: S seeds (training runs) by Q questions, the same
questions in the same order for every seed. Both are samples of something larger, so an interval covers both.
Everything is deterministic: the same scores give the same interval.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import NormalDist
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from credit_zoo.registry import UsageError

Scores: TypeAlias = NDArray[np.float64]

DRAWS = 4_000
LEVEL = 0.95
_Z = NormalDist().inv_cdf(0.5 + LEVEL / 2)
# Two-sided 95% points of Student's t for 1, 2, ... degrees of freedom; beyond them a series is right to 0.003.
_T = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228)


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
    """A difference over the seeds that both sides have; `dropped` are the seeds that only one side has."""

    interval: Interval
    seeds: tuple[int, ...]
    dropped: tuple[int, ...]


def student_t(dof: int) -> float:
    """The two-sided 95% point of Student's t. Source: Abramowitz & Stegun, 26.7.5 (series) and table 26.10."""
    if dof < 1:
        raise UsageError(f"a t interval needs at least one degree of freedom, got {dof}")
    if dof <= len(_T):
        return _T[dof - 1]
    first, second = (_Z**3 + _Z) / 4, (5 * _Z**5 + 16 * _Z**3 + 3 * _Z) / 96
    return _Z + first / dof + second / dof**2


def _checked(scores: Scores) -> Scores:
    scores = np.asarray(scores, dtype=np.float64)
    if scores.ndim != 2 or 0 in scores.shape:
        raise UsageError(f"scores must be [seeds, questions] with at least one of each, got shape {scores.shape}")
    if not np.isfinite(scores).all():
        raise UsageError("scores must be finite: a question without a score cannot be averaged over")
    return scores


def _resampled_means(values: Scores, draws: int, rng: np.random.Generator) -> Scores:
    """Means of `draws` resamples with replacement, `[N]` -> `[draws]`."""
    means: Scores = values[rng.integers(len(values), size=(draws, len(values)))].mean(axis=1)
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
    share (`_shared`). With one seed, or `over_seeds=False`, the interval is over questions alone and says nothing
    about another run. Sources: Owen, "The pigeonhole bootstrap", 2007 (both factors resampled); Hesterberg, "What
    teachers should know about the bootstrap", 2015 (f); Agarwal et al., arXiv:2108.13264 (why seeds).
    """
    scores = _checked(scores)
    rng = np.random.default_rng(rng_seed)
    mean, count = float(scores.mean()), len(scores)
    with_seeds = over_seeds and count > 1
    share = _shared(scores) ** 0.5 if with_seeds else 1.0
    deviations = share * _resampled_means(scores.mean(axis=0) - mean, draws, rng)
    if with_seeds:
        factor = (count / (count - 1)) ** 0.5 * student_t(count - 1) / _Z
        deviations = deviations + factor * _resampled_means(scores.mean(axis=1) - mean, draws, rng)
    low, high = np.quantile(deviations, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Interval(mean, mean + float(low), mean + float(high), count, scores.shape[1])


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
    return Paired(interval(difference, over_seeds, draws), tuple(common), dropped)


def iqm(scores: Scores) -> float:
    """The interquartile mean of scores of any shape: the lowest and highest quarter (rounded down) are left out.

    Source: Agarwal et al., arXiv:2108.13264.
    """
    ordered = np.sort(np.asarray(scores, dtype=np.float64).ravel())
    if not len(ordered):
        raise UsageError("the interquartile mean of no scores is not defined")
    cut = len(ordered) // 4
    return float(ordered[cut : len(ordered) - cut].mean())


def probability_of_improvement(rule: Scores, reference: Scores) -> float:
    """P(a run of `rule` beats a run of `reference`), run scores `[S]` and `[R]`, a draw counts half.

    mean over pairs of 1[x > y] + 1/2 1[x = y]: the Mann-Whitney statistic over S R. Source: Agarwal et al.,
    arXiv:2108.13264.
    """
    x, y = np.asarray(rule, dtype=np.float64).ravel()[:, None], np.asarray(reference, dtype=np.float64).ravel()[None, :]
    if not x.size or not y.size:
        raise UsageError("the probability of improvement needs at least one run on each side")
    return float((x > y).mean() + 0.5 * (x == y).mean())


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


def minimal_detectable_difference(seed_sd: float, seeds: int, power: float = 0.8) -> float:
    """The smallest true difference that `seeds` runs a side show at the 5% level with the given power.

    (t_{2S-2} + z_power) sd sqrt(2 / S), for a standard deviation `seed_sd` between seeds, equal on both sides and
    unpaired. Source: Colas et al., "How many random seeds?", arXiv:1806.08295.
    """
    if seeds < 2 or not 0 < power < 1 or not seed_sd >= 0:
        raise UsageError(f"needs at least two seeds, a power in (0, 1) and sd >= 0, got {seeds}, {power}, {seed_sd}")
    factor: float = (2 / seeds) ** 0.5
    return (student_t(2 * seeds - 2) + NormalDist().inv_cdf(power)) * seed_sd * factor
