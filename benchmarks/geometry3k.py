r"""Geometry3K: school geometry, a diagram and a short goal, the answer a number, surd or expression.

Source: Lu et al., Inter-GPS (arXiv:2105.04165), github.com/lupantech/InterGPS; 2,101 train, 300 val, 601 test.
Licence: MIT.

Sample row (`annotations.jsonl`):
    {"id": 12, "image": "original/12/img_diagram.png", "problem_text": "Find x.", "answer": "13",
     "data_type": "train"}

Headline: avg@8 accuracy, the mean over questions of the share of right answers among eight sampled at
temperature 1 (PEPO's protocol; its page calls it BON_N, but nothing is picked). With one answer each, 601
questions at 25% right have a standard error of 1.8 points.

A clone of InterGPS (`data/geometry3k/<split>/<id>/data.json`) and other layouts are told by an empty folder's error.

Known traps: the original text is spaced out (`A B = 30`, `21 \sqrt { 3 }`) and carries no dollar signs, unlike
that of other copies, so prompts differ between loaders. Degrees and units are never in the truth. The four
choices of the original are left out, as the answer is open. A folder of re-drawn diagrams is named as such:
numbers on it are not numbers on Geometry3K. 62 questions of MathVista's testmini come from this set.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from credit_zoo.answers import score_response
from credit_zoo.errors import UsageError
from credit_zoo.question import SPLITS, Question, Score, Source, Split
from credit_zoo.questions import (
    SKIP,
    BadCell,
    BadRow,
    HubSet,
    Layout,
    Row,
    Rows,
    annotated,
    hub_layout,
    layout_of,
    need_some,
    of_split,
    picture_of,
    place,
    read_object,
    read_rows,
    read_set,
    strings,
    table_file,
    text,
    text_or,
    with_pictures,
)
from credit_zoo.registry import BENCHMARKS

if TYPE_CHECKING:
    from credit_zoo.twins import Twin

_HUB = HubSet(
    "hiyouga/geometry3k", {"train": "train", "val": "validation", "test": "test"}, ("problem", "answer"), image="images"
)
_COLUMNS = ("id", "image", "problem_text", "answer", "data_type")
_INSTRUCTION = "\n\nFirst output the thinking process"
_CLONES = ("data/geometry3k", "geometry3k", ".")  # InterGPS's folder of splits, in a clone or alone
_REDRAWN = "schematic_"


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
    """Reads annotations of ours, a clone of InterGPS, PEPO's files, re-drawn ones, and hiyouga's copy on the hub."""

    @property
    def twin(self) -> "Twin":
        """Diagrams drawn by code, the same goals."""
        from credit_zoo.twins.geometry3k import TWIN

        return TWIN

    @property
    def layouts(self) -> tuple[Layout, ...]:
        """The folders that are read."""
        clone = "a clone of InterGPS, or its folder of splits: data/geometry3k/<split>/<id>/data.json, img_diagram.png"
        release = "PEPO's <split>.jsonl with the columns images, messages, solution, beside Geometry3K/"
        redrawn = "schematic_<split>.jsonl with the columns id, image, problem, answer"
        return (
            annotated(_COLUMNS),
            Layout(clone, _clone, _cloned),
            Layout(redrawn, lambda data: not (data / "Geometry3K").is_dir() and _per_split(data, _REDRAWN), _redrawn),
            Layout(release, _per_split, _released),
            hub_layout(_HUB, _copied),
        )

    def load(self, split: Split, data: Path | None, skip_bad: bool = False) -> tuple[Sequence[Question], Source]:
        """One split, by `data_type`, by folder or by file, whichever tells them apart."""
        if data is None:
            found = _copied(read_set(_HUB, split, None))
        else:
            found = layout_of("geometry3k", data, self.layouts).read(data, split)
        rows = of_split(found.rows, "data_type", split, found.file)
        redrawn = sum(text_or(row, "kind", "original") != "original" for row in rows)
        told = f"{redrawn} of {len(rows)} diagrams re-drawn, " if redrawn else ""
        source = Source("geometry3k", twin=False, revision=told + found.revision, rows=len(rows))
        return with_pictures(source, rows, _question, lambda row: picture_of(row, data), skip_bad)

    def prompt(self, question: Question) -> str:
        """The goal alone, as in PEPO."""
        return question.text

    def score(self, question: Question, response: str) -> Score:
        r"""The value counts: `\sqrt{1323}` is `21\sqrt{3}`, `18.79` is not `18.8`."""
        return score_response(question, response)


def _clone(data: Path) -> Path | None:
    """InterGPS's folder of splits, where there is one."""
    places = [data / inside for inside in _CLONES]
    return next((one for one in places for split in SPLITS if any(one.glob(f"{split}/*/data.json"))), None)


