"""Records to tables to markdown: the leaderboard's page and, of the published one, the generated parts of the README.

The numbers come from the records below a folder and from the `reported.csv` beside it alone; the same
files give the same bytes. A damaged or repeated record is named on stderr and at the end of the page, the others
still count, and the exit code is 0; with `check=true` it is 1 for these and for a page that is not up to date.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from credit_zoo.credit import draw as forest
from credit_zoo.credit import load_all as credit_records
from credit_zoo.credit import page as credit_page
from credit_zoo.errors import UsageError
from credit_zoo.lab import gates_table, load_all_gates, mistakes_table, temperature_table
from credit_zoo.lab import load_all as probed
from credit_zoo.leaderboard.locations import page_folder, records_folder
from credit_zoo.leaderboard.markdown_page import page
from credit_zoo.leaderboard.readme import credit_block, fill, leaderboard_block, shapers_block, warm_start_block
from credit_zoo.leaderboard.tables import is_trial, measurements, reported, table
from credit_zoo.registry import SHAPERS
from credit_zoo.results import atomic_write, load_all, record_path
from credit_zoo.speed import table as costs

FOREST = "credit.svg"  # beside the page of credit
WARM_START = Path(__file__).parents[1] / "policy" / "small" / "warm_start.json"


@dataclass(frozen=True)
class Built:
    """The page, those of what a step costs and of the instrument, what the README shows of them, and the records that
    were left out.
    """

    page: str
    costs: str
    credit: str
    blocks: Mapping[str, str]
    problems: tuple[str, ...]


def build(results: Path) -> Built:
    """Everything that is generated from a folder of records and the `reported.csv` beside it."""
    if not results.is_dir():
        raise UsageError(f"there is no folder of records {results}")
    records, problems = load_all(results)
    problems = [problem.replace(f"{results}/", "") for problem in problems]
    listings = SHAPERS.listings()
    rules = {name: (entry.summary, entry.paper) for name, entry in listings.items() if entry.paper}
    board = table(measurements([record for record in records if not is_trial(record)]))
    trials = [record_path(record).as_posix() for record in records if is_trial(record)]
    probes = probed(results.parent / "probes")
    speed = costs.read(results.parent / "speed")
    blocks = {
        "leaderboard": leaderboard_block(board),
        "shapers": shapers_block(listings),
        "warm_start": warm_start_block(WARM_START),
        "mistakes": mistakes_table(probes),
        "temperatures": temperature_table([*probes, *probed(results.parent / "gates" / "probes")]),
        "gates": gates_table(load_all_gates(results.parent / "gates")),
        "credit": credit_block(probes),
        "speed": costs.summary(speed),
    }
    shown = page(board, reported(results.parent / "reported.csv"), rules, problems, trials)
    credit = credit_records(results.parent / "credit")
    return Built(shown, costs.page(speed), credit_page(credit, FOREST if credit else None), blocks, tuple(problems))


@dataclass(frozen=True)
class Pages:
    """Which records to show, and where."""

    results: str = "none"  # folder of records; none: leaderboard/results, or where there is none ./results
    out: str = "none"  # the page; none: LEADERBOARD.md, beside reported.csv or in the folder of records
    check: bool = False  # write nothing; exit 1 unless the pages are up to date


def write_pages(settings: Pages) -> int:
    """Writes, or checks, the pages; returns the exit status: 0, or 1 for a failed check."""
    results = records_folder(settings.results)
    built = build(results)
    pages = {page_folder(results) / "LEADERBOARD.md" if settings.out == "none" else Path(settings.out): built.page}
    readme = results.parent.parent / "README.md"
    if settings.out == "none" and page_folder(results) == results.parent and readme.exists():
        pages[results.parent / "SPEED.md"] = built.costs
        pages[results.parent / "CREDIT.md"] = built.credit
        pages[readme] = fill(readme.read_text(encoding="utf-8"), built.blocks)
    for problem in built.problems:
        print(f"left out: {problem}", file=sys.stderr)
    stale = [path for path, text in pages.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    if settings.check:
        for path in stale:
            print(f"{path} is not up to date: run python -m credit_zoo.leaderboard and commit it", file=sys.stderr)
        return int(bool(stale or built.problems))
    for path, text in pages.items():
        atomic_write(path, text)
        print(f"wrote {path}")
    if (shown := credit_records(results.parent / "credit")) and results.parent / "CREDIT.md" in pages:
        forest(shown, results.parent / FOREST)
        print(f"wrote {results.parent / FOREST}")
    return 0
