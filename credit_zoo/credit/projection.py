"""Gradients as short vectors: all their numbers, or as many sums of them with random signs.

    u[i] = sum_j sign[j] g[j]  over j = i mod k        E[<u, v>] = <g, h>,  sd <= sqrt(2 / k) |g| |h|

The signs are those of a fixed seed, the same for all gradients: where two gradients are alike, so are the errors. A
second vector is of the gradient in Adam's geometry, every number divided by the root of its second moment.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor, nn

# By how much a number's second moment is drawn to the mean of its tensor: the few batches that it is told from may have
# had no gradient there.
SHRINKAGE = 0.01


def second_moment_scale(second_moment: Sequence[Tensor]) -> list[Tensor]:
    """What every number of a gradient is multiplied with in Adam's geometry; 0 in tensors without any gradient."""
    drawn = [one + SHRINKAGE * one.mean() for one in second_moment]
    return [torch.where(one > 0, one, torch.inf).rsqrt() for one in drawn]


@dataclass(frozen=True)
class Projection:
    """From the gradients of `parameters`, in their order, to vectors of at most `numbers` numbers (0: any)."""

    parameters: Sequence[nn.Parameter]
    numbers: int
    seed: int
    scale: Sequence[Tensor] | None = field(default=None, repr=False)

    @cached_property
    def width(self) -> int:
        """Numbers of a vector."""
        return min(self.total, self.numbers or self.total)

    @property
    def total(self) -> int:
        """Numbers of a gradient."""
        return sum(one.numel() for one in self.parameters)

    @cached_property
    def _signs(self) -> list[Tensor]:
        generator = torch.Generator().manual_seed(self.seed)
        drawn = [torch.randint(0, 2, (one.numel(),), generator=generator, dtype=torch.int8) for one in self.parameters]
        return [(2 * one - 1).to(like.device) for one, like in zip(drawn, self.parameters, strict=True)]

    def zeros(self) -> Float[Tensor, "2 K"]:
        """Where gradients are added up: plain, and in Adam's geometry."""
        return torch.zeros(2, self.width, device=self.parameters[0].device)

    def add(self, into: Float[Tensor, "2 K"], gradients: Sequence[Tensor | None]) -> None:
        """Adds a gradient's vectors; None is a gradient of zeros."""
        start = 0
        for place, (one, like) in enumerate(zip(gradients, self.parameters, strict=True)):
            if one is not None:
                into[0] += self._folded(one.detach().float().flatten(), place, start)
                if self.scale is not None:
                    scaled = one.detach().float() * self.scale[place].view_as(one)
                    into[1] += self._folded(scaled.flatten(), place, start)
            start += like.numel()

    def _folded(self, values: Tensor, place: int, start: int) -> Float[Tensor, " K"]:
        if self.width < self.total:
            values = values * self._signs[place]
        before = start % self.width
        behind = -(before + len(values)) % self.width
        return nn.functional.pad(values, (before, behind)).view(-1, self.width).sum(0)
