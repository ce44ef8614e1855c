"""The record of a probe of a policy, and its tables. What the numbers mean is said in `credit_zoo.probe`."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeAlias

from credit_zoo.errors import UsageError, check_range
from credit_zoo.results import CorruptRecord, Machine, Origin, atomic_write, grid, plain

SCHEMA = 1
DECIMALS = 4
TASKS: Mapping[str, str] = {
    "read_rest": "read from the picture, against all other tokens",
    "read_filler": "read from the picture, against form and copied operands",
    "first_slip": "the first wrong value, against the response's other values, read or derived",
}
Scalar: TypeAlias = str | int | float | None


def check_shares(thing: object, *names: str) -> None:
    """Raises unless each of these fields is None or in [0, 1]."""
    for name in names:
        if getattr(thing, name) is not None:
            check_range(name, round(getattr(thing, name), DECIMALS), 0, 1)


@dataclass(frozen=True)
class Accuracy:
    """Shares of right answers in [0, 1]: `average` is avg@N and `blind` the same on blank pictures, with 95% intervals
    over questions; `mixed` the share of questions with right and wrong samples; `majority` one answer for all.

    `uniform_choice` is over the questions with choices, a share `with_choices` of all; None without any.
    """

    average: float
    average_low: float
    average_high: float
    greedy: float
    passed: float
    mixed: float
    blind: float
    blind_low: float
    blind_high: float
    majority: float
    uniform_choice: float | None
    with_choices: float

    def __post_init__(self) -> None:
        check_shares(self, *(field.name for field in fields(self)))


@dataclass(frozen=True)
class Mistakes:
    """What went wrong first in `wrong` of `responses` responses, as shares of the wrong ones (None without any).

    `left`: no error before it left the taught form; `unexplained`: it followed the form without an error.
    `perception_slips` and `reasoning_slips` are means over all responses.
    """

    responses: int
    wrong: int
    perception: float | None
    reasoning: float | None
    left: float | None
    unexplained: float | None
    perception_slips: float
    reasoning_slips: float

    def __post_init__(self) -> None:
        check_range("wrong", self.wrong, 0, self.responses)
        check_shares(self, "perception", "reasoning", "left", "unexplained")


@dataclass(frozen=True)
class Spread:
    """A signal's values at the tokens of one role, in the signal's unit; the percentiles 5, 50 and 95."""

    signal: str
    role: str
    count: int
    mean: float
    sd: float
    p05: float
    p50: float
    p95: float

    def __post_init__(self) -> None:
        check_range("count", self.count, 1)
        check_range("sd", self.sd, 0)


@dataclass(frozen=True)
class Separation:
    """The AUROC of a signal or of a shaper's weights in a task of `TASKS`, with its 95% interval over questions.

    `positives` and `negatives` are tokens; `value` and its interval are None where either is 0.
    """

    kind: str  # "signal" or "shaper"
    name: str
    task: str
    positives: int
    negatives: int
    value: float | None
    low: float | None
    high: float | None

    def __post_init__(self) -> None:
        check_shares(self, "value", "low", "high")
        if self.task not in TASKS or self.kind not in ("signal", "shaper"):
            raise UsageError(f"a separation is of a signal or a shaper in a task, got {self.kind!r} and {self.task!r}")


@dataclass(frozen=True)
class ProbeRecord:
    """One policy on one twin. `settings` are the command's; `weights` a digest of the policy's."""

    schema: int
    created: str
    command: tuple[str, ...]
    bench: str
    bench_version: int
    twin_version: int
    model: str
    weights: str
    settings: Mapping[str, Scalar]
    accuracy: Accuracy
    mistakes: Mistakes
    spreads: tuple[Spread, ...]
    separations: tuple[Separation, ...]
    machine: Machine
    origin: Origin
    seconds: float

    def __post_init__(self) -> None:
        if self.schema != SCHEMA:
            raise UsageError(f"schema {self.schema} is not {SCHEMA}, the one that this version reads and writes")

    @property
    def title(self) -> str:
        """The twin, its dials where they are not at 0, and what the model is where it is not the small one."""
        dials = [f"{name} {self.settings[name]}" for name in ("perception", "reasoning") if self.settings[name]]
        which = self.settings["note"] or (self.model if self.model != "small" else "")
        return ", ".join([self.bench, *dials, *([str(which)] if which else [])])


def rounded(value: Any) -> Any:
    """A dataclass, tuple or number with every float in it rounded to 4 decimals."""
    if isinstance(value, tuple):
        return tuple(rounded(part) for part in value)
    if hasattr(value, "__dataclass_fields__"):
        return type(value)(*(rounded(getattr(value, field.name)) for field in fields(value)))
    return round(value, DECIMALS) if isinstance(value, float) else value


def save(record: ProbeRecord, path: Path) -> None:
    """Writes the record as JSON, whole or not at all."""
    atomic_write(path, json.dumps(plain(record), indent=1, ensure_ascii=False, allow_nan=False) + "\n")


def load(path: Path) -> ProbeRecord:
    """The record of a file; raises `CorruptRecord` naming the file where it is none."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        parts = {
            "command": tuple(found["command"]),
            "accuracy": Accuracy(**found["accuracy"]),
            "mistakes": Mistakes(**found["mistakes"]),
            "spreads": tuple(Spread(**one) for one in found["spreads"]),
            "separations": tuple(Separation(**one) for one in found["separations"]),
            "machine": Machine(**found["machine"]),
            "origin": Origin(**found["origin"]),
        }
        return ProbeRecord(**{**found, **parts})
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise CorruptRecord(f"{path} is not the record of a probe: {error}") from None


