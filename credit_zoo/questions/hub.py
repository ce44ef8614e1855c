"""Sets of the Hugging Face hub, loaded by `datasets`, or copies of them in a local folder, with the same rows.

The commit that was found is part of the source that a record names. From a local folder, `*.parquet` in it, in `data/`
or in a folder of the configuration's name, rows come straight from the files: nothing is copied into a cache. In both
cases the columns have the files' own types, none is guessed from text, and a picture is read when it is asked for.
Code from the hub is never run.
"""

import functools
import hashlib
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from credit_zoo.questions.local_folder import Picture, Row, Rows, held_bytes, need_some
from credit_zoo.registry import UsageError

_PLACES = ("*.parquet", "*/*.parquet")
_SECONDS = 10  # for the hub to answer


@dataclass(frozen=True)
class HubSet:
    """Where a set is and what of it is needed. `splits` maps our name of a part to the hub's; `image` is the column
    of pictures, or of lists whose first counts, `columns` are the others; `revision` a branch, tag or commit.
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


@dataclass(frozen=True)
class Cell:
    """A value inside a Parquet file: a row of a row group, both from 0."""

    file: Path
    group: int
    row: int
    column: str

    def __str__(self) -> str:
        return f"{self.file} row group {self.group} row {self.row}"

    def value(self) -> Any:
        """The Arrow scalar."""
        return _column(self.file, self.group, self.column)[self.row]

    def read(self) -> io.BytesIO:
        """The picture as a file; a `ValueError` where the cell holds none."""
        return held_bytes(self.value().as_py())


@functools.lru_cache(maxsize=2)
def _column(file: Path, group: int, column: str) -> Any:
    """A row group's column, of which the last two are kept: less than a group cannot be read."""
    from pyarrow.parquet import ParquetFile  # type: ignore[import-untyped]

    return ParquetFile(file).read_row_group(group, columns=[column]).column(column)


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
    """Whether a folder has Parquet files, in it or in a folder in it, and no annotations of its own."""
    annotated = (folder / "annotations.jsonl").is_file()
    return not annotated and any(next(folder.glob(place), None) for place in _PLACES)


def hub_picture(row: Row) -> Picture:
    """The picture of a row of `read_set`."""
    held: Picture = row["image"]
    return held


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
        files = {p: found for p in parts if (found := _files(hub, hub.splits[p], folder))}
        held = sorted(file.name for place in _PLACES for file in folder.glob(place))
        need_some(list(files), f"split '{part}' of data={folder}", dict.fromkeys(held, 1))
        parts, each = list(files), [_from_files(hub, found) for found in files.values()]
    rows = [
        {**row, "part": p, "number": number}
        for p, found in zip(parts, each, strict=True)
        for number, row in enumerate(found.rows)
    ]
    return Rows(each[0].file, tuple(rows), "+".join(dict.fromkeys(found.revision for found in each)))


def _files(hub: HubSet, split: str, folder: Path) -> list[Path]:
    """The files of a split in the first place that has any."""
    named = re.compile(rf"{re.escape(split)}(-\d+-of-\d+.*)?\.parquet")
    for place in (folder, folder / "data", *([folder / hub.config] if hub.config else [])):
        if found := [file for file in sorted(place.glob("*.parquet")) if named.fullmatch(file.name)]:
            return found
    return []


def _from_files(hub: HubSet, files: Sequence[Path]) -> Rows:
    found = [read_parquet(file, hub.plain, hub.image, hub.large) for file in files]
    rows = tuple(row for one in found for row in one.rows)
    return Rows(files[0].parent, rows, "+".join(one.revision for one in found))


def read_parquet(file: Path, columns: Sequence[str], image: str = "image", large: Sequence[str] = ()) -> Rows:
    """The `columns` of a Parquet file; in "image" and the `large` columns the `Cell` of each row's value.

    `revision` is that of the columns: to hash the pictures would take longer than all else.
    """
    from pyarrow.parquet import ParquetFile

    try:
        table = ParquetFile(file)
        there = table.schema_arrow.names
        plain = table.read(columns=[name for name in columns if name in there]).to_pylist()
    except (OSError, ValueError) as error:
        raise UsageError(f"{file} is not a Parquet file: {error}") from error
    _check(str(file), (*columns, *large, image), there)
    sizes = [table.metadata.row_group(group).num_rows for group in range(table.num_row_groups)]
    places = [(group, row) for group, size in enumerate(sizes) for row in range(size)]
    cells = {"image": image, **{name: name for name in large}}
    rows = [
        {**row, **{key: Cell(file, *place, name) for key, name in cells.items()}}
        for row, place in zip(plain, places, strict=True)
    ]
    return Rows(file, tuple(rows), hashlib.sha256(repr(plain).encode()).hexdigest()[:12])


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
    return [_loaded(hub, f"{hub.repo}@{commit[:12]} {split}", t) for split, t in zip(splits, tables, strict=True)]


def _loaded(hub: HubSet, name: str, table: Any) -> Rows:
    _check(name, (*hub.columns, hub.image), table.column_names)
    cells = {"image": hub.image, **{column: column for column in hub.large}}
    rows = [
        {**row, **{key: Entry(table, column, index, name) for key, column in cells.items()}}
        for index, row in enumerate(table.select_columns(list(hub.plain)))
    ]
    return Rows(Path(hub.repo), tuple(rows), name.split("@")[1].split()[0])


def _check(where: str, wanted: Sequence[str], there: Sequence[str]) -> None:
    if missing := [name for name in wanted if name not in there]:
        raise UsageError(f"{where} lacks {', '.join(missing)}; it has {', '.join(there)}")
