"""Clocks and counters: time in turns, bytes allocated, exponents of growth."""

import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

Job = Callable[[], object]


@dataclass(frozen=True)
class Spread:
    """A median with its quartiles."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        if len(values) < 2:
            return cls(*[float(values[0])] * 3)
        low, _, high = statistics.quantiles(values, n=4, method="inclusive")
        return cls(statistics.median(values), low, high)


@dataclass(frozen=True)
class Bytes:
    """`peak` above what was held before; `largest` single allocation (None where only the peak is told)."""

    peak: int
    largest: int | None


def seconds(job: Job) -> float:
    """Wall-clock time, a GPU's queue emptied before and after."""
    _wait()
    started = time.perf_counter()
    job()
    _wait()
    return time.perf_counter() - started


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def in_turns(jobs: Mapping[str, Job], repeats: int, before: Job = lambda: None) -> dict[str, list[float]]:
    """Seconds of every job, `repeats` times after one unmeasured round; every other round goes backwards. `before` is
    done before each of them, and not measured.
    """
    found: dict[str, list[float]] = {name: [] for name in jobs}
    for turn in range(repeats + 1):
        for name in list(jobs)[:: -1 if turn % 2 else 1]:
            before()
            taken = seconds(jobs[name])
            if turn:
                found[name].append(taken)
    return found


def ratios(found: Mapping[str, Sequence[float]], name: str, reference: str) -> Spread:
    """Of times in the same round."""
    return Spread.of([one / other for one, other in zip(found[name], found[reference], strict=True)])


class Counter:
    """Counts the bytes that are allocated between `start` and `stop`."""

    _held: int
    _profile: Any

    def start(self) -> None:
        self._profile = None
        if torch.cuda.is_available():
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
            self._held = torch.cuda.memory_allocated()
        else:
            self._profile = profile(activities=[ProfilerActivity.CPU], profile_memory=True)
            self._profile.__enter__()

    def stop(self) -> Bytes:
        if self._profile is None:
            torch.cuda.synchronize()
            return Bytes(torch.cuda.max_memory_allocated() - self._held, None)
        self._profile.__exit__(None, None, None)
        events = [event for event in self._profile.profiler.kineto_results.events() if event.name() == "[memory]"]
        held = peak = largest = 0
        for event in sorted(events, key=lambda one: one.start_ns()):
            held += event.nbytes()
            peak, largest = max(peak, held), max(largest, event.nbytes())
        return Bytes(peak, largest)


def allocated(job: Job) -> Bytes:
    """The bytes that a job allocates."""
    counter = Counter()
    counter.start()
    job()
    return counter.stop()


def exponent(sizes: Sequence[float], values: Sequence[float]) -> float:
    """K of value ~ size^k, by least squares on logarithms."""
    x, y = ([math.log(one) for one in values_of] for values_of in (sizes, values))
    return statistics.linear_regression(x, y).slope
