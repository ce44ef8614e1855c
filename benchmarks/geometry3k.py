r"""Geometry3K: school geometry, a diagram and a short goal, the answer a number, surd or expression.

Source: Lu et al., Inter-GPS (arXiv:2105.04165), github.com/lupantech/InterGPS; 2,101 train, 300 val, 601 test.
Licence: MIT.

Sample row (`annotations.jsonl`):
    {"id": 12, "image": "original/12/img_diagram.png", "problem_text": "Find x.", "answer": "13",
     "data_type": "train"}

Headline: avg@8 accuracy, the mean over questions of the share of right answers among eight sampled at
temperature 1 (PEPO's protocol; its page calls it BON_N, but nothing is picked). With one answer each, 601
questions at 25% right have a standard error of 1.8 points.

Known traps: the original text is spaced out (`A B = 30`, `21 \sqrt { 3 }`) and carries no dollar signs, unlike
that of other copies, so prompts differ between loaders. Degrees and units are never in the truth. The four
choices of the original are left out, as the answer is open. A folder of re-drawn diagrams is named as such:
numbers on it are not numbers on Geometry3K. 62 questions of MathVista's testmini come from this set.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from credit_zoo.answers import score_response
from credit_zoo.question import Question, Score, Source, Split
from credit_zoo.questions import (
    HubSet,
    Row,
    Rows,
    holds,
    hub_picture,
    need_some,
    picture_path,
    read_rows,
    read_set,
    with_pictures,
)
from credit_zoo.registry import BENCHMARKS, UsageError

if TYPE_CHECKING:
    from credit_zoo.twins import Twin

_SPLITS: tuple[Split, ...] = ("train", "val", "test")
_HUB = HubSet(
    "hiyouga/geometry3k", {"train": "train", "val": "validation", "test": "test"}, ("problem", "answer"), image="images"
)
_INSTRUCTION = "\n\nFirst output the thinking process"


@BENCHMARKS.register(
    "geometry3k",
    version=1,
    headline="avg@8 accuracy",
    trains_on="geometry3k",
    source="arXiv:2105.04165",
    licence="MIT",
)
@dataclass(frozen=True)
class Geometry3K:
    """Reads `annotations.jsonl`, PEPO's `{split}.jsonl`, `schematic_{split}.jsonl`, and hiyouga's copy on the hub."""

    @property
    def twin(self) -> "Twin":
        """Diagrams drawn by code, the same goals."""
        from credit_zoo.twins.geometry3k import TWIN

        return TWIN

    def load(self, split: Split, data: Path | None, skip_bad: bool = False) -> tuple[Sequence[Question], Source]:
        """One split, by `data_type` or by file, whichever the folder has."""
        if data is None or holds(data):
            found = read_set(_HUB, split, data)
            return with_pictures(_source(found), found.rows, _copied_question, hub_picture, skip_bad)
        if (data / "annotations.jsonl").is_file() or not data.is_dir():
            return self._annotated(split, data, skip_bad)
        if split == "all":
            raise UsageError(f"data={data} keeps a file per split: ask for train, val or test")
        redrawn = (data / f"schematic_{split}.jsonl").is_file() and not (data / "Geometry3K").is_dir()
        return (self._redrawn if redrawn else self._released)(split, data, skip_bad)

    def _annotated(self, split: Split, data: Path, skip_bad: bool) -> tuple[Sequence[Question], Source]:
        found = read_rows(data, ("id", "image", "problem_text", "answer", "data_type"))
        rows = [row for row in found.rows if split in ("all", row["data_type"])]
        there: dict[str, int] = {name: sum(row["data_type"] == name for row in found.rows) for name in _SPLITS}
        need_some(rows, f"split '{split}' of {found.file}", there)
        redrawn = sum(row.get("kind", "original") != "original" for row in rows)
        told = f"{redrawn} of {len(rows)} diagrams re-drawn, " if redrawn else ""
        return with_pictures(
            _source(found, told), rows, _annotated_question, lambda row: picture_path(data, row["image"]), skip_bad
        )

    def _redrawn(self, split: Split, data: Path, skip_bad: bool) -> tuple[Sequence[Question], Source]:
        found = read_rows(data, ("id", "image", "problem", "answer"), f"schematic_{split}.jsonl")
        source = _source(found, "diagrams re-drawn, ")
        return with_pictures(
            source, found.rows, _redrawn_question, lambda row: picture_path(data, row["image"]), skip_bad
        )

    def _released(self, split: Split, data: Path, skip_bad: bool) -> tuple[Sequence[Question], Source]:
        found = read_rows(data, ("images", "messages", "solution"), f"{split}.jsonl")
        source = _source(found)
        return with_pictures(
            source, found.rows, _released_question, lambda row: picture_path(data, row["images"]), skip_bad
        )

    def prompt(self, question: Question) -> str:
        """The goal alone, as in PEPO."""
        return question.text

    def score(self, question: Question, response: str) -> Score:
        r"""The value counts: `\sqrt{1323}` is `21\sqrt{3}`, `18.79` is not `18.8`."""
        return score_response(question, response)


def _source(found: Rows, told: str = "") -> Source:
    return Source("geometry3k", twin=False, revision=told + found.revision, rows=len(found.rows))


def _question(id: str, text: str, answer: str) -> Question:
    return Question(id=f"geometry3k-{id}", image=None, text=text.strip(), answer=answer, kind="math")


def _annotated_question(row: Row) -> Question:
    return _question(str(row["id"]), str(row["problem_text"]), str(row["answer"]))


def _copied_question(row: Row) -> Question:
    """Hiyouga's row; the number is the row's place in its split."""
    return _question(f"{row['part']}-{row['number']}", str(row["problem"]).removeprefix("<image>"), str(row["answer"]))


def _redrawn_question(row: Row) -> Question:
    return _question(str(row["id"]), str(row["problem"]), str(row["answer"]))


def _released_question(row: Row) -> Question:
    """PEPO's row: the picture's folder is the id, the instruction on the form is the harness's to add."""
    number = picture_path(Path(), row["images"]).parent.name
    try:
        text = str(row["messages"][0]["content"]).removeprefix("<image>").split(_INSTRUCTION)[0]
    except (KeyError, IndexError, TypeError) as error:
        raise UsageError(f"geometry3k row {number}: messages must hold one with content") from error
    return _question(number, text, str(row["solution"]))
