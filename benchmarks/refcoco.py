"""RefCOCO, RefCOCO+ and RefCOCOg: an expression that fits one object of a photograph, answered by the object's box.

Source: Yu et al., Modeling Context in Referring Expressions (arXiv:1608.00272), and Mao et al. (arXiv:1511.02283)
for RefCOCOg; pictures of COCO train2014. Licence: none is stated for the copies read here; COCO's pictures have
their owners' terms.

Sample row (`annotations.jsonl`; "split" is train, val, testA, testB or test, "dataset" may name one of the three):
    {"id": 7, "image": "train2014/COCO_train2014_000000581857.jpg", "expression": "the lady with the blue shirt",
     "box": [103.93, 299.99, 238.15, 477.41], "split": "testA", "dataset": "refcoco"}
Two other layouts are told by their files' names, in the folder, in `data/` or in a subfolder per set:
`refcocop_testA.json`, VLM-R1's list of image, problem and solution; `testA-00000-of-00001.parquet`, lmms-lab's
columns question_id, image, answer and bbox, one question for each expression in `answer`.

Headline: avg@8 Acc@0.5, the share of boxes whose intersection over union with the true one is 0.5 or more. PEPO
prints "IoU@50"; VLM-R1 takes one greedy answer to 2,000 shuffled questions and more than 0.5 for right.

Known traps: boxes are left, top, right, bottom in pixels of the original picture, but left, top, width, height in
lmms-lab's files. What a model prints may be in another frame (`credit_zoo.answers.boxes.to_frame`): Qwen2.5-VL's is the
resized picture. The split "test" is testA (people), testB (other things) and test together, told apart by category,
which begins with the set's name where a column, file or subfolder gives one. lmms-lab's `val` of RefCOCO joins two
splits, UNC's and Google's, and is not the val of papers. VLM-R1's files for InternVL hold thousandths: not to be
read here. VLM-R1 asks for JSON in its suffix, which is the harness's to add (`prompt.suffix`), as is the call to
think; any of the forms that `credit_zoo.answers.boxes` reads counts.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from credit_zoo.answers import asks_for_box, score_response
from credit_zoo.question import Question, Score, Source, Split
from credit_zoo.questions import (
    HubSet,
    Row,
    Rows,
    corners,
    need_some,
    picture_path,
    read_parquet,
    read_rows,
    read_set,
    strings,
    with_pictures,
)
from credit_zoo.registry import BENCHMARKS, UsageError, unknown

if TYPE_CHECKING:
    from credit_zoo.twins import Twin

_COLUMNS = ("id", "image", "expression", "box", "split")
_PARTS = ("train", "val", "testA", "testB", "test")
_COPIES = {  # lmms-lab's, none of which has a train split
    "RefCOCO": ("val", "testA", "testB", "test"),
    "RefCOCOplus": ("val", "testA", "testB"),
    "RefCOCOg": ("val", "test"),
}
_COPIED = ("question_id", "answer", "bbox")
_FILE = re.compile(rf"(?:(refcoco\w*?)_)?({'|'.join(_PARTS)})(?:-\d+-of-\d+.*)?\.(?:json|parquet)")
_PLACES = ("*", "data/*", "*/*", "*/data/*")
_PROBLEM = re.compile(r"(?:<image>)?\s*Please provide the bounding box .*? describes: (.*?)\.?\s*", re.DOTALL)


@BENCHMARKS.register(
    "refcoco",
    version=1,
    headline="avg@8 Acc@0.5",
    trains_on="refcoco",
    boxes=True,
    source="arXiv:1608.00272",
    licence="not stated",
)
@dataclass(frozen=True)
class RefCOCO:
    """Reads `annotations.jsonl`, VLM-R1's JSON files, and lmms-lab's Parquet files, from a folder or the hub.

    `copy` says which of the hub's three sets is read by data=hub: RefCOCO, RefCOCOplus or RefCOCOg.
    """

    copy: str = "RefCOCO"

    def __post_init__(self) -> None:
        if self.copy not in _COPIES:
            raise unknown("copy of RefCOCO", self.copy, _COPIES)

    @property
    def twin(self) -> "Twin":
        """Coloured objects drawn by code, an expression for one of them."""
        from credit_zoo.twins.refcoco import TWIN

        return TWIN

    def load(self, split: Split, data: Path | None, skip_bad: bool = False) -> tuple[Sequence[Question], Source]:
        """The rows of one split, of every set that the folder holds."""
        files = {} if data is None or (data / "annotations.jsonl").is_file() else _files(data)
        if data is None:
            there = Counter(_COPIES[self.copy])
            need_some([part for part in there if _in_split(part, split)], f"{self.copy} on the hub", there)
            found = [_copied(self.copy)]
        elif files:
            wanted = {file: told for file, told in files.items() if _in_split(told[1], split)}
            found = [_read(file, data, *told) for file, told in wanted.items()]
            there = Counter(part for _, part in files.values())
        else:
            found = [_annotated(data)]
            there = Counter(row["part"] for row in found[0].rows)
        rows = [row for each in found for row in each.rows if _in_split(row["part"], split)]
        need_some(rows, f"split '{split}' of data={data}", there)
        source = Source("refcoco", False, "+".join(each.revision for each in found), len(rows))
        return with_pictures(source, rows, _question, lambda row: row["image"], skip_bad)

    def prompt(self, question: Question) -> str:
        """VLM-R1's request for the box of what the expression describes."""
        return asks_for_box(question.text)

    def score(self, question: Question, response: str) -> Score:
        """Exactly one box, right from an intersection over union of 0.5 on."""
        return score_response(question, response)