def load_all(folder: Path) -> list[ProbeRecord]:
    """The records of every `*.json` of a folder, by title."""
    return sorted((load(path) for path in folder.glob("*.json")), key=lambda record: record.title)


def mistakes_table(records: Sequence[ProbeRecord]) -> str:
    """What the policy can do, with and without its eyes, and what goes wrong, as markdown."""
    return grid(_CAN, map(_can_row, records)) if records else "No probes yet.\n"


def credit_table(records: Sequence[ProbeRecord]) -> str:
    """What tells its tokens apart, as markdown."""
    return grid(_TELL, [row for one in records for row in _tell_rows(one)]) if records else "No probes yet.\n"


_CAN = (
    "twin", "questions", "N", "avg@N [95%]", "greedy", "pass@N", "mixed groups", "blank picture", "majority",
    "guessed choice", "wrong: misread", "wrong: misreasoned", "wrong: left the form",
)  # fmt: skip
_TELL = ("twin", "signal or weight", *(f"AUROC: {task}" for task in ("read vs rest", "read vs filler", "first error")))


def percent(value: float | None) -> str:
    """A share in percent; nothing for None."""
    return "" if value is None else f"{100 * value:.1f}"


def _can_row(record: ProbeRecord) -> list[str]:
    a, m = record.accuracy, record.mistakes
    average = f"{percent(a.average)} [{percent(a.average_low)}, {percent(a.average_high)}]"
    shares = (a.greedy, a.passed, a.mixed, a.blind, a.majority, a.uniform_choice, m.perception, m.reasoning, m.left)
    counts = (str(record.settings["questions"]), str(record.settings["samples"]))
    return [record.title, *counts, average, *map(percent, shares)]


def separation_cell(one: Separation) -> str:
    """An AUROC with its interval, to three decimals; nothing where it is not defined."""
    return "" if one.value is None else f"{one.value:.3f} [{one.low:.3f}, {one.high:.3f}]"


def separation_rows(record: ProbeRecord) -> Iterator[list[str]]:
    """For every signal and every shaper its name and a cell for each task."""
    cells = {(one.kind, one.name, one.task): separation_cell(one) for one in record.separations}
    for kind, name in dict.fromkeys((one.kind, one.name) for one in record.separations):
        yield [name if kind == "signal" else f"W of {name}", *(cells[kind, name, task] for task in TASKS)]


def _tell_rows(record: ProbeRecord) -> list[list[str]]:
    return [[record.title, *row] for row in separation_rows(record)]


def probe_text(record: ProbeRecord) -> str:
    """The record as aligned text for a terminal."""
    facts = f"{record.title}: twin version {record.twin_version}, model {record.model} ({record.weights})"
    can = list(zip(_CAN[1:], _can_row(record)[1:], strict=True))
    slips = [
        ("perception errors", record.mistakes.perception_slips),
        ("reasoning errors", record.mistakes.reasoning_slips),
    ]
    can += [(f"{name} a response", f"{mean:.3f}") for name, mean in slips]
    can.append(("wrong: unexplained", percent(record.mistakes.unexplained)))
    spreads = [
        [s.signal, s.role, str(s.count), *(f"{value:.3f}" for value in (s.mean, s.sd, s.p05, s.p50, s.p95))]
        for s in record.spreads
    ]
    parts = [
        aligned([[name, value] for name, value in can if value]),
        aligned([["signal", "role", "tokens", "mean", "sd", "5%", "50%", "95%"], *spreads]),
        aligned([list(_TELL[1:]), *separation_rows(record)]),
    ]
    return "\n\n".join([facts, *parts])


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Rows of cells as columns of equal width."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)
