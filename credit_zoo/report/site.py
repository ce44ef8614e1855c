"""Writes the report: pages for a browser, each of them whole by itself, with no network and no server.

index.html       the board: the answer in words, the instrument, training, what a step costs
credit.html      sampled answers, their tokens coloured by the credit of two rules
weights.html     where rules put weight, and how far they agree
laboratory.html  gates, temperatures, mistakes, what tells tokens apart
rules.html, rules/NAME.html         every rule
runs.html, runs/RUN.html            every run
"""

import sys
import webbrowser
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from credit_zoo.errors import UsageError, check_range
from credit_zoo.report.example_measurement import files_digest, measured_examples, wanted_rules
from credit_zoo.report.examples import Examples, load, restricted, save
from credit_zoo.report.pages import Pages
from credit_zoo.report.sources import Sources, read_sources
from credit_zoo.results import atomic_write

KEPT = "examples"  # the folder of sampled answers
MARK = '<meta name="generator" content="credit_zoo.report">'  # of a page of ours


@dataclass(frozen=True)
class Report:
    """Which records to show, of which rules, and on whose answers."""

    results: str = "none"  # folder of records; none: leaderboard/results, or where there is none ./results
    credit: str = "none"  # folder of the instrument's records; none: credit, beside the records
    runs: str = "runs"  # folder of runs, whose kept answers are shown as far as they are still there
    out: str = "report"  # folder of the pages
    shapers: str = "all"  # rules whose credit is shown, separated by commas; all: every rule and control
    bench: str = "geometry3k"  # whose twin the shown answers are to
    model: str = "small,habits"  # whose answers are shown, separated by commas: a folder, a hub id, or a shipped one
    kept: str = "none"  # folder that answers are kept in; none: examples, in out, beside those that are published
    examples: int = 2  # questions of each policy that are shown, [0, inf); 0: no answers, nothing is measured
    open: bool = False  # show the board in the browser

    def __post_init__(self) -> None:
        check_range("report.examples", self.examples, 0)


def kept_examples(settings: Report, folders: Sequence[Path]) -> list[Examples]:
    """The answers of every policy, from the first of the folders that has all that is asked for; what none has is
    measured, which takes a minute or two for a policy, and kept in the last.
    """
    if not settings.examples:
        return []
    rules, found = wanted_rules(settings.bench, settings.shapers), []
    for model in settings.model.split(","):
        name, files = f"{settings.bench}-{Path(model).name}.json", files_digest(model)
        kept: Examples | None = None
        lacks = "no answers are kept yet"
        for path in (folder / name for folder in folders if (folder / name).exists()):
            kept = load(path)
            if not (lacks := kept.lacks(rules, settings.examples, files)):
                break
            lacks = f"{path}: {lacks}"
        if kept is None or lacks:
            print(f"{lacks}; answers of {model} are sampled and measured", file=sys.stderr)
            kept = measured_examples(settings.bench, model, rules, settings.examples)
            save(kept, folders[-1] / name)
            print(f"wrote {folders[-1] / name}")
        found.append(restricted(kept, rules, settings.examples))
    return found


def build(sources: Sources, examples: Sequence[Examples], runs: Path) -> Mapping[str, str]:
    """Every page by its path below the folder of the report."""
    return Pages(sources, tuple(examples), runs).all()


def _own(out: Path) -> bool:
    """Whether a folder is a report's or may become one: it holds a report, answers that one has kept, or nothing."""
    board = out / "index.html"
    if board.exists():
        return MARK in board.read_text(encoding="utf-8", errors="replace")
    return not out.exists() or all(one.name == KEPT for one in out.iterdir())


def write_report(settings: Report) -> int:
    """Measures what is missing, writes the pages and opens the board if asked; returns the exit status."""
    sources = read_sources(settings.results, settings.credit)
    out = Path(settings.out)
    if not _own(out):
        raise UsageError(f"out={out} is a folder of other files: give the report one of its own")
    own = out / KEPT if settings.kept == "none" else Path(settings.kept)
    examples = kept_examples(settings, [*([sources.page / KEPT] if sources.published else []), own])
    for problem in sources.problems:
        print(f"left out: {problem}", file=sys.stderr)
    pages = build(sources, examples, Path(settings.runs))
    for name, text in pages.items():
        atomic_write(out / name, text)
    for old in (*out.glob("rules/*.html"), *out.glob("runs/*.html")):
        if old.relative_to(out).as_posix() not in pages:
            old.unlink()
    board = (out / "index.html").resolve()
    print(f"wrote {len(pages)} pages, {board.as_uri()}")
    if settings.open and not webbrowser.open(board.as_uri()):
        print(f"no browser was found: open {board}", file=sys.stderr)
    return 0
