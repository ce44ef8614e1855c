"""Where a training run stands, on disk: written whole or not at all, checked by sum before it is used.

    <out>/<run id>/run.json                         which run this is: key, start, what it was started with, whether
                                                    it ended
    <out>/<run id>/saves/step-000050/               weights and optimizer state by parameter (safetensors),
                                                    the reports so far (JSON), and the sums of both

Nothing random has to be kept: what is drawn for a question follows from the run's seed and the question's number.
The state is the same whatever engine wrote it, so that a run may go on with another number of processes.
"""

import json
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from credit_zoo.errors import check_range
from credit_zoo.results import atomic_write
from credit_zoo.training.step_report import StepReport

_STATE, _PROGRESS, _SUMS = "state.safetensors", "progress.json", "sums.json"


@dataclass(frozen=True)
class CheckpointConfig:
    """Saves `every` so many steps and after the last (0: only when told to stop); the last `keep` of them stay."""

    every: int = 0  # steps between saves; 0: none
    keep: int = 2  # saves that stay

    def __post_init__(self) -> None:
        check_range("checkpoint.every", self.every, 0)
        check_range("checkpoint.keep", self.keep, 1)

    def due(self, step: int, steps: int) -> bool:
        """Whether to save after a step, the last one among them."""
        return self.every > 0 and (step % self.every == 0 or step == steps)


@dataclass(frozen=True)
class TrainingState:
    """After some steps: the number of the next question, a report of each step, and the seconds it took."""

    next: int = 0
    reports: tuple[StepReport, ...] = ()
    seconds: float = 0.0

    @property
    def step(self) -> int:
        return len(self.reports)


class StoredTensors(Mapping[str, Tensor]):
    """The tensors of a file, each read when it is asked for: no process has to hold all of them."""

    def __init__(self, path: Path) -> None:
        self._file: Any = safe_open(path, "pt")  # type: ignore[no-untyped-call]
        self._names = dict.fromkeys(self._file.keys())

    def __getitem__(self, name: str) -> Tensor:
        if name not in self._names:
            raise KeyError(name)
        found: Tensor = self._file.get_tensor(name)
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


@dataclass(frozen=True)
class SavedState:
    """A save that was read."""

    progress: TrainingState
    state: Mapping[str, Tensor]


def save(folder: Path, progress: TrainingState, state: dict[str, Tensor], keep: int) -> Path:
    """Writes `folder/saves/step-N` and drops all but the last `keep`; for the process that has the state to call."""
    place = folder / "saves" / f"step-{progress.step:06d}"
    part = place.with_name(f".{place.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    save_file(state, part / _STATE)
    payload = {**asdict(progress), "reports": [asdict(report) for report in progress.reports]}
    (part / _PROGRESS).write_text(json.dumps(payload), encoding="utf-8")
    sums = {name: _sum(part / name) for name in (_STATE, _PROGRESS)}
    (part / _SUMS).write_text(json.dumps(sums), encoding="utf-8")
    shutil.rmtree(place, ignore_errors=True)
    part.rename(place)
    for old in _saves(folder)[:-keep]:
        shutil.rmtree(old)
    return place


def _saves(folder: Path) -> list[Path]:
    return sorted((folder / "saves").glob("step-*"))


def _sum(path: Path) -> str:
    with path.open("rb") as file:
        digest = sha256()
        while block := file.read(1 << 22):
            digest.update(block)
    return digest.hexdigest()


def latest(folder: Path) -> SavedState | None:
    """The last save that is whole; a damaged one is named on stderr and passed over."""
    for place in reversed(_saves(folder)):
        try:
            sums = json.loads((place / _SUMS).read_text(encoding="utf-8"))
            if any(_sum(place / name) != sums[name] for name in (_STATE, _PROGRESS)):
                raise ValueError("its sum is not the one that was written")
            payload = json.loads((place / _PROGRESS).read_text(encoding="utf-8"))
            return SavedState(_progress(payload), StoredTensors(place / _STATE))
        except (OSError, ValueError, KeyError, SafetensorError) as error:
            print(f"{place} is damaged ({error}): the save before it is used", file=sys.stderr)
    return None


def _progress(payload: dict[str, Any]) -> TrainingState:
    reports = [StepReport(**{**one, "weight_quantiles": tuple(one["weight_quantiles"])}) for one in payload["reports"]]
    return TrainingState(payload["next"], tuple(reports), payload["seconds"])


def mark_started(folder: Path, key: str, created: str, begun: Mapping[str, str]) -> None:
    """Writes down which run a folder is of, and what beside its words it was started with."""
    payload = {"key": key, "created": created, "started_with": dict(begun), "ended": False}
    atomic_write(folder / "run.json", json.dumps(payload, indent=1) + "\n")


def mark_finished(folder: Path) -> None:
    """Marks the run as ended and drops its saves."""
    payload = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    atomic_write(folder / "run.json", json.dumps({**payload, "ended": True}, indent=1) + "\n")
    shutil.rmtree(folder / "saves", ignore_errors=True)


def unfinished_runs(out: Path, key: str) -> Sequence[tuple[Path, str, dict[str, str]]]:
    """The folders of runs of this key that did not end, with their start and what they were started with, the latest
    last.
    """
    return _runs(out, key, ended=False)


def finished_runs(out: Path, key: str) -> Sequence[tuple[Path, str, dict[str, str]]]:
    """The same of runs that did end."""
    return _runs(out, key, ended=True)


def _runs(out: Path, key: str, ended: bool) -> Sequence[tuple[Path, str, dict[str, str]]]:
    found = []
    for file in out.glob("*/run.json"):
        payload = json.loads(file.read_text(encoding="utf-8"))
        if payload["key"] == key and payload["ended"] == ended:
            found.append((payload["created"], file.parent, payload["started_with"]))
    return [(folder, created, begun) for created, folder, begun in sorted(found, key=lambda one: one[:2])]
