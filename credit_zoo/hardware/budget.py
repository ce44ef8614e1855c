"""Seconds that are left, and parts that fail alone."""

import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


class Skipped(Exception):
    """A part that cannot be done here; the message says why."""


@dataclass(frozen=True)
class Budget:
    """`seconds` from its making on."""

    seconds: float
    _begun: float = field(default_factory=time.perf_counter)

    @property
    def left(self) -> float:
        """Seconds, below 0 once they are over."""
        return self.seconds - (time.perf_counter() - self._begun)

    def repeats(self, job: Callable[[], object], most: int) -> int:
        """How often a job that has been run once may be, of the time that is left; at least once."""
        started = time.perf_counter()
        job()
        return max(1, min(most, int(self.left / 10 / max(time.perf_counter() - started, 1e-6))))


def guarded(job: Callable[[], Mapping[str, Any]]) -> dict[str, Any]:
    """What a job found, with its seconds; or why it was skipped, or what it failed with. One failure stops no other
    part: nothing but Ctrl-C goes past this.
    """
    started = time.perf_counter()
    try:
        found: dict[str, Any] = {"status": "done", **job()}
    except Skipped as reason:
        found = {"status": "skipped", "why": str(reason)}
    except Exception as error:
        found = {"status": "failed", "why": f"{type(error).__name__}: {error}", "trace": traceback.format_exc(limit=-4)}
    return {**found, "seconds": time.perf_counter() - started}
