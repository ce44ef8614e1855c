"""How long a user waits: for `--help`, and from the command to its first step of training."""

import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Any

STEP = re.compile(rb"^step +1 of", re.MULTILINE)
RUN = (sys.executable, "-m", "credit_zoo.run")


def start(repeats: int) -> dict[str, Any]:
    """Medians of seconds, each in a process of its own."""
    return {
        "help": statistics.median(_help() for _ in range(repeats)),
        "first step": statistics.median(_first_step() for _ in range(repeats)),
    }


def _help() -> float:
    started = time.perf_counter()
    subprocess.run([*RUN, "--help"], check=True, capture_output=True)
    return time.perf_counter() - started


def _first_step() -> float:
    """Until the log tells of the first step of training; the policy is measured before it."""
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        words = ("shaper=pepo", "bench=mathvista", f"out={folder}/runs", f"results={folder}/results")
        told, (ours, theirs) = b"", os.pipe()
        process = subprocess.Popen([*RUN, *words], stdout=theirs, stderr=theirs)
        os.close(theirs)
        try:
            while not STEP.search(told):
                read = os.read(ours, 4096)
                if not read:
                    raise RuntimeError(f"the command ended before its first step:\n{told.decode(errors='replace')}")
                told += read
            return time.perf_counter() - started
        finally:
            process.kill()
            process.wait()
            os.close(ours)
