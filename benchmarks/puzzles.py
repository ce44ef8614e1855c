"""Puzzles: find the pattern in a picture and the missing part, or run a small algorithm on it; two to four options.

Source: PuzzleVQA (Chia et al., arXiv:2403.13315) and AlgoPuzzleVQA (Ghosal et al., arXiv:2403.03864),
github.com/declare-lab/LLM-PuzzleTest; 2,000 and 1,800 questions. Licence: MIT.

Sample row (`annotations.jsonl` beside `images/`; a folder may also hold `puzzlevqa/` and `algopuzzlevqa/`):
    {"image": "images/circle_size_number/circle_size_number_0023.png", "question": "What is the missing number
     of the part denoted with a question mark?", "options": ["3", "5", "1", "4"], "answer": "4",
     "category": "circle_size_number", "id": "circle_size_number_0023"}

Headline: avg@8 accuracy, as elsewhere; chance is 26.7% on PuzzleVQA and 26.4% on AlgoPuzzleVQA.

Known traps: the sets have no splits. The split here is ours: by the hash of the id, about 80% train, 10% val and
10% test; `split="all"` measures a model that has seen none of it on everything. The original files mix numbers and
strings in options and answers, so both are made strings. The official scorer looks for the answer as a substring,
so that `19` counts for `9` and listing all options counts; here an option's letter or text counts, once. Answers
of the clock puzzles hold colons: 4:23 is a text, not a ratio. Not verified: the columns of the hub's Parquet files, and
that a category's rows stand there in the order of the authors' files, whose pictures' names are the ids.
"""

import hashlib
import re
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from credit_zoo.answers import score_response
from credit_zoo.errors import UsageError
from credit_zoo.question import Question, Score, Source, Split
from credit_zoo.questions import (
    SKIP,
    BadCell,
    Layout,
    Row,
    Rows,
    annotated,
    layout_of,
    need_some,
    picture_of,
    place,
    read_parquet,
    read_rows,
    strings,
    table_file,
    text,
    text_or,
    with_pictures,
)
from credit_zoo.registry import BENCHMARKS

if TYPE_CHECKING:
    from credit_zoo.twins import Twin

_PARTS = ("puzzlevqa", "algopuzzlevqa")
_CLONES = ("PuzzleVQA/data", "AlgoPuzzleVQA/data", "data", ".")  # where categories are, each a file beside images/
_COLUMNS = ("image", "question", "options", "answer")
_SHARDS = ("*.parquet", "*/*.parquet", "*/*/*.parquet")
_SHARD = re.compile(r"(.+?)-\d+-of-\d+.*")


@BENCHMARKS.register(
    "puzzles",
    version=1,
    headline="avg@8 accuracy",
    trains_on="puzzles",
    own_split=True,
    source="arXiv:2403.13315",
    licence="MIT",
)
@dataclass(frozen=True)
class Puzzles:
    """PuzzleVQA, AlgoPuzzleVQA or both, whichever the folder holds."""

    @property
    def twin(self) -> "Twin":
        """Pattern puzzles drawn by code."""
        from credit_zoo.twins.puzzles import TWIN

        return TWIN

    @property
    def layouts(self) -> tuple[Layout, ...]:
        """The folders that are read."""
        columns = f"the columns {', '.join(_COLUMNS)}"
        return (
            annotated(("id", *_COLUMNS)),
            Layout("puzzlevqa/ and algopuzzlevqa/, one or both with such annotations", _both, _from_both),
            Layout(
                "a clone of declare-lab/LLM-PuzzleTest, its folder PuzzleVQA or AlgoPuzzleVQA, or one's folder data: "
                f"<category>.json with {columns} beside images/",
                _clones, _cloned,
            ),
            Layout(f"the hub's Parquet files, <category>-*.parquet with {columns}", _shards, _copied),
        )  # fmt: skip

    def load(self, split: Split, data: Path | None, skip_bad: bool = False) -> tuple[Sequence[Question], Source]:
        """A split of ours (see above) of one set, or of both together."""
        if data is None:
            raise UsageError(
                "puzzles are not on the hub under a name that was checked: clone github.com/declare-lab/LLM-PuzzleTest "
                "and give data=LLM-PuzzleTest"
            )
        found = layout_of("puzzles", data, self.layouts).read(data, split)
        rows = [row for row in found.rows if split in ("all", split_of(str(row["id"])))]
        need_some(rows, f"split '{split}' of data={data}", Counter(split_of(str(row["id"])) for row in found.rows))
        source = Source("puzzles", False, found.revision, len(rows))
        return with_pictures(source, rows, _question, lambda row: picture_of(row, data), skip_bad)

    def prompt(self, question: Question) -> str:
        """The official prompt without its call to think: question and lettered options."""
        options = [f"({chr(ord('A') + at)}) {text}" for at, text in enumerate(question.choices)]
        return "\n".join([f"Question: {question.text}", "Options:", *options])

    def score(self, question: Question, response: str) -> Score:
        """The right option's letter or text."""
        return score_response(question, response)


