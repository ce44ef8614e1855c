"""Where in a response rules put weight, on what kinds of tokens, and how far two rules agree."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from credit_zoo.credit import ranks
from credit_zoo.report.examples import BINS, KINDS, Numbers, Profile

DIGITS = 3  # decimals
Values = NDArray[np.float64]
Marks = Mapping[str, NDArray[np.bool_]]


def kinds_of(role: NDArray[np.int64], error: NDArray[np.bool_], roles: Sequence[str]) -> dict[str, NDArray[np.bool_]]:
    """Which of a response's tokens are of each kind: its role (a place in `roles`, below 0 for none), first errors."""
    by_role = {name: role == roles.index(name) for name in KINDS if name in roles}
    return {**by_role, "no role": role < 0, "first error": error}


def tenths(count: int) -> NDArray[np.int64]:
    """The tenth of the response that each of `count` tokens stands in."""
    return np.arange(count) * BINS // max(count, 1)


def profile_of(rows: Sequence[tuple[Values, Marks]]) -> Profile:
    """From the weights `[T]` of responses, and the kinds of their tokens."""
    weight = np.concatenate([one for one, _ in rows])
    place = np.concatenate([tenths(len(one)) for one, _ in rows])
    marks = {kind: np.concatenate([kinds[kind] for _, kinds in rows]) for kind in KINDS}
    bins = [weight[place == number] for number in range(BINS)]
    filled = [one if len(one) else np.array([0.0]) for one in bins]
    low, high = (tuple(round(float(np.quantile(one, at)), DIGITS) for one in filled) for at in (0.25, 0.75))
    return Profile(
        mean=tuple(round(float(one.mean()), DIGITS) for one in filled),
        low=low,
        high=high,
        kinds={kind: round(float(weight[on].mean()), DIGITS) if on.any() else None for kind, on in marks.items()},
    )


def agreement_of(responses: Sequence[Values]) -> tuple[Numbers, ...]:
    """The mean over responses, credit `[R, T]` each, of Spearman's correlation of every two rules; 0 where either is
    constant.
    """
    total = sum(_correlations(one) for one in responses) / len(responses)
    return tuple(tuple(round(float(value), DIGITS) + 0.0 for value in row) for row in np.atleast_2d(total))


def _correlations(credit: Values) -> Values:
    centred = np.stack([ranks(row) for row in credit]) - (credit.shape[1] + 1) / 2
    size = np.sqrt((centred**2).sum(1, keepdims=True))
    unit = np.divide(centred, size, out=np.zeros_like(centred), where=size > 0)
    found: Values = unit @ unit.T
    return found
