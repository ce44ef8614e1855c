"""Sets of the Hugging Face hub, loaded by `datasets`, or copies of them in a local folder, with the same rows.

The commit that was found is part of the source that a record names. From a local folder, `*.parquet` in it, in `data/`
or in a folder of the configuration's or the split's name, rows come straight from the files: nothing is copied into a
cache. A folder that `save_to_disk` has written is read the same way. The columns have the files' own types, none is
guessed from text, and a picture is read when it is asked for. Code from the hub is never run.
"""

import hashlib
import io
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from credit_zoo.errors import UsageError
from credit_zoo.questions.local_folder import Layout, Rows, table_file
from credit_zoo.questions.parquet import need_columns, read_parquet
from credit_zoo.questions.pictures import held_bytes
from credit_zoo.questions.table_cells import need_some

_PLACES = ("*.parquet", "*/*.parquet", "*/*/*.parquet")
_SAVED = "state.json"  # in what `save_to_disk` has written of a split
_SECONDS = 10  # for the hub to answer


@dataclass(frozen=True)
class HubSet:
    """Where a set is and what of it is needed. `splits` maps our name of a part to the hub's; `image` is the column
    of pictures, or of lists of one, `columns` are the others; `revision` a branch, tag or commit.
    Of the `large` columns a row holds the `Cell` or `Entry`.
    """

    repo: str
    splits: Mapping[str, str]
    columns: tuple[str, ...]
    image: str = "image"
    config: str | None = None
    revision: str = "main"
    large: tuple[str, ...] = ()

    @property
    def plain(self) -> tuple[str, ...]:
        """The columns that a row holds as they are."""
        return tuple(name for name in self.columns if name not in self.large)


@dataclass(frozen=True, eq=False)
class Entry:
    """A value of a set that `datasets` has loaded."""

    table: Any  # datasets.Dataset
    column: str
    index: int
    name: str

    def __str__(self) -> str:
        return f"{self.name} row {self.index}"

    def value(self) -> Any:
        """The Arrow scalar."""
        return self.table.data.column(self.column)[self.index]

    def read(self) -> io.BytesIO:
        """The picture as a file; a `ValueError` where the row holds none."""
        return held_bytes(self.value().as_py())


def holds(folder: Path) -> bool:
    """Whether a folder has Parquet files or saved splits, in it or in folders in it, and no annotations of its own."""
    places = (*_PLACES, _SAVED, f"*/{_SAVED}")
    return table_file(folder) is None and any(next(folder.glob(place), None) for place in places)


def hub_layout(hub: HubSet, renamed: Callable[[Rows], Rows] = lambda rows: rows) -> Layout:
    """The layout of a copy of the hub's files; `renamed` gives the rows the names of the set's other layouts."""
    names = ", ".join(hub.splits.values())
    told = (
        f"Parquet files as {hub.repo} has them on the hub, or what `save_to_disk` wrote of it: "
        f"{names}-*.parquet with the columns {hub.image}, {', '.join(hub.columns)}"
    )
    return Layout(told, holds, lambda folder, split: renamed(read_set(hub, split, folder)))


def read_set(hub: HubSet, part: str, folder: Path | None) -> Rows:
    """The rows of one part, or of "all", with `hub.columns`, in "image" each row's picture, "part" and its "number"
    there, from 0; from a folder or else the hub.
    """
    if part not in (*hub.splits, "all"):
        known = ", ".join(hub.splits)
        raise UsageError(f"{hub.repo} has no split '{part}', only {known}: give data=FOLDER with one that has it")
    parts = list(hub.splits) if part == "all" else [part]
    if folder is None:
        each = _from_hub(hub, [hub.splits[p] for p in parts])
    else:
        local = {p: one for p in parts if (one := _local(hub, hub.splits[p], folder))}
        held = sorted(
            str(file.relative_to(folder)) for place in (*_PLACES, f"*/{_SAVED}") for file in folder.glob(place)
        )
        need_some(list(local), f"split '{part}' of data={folder}", dict.fromkeys(held, 1))
        parts, each = list(local), list(local.values())
    rows = [
        {**row, "part": p, "number": number}
        for p, found in zip(parts, each, strict=True)
        for number, row in enumerate(found.rows)
    ]
    return Rows(each[0].file, tuple(rows), "+".join(dict.fromkeys(found.revision for found in each)))


