"""Which responses of a step are read together: a micro-batch.

    tokens read = prompts of the micro-batch x their width + responses x width of the longest

Responses to a prompt stay together, those of like length come together, and their padding is cut: the fewer tokens,
the less time. What a step computes does not depend on it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Int64
from torch import Tensor

from credit_zoo.policy.processor import padded_length


@dataclass(frozen=True)
class MicroBatch:
    """Rows of the step's responses, and the columns that hold all their tokens; only the first `front` of these are
    read, unless it is None.
    """

    rows: Int64[Tensor, " K"]
    width: int
    front: int | None = None

    @property
    def read(self) -> "MicroBatch":
        """The columns that are read."""
        return self if self.front is None else MicroBatch(self.rows, self.front)

    def cut(self, values: Tensor) -> Tensor:
        """Its part of values for all responses `[B, T]`."""
        return values[self.rows, : self.width]

    def put(self, into: Tensor, values: Tensor) -> None:
        """Writes its part of values for all responses."""
        into[self.rows, : self.width] = values


def width_of(longest: int, widest: int) -> int:
    """The columns that hold responses of at most `longest` tokens, among `widest`."""
    return min(padded_length(longest), widest)


def pack(
    row_of: Int64[Tensor, " B"],
    lengths: Int64[Tensor, " B"],
    prompt: int,
    widest: int,
    responses: int,
    tokens: int,
    least: int = 0,
) -> list[MicroBatch]:
    """Micro-batches of at most that many `responses` and `tokens` (0: any number), or of one response that has more.

    `row_of[b]` is the prompt of response b, `lengths[b]` its tokens, `prompt` the prompts' width and `widest` the
    responses'. Responses of fewer than `least` tokens are left out.
    """
    asked, own = torch.stack([row_of, lengths]).tolist()
    longest: dict[int, int] = {}
    for row, length in zip(asked, own, strict=True):
        longest[row] = max(longest.get(row, 0), length)
    placed = zip([longest[row] for row in asked], asked, own, range(len(asked)), strict=True)
    ordered = sorted(row for row in placed if row[2] >= least)

    def width(rows: Sequence[tuple[int, ...]]) -> int:
        return width_of(max(length for _, _, length, _ in rows), widest)

    def fits(rows: Sequence[tuple[int, ...]]) -> bool:
        read = len({asked for _, asked, _, _ in rows}) * prompt + len(rows) * width(rows)
        return len(rows) <= responses and (not tokens or read <= tokens)

    found: list[list[tuple[int, ...]]] = []
    for row in ordered:
        if found and fits([*found[-1], row]):
            found[-1].append(row)
        else:
            found.append([row])
    return [MicroBatch(torch.tensor([row[-1] for row in rows], device=row_of.device), width(rows)) for rows in found]


def split(parts: Sequence[MicroBatch], count: int) -> list[MicroBatch]:
    """Splits the largest until there are `count`, as many as the process has that needs most: all processes go
    through the same number of passes.
    """
    found = list(parts)
    while len(found) < count:
        at = max(range(len(found)), key=lambda k: len(found[k].rows))
        largest, half = found[at], len(found[at].rows) // 2
        found[at : at + 1] = [replace(largest, rows=largest.rows[s]) for s in (slice(half), slice(half, None))]
    return found
