"""How well a number tells two kinds of tokens apart: the area under the ROC curve, with an interval over questions.

    AUROC = P(s+ > s-) + 1/2 P(s+ = s-)        s+, s- the scores of a random positive and a random negative token

0.5 tells nothing; below it, positive tokens score lower. The tokens of a question are one cluster: a bootstrap draws
whole questions. With `wins[q,r]` the pairs that positives of question q win over negatives of question r, a draw in
which question q stands n_q times has AUROC = n' wins n / (n' p)(n' m), p and m the questions' counts of both kinds.
"""

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from credit_zoo.errors import UsageError
from credit_zoo.results import DRAWS, LEVEL, Interval

Column: TypeAlias = NDArray[np.float64]


def auroc(
    scores: Column, positive: NDArray[np.bool_], question: NDArray[np.int64], draws: int = DRAWS, rng_seed: int = 0
) -> Interval:
    """The AUROC of `scores` for `positive` tokens, `[N]` each, with its 95% interval.

    The interval is the 2.5% and 97.5% points of `draws` resamples of the questions; resamples without a positive or
    without a negative token have no AUROC and are left out. Ties count half.
    """
    scores = np.asarray(scores, dtype=np.float64)
    if not np.isfinite(scores).all():
        raise UsageError("scores must be finite: a token without a score cannot be ranked")
    if positive.all() or not positive.any():
        raise UsageError("an AUROC needs at least one token of either kind")
    names, place = np.unique(question, return_inverse=True)
    wins = _wins(scores, positive, place, len(names))
    kinds = [np.bincount(place[kind], minlength=len(names)).astype(np.float64) for kind in (positive, ~positive)]
    rng = np.random.default_rng(rng_seed)
    times = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=draws).astype(np.float64)
    won, pairs = ((times @ wins) * times).sum(axis=1), (times @ kinds[0]) * (times @ kinds[1])
    low, high = np.quantile(won[pairs > 0] / pairs[pairs > 0], [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    value = float(wins.sum() / (kinds[0].sum() * kinds[1].sum()))
    return Interval(value, float(low), float(high), seeds=1, questions=len(names))


def _wins(scores: Column, positive: NDArray[np.bool_], place: NDArray[np.int64], count: int) -> Column:
    """`wins[q, r]` of the module's docstring, `[count, count]`."""
    wins = np.zeros((count, count))
    ours, at = scores[positive], place[positive]
    for other in range(count):
        theirs = np.sort(scores[~positive & (place == other)])
        beaten = (np.searchsorted(theirs, ours, "left") + np.searchsorted(theirs, ours, "right")) / 2
        wins[:, other] = np.bincount(at, beaten, minlength=count)
    return wins
