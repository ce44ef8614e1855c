"""Being told to stop: SIGTERM, SIGINT (Ctrl-C), and the SIGUSR1 that SLURM sends ahead of the end (`--signal=USR1`)."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)


class Stopped(Exception):
    """The run was told to stop and has been saved after `step`."""

    def __init__(self, step: int, status: int) -> None:
        self.step, self.status = step, status
        super().__init__(f"stopped after step {step}")


@dataclass
class StopRequest:
    """`number` of the signal that came, 0 for none."""

    number: int = 0


@contextmanager
def watch_for_signals() -> Iterator[StopRequest]:
    """Inside, a signal asks for a stop after the step; the same signal again acts as it does elsewhere."""
    request = StopRequest()
    before: dict[int, Any] = {}

    def take(number: int, frame: object) -> None:
        request.number = number
        signal.signal(number, before[number])

    try:
        for number in SIGNALS:
            before[number] = signal.signal(number, take)
        yield request
    finally:
        for each in before:
            signal.signal(each, before[each])
