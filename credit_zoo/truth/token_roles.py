"""From a twin's verdict on a response, in characters, to its tokens: its role, and which was wrong first.

The stop token and everything behind the place where the response left the taught form have no role.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import TypeAlias

import numpy as np
from jaxtyping import Bool, Int8

from credit_zoo.twins import Role, Verdict

Characters: TypeAlias = tuple[int, int]  # from, to (exclusive)

ROLES: tuple[Role, ...] = ("read", "derived", "filler")
NO_ROLE = -1


@dataclass(frozen=True)
class Labels:
    """`role` is a place in `ROLES`, or `NO_ROLE`; `error` marks the tokens of a response's first error."""

    role: Int8[np.ndarray, "B T"]
    error: Bool[np.ndarray, "B T"]

    def has(self, *roles: Role) -> Bool[np.ndarray, "B T"]:
        """The tokens of these roles."""
        return np.isin(self.role, [ROLES.index(role) for role in roles])


def token_spans(decode: Callable[[list[int]], str], ids: Sequence[int]) -> tuple[Characters, ...]:
    """Where each token stands in `decode(ids)`, by decoding every prefix; together they are the whole text.

    Of a character that several tokens spell, those before the last may decode to replacement characters: no end may
    lie behind a later one, so that the last token gets what the others do not.
    """
    ends = [len(decode(list(ids[:count]))) for count in range(len(ids) + 1)]
    ends = list(accumulate(reversed(ends), min))[::-1]
    return tuple(pairwise(ends))


def token_role(span: Characters, verdict: Verdict) -> Role | None:
    """The role of most of the token's characters; of roles that tie, the first of `ROLES`; None without any."""
    shares = dict.fromkeys(ROLES, 0)
    for start, end, role in verdict.roles:
        shares[role] += _overlap(span, (start, end))
    best = max(ROLES, key=shares.__getitem__)
    return best if shares[best] else None


def in_first_error(span: Characters, verdict: Verdict) -> bool:
    """Whether the token overlaps the characters of the response's first slip."""
    return bool(verdict.errors) and _overlap(span, verdict.errors[0][1:]) > 0


def _overlap(one: Characters, other: Characters) -> int:
    return max(0, min(one[1], other[1]) - max(one[0], other[0]))


def label(
    decode: Callable[[list[int]], str],
    rows: Sequence[Sequence[int]],
    places: Sequence[Sequence[int]],
    verdicts: Sequence[Verdict],
    length: int,
) -> Labels:
    """Labels of B responses: `rows` their sampled ids, `places` where in `[0, length)` these stand."""
    role = np.full((len(rows), length), NO_ROLE, dtype=np.int8)
    error = np.zeros((len(rows), length), dtype=np.bool_)
    for row, (ids, at, verdict) in enumerate(zip(rows, places, verdicts, strict=True)):
        for place, span in zip(at, token_spans(decode, ids), strict=True):
            found = token_role(span, verdict)
            role[row, place] = NO_ROLE if found is None else ROLES.index(found)
            error[row, place] = in_first_error(span, verdict)
    return Labels(role, error)
