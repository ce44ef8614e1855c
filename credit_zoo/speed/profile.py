"""The parts of `python -m credit_zoo.profile`, and the file that each one writes."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

import torch

from credit_zoo.errors import UsageError, unknown
from credit_zoo.results import atomic_write, machine, package_versions, utc_now
from credit_zoo.speed import microbenchmarks
from credit_zoo.speed.floor import phases
from credit_zoo.speed.scaling import growth
from credit_zoo.speed.startup import start
from credit_zoo.speed.steps import steps
from credit_zoo.speed.workload import Work

FOLDER = Path("leaderboard/speed")


def _against_trl(name: str, work: Work) -> dict[str, Any]:
    try:
        from credit_zoo.speed import trl
    except ImportError as error:
        raise UsageError(f"the comparison with TRL needs it: pip install 'credit_zoo[trl]' ({error})") from None
    found: dict[str, Any] = getattr(trl, name)(work)
    return found


PARTS: Mapping[str, Callable[[Work], dict[str, Any]]] = {
    "trl": partial(_against_trl, "trl"),
    "run": partial(_against_trl, "whole_run"),
    "steps": steps,
    "phases": phases,
    "signals": lambda work: microbenchmarks.signals(work.repeats),
    "head": lambda work: microbenchmarks.head(max(work.repeats // 10, 1)),
    "growth": growth,
    "start": lambda work: start(3),
}


def measure(part: str, work: Work, out: Path) -> Path:
    """Measures a part and writes what was found."""
    found = PARTS[part](work)
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    kept = {
        "part": part,
        "created": utc_now(),
        "machine": asdict(machine(torch.get_num_threads(), gpu, 1 if gpu else 0)),
        "versions": package_versions(),
        "work": asdict(work),
        "found": found,
    }
    path = out / f"{part if work.model == 'small' else f'{part}-{work.model}'}.json"
    atomic_write(path, json.dumps(kept, indent=1) + "\n")
    return path


@dataclass(frozen=True)
class Profile(Work):
    """The work that is measured, the parts that are measured of it, and where they are written."""

    parts: tuple[str, ...] = ()  # trl, run, steps, phases, signals, head, growth, start; none named: all
    out: str = "leaderboard/speed"  # folder of the files

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in self.parts:
            if name not in PARTS:
                raise unknown("part", name, PARTS)

    @property
    def work(self) -> Work:
        """The work alone."""
        return Work(**{one.name: getattr(self, one.name) for one in fields(Work)})
