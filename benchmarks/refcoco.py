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
lmms-lab's files. What a model prints may be in another frame (`credit_zoo.answers.to_frame`): Qwen2.5-VL's is the
resized picture. The split "test" is testA (people), testB (other things) and test together, told apart by category,
which begins with the set's name where a column, file or subfolder gives one. lmms-lab's `val` of RefCOCO joins two
splits, UNC's and Google's, and is not the val of papers. VLM-R1's files for InternVL hold thousandths: not to be
read here. VLM-R1 asks for JSON in its suffix, which is the harness's to add (`prompt.suffix`), as is the call to
think; any of the forms that `credit_zoo.answers.bounding_boxes` reads counts.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from credit_zoo.answers import asks_for_box, score_response
from credit_zoo.errors import UsageError, unknown
from credit_zoo.question import Question, Score, Source, Split
from credit_zoo.questions import (
    HubSet,
    Layout,
    Row,
    Rows,
    annotated,
    corners,
    layout_of,
    need_some,
    of_split,
    picture_of,
    read_parquet,
    read_rows,
    read_set,
    text,
    text_or,
    with_pictures,
)
from credit_zoo.registry import BENCHMARKS

if TYPE_CHECKING:
    from credit_zoo.twins import Twin

_COLUMNS = ("id", "image", "expression", "box", "split")
_PARTS = ("train", "val", "testA", "testB", "test")
_TEST = ("testA", "testB")  # people, and other things: together with "test" the split "test"
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

    @property
    def layouts(self) -> tuple[Layout, ...]:
        """The folders that are read."""
        return (
            annotated(_COLUMNS),
            Layout(
                "VLM-R1's rec_jsons_processed, beside or above COCO's train2014/: <set>_<split>.json with the columns "
                "image, problem, solution; or lmms-lab's <split>-*.parquet with the columns "
                f"image, {', '.join(_COPIED)}; a folder for each set, or one set alone",
                _complete, _from_files,
            ),
            Layout("what `save_to_disk` wrote of one of lmms-lab's sets, a folder for each split", _saved, _from_saved),
        )  # fmt: skip

    def load(self, split: Split, data: Path | None, skip_bad: bool = False) -> tuple[Sequence[Question], Source]:
        """The rows of one split, of every set that the folder holds; "test" is testA, testB and test."""
        if data is None:
            there = dict.fromkeys(_COPIES[self.copy], 1)
            need_some([part for part in there if _in_split(part, split)], f"{self.copy} on the hub, '{split}'", there)
            found = _copied(self.copy)
        else:
            found = layout_of("refcoco", data, self.layouts).read(data, split)
        parted = [{"part": row.get("split"), **row} for row in found.rows]
        rows = of_split(parted, "part", split, f"data={data}", _TEST if split == "test" else ())
        source = Source("refcoco", False, found.revision, len(rows))
        return with_pictures(source, rows, _question, lambda row: picture_of(row, data), skip_bad)

    def prompt(self, question: Question) -> str:
        """VLM-R1's request for the box of what the expression describes."""
        return asks_for_box(question.text)

    def score(self, question: Question, response: str) -> Score:
        """Exactly one box, right from an intersection over union of 0.5 on."""
        return score_response(question, response)


def _in_split(part: str, split: Split) -> bool:
    return split in ("all", part) or (split == "test" and part in _TEST)


def _files(data: Path) -> dict[Path, tuple[str, str]]:
    """The files that their names give away, each with its set ("" where nothing names it) and its part."""
    found = {}
    for file in (file for pattern in _PLACES for file in sorted(data.glob(pattern))):
        if named := _FILE.fullmatch(file.name):
            folder = file.relative_to(data).parts[0]
            found[file] = (named[1] or ("" if folder in ("data", file.name) else folder), named[2])
    return found


def _complete(data: Path) -> bool:
    """Whether the folder has such files; raises if VLM-R1's are there and the pictures that they name are not."""
    files = _files(data)
    for file in (one for one in files if one.suffix == ".json"):
        _pictures(file, data, read_rows(file.parent, (), file.name))
        break
    return bool(files)


def _pictures(file: Path, data: Path, found: Rows) -> Path:
    """The folder from which VLM-R1's file names its pictures: of those around it the one that has the first."""
    named = next((row["image"] for row in found.rows if isinstance(row.get("image"), str) and row["image"]), "")
    places = list(dict.fromkeys([data, file.parent, data.resolve().parent, file.resolve().parent.parent]))
    for one in places:
        if (one / named).is_file() or (named and (one / named).parent.is_dir()):
            return one
    raise UsageError(
        f"{file} names pictures like {named}, which are not there: put COCO's train2014/ into one of "
        f"{', '.join(map(str, places))}"
    )


def _from_files(data: Path, split: Split) -> Rows:
    files = _files(data)
    wanted = {file: told for file, told in files.items() if _in_split(told[1], split)}
    need_some(wanted, f"split '{split}' of data={data}", Counter(part for _, part in files.values()))
    found = [_read(file, data, *told) for file, told in wanted.items()]
    rows = tuple(row for each in found for row in each.rows)
    return Rows(data, rows, "+".join(each.revision for each in found))


def _read(file: Path, data: Path, dataset: str, part: str) -> Rows:
    """The rows of VLM-R1's or lmms-lab's file, in the columns that `_question` reads."""
    same: Row = {"part": part, "dataset": dataset}
    if file.suffix == ".parquet":
        return _expressions(read_parquet(file, _COPIED), same)
    found = read_rows(file.parent, ("image", "problem", "solution"), file.name)
    root = _pictures(file, data, found)
    rows = [{**row, **same, "id": number, "image": _from(root, row), "expression": _expression(row["problem"]),
             "box": row["solution"]} for number, row in enumerate(found.rows, 1)]  # fmt: skip
    return Rows(file, tuple(rows), found.revision)


def _from(root: Path, row: Row) -> object:
    return root / row["image"] if isinstance(row["image"], str) and row["image"] else row["image"]


def _saved(data: Path) -> list[str]:
    return [part for part in _PARTS if (data / part / "state.json").is_file()]


def _from_saved(data: Path, split: Split) -> Rows:
    hub = HubSet("lmms-lab/RefCOCO", {part: part for part in _saved(data)}, _COPIED)
    return _expressions(read_set(hub, "all", data), {})


def _copied(copy: str) -> Rows:
    hub = HubSet(f"lmms-lab/{copy}", {part: part for part in _COPIES[copy]}, _COPIED)
    return _expressions(read_set(hub, "all", None), {"dataset": copy.lower()})


def _expressions(found: Rows, same: Row) -> Rows:
    """lmms-lab's rows, one of each object, as one of each expression."""
    rows = [
        {**row, **same, "id": f"{row['question_id']}-{number}", "expression": told, "box": row["bbox"], "sized": True}
        for row in found.rows
        for number, told in enumerate(row["answer"] if isinstance(row["answer"], list) else [row["answer"]])
    ]
    return Rows(found.file, tuple(rows), found.revision)


def _expression(problem: object) -> object:
    """What VLM-R1's problem describes; a problem in other words is taken as it is."""
    asked = _PROBLEM.fullmatch(problem) if isinstance(problem, str) else None
    return asked[1] if asked else problem


def _question(row: Row) -> Question:
    told = [one for one in (text_or(row, "dataset", ""), text(row, "part")) if one]
    name = "-".join(["refcoco", *told, text(row, "id")])
    return Question(
        id=name,
        image=None,
        text=text(row, "expression").strip(),
        answer=corners(name, row["box"], bool(row.get("sized"))),
        kind="box",
        category=" ".join(told),
    )