def _in_split(part: str, split: Split) -> bool:
    return split == "all" or part == split or (split == "test" and part in ("testA", "testB"))


def _files(data: Path) -> dict[Path, tuple[str, str]]:
    """The files that their names give away, each with its set ("" where nothing names it) and its part."""
    found = {}
    for file in (file for place in _PLACES for file in sorted(data.glob(place))):
        if named := _FILE.fullmatch(file.name):
            folder = file.relative_to(data).parts[0]
            found[file] = (named[1] or ("" if folder in ("data", file.name) else folder), named[2])
    return found


def _read(file: Path, data: Path, dataset: str, part: str) -> Rows:
    """The rows of VLM-R1's or lmms-lab's file, in the columns that `_question` reads."""
    same: Row = {"part": part, "dataset": dataset}
    if file.suffix == ".parquet":
        return _expressions(read_parquet(file, _COPIED), same)
    found = read_rows(file.parent, ("image", "problem", "solution"), file.name)
    rows = [
        {**same, "id": number, "image": picture_path(data, row["image"]), "expression": _expression(row["problem"]),
         "box": row["solution"]}
        for number, row in enumerate(found.rows, 1)
    ]  # fmt: skip
    return Rows(file, tuple(rows), found.revision)


def _copied(copy: str) -> Rows:
    hub = HubSet(f"lmms-lab/{copy}", {part: part for part in _COPIES[copy]}, _COPIED)
    return _expressions(read_set(hub, "all", None), {"dataset": copy.lower()})


def _expressions(found: Rows, same: Row) -> Rows:
    """lmms-lab's rows, one of each object, as one of each expression."""
    rows = [
        {**row, **same, "id": f"{row['question_id']}-{place}", "expression": text, "box": row["bbox"], "sized": True}
        for row in found.rows
        for place, text in enumerate(strings(row, "answer"))
    ]
    return Rows(found.file, tuple(rows), found.revision)


def _annotated(data: Path) -> Rows:
    found = read_rows(data, _COLUMNS)
    for row in found.rows:
        if row["split"] not in _PARTS:
            raise UsageError(f"{found.file} row {row['id']}: split must be one of {_PARTS}, got {row['split']!r}")
    rows = [{**row, "part": row["split"], "image": picture_path(data, row["image"])} for row in found.rows]
    return Rows(found.file, tuple(rows), found.revision)


def _expression(problem: object) -> str:
    """What VLM-R1's problem describes; a problem in other words is taken as it is."""
    asked = _PROBLEM.fullmatch(str(problem))
    return asked[1] if asked else str(problem)


def _question(row: Row) -> Question:
    told = [str(one) for one in (row.get("dataset"), row["part"]) if one]
    name = "-".join(["refcoco", *told, str(row["id"])])
    return Question(
        id=name,
        image=None,
        text=str(row["expression"]).strip(),
        answer=corners(name, row["box"], bool(row.get("sized"))),
        kind="box",
        category=" ".join(told),
    )