def _cloned(data: Path, split: Split) -> Rows:
    """InterGPS's problems, a folder each; the truth is told by the letter of a choice."""
    splits = _clone(data) or data
    held = {part: sorted(splits.glob(f"{part}/*/data.json")) for part in SPLITS}
    files = [file for part, some in held.items() if split in ("all", part) for file in some]
    need_some(files, f"split '{split}' of {splits}", {part: len(some) for part, some in held.items()})
    rows, digest = [], hashlib.sha256()
    for file in files:
        row, content = read_object(file, ("problem_text", "choices", "answer"))
        digest.update(content)
        told = {"image": file.with_name("img_diagram.png"), "data_type": file.parts[-3], "letter": row["answer"]}
        rows.append({**row, "id": file.parts[-2], **told})
    return Rows(splits, tuple(rows), digest.hexdigest()[:12])


def _per_split(data: Path, before: str = "") -> bool:
    return any(table_file(data, f"{before}{part}.jsonl") for part in SPLITS)


def _one_file(data: Path, split: Split, columns: Sequence[str], before: str = "") -> Rows:
    if split == "all":
        raise UsageError(f"data={data} keeps a file per split: ask for train, val or test")
    return read_rows(data, columns, f"{before}{split}.jsonl")


def _redrawn(data: Path, split: Split) -> Rows:
    found = _one_file(data, split, ("id", "image", "problem", "answer"), _REDRAWN)
    told = {"data_type": split, "kind": "re-drawn"}
    rows = [{**row, **told, "problem_text": row.get("problem")} for row in found.rows]
    return Rows(found.file, tuple(rows), found.revision)


def _released(data: Path, split: Split) -> Rows:
    """PEPO's rows; the picture's folder is the id."""
    found = _one_file(data, split, ("images", "messages", "solution"))
    rows = [
        {**row, "id": _folder(row), "image": row.get("images"), "answer": row.get("solution"), "data_type": split}
        for row in found.rows
    ]
    return Rows(found.file, tuple(rows), found.revision)


def _folder(row: Row) -> object:
    try:
        picture = picture_of(row, None, "images")
    except BadRow:  # told with the row, when the picture is asked for
        return row["id"]
    return picture.parent.name if isinstance(picture, Path) else row["id"]


def _copied(found: Rows) -> Rows:
    """Hiyouga's rows; the number is the row's place in its split."""
    rows = [
        {**row, "id": f"{row['part']}-{row['number']}", "data_type": row["part"], "problem_text": row["problem"]}
        for row in found.rows
    ]
    return Rows(found.file, tuple(rows), found.revision)


def _question(row: Row) -> Question:
    text(row, "data_type")
    asked = _content(row) if "messages" in row else text(row, "problem_text")
    answer = _chosen(row) if "letter" in row else text(row, "answer")
    name = f"geometry3k-{text(row, 'id')}"
    return Question(id=name, image=None, text=asked.removeprefix("<image>").strip(), answer=answer, kind="math")


def _chosen(row: Row) -> str:
    """The choice that InterGPS's letter stands for."""
    choices, letter = strings(row, "choices"), text(row, "letter").strip()
    at = "ABCDEFGH".find(letter) if len(letter) == 1 else -1
    if not 0 <= at < len(choices):
        raise BadCell(f"{place(row)}: the answer {letter!r} is the letter of none of the choices {choices}. {SKIP}")
    return choices[at]


def _content(row: Row) -> str:
    """The text of PEPO's message, without the instruction on the answer's form, which is the harness's to add."""
    try:
        content = row["messages"][0]["content"]
    except (KeyError, IndexError, TypeError):
        content = None
    if not isinstance(content, str):
        raise BadCell(f"{place(row)}: messages must hold one with content, got {row['messages']!r}. {SKIP}")
    return content.split(_INSTRUCTION)[0]
