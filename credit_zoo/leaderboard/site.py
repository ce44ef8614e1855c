"""Records to tables to markdown: the leaderboard's pages and, of the published one, the generated parts of the README.

The numbers come from the records below a folder and from the `reported.csv` beside it alone; the same
files give the same bytes. A damaged or repeated record is named on stderr and on the front page, the others
still count, and the exit code is 0; with `check=true` it is 1 for these and for a page that is not up to date.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from credit_zoo.credit import CreditRecord
from credit_zoo.credit import draw as forest
from credit_zoo.credit import drawn as forest_digest
from credit_zoo.credit import page as credit_page
from credit_zoo.credit import read_all as credit_records
from credit_zoo.errors import UsageError
from credit_zoo.lab import gates_table, load_all_gates, mistakes_table, temperature_table
from credit_zoo.lab import load_all as probed
from credit_zoo.leaderboard import curves
from credit_zoo.leaderboard.answer import short_answer
from credit_zoo.leaderboard.export import export
from credit_zoo.leaderboard.front_page import FOREST, INSTRUMENT, REPORTED, Contents, front_page
from credit_zoo.leaderboard.instrument_tables import instrument_page
from credit_zoo.leaderboard.learning import with_learning
from credit_zoo.leaderboard.locations import archived, page_folder, records_folder
from credit_zoo.leaderboard.prediction import predictions
from credit_zoo.leaderboard.readme import credit_block, fill_pages, leaderboard_block, shapers_block, warm_start_block
from credit_zoo.leaderboard.reported_page import reported_page
from credit_zoo.leaderboard.rule_costs import rule_costs
from credit_zoo.leaderboard.sections import FOLDER, GENERATED, section_pages
from credit_zoo.leaderboard.tables import is_trial, measurements, reported, table
from credit_zoo.registry import SHAPERS
from credit_zoo.results import RunRecord, atomic_write, load_all, record_path
from credit_zoo.speed import table as costs

POLICIES = Path(__file__).parents[1] / "policy"  # with a folder for each policy that ships


@dataclass(frozen=True)
class Built:
    """The front page, a page for each section by its file's name, the pages of what a step costs and of the instrument,
    what the README shows of them, and the records that were left out; `records` and `instrument` are what they show.
    """

    page: str
    sections: Mapping[str, str]
    costs: str
    credit: str
    blocks: Mapping[str, str]
    problems: tuple[str, ...]
    records: tuple[RunRecord, ...]
    instrument: tuple[CreditRecord, ...]

    @property
    def seen(self) -> tuple[CreditRecord, ...]:
        """The measurements with something to show: those in which uniform has a signal."""
        return tuple(record for record in self.instrument if record.sees)


def build(results: Path) -> Built:
    """Everything that is generated from a folder of records and the `reported.csv` beside it."""
    if not results.is_dir():
        raise UsageError(f"there is no folder of records {results}")
    records, problems = load_all(results)
    problems = [problem.replace(f"{results}/", "") for problem in problems]
    listings = SHAPERS.listings()
    rules = {name: (entry.summary, entry.paper) for name, entry in listings.items() if entry.paper}
    shown = [record for record in records if not is_trial(record)]
    board = table(measurements(shown))
    trials = [record_path(record).as_posix() for record in records if is_trial(record)]
    speed, (credit, unread) = costs.read(results.parent / "speed"), credit_records(results.parent / "credit")
    problems += unread
    papers = reported(results.parent / "reported.csv")
    is_published = page_folder(results) == results.parent
    both = with_learning(board, shown)
    contents = Contents(
        board=both,
        credit=credit,
        costs=rule_costs(credit, speed),
        predicted=predictions(credit, shown),
        forest=any(one.sees for one in credit) and is_published,
        curves=is_published and bool(curves.panels(shown, cost=True)),
        reported=len(papers) > 0,
        problems=problems,
        trials=trials,
        archived=archived(results),
    )
    sections = section_pages(board, rules) | ({REPORTED: reported_page(papers)} if len(papers) else {})
    sections |= {INSTRUMENT: instrument_page(credit, board)} if credit else {}
    return Built(
        page=front_page(contents),
        sections=sections,
        costs=costs.page(speed),
        credit=credit_page(credit, FOREST if any(one.sees for one in credit) else None),
        blocks={"answer": short_answer(both, credit, contents.predicted), **_blocks(both, results, speed)},
        problems=tuple(problems),
        records=tuple(shown),
        instrument=tuple(credit),
    )


def _blocks(board: pd.DataFrame, results: Path, speed: costs.Found) -> dict[str, str]:
    """The generated parts of README.md and docs/ by their marks."""
    probes = probed(results.parent / "probes")
    return {
        "leaderboard": leaderboard_block(board),
        "shapers": shapers_block(SHAPERS.listings()),
        "warm_start": warm_start_block(sorted(POLICIES.glob("*/warm_start.json"), reverse=True)),
        "mistakes": mistakes_table(probes),
        "temperatures": temperature_table([*probes, *probed(results.parent / "gates" / "probes")]),
        "gates": gates_table(load_all_gates(results.parent / "gates")),
        "credit": credit_block(probes),
        "speed": costs.summary(speed),
    }


def with_sections(built: Built, page: Path) -> dict[Path, str]:
    """The front page at its place, and the sections' pages in a folder beside it."""
    return {page: built.page, **{page.parent / FOLDER / name: text for name, text in built.sections.items()}}


