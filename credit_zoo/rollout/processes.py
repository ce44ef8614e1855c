"""The processes that work together: the place of this one, and how they tell each other something."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class ProcessGroup:
    """The processes that work together: the place of this one, and a way to put the lists of all together, in the
    order of their places. Everyone has to take part in it; nobody is told before all have spoken.
    """

    rank: int = 0
    size: int = 1
    share: Callable[[list[Any]], list[Any]] = list
