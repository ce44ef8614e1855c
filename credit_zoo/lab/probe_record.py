"""The record of a probe of a policy. What the numbers mean is said in `credit_zoo.probe`."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeAlias

from credit_zoo.errors import UsageError, check_range, check_schema
from credit_zoo.results import CorruptRecord, Machine, Origin, atomic_write, plain

SCHEMA = 2  # 2: a temperature row, and mistakes that habits would have made
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
    `perception_slips` and `reasoning_slips` are means over all responses; `perception_habits` and `reasoning_habits`
    the shares of all responses in which a habit was followed (`credit_zoo.twins.habits`), None where not measured.
    """

    responses: int
    wrong: int
    perception: float | None
    reasoning: float | None
    left: float | None
    unexplained: float | None
    perception_slips: float
    reasoning_slips: float
    perception_habits: float | None = None
    reasoning_habits: float | None = None

    def __post_init__(self) -> None:
        check_range("wrong", self.wrong, 0, self.responses)
        names = ("perception", "reasoning", "left", "unexplained", "perception_habits", "reasoning_habits")
        check_shares(self, *names)


@dataclass(frozen=True)
class AtTemperature:
    """The share of right answers drawn at a temperature, in [0, 1], with its 95% interval over questions, None where
    it is not known; at 0 answers are greedy, one a question.
    """

    temperature: float
    value: float
    low: float | None
    high: float | None

    def __post_init__(self) -> None:
        check_range("temperature", self.temperature, 0)
        check_shares(self, "value", "low", "high")


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
    temperatures: tuple[AtTemperature, ...]
    mistakes: Mistakes
    spreads: tuple[Spread, ...]
    separations: tuple[Separation, ...]
    machine: Machine
    origin: Origin
    seconds: float

    def __post_init__(self) -> None:
        check_schema(self.schema, SCHEMA)

    @property
    def title(self) -> str:
        """The twin, its dials where they are not at 0, and what the model is where it is not the small one."""
        dials = [
            f"{name} {self.settings[name]}" for name in ("perception", "reasoning", "length") if self.settings.get(name)
        ]
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
        found = _of_today(json.loads(path.read_text(encoding="utf-8")))
        parts = {
            "command": tuple(found["command"]),
            "accuracy": Accuracy(**found["accuracy"]),
            "temperatures": tuple(AtTemperature(**one) for one in found["temperatures"]),
            "mistakes": Mistakes(**found["mistakes"]),
            "spreads": tuple(Spread(**one) for one in found["spreads"]),
            "separations": tuple(Separation(**one) for one in found["separations"]),
            "machine": Machine(**found["machine"]),
            "origin": Origin(**found["origin"]),
        }
        return ProbeRecord(**{**found, **parts})
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise CorruptRecord(f"{path} is not the record of a probe: {error}") from None


def _of_today(found: dict[str, Any]) -> dict[str, Any]:
    """A record of schema 1 in the words of schema 2: of its temperatures two were measured, its habits were not."""
    if found["schema"] != 1:
        return found
    seen = found["accuracy"]
    row = [
        {"temperature": found["settings"]["temperature"], "value": seen["average"], "low": seen["average_low"],
         "high": seen["average_high"]},
        {"temperature": 0.0, "value": seen["greedy"], "low": None, "high": None},
    ]  # fmt: skip
    return {**found, "schema": SCHEMA, "temperatures": row}


def load_all(folder: Path) -> list[ProbeRecord]:
    """The records of every `*.json` of a folder, by title."""
    return sorted((load(path) for path in sorted(folder.glob("*.json"))), key=lambda record: record.title)
