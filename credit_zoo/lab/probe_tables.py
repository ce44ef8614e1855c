"""The tables of probes: what a policy can do, what sharpening alone gives, what goes wrong, and who sees it."""

from collections.abc import Iterator, Sequence

from credit_zoo.evaluation import TEMPERATURES
from credit_zoo.lab.probe_record import TASKS, AtTemperature, ProbeRecord, Separation
from credit_zoo.results import grid


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
_ROW = ("twin", "questions", "N", *(f"T={temperature:g}" for temperature in TEMPERATURES))
_TELL = ("twin", "signal or weight", *(f"AUROC: {task}" for task in ("read vs rest", "read vs filler", "first error")))


def temperature_table(records: Sequence[ProbeRecord]) -> str:
    """What sharpening alone gives, as markdown: accuracy in percent at each temperature."""
    return grid(_ROW, map(_temperature_row, records)) if records else "No probes yet.\n"


def _temperature_row(record: ProbeRecord) -> list[str]:
    row = {one.temperature: one for one in record.temperatures}
    cells = [temperature_cell(row[each]) if each in row else "" for each in TEMPERATURES]
    return [record.title, str(record.settings["questions"]), str(record.settings["samples"]), *cells]


def temperature_cell(one: AtTemperature) -> str:
    """An accuracy in percent with its interval, where that is known."""
    return percent(one.value) + ("" if one.low is None else f" [{percent(one.low)}, {percent(one.high)}]")


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
    habits = [("perception", record.mistakes.perception_habits), ("reasoning", record.mistakes.reasoning_habits)]
    can += [(f"{name} habit followed", percent(share)) for name, share in habits]
    can += [(f"avg@N at T={one.temperature:g}", temperature_cell(one)) for one in record.temperatures]
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
