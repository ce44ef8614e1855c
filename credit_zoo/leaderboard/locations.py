"""Where records lie and their page goes: the published ones beside `reported.csv`, anybody's own in `results/`."""

from pathlib import Path

from credit_zoo.errors import UsageError

PUBLISHED, OWN = Path("leaderboard/results"), Path("results")


def records_folder(named: str) -> Path:
    """The folder that was named; "none": the published records, or where there are none one's own."""
    folder = Path(named) if named != "none" else PUBLISHED if PUBLISHED.is_dir() else OWN
    if not folder.is_dir():
        raise UsageError(f"there is no folder of records {folder}: give results=FOLDER, or run something first")
    return folder


def page_folder(results: Path) -> Path:
    """Where the page of a folder of records stands: beside the folder if `reported.csv` does, else in it."""
    return results.parent if (results.parent / "reported.csv").exists() else results