def _both(data: Path) -> list[Path]:
    return [data / part for part in _PARTS if table_file(data / part)]


def _from_both(data: Path, split: Split) -> Rows:
    found = [read_rows(folder, ("id", *_COLUMNS)) for folder in _both(data)]
    rows = [{**row, "image": _beside(part.file, row)} for part in found for row in part.rows]
    return Rows(data, tuple(rows), "+".join(part.revision for part in found))


def _beside(file: Path, row: Row) -> object:
    """The picture's path from the folder of the file that names it."""
    return file.parent / row["image"] if isinstance(row.get("image"), str) and row["image"] else row.get("image")


def _clones(data: Path) -> list[Path]:
    """The authors' files, one for each category."""
    held = [file for inside in _CLONES for file in sorted((data / inside).glob("*.json"))]
    return [file for file in held if (file.parent / "images").is_dir()]


def _cloned(data: Path, split: Split) -> Rows:
    """The authors' rows; the picture's name is the id."""
    found = [read_rows(file.parent, _COLUMNS, file.name) for file in _clones(data)]
    rows = [
        {**row, "id": Path(str(row["image"])).stem, "category": part.file.stem, "image": _beside(part.file, row)}
        for part in found
        for row in part.rows
    ]
    return Rows(data, tuple(rows), _joined(found))


def _shards(data: Path) -> list[Path]:
    return [file for pattern in _SHARDS for file in sorted(data.glob(pattern))]


def _copied(data: Path, split: Split) -> Rows:
    """The hub's rows, numbered in each category from 0, as the pictures of the authors' files are.

    The category is the file's name, or its folder's where the file is called train or test.
    """
    counts: Counter[str] = Counter()
    found = [read_parquet(file, _COLUMNS[1:]) for file in _shards(data)]
    rows: list[Row] = []
    for part in found:
        named = _SHARD.fullmatch(part.file.stem)
        category = named[1] if named else part.file.stem
        if category in ("train", "test", "validation") or category.isdigit():
            category = part.file.parent.name
        for row in part.rows:
            rows.append({**row, "id": f"{category}_{counts[category]:04}", "category": category})
            counts[category] += 1
    return Rows(data, tuple(rows), _joined(found))


def _joined(found: Sequence[Rows]) -> str:
    return hashlib.sha256("+".join(part.revision for part in found).encode()).hexdigest()[:12]


def split_of(id: str) -> Split:
    """The split that an id falls into: about 80% train, 10% val, 10% test, the same on every machine."""
    bucket = zlib.crc32(id.encode()) % 10
    return "train" if bucket < 8 else "val" if bucket == 8 else "test"


def _question(row: Row) -> Question:
    options, answer = strings(row, "options"), text(row, "answer")
    if answer not in options:
        raise BadCell(f"{place(row)}: the answer {answer!r} is none of the options {options}. {SKIP}")
    return Question(
        id=text(row, "id"),
        image=None,
        text=text(row, "question"),
        answer=answer,
        kind="choice",
        choices=options,
        category=text_or(row, "category", "all"),
    )
