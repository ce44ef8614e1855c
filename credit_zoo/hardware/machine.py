"""The device that is looked at, and how long and how much memory a job takes on it."""

import statistics
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from credit_zoo.hardware.budget import Budget, guarded
from credit_zoo.speed import allocated, seconds

REPEATS = 5


@dataclass(frozen=True)
class Here:
    """Where parts are measured, and whether in their smallest form, which says that they run and not what they cost."""

    device: torch.device
    smallest: bool = False

    @property
    def dtype(self) -> torch.dtype:
        """What weights are held in."""
        return torch.bfloat16 if self.device.type == "cuda" else torch.float32

    def measured(self, budget: Budget, job: Callable[[], object]) -> dict[str, Any]:
        """The median of some seconds after a first time, and the bytes above what was held before."""
        repeats = budget.repeats(job, 1 if self.smallest else REPEATS)
        return {"median": statistics.median(seconds(job) for _ in range(repeats)), "peak": allocated(job).peak}

    def guarded_seconds(self, budget: Budget, job: Callable[[], Tensor], exact: Tensor) -> dict[str, Any]:
        """The same of a job that may fail, with how far its numbers are from exact ones."""

        def both() -> dict[str, Any]:
            apart = float((job().double() - exact).abs().max())
            return {"largest difference": apart, **self.measured(budget, job)}

        return guarded(both)