def outdated(pages: Mapping[Path, str], page: Path) -> list[Path]:
    """Pages of sections that there are no more: generated ones beside the front page that are not among `pages`."""
    found = sorted((page.parent / FOLDER).glob("*.md"))
    return [path for path in found if path not in pages and GENERATED in path.read_text(encoding="utf-8")]


def write_sections(built: Built, page: Path) -> None:
    """Writes the front page and those of its sections, and removes those of sections that there are no more."""
    pages = with_sections(built, page)
    for path, text in pages.items():
        atomic_write(path, text)
    for path in outdated(pages, page):
        path.unlink()


@dataclass(frozen=True)
class Pages:
    """Which records to show, and where."""

    results: str = "none"  # folder of records; none: leaderboard/results, or where there is none ./results
    out: str = "none"  # the page; none: LEADERBOARD.md, beside reported.csv or in the folder of records
    check: bool = False  # write nothing; exit 1 unless the pages are up to date
    export: str = "none"  # a folder for all numbers as Parquet and CSV with their schema, in the place of the pages


def write_pages(settings: Pages) -> int:
    """Writes, or checks, the pages; returns the exit status: 0, or 1 for a failed check."""
    results = records_folder(settings.results)
    built = build(results)
    for problem in built.problems:
        print(f"left out: {problem}", file=sys.stderr)
    if settings.export != "none":
        return _export(built, Path(settings.export))
    page = page_folder(results) / "LEADERBOARD.md" if settings.out == "none" else Path(settings.out)
    pages = with_sections(built, page)
    readme = results.parent.parent / "README.md"
    published = settings.out == "none" and page_folder(results) == results.parent and readme.exists()
    if published:
        pages[results.parent / "SPEED.md"] = built.costs
        pages[results.parent / "CREDIT.md"] = built.credit
        written = [readme, *sorted((readme.parent / "docs").glob("*.md"))]
        pages |= fill_pages({path: path.read_text(encoding="utf-8") for path in written}, built.blocks)
    if settings.check:
        return _check(pages, page, _pictures(built, results.parent) if published else {}, bool(built.problems))
    for path, text in pages.items():
        atomic_write(path, text)
        print(f"wrote {path}")
    for path in outdated(pages, page):
        path.unlink()
        print(f"removed {path}")
    if published:
        _draw(built, results.parent)
    return 0


def _pictures(built: Built, folder: Path) -> dict[Path, str]:
    """The pictures of the front page, and the digest that stands in each while it is up to date."""
    panels = curves.panels(built.records, cost=True)
    found = {folder / FOREST: forest_digest(built.seen)} if built.seen else {}
    return found | ({folder / curves.LEARNING_CURVES: curves.drawn(panels)} if panels else {})


def _check(pages: Mapping[Path, str], page: Path, pictures: Mapping[Path, str], faulty: bool) -> int:
    stale = [path for path, text in pages.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    stale += outdated(pages, page)
    stale += [path for path, told in pictures.items() if not path.exists() or told not in path.read_text("utf-8")]
    for path in stale:
        print(f"{path} is not up to date: run python -m credit_zoo.leaderboard and commit it", file=sys.stderr)
    return int(bool(stale or faulty))


def _export(built: Built, folder: Path) -> int:
    for path in export(built.records, built.instrument, folder):
        print(f"wrote {path}")
    return 0


def _draw(built: Built, folder: Path) -> None:
    """The pictures of the front page."""
    if built.seen:
        forest(built.seen, folder / FOREST)
        print(f"wrote {folder / FOREST}")
    if shown := curves.panels(built.records, cost=True):
        curves.draw(shown, folder / curves.LEARNING_CURVES, cost=True)
        print(f"wrote {folder / curves.LEARNING_CURVES}")
