"""Runs the parts within a budget, and what is kept and shown of them."""

import gc
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from credit_zoo.errors import UsageError, check_range, unknown
from credit_zoo.hardware.budget import Budget, guarded
from credit_zoo.hardware.machine import Here
from credit_zoo.hardware.parts import PARTS
from credit_zoo.results import atomic_write, git_state, grid, machine, package_versions, utc_now

FOLDER = Path("leaderboard/hardware")


@dataclass(frozen=True)
class CheckGpu:
    """What is looked at, for how long, and where it is written."""

    parts: tuple[str, ...] = ()  # some of hardware/parts.py, such as losses, kernels, model_3b; none: all
    device: str = "cuda"  # cuda, or cpu for the smallest form
    smallest: bool = False  # small shapes that say whether it runs, and nothing of its cost
    seconds: float = 480.0  # after which no further part is begun
    name: str = ""  # of the file; none: the accelerator's
    out: str = "leaderboard/hardware"  # folder of the file

    def __post_init__(self) -> None:
        check_range("check_gpu.seconds", self.seconds, 0, open_low=True)
        for name in self.parts:
            if name not in PARTS:
                raise unknown("part", name, PARTS)
        if self.device not in ("cuda", "cpu"):
            raise UsageError(f"check_gpu.device must be cuda or cpu, got {self.device!r}")
        if self.device == "cpu" and not self.smallest:
            raise UsageError("check_gpu.device=cpu runs the smallest form only: add smallest=true")
        if self.device == "cuda" and not torch.cuda.is_available():
            raise UsageError("torch sees no GPU here: run it where there is one, or with smallest=true device=cpu")

    @property
    def path(self) -> Path:
        """The file that is written."""
        name = self.name or (torch.cuda.get_device_name() if self.device == "cuda" else "cpu")
        return Path(self.out) / f"{re.sub(r'[^a-z0-9]+', '-', name.lower()).strip('-')}.json"


def check(settings: CheckGpu) -> Path:
    """Runs the parts one after the other and writes what they found after each, so that a machine that goes away has
    left something.
    """
    here, budget = Here(torch.device(settings.device), settings.smallest), Budget(settings.seconds)
    gpu = torch.cuda.get_device_name() if settings.device == "cuda" else None
    kept: dict[str, Any] = {
        "created": utc_now(),
        "commit": git_state()[0],
        "machine": asdict(machine(torch.get_num_threads(), gpu, 1 if gpu else 0)),
        "versions": package_versions(),
        "smallest": settings.smallest,
        "parts": {},
    }
    for name in settings.parts or PARTS:
        if budget.left <= 0:
            kept["parts"][name] = {"status": "skipped", "why": "the budget's seconds are over", "seconds": 0.0}
        else:
            kept["parts"][name] = guarded(partial(PARTS[name], here, budget))
        atomic_write(settings.path, json.dumps(kept, indent=1) + "\n")
        gc.collect()
        if gpu:
            torch.cuda.empty_cache()
    return settings.path


def page(path: Path) -> str:
    """The file as tables."""
    kept = json.loads(path.read_text(encoding="utf-8"))
    where, versions = kept["machine"], kept["versions"]
    title = f"{where['gpu'] or where['cpu']}; torch {versions['torch']}, transformers {versions['transformers']}"
    rows = [(name, one["status"], f"{one['seconds']:.1f}", one.get("why", "")) for name, one in kept["parts"].items()]
    found = [row for name, one in kept["parts"].items() for row in _numbers(name, one)]
    return "\n".join([title, "", grid(("part", "status", "seconds", "why"), rows), grid(("what", "found"), found)])


def _numbers(name: str, found: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Every number of a part, by its path."""
    for key, value in found.items():
        if isinstance(value, Mapping):
            yield from _numbers(f"{name}: {key}", value)
        elif key == "peak":
            yield f"{name}: peak", f"{value / 2**20:.1f} MiB"
        elif isinstance(value, int | float) and key != "seconds":
            yield f"{name}: {key}", f"{value:.4g}"
        elif key == "why" and ":" in name:
            yield name, f"{found['status']}: {value}"
