"""The record of a laboratory's gates, and its table. What the gates are is said in `credit_zoo.lab.gates`."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from credit_zoo.errors import UsageError, check_schema
from credit_zoo.results import CorruptRecord, Origin, atomic_write, grid, plain

SCHEMA = 1


@dataclass(frozen=True)
class Gate:
    """One gate: `value` with its 95% interval where there is one, against what it `needs`.

    `passed` is None where nothing was measured, or where a single seed has no interval. `seeds` is the number of
    paired runs behind it, 0 for a gate that no training is behind.
    """

    key: str
    what: str
    value: float | None
    low: float | None
    high: float | None
    needs: str
    passed: bool | None
    seeds: int = 0

    def __post_init__(self) -> None:
        if self.value is None and self.passed is not None:
            raise UsageError(f"gate {self.key}: it is passed or not only where a value was measured")


@dataclass(frozen=True)
class GateRecord:
    """The gates of one policy on one twin; `steps` of training, `runs` the ids of the runs behind them."""

    schema: int
    created: str
    command: tuple[str, ...]
    bench: str
    twin_version: int
    model: str
    weights: str
    steps: int | None
    runs: tuple[str, ...]
    gates: tuple[Gate, ...]
    origin: Origin

    def __post_init__(self) -> None:
        check_schema(self.schema, SCHEMA)

    @property
    def failed(self) -> tuple[str, ...]:
        """The keys of the gates that were measured and not passed."""
        return tuple(gate.key for gate in self.gates if gate.passed is False)

    @property
    def open(self) -> tuple[str, ...]:
        """The keys of the gates that were not measured, or not by enough seeds."""
        return tuple(gate.key for gate in self.gates if gate.passed is None)


def save_gates(record: GateRecord, path: Path) -> None:
    """Writes the record as JSON, whole or not at all."""
    atomic_write(path, json.dumps(plain(record), indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def load_gates(path: Path) -> GateRecord:
    """The record of a file; raises `CorruptRecord` naming the file where it is none."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        parts = {
            "command": tuple(found["command"]),
            "runs": tuple(found["runs"]),
            "gates": tuple(Gate(**one) for one in found["gates"]),
            "origin": Origin(**found["origin"]),
        }
        return GateRecord(**{**found, **parts})
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise CorruptRecord(f"{path} is not the record of gates: {error}") from None


def load_all_gates(folder: Path) -> list[GateRecord]:
    """The records of every `*.json` of a folder, by twin and model."""
    found = [load_gates(path) for path in sorted(folder.glob("*.json"))]
    return sorted(found, key=lambda record: (record.bench, record.model))


def gates_table(records: Sequence[GateRecord]) -> str:
    """A row for every twin, a column for every gate, as markdown; what was not measured is left empty."""
    if not records:
        return "No gates yet.\n"
    keys = [gate.key for gate in records[0].gates]
    needs = {gate.key: f"{gate.key}: {gate.needs}" for record in records for gate in record.gates}
    rows = [[record.bench, record.model, str(record.steps or ""), *_cells(record, keys)] for record in records]
    return grid(("twin", "model", "steps", *(needs[key] for key in keys)), rows)


def _cells(record: GateRecord, keys: Sequence[str]) -> list[str]:
    by_key = {gate.key: gate for gate in record.gates}
    return [gate_cell(by_key[key]) if key in by_key else "" for key in keys]


def gate_cell(gate: Gate) -> str:
    """The value with its interval and the verdict."""
    if gate.value is None:
        return "open"
    within = "" if gate.low is None else f" [{gate.low:.1f}, {gate.high:.1f}]"
    verdict = {True: "passed", False: "**failed**", None: "open, one seed"}[gate.passed]
    return f"{gate.value:.1f}{within} {verdict}"


def gates_text(record: GateRecord) -> str:
    """The record for a terminal, one gate a line."""
    head = f"{record.bench}, model {record.model} ({record.weights}), {record.steps or 'no'} steps of training"
    lines = [f"({gate.key}) {gate.what}: {gate_cell(gate)}; needs {gate.needs}" + _runs(gate) for gate in record.gates]
    return "\n".join([head, *lines])


def _runs(gate: Gate) -> str:
    return f"; {gate.seeds} paired seeds" if gate.seeds else ""
