"""What the report is made from: the committed records, read once."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from credit_zoo.credit import CreditRecord
from credit_zoo.credit import read_all as credit_records
from credit_zoo.lab import GateRecord, ProbeRecord, load_all_gates
from credit_zoo.lab import load_all as probed
from credit_zoo.leaderboard import is_trial, measurements, page_folder, records_folder, table, with_learning
from credit_zoo.results import RunRecord, load_all
from credit_zoo.speed import table as costs


@dataclass(frozen=True)
class Sources:
    """Everything that was recorded. `page` is the folder that the leaderboard of the records stands in, and `published`
    whether that is the repository's own; `runs` are all, `board` those that a table compares, a row an arm.
    """

    page: Path
    published: bool
    runs: tuple[RunRecord, ...]
    problems: tuple[str, ...]
    board: pd.DataFrame
    arms: pd.DataFrame  # those of the board, and of the accuracy while learning
    credit: tuple[CreditRecord, ...]
    probes: tuple[ProbeRecord, ...]
    gates: tuple[GateRecord, ...]
    speed: costs.Found


def read_sources(results: str, credit: str = "none") -> Sources:
    """Reads all records; "none" stands for the published ones, or without any for one's own."""
    folder = records_folder(results)
    page = page_folder(folder)
    beside = page.resolve() != folder.resolve()
    runs, problems = _runs([folder, page / "gates" / "results"] if beside else [folder])
    measured, unread = credit_records(_measured(folder, page) if credit == "none" else Path(credit))
    shown = [record for record in runs if not is_trial(record)]
    arms = table(measurements(shown))
    return Sources(
        page=page,
        published=beside,
        runs=tuple(runs),
        problems=(*problems, *unread),
        board=arms,
        arms=with_learning(arms, shown),
        credit=tuple(measured),
        probes=(*probed(page / "probes"), *probed(page / "gates" / "probes")),
        gates=tuple(load_all_gates(page / "gates")),
        speed=costs.read(page / "speed"),
    )


def _measured(folder: Path, page: Path) -> Path:
    """The instrument's folder: where the leaderboard looks, beside the records, or with the page."""
    return folder.parent / "credit" if (folder.parent / "credit").is_dir() else page / "credit"


def _runs(folders: Sequence[Path]) -> tuple[list[RunRecord], list[str]]:
    """The records of several folders."""
    read = [load_all(folder) for folder in folders]
    return [run for runs, _ in read for run in runs], [problem for _, problems in read for problem in problems]
