"""Requests of several processes to one engine, merged into one batch.

A response follows from its prompt, its seed and the weights, so that who else is in the batch changes nothing but the
time it takes. Weights are replaced between batches: after the requests that came before them, before those that come
later.
"""

import queue
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from itertools import groupby, islice
from typing import Protocol, runtime_checkable

from torch import Tensor

from credit_zoo.rollout.sampling import SamplingParams
from credit_zoo.rollout.vllm_engine import Request, Response

SETTLE = 0.02  # seconds without another request after which a batch starts
PATIENCE = 0.2  # seconds that its first request waits at most


@runtime_checkable
class BatchEngine(Protocol):
    """What samples a batch, one call at a time."""

    def generate(self, requests: Sequence[Request], sampling: SamplingParams) -> list[list[Response]]:
        """`len(request.seeds)` responses to every request, in order."""
        ...

    def load_weights(self, weights: Iterable[tuple[str, Tensor]]) -> None:
        """Takes weights under their names in a checkpoint."""
        ...


@dataclass(frozen=True, eq=False)
class _Job:
    """Requests under some settings, or, without settings, weights to load."""

    requests: Sequence[Request] = ()
    sampling: SamplingParams | None = None
    weights: Iterable[tuple[str, Tensor]] = ()
    answer: "Future[list[list[Response]]]" = field(default_factory=Future)


@dataclass(frozen=True, eq=False)
class MergedEngine:
    """A `BatchEngine` that many threads may ask at once. `run` is for the thread that made the engine below it: no
    other calls that one.
    """

    engine: BatchEngine
    _waiting: "queue.SimpleQueue[_Job | None]" = field(default_factory=queue.SimpleQueue)

    def generate(self, requests: Sequence[Request], sampling: SamplingParams) -> list[list[Response]]:
        """Waits for `len(request.seeds)` responses to every request, in order."""
        return self._wait(_Job(requests, sampling))

    def load_weights(self, weights: Iterable[tuple[str, Tensor]]) -> None:
        """Waits until the engine samples from these weights."""
        self._wait(_Job(weights=weights))

    def _wait(self, job: _Job) -> list[list[Response]]:
        self._waiting.put(job)
        return job.answer.result()

    def stop(self) -> None:
        """Ends `run` once all that came before is answered."""
        self._waiting.put(None)

    def run(self) -> None:
        """Serves what comes until `stop`."""
        going = True
        while going:
            arrived = list(self._arrived())
            going = None not in arrived
            jobs = [job for job in arrived if job is not None]
            for sampling, alike in groupby(jobs, key=lambda job: job.sampling):
                if sampling is None:
                    self._load(list(alike))
                else:
                    self._generate(list(alike), sampling)

    def _arrived(self) -> Iterator[_Job | None]:
        """The next request and those that follow close behind."""
        yield self._waiting.get()
        end = time.monotonic() + PATIENCE
        try:
            while (left := end - time.monotonic()) > 0:
                yield self._waiting.get(timeout=min(SETTLE, left))
        except queue.Empty:
            return

    def _load(self, jobs: Sequence[_Job]) -> None:
        for job in jobs:
            try:
                self.engine.load_weights(job.weights)
                job.answer.set_result([])
            except Exception as error:  # whoever asked is told, and the engine lives on
                job.answer.set_exception(error)

    def _generate(self, jobs: Sequence[_Job], sampling: SamplingParams) -> None:
        requests = [request for job in jobs for request in job.requests]
        try:
            found = self.engine.generate(requests, sampling)
            if len(found) != len(requests):
                raise RuntimeError(f"the engine answered {len(found)} of {len(requests)} requests")
        except Exception as error:
            if len(jobs) == 1:
                jobs[0].answer.set_exception(error)
                return
            for job in jobs:  # one of them is to blame, and the others need not fail with it
                self._generate([job], sampling)
            return
        answers = iter(found)
        for job in jobs:
            job.answer.set_result(list(islice(answers, len(job.requests))))
