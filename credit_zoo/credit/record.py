"""The record of the instrument: one for each policy, benchmark, dials and size of group."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from credit_zoo.credit.estimates import Estimate
from credit_zoo.errors import UsageError, check_range, check_schema
from credit_zoo.results import CorruptRecord, Machine, Origin, atomic_write, plain

SCHEMA = 1
DIGITS = 5  # significant ones
MOST = 0.5  # of the right answers


@dataclass(frozen=True)
class RuleCredit:
    """One rule. `mass` is its sum of |credit|, relative to uniform's; `seconds` of one batch's gradient, and `cost` as
    a share of uniform's forward and backward pass. `numbers` holds the estimates by their names: snr, cosine,
    efficiency, removed and over_shuffle (efficiency relative to its own shuffle); with `adam_` before it in Adam's
    geometry, with `by_uniform_` before it along uniform's own gradient from other batches; on a twin decisive,
    first_error, rank_right and rank_wrong, with `mc_` before it against values by Monte Carlo.
    """

    name: str
    digest: str
    control: bool
    mass: float
    seconds: float
    cost: float
    numbers: Mapping[str, Estimate | None]


@dataclass(frozen=True)
class Way:
    """What a twin's closed form sees: `closed` is the mean of V over the batches' questions, `sampled` the share of
    right answers, and `another` the share of right answers that came another way than the worked solution's.
    """

    closed: float
    sampled: float
    another: float
    exact: Mapping[str, Estimate | None]


@dataclass(frozen=True)
class CreditRecord:
    """A measurement. `settings` are those of `credit_zoo.credit.settings.Credit`; `batches` is how many there were when
    the numbers were told; `direction` what J' was; `noise` the estimates about uniform's own noise: sampling (the share
    that does not lie between questions), ceiling.
    """

    schema: int
    created: str
    command: tuple[str, ...]
    bench: str
    bench_version: int
    source: str
    model: str
    note: str
    weights: str
    settings: Mapping[str, Any]
    setup: str
    batches: int
    responses: int
    accuracy: float
    length: float
    live: float  # share of responses whose advantage is not 0
    direction: str
    parameters: int
    numbers: int  # of a gradient that were kept
    projection_error: float  # of a product, in units of both lengths
    noise: Mapping[str, Estimate | None]
    way: Way | None
    rules: tuple[RuleCredit, ...]
    monte_carlo: Mapping[str, Estimate | None]
    machine: Machine
    origin: Origin
    seconds: float

    def __post_init__(self) -> None:
        check_schema(self.schema, SCHEMA)
        check_range("batches", self.batches, 2)

    @property
    def headline(self) -> str:
        """The number that ranks rules: the efficiency along the true gradient, or along uniform's own where most right
        answers come another way than the worked solution, which is all that the closed form sees.
        """
        return "by_uniform_efficiency" if self.way is not None and self.way.another > MOST else "efficiency"

    @property
    def sees(self) -> bool:
        """Whether uniform's own signal is told from 0; where it is not, every ratio to it is noise over noise."""
        signal = next((one.numbers.get("snr") for one in self.rules if one.name == "uniform"), None)
        return signal is None or signal.low > 0

    @property
    def title(self) -> str:
        """The twin or set, its dials where they are not at 0, the policy, the size of the groups."""
        return title(self.settings, self.note or self.model)


def title(settings: Mapping[str, Any], policy: str) -> str:
    """What a measurement is called."""
    dials = [f"{name} {settings[name]:g}" for name in ("perception", "reasoning", "length") if settings.get(name)]
    forced = ["one token"] if settings["forced"] else []
    data = ["real"] if settings["data"] else []
    sampled = [f"A* of {settings['mc']} continuations"] if settings.get("truth_by") == "sampling" else []
    return ", ".join([settings["bench"], *data, *dials, *forced, policy, f"G {settings['group']}", *sampled])


def shortened(value: Any) -> Any:
    """A value with every float in it rounded to 5 significant digits, and None for what JSON has no word for."""
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}") if abs(value) < float("inf") else None
    if isinstance(value, Mapping):
        return {key: shortened(part) for key, part in value.items()}
    if isinstance(value, (tuple, list)):
        return [shortened(part) for part in value]
    return value


def save(record: CreditRecord, path: Path) -> None:
    """Writes the record as JSON, whole or not at all."""
    text = json.dumps(shortened(plain(record)), indent=1, ensure_ascii=False, allow_nan=False)
    atomic_write(path, text + "\n")


def load(path: Path) -> CreditRecord:
    """The record of a file; raises `CorruptRecord` naming the file where it is none."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        known = {one.name for one in fields(CreditRecord)}
        if set(found) != known:
            raise ValueError(f"its fields are not those of a record: {', '.join(sorted(known ^ set(found)))}")
        way = found["way"]
        return CreditRecord(
            **{
                **found,
                "command": tuple(found["command"]),
                "noise": _estimates(found["noise"]),
                "way": None if way is None else Way(**{**way, "exact": _estimates(way["exact"])}),
                "rules": tuple(RuleCredit(**{**one, "numbers": _estimates(one["numbers"])}) for one in found["rules"]),
                "monte_carlo": _estimates(found["monte_carlo"]),
                "machine": Machine(**found["machine"]),
                "origin": Origin(**found["origin"]),
            }
        )
    except (OSError, UsageError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise CorruptRecord(f"{path} is not a record of the instrument: {error}") from None


def _estimates(found: Mapping[str, Any]) -> dict[str, Estimate | None]:
    """Estimates by their names; one of which a number is not finite is none."""
    complete = {name: one is not None and None not in one.values() for name, one in found.items()}
    return {name: Estimate(**one) if complete[name] else None for name, one in found.items()}


def load_all(folder: Path) -> list[CreditRecord]:
    """The records of every `*.json` of a folder, by title and file; raises `CorruptRecord` for a damaged one."""
    return sorted((load(path) for path in sorted(folder.glob("*.json"))), key=lambda record: record.title)


def read_all(folder: Path) -> tuple[list[CreditRecord], list[str]]:
    """(records, problems) of every `*.json` of a folder, by title and file; a damaged one is named and left out."""
    found, problems = [], []
    for path in sorted(folder.glob("*.json")):
        try:
            found.append(load(path))
        except CorruptRecord as error:
            problems.append(str(error))
    return sorted(found, key=lambda record: record.title), problems


def ordered(record: CreditRecord) -> list[RuleCredit]:
    """The rules by the headline, the highest first; those without one at the end."""

    def height(one: RuleCredit) -> float:
        found = one.numbers.get(record.headline)
        return -found.value if found else float("inf")

    return sorted(record.rules, key=lambda one: (height(one), one.name))


def cell(one: Estimate | None, digits: int = 3) -> str:
    """A number with its interval."""
    return "" if one is None else f"{one.value:.{digits}f} [{one.low:.{digits}f}, {one.high:.{digits}f}]"
