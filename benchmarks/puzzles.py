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
of the clock puzzles hold colons: 4:23 is a text, not a ratio.
"""

import hashlib
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from credit_zoo.answers import score_response
from credit_zoo.question import Question, Score, Source, Split
from credit_zoo.questions import Row, Rows, need_some, picture_path, read_rows, strings, with_pictures
from credit_zoo.registry import BENCHMARKS, UsageError

if TYPE_CHECKING:
    from credit_zoo.twins import Twin

_PARTS = ("puzzlevqa", "algopuzzlevqa")
_UPSTREAM = ("PuzzleVQA", "AlgoPuzzleVQA")
_COLUMNS = ("image", "question", "options", "answer")


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

    def load(self, split: Split, data: Path | None, skip_bad: bool = False) -> tuple[Sequence[Question], Source]:
        """A split of ours (see above) of one set, or of both together."""
        if data is None:
            raise UsageError(
                "puzzles are not on the hub under a name that was checked: clone github.com/declare-lab/LLM-PuzzleTest "
                "and give data=LLM-PuzzleTest"
            )
        parts = [data / part for part in _PARTS if (data / part / "annotations.jsonl").is_file()]
        folders = parts if parts and not (data / "annotations.jsonl").is_file() else [data]
        upstream = _upstream(data)
        found = upstream or [read_rows(folder, ("id", *_COLUMNS)) for folder in folders]
        every: list[Row] = [
            {"id": Path(str(row["image"])).stem, "category": part.file.stem, **row,
             "image": picture_path(part.file.parent, row["image"])} for part in found for row in part.rows
        ]  # fmt: skip
        rows = [row for row in every if split in ("all", split_of(str(row["id"])))]
        need_some(rows, f"split '{split}' of data={data}", Counter(split_of(str(row["id"])) for row in every))
        revision = "+".join(part.revision for part in found)
        if upstream:
            revision = hashlib.sha256(revision.encode()).hexdigest()[:12]
        source = Source("puzzles", False, revision, len(rows))
        return with_pictures(source, rows, _question, lambda row: row["image"], skip_bad)

    def prompt(self, question: Question) -> str:
        """The official prompt without its call to think: question and lettered options."""
        options = [f"({chr(ord('A') + at)}) {text}" for at, text in enumerate(question.choices)]
        return "\n".join([f"Question: {question.text}", "Options:", *options])

    def score(self, question: Question, response: str) -> Score:
        """The right option's letter or text."""
        return score_response(question, response)


def _upstream(data: Path) -> list[Rows]:
    """The files of the authors' repository, `PuzzleVQA/data/<category>.json`, JSON lines beside `images/`."""
    files = [file for part in _UPSTREAM for file in sorted((data / part / "data").glob("*.json"))]
    return [read_rows(file.parent, _COLUMNS, file.name) for file in files]


def split_of(id: str) -> Split:
    """The split that an id falls into: about 80% train, 10% val, 10% test, the same on every machine."""
    bucket = zlib.crc32(id.encode()) % 10
    return "train" if bucket < 8 else "val" if bucket == 8 else "test"


def _question(row: Row) -> Question:
    options = strings(row, "options")
    if str(row["answer"]) not in options:
        raise UsageError(f"puzzle {row['id']}: the answer {row['answer']!r} is none of the options {options}")
    return Question(
        id=str(row["id"]),
        image=None,
        text=str(row["question"]),
        answer=str(row["answer"]),
        kind="choice",
        choices=options,
        category=str(row.get("category", "all")),
    )
