"""Parquet files as rows: columns of text as they are, pictures and other large cells where they stand.

Large cells are read in blocks, as a row group of more than 2 GiB cannot be read whole.
"""

import functools
import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from credit_zoo.errors import UsageError
from credit_zoo.questions.local_folder import Rows
from credit_zoo.questions.pictures import held_bytes

BLOCK = 64  # rows of a large column that are read together
_FOOTER = 2**16  # bytes at a file's end, which tell where each column lies and how long it is


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
        """The Arrow scalar; a `ValueError` where it cannot be read."""
        import pyarrow  # type: ignore[import-untyped]

        try:
            return _block(self.file, self.group, self.column, self.row // BLOCK)[self.row % BLOCK]
        except (pyarrow.ArrowException, OSError) as error:
            raise ValueError(f"{self} cannot be read: {error}") from error

    def read(self) -> io.BytesIO:
        """The picture as a file; a `ValueError` where the cell holds none."""
        return held_bytes(self.value().as_py())


@functools.lru_cache(maxsize=2)
def _block(file: Path, group: int, column: str, number: int) -> Any:
    """A block of a row group's column, of which the last two are kept."""
    from pyarrow.parquet import ParquetFile  # type: ignore[import-untyped]

    with ParquetFile(file) as opened:
        blocks = opened.iter_batches(batch_size=BLOCK, row_groups=[group], columns=[column])
        for _ in range(number):
            next(blocks)
        return next(blocks).column(0)


def read_parquet(file: Path, columns: Sequence[str], image: str = "image", large: Sequence[str] = ()) -> Rows:
    """The `columns` of a Parquet file; in "image" and the `large` columns the `Cell` of each row's value.

    `revision` is that of the columns and of the file's size and end: to hash the pictures would take longer than all
    else.
    """
    from pyarrow.parquet import ParquetFile

    try:
        with ParquetFile(file) as table:
            there = table.schema_arrow.names
            plain = table.read(columns=[name for name in columns if name in there]).to_pylist()
            sizes = [table.metadata.row_group(group).num_rows for group in range(table.num_row_groups)]
    except (OSError, ValueError) as error:
        raise UsageError(f"{file} is not a Parquet file: {error}") from error
    need_columns(str(file), (*columns, *large, image), there)
    places = [(group, row) for group, size in enumerate(sizes) for row in range(size)]
    cells = {"image": image, **{name: name for name in large}}
    rows = [
        {**row, **{key: Cell(file, *place, name) for key, name in cells.items()}}
        for row, place in zip(plain, places, strict=True)
    ]
    return Rows(file, tuple(rows), hashlib.sha256(repr(plain).encode() + _end(file)).hexdigest()[:12])


def _end(file: Path) -> bytes:
    with file.open("rb") as opened:
        size = opened.seek(0, io.SEEK_END)
        opened.seek(max(0, size - _FOOTER))
        return str(size).encode() + opened.read()


def need_columns(where: str, wanted: Sequence[str], there: Sequence[str]) -> None:
    """Raises unless all columns are there."""
    if missing := [name for name in wanted if name not in there]:
        raise UsageError(f"{where} lacks {', '.join(missing)}; it has {', '.join(there)}")