def _local(hub: HubSet, split: str, folder: Path) -> Rows | None:
    """The rows of a split in the first place that has any; None if there is none."""
    if files := _files(hub, split, folder):
        return _from_files(hub, files)
    alone = len(hub.splits) == 1
    for place in (folder / split, folder):
        if (place / _SAVED).is_file():
            told = json.loads((place / _SAVED).read_text(encoding="utf-8")).get("_split")
            if place != folder or told == split or alone:
                return _saved(hub, place)
    return None


def _files(hub: HubSet, split: str, folder: Path) -> list[Path]:
    named = re.compile(rf"{re.escape(split)}(-\d+-of-\d+.*)?\.parquet")
    configs = [folder / name for name in (hub.config, "default") if name]
    for place in (folder, folder / "data", *configs):
        if found := [file for file in sorted(place.glob("*.parquet")) if named.fullmatch(file.name)]:
            return found
    return next((found for place in (folder, *configs) if (found := sorted((place / split).glob("*.parquet")))), [])


def _saved(hub: HubSet, folder: Path) -> Rows:
    """What `save_to_disk` has written; the revision is that of the columns and of the files' sizes."""
    import datasets

    try:
        table = datasets.load_from_disk(str(folder))
    except Exception as error:  # the library's own and Arrow's: the kinds change with versions
        raise UsageError(f"data={folder} cannot be loaded by `datasets.load_from_disk`: {error}") from error
    found = _loaded(hub, str(folder), table, "")
    sizes = [(file.name, file.stat().st_size) for file in sorted(folder.glob("*.arrow"))]
    plain = [[row[name] for name in hub.plain] for row in found.rows]
    return Rows(folder, found.rows, hashlib.sha256(repr((plain, sizes)).encode()).hexdigest()[:12])


def _from_files(hub: HubSet, files: Sequence[Path]) -> Rows:
    found = [read_parquet(file, hub.plain, hub.image, hub.large) for file in files]
    rows = tuple(row for one in found for row in one.rows)
    return Rows(files[0].parent, rows, "+".join(one.revision for one in found))


def _from_hub(hub: HubSet, splits: Sequence[str]) -> list[Rows]:
    import datasets
    from huggingface_hub import HfApi

    try:
        commit = str(HfApi().dataset_info(hub.repo, revision=hub.revision, timeout=_SECONDS).sha)
        tables = [datasets.load_dataset(hub.repo, hub.config, split=split, revision=commit) for split in splits]
    except Exception as error:  # the library's own, its HTTP client's and the system's: the kinds change with versions
        why = " ".join(str(error).split())[:200].rstrip(".") or type(error).__name__
        if "gated" in why.lower():
            why = "it is gated: accept its terms on its page and log in with `hf auth login`"
        told = f"{hub.repo} cannot be loaded from the hub ({why}): give data=FOLDER with a copy of it"
        raise UsageError(told) from error
    pinned = f"{hub.repo}@{commit[:12]}"
    return [_loaded(hub, f"{pinned} {name}", t, commit[:12]) for name, t in zip(splits, tables, strict=True)]


def _loaded(hub: HubSet, name: str, table: Any, revision: str) -> Rows:
    need_columns(name, (*hub.columns, hub.image), table.column_names)
    cells = {"image": hub.image, **{column: column for column in hub.large}}
    rows = [
        {**row, **{key: Entry(table, column, index, name) for key, column in cells.items()}}
        for index, row in enumerate(table.select_columns(list(hub.plain)))
    ]
    return Rows(Path(hub.repo), tuple(rows), revision)
