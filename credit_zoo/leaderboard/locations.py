"""Where records lie and their page goes: the published ones beside `reported.csv`, anybody's own in `results/`."""

from pathlib import Path

from credit_zoo.errors import UsageError
from credit_zoo.results import ARCHIVE

PUBLISHED, OWN = Path("leaderboard/results"), Path("results")


def records_folder(named: str) -> Path:
    """The folder that was named; "none": the published records, or where there are none one's own."""
    folder = Path(named) if named != "none" else PUBLISHED if PUBLISHED.is_dir() else OWN
    if not folder.is_dir():
        raise UsageError(f"there is no folder of records {folder}: give results=FOLDER, or run something first")
    return folder if folder.name not in ("", "..") else folder.resolve()  # what stands beside it is found by its parent


def page_folder(results: Path) -> Path:
    """Where the page of a folder of records stands: beside the folder if `reported.csv` does, else in it."""
    return results.parent if (results.parent / "reported.csv").exists() else results


def archived(results: Path) -> dict[str, int]:
    """How many records each folder of an archive holds, by its path as a reader of the page sees it."""
    found: dict[str, int] = {}
    home = page_folder(results)
    for archive in (home / ARCHIVE, results / ARCHIVE):
        for path in sorted(archive.rglob("*.json")):
            inside = path.relative_to(archive).parts
            name = f"{archive.relative_to(home).as_posix()}/{f'{inside[0]}/' if len(inside) > 1 else ''}"
            found[name] = found.get(name, 0) + 1
        if home == results:
            break
    return found
