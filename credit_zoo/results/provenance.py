"""Where a run happened: commit, machine and package versions, as a record tells them. Standard library only."""

import hashlib
import os
import platform
import secrets
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path

from credit_zoo.errors import UsageError, check_range

PACKAGES = (
    *("torch", "transformers", "accelerate", "deepspeed", "vllm", "trl"),
    *("gin-config", "datasets", "numpy", "pillow"),
)


def repeatable(words: Iterable[str]) -> tuple[str, ...]:
    """The words of a command as a record tells them: without where files go and whether it was resumed, absolute paths
    cut to their last part.

    What a folder held is in the record by checksum; where it lay on one machine repeats nothing on another.
    """
    pairs = [word.partition("=") for word in words if not word.startswith(("out=", "results=", "resume="))]
    return tuple(key + equals + (Path(value).name if value.startswith("/") else value) for key, equals, value in pairs)


@dataclass(frozen=True)
class Machine:
    """`cores` that the process may use, `threads` that the arithmetic uses, `gpu` the accelerator's name if any."""

    cpu: str
    cores: int
    threads: int
    gpu: str | None = None
    gpus: int = 0

    def __post_init__(self) -> None:
        check_range("machine.cores", self.cores, 1)
        check_range("machine.threads", self.threads, 1)
        check_range("machine.gpus", self.gpus, 0)
        if (self.gpu is None) != (self.gpus == 0):
            raise UsageError(f"machine.gpu and machine.gpus must agree, got {self.gpu!r} and {self.gpus}")


@dataclass(frozen=True)
class Origin:
    """The code that ran: `commit` and `dirty` are None where the package is not in a git checkout."""

    commit: str | None
    dirty: bool | None
    packages: Mapping[str, str]

    def __post_init__(self) -> None:
        if (self.commit is None) != (self.dirty is None):
            raise UsageError(f"commit and dirty are known together or not at all, got {self.commit!r}, {self.dirty!r}")


def origin() -> Origin:
    """The origin of the running process."""
    commit, dirty = git_state()
    return Origin(commit, dirty, package_versions())


def git_state(folder: Path = Path(__file__).parents[1]) -> tuple[str | None, bool | None]:
    """(commit, dirty) of the checkout that tracks the package, (None, None) outside of one.

    New files count as dirty, for a rule may stand in one. The folder `leaderboard/` does not: a run writes there,
    and the second of three seeds is no dirtier than the first.
    """
    if _git(folder, "ls-files", "--error-unmatch", "__init__.py") is None:
        return None, None
    commit = _git(folder, "rev-parse", "HEAD")
    changes = _git(folder, "status", "--porcelain", "--", ":/", ":(top,exclude)leaderboard")
    return (None, None) if commit is None or changes is None else (commit, bool(changes))


def _git(folder: Path, *words: str) -> str | None:
    try:
        done = subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def machine(threads: int, gpu: str | None = None, gpus: int = 0) -> Machine:
    """The machine the process runs on; what only torch knows is handed in."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return Machine(_cpu_name(), cores, threads, gpu, gpus)


def _cpu_name(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines() if cpuinfo.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def package_versions() -> dict[str, str]:
    """Versions of Python and of the packages that can change a number; an absent package is left out."""
    installed = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            installed[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return installed


def utc_now() -> str:
    """The time in UTC to the second, as records carry it: `2026-01-31T12:00:00Z`."""
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def new_run_id(created: str) -> str:
    """A run's id: its time and 32 random bits, so that runs which start in the same second differ."""
    return f"{''.join(c for c in created if c.isdigit())}-{secrets.token_hex(4)}"


def run_id_of(folder: str) -> str:
    """The run's id at the head of its folder's name, `20260131120000-1a2b3c4d-geometry3k-grpo-pepo-seed0`."""
    return "-".join(folder.split("-")[:2])


def digest(parts: Iterable[str]) -> str:
    """Sixteen hexadecimal digits for a sequence of texts (question ids, prompts), order and borders included."""
    state = hashlib.sha256()
    for part in parts:
        encoded = part.encode()
        state.update(len(encoded).to_bytes(8, "big") + encoded)
    return state.hexdigest()[:16]
