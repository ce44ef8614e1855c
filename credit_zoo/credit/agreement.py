"""Whether a rule's credit agrees with the truth about single tokens, response by response.

    AUROC      of |credit| for the decisive token, against the response's other tokens: the chance that it has more
               than another has, ties half; 0.5 is chance. The decisive token of a wrong response has the largest drop
               of the value V; `first_error` are the tokens that the twin's checker calls wrong first.
    rank       Spearman's correlation of the signed credit with A* over a response's tokens; 0 where the credit is
               constant

Responses whose credit is 0 everywhere are left out. A number is the mean over responses; its error takes the answers to
a question together.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from credit_zoo.credit.estimates import Estimate
from credit_zoo.results import student_t

Values = NDArray[np.float64]
Marks = NDArray[np.bool_]


def ranks(values: Values) -> Values:
    """Ranks from 1, those of equal values averaged."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    found: Values = (np.cumsum(counts) - (counts - 1) / 2)[place]
    return found


def spearman(first: Values, second: Values) -> float:
    """The correlation of ranks; 0 where either is constant."""
    one, other = (ranks(values) - (len(values) + 1) / 2 for values in (first, second))
    size = float(np.sqrt((one**2).sum() * (other**2).sum()))
    return float(one @ other) / size if size > 0 else 0.0


def response_auroc(score: Values, positive: Marks) -> float:
    """The chance that a positive token has the higher score than another of the response."""
    count, others = int(positive.sum()), int((~positive).sum())
    return float(ranks(score)[positive].sum() - count * (count + 1) / 2) / (count * others)


def mean_over(values: Values, cluster: NDArray[np.int64]) -> Estimate | None:
    """The mean with its error over clusters; None without at least two of them."""
    names, place = np.unique(cluster, return_inverse=True)
    if len(names) < 2:
        return None
    mean = float(values.mean())
    sums = np.bincount(place, values - mean, minlength=len(names))
    error = float(np.sqrt((sums**2).sum() * len(names) / (len(names) - 1))) / len(values)
    reach = student_t(len(names) - 1) * error
    return Estimate(mean, error, mean - reach, mean + reach)


def decisive(advantage: Values) -> Marks:
    """The first token of the largest drop in value; none where nothing drops."""
    found = np.zeros(len(advantage), dtype=np.bool_)
    if advantage.min() < 0:
        found[int(advantage.argmin())] = True
    return found


def agreement(
    credit: Values, truth: Values, error: Marks, mask: Marks, right: Marks, group: NDArray[np.int64]
) -> dict[str, Estimate | None]:
    """The numbers of one rule over responses `[B, T]`; None where no response tells them."""
    found: dict[str, list[tuple[float, int]]] = {name: [] for name in NUMBERS}
    for row in range(len(credit)):
        valid = mask[row]
        if not credit[row, valid].any():
            continue
        for name, value in _of_response(credit[row, valid], truth[row, valid], error[row, valid], bool(right[row])):
            found[name].append((value, int(group[row])))
    return {name: _mean(pairs) for name, pairs in found.items()}


NUMBERS = ("decisive", "first_error", "rank_right", "rank_wrong")


def _of_response(credit: Values, truth: Values, error: Marks, right: bool) -> Iterator[tuple[str, float]]:
    if len(credit) < 2:
        return
    yield ("rank_right" if right else "rank_wrong"), spearman(credit, truth)
    if not right:
        for name, positive in (("decisive", decisive(truth)), ("first_error", error)):
            if positive.any() and not positive.all():
                yield name, response_auroc(np.abs(credit), positive)


def _mean(pairs: list[tuple[float, int]]) -> Estimate | None:
    if not pairs:
        return None
    values, groups = zip(*pairs, strict=True)
    return mean_over(np.array(values), np.array(groups))
