"""LISA-Grounding: a question about a photograph that names no object, answered by the box of the object it means.

Source: ReasonSeg of LISA (Lai et al., arXiv:2308.00692), 239 train, 200 val, 779 test; boxes in place of masks as
in VLM-R1 (arXiv:2504.07615), which trains on RefCOCO and measures here. Licence: CC BY-NC 4.0, as a copy's card
says; the pictures have their owners' terms.

Sample row (`annotations.jsonl`; "split" is train, val or test):
    {"id": "0001_q1", "image": "test/0001.jpg", "expression": "the object that keeps the rain off",
     "box": [12, 40, 310, 388], "split": "test"}
or ReasonSeg's own files, labelme's, each beside its picture: `test/0001.json` and `test/0001.jpg`,
    {"text": ["the object that keeps the rain off"], "is_sentence": false,
     "shapes": [{"label": "target", "points": [[12, 40], [310, 40], [161, 388]]}, {"label": "ignore", ...}]}

Headline: avg@8 Acc@0.5, as for RefCOCO.

Known traps: the box is the extent of all shapes labelled "target"; Visual-RFT takes that of the first shape,
whatever its label. Some of the files are cp1252, not UTF-8. A picture may come with several texts: each is a
question. The category tells whole sentences ("long") from noun phrases ("short"), as LISA's tables do. The boxes
are made from ReasonSeg's outlines here, not taken from VLM-R1's list, so the questions may differ from its. The
hub's copies, Ricky06662/ReasonSeg_val and _test, are read as their cards describe them, unverified; which of the
two a local copy is, its user has to know. Frames of coordinates and the form of the answer: see `refcoco`.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from credit_zoo.answers import asks_for_box, score_response
from credit_zoo.question import Question, Score, Source, Split
from credit_zoo.questions import (
    SKIP,
    BadBox,
    HubSet,
    Row,
    Rows,
    corners,
    holds,
    hub_picture,
    need_some,
    picture_path,
    read_rows,
    read_set,
    strings,
    with_pictures,
)
from credit_zoo.registry import BENCHMARKS, UsageError

if TYPE_CHECKING:
    from credit_zoo.twins import Twin

_COLUMNS = ("id", "image", "expression", "box", "split")
_PARTS: tuple[Split, ...] = ("train", "val", "test")


@BENCHMARKS.register(
    "lisa_grounding",
    version=1,
    headline="avg@8 Acc@0.5",
    trains_on="refcoco",
    boxes=True,
    source="arXiv:2308.00692",
    licence="CC BY-NC 4.0",
)
@dataclass(frozen=True)
class LisaGrounding:
    """Reads `annotations.jsonl`, ReasonSeg's folders train, val and test, and copies with masks as the hub has them."""

    @property
    def twin(self) -> "Twin":
        """Coloured objects drawn by code, one of which has to be inferred."""
        from credit_zoo.twins.lisa_grounding import TWIN

        return TWIN

    def load(self, split: Split, data: Path | None, skip_bad: bool = False) -> tuple[Sequence[Question], Source]:
        """The rows of one split."""
        if data is None or holds(data):
            found = _copied(split, data)
            source = Source("lisa_grounding", False, found.revision, len(found.rows))
            return with_pictures(source, found.rows, _question, hub_picture, skip_bad)
        labelled = not (data / "annotations.jsonl").is_file() and any((data / part).is_dir() for part in _PARTS)
        found = _labelled(data, split) if labelled else read_rows(data, _COLUMNS)
        rows = [row for row in found.rows if split in ("all", row["split"])]
        there = Counter(str(row["split"]) for row in found.rows)
        need_some(rows, f"split '{split}' of data={data}", there)
        source = Source("lisa_grounding", False, found.revision, len(rows))
        return with_pictures(source, rows, _question, lambda row: picture_path(data, row["image"]), skip_bad)

    def prompt(self, question: Question) -> str:
        """VLM-R1's request, the same as for RefCOCO."""
        return asks_for_box(question.text)

    def score(self, question: Question, response: str) -> Score:
        """Exactly one box, right from an intersection over union of 0.5 on."""
        return score_response(question, response)


def _copied(split: Split, data: Path | None) -> Rows:
    """The copies with masks: the box is the extent of the mask, right and bottom edge included."""
    if split not in ("val", "test"):
        raise UsageError(
            f"lisa_grounding on the hub has val and test, not '{split}': give data=FOLDER, or train on refcoco"
        )
    columns = ("image_id", "text", "mask")
    hub = HubSet(f"Ricky06662/ReasonSeg_{split}", {split: "test"}, columns, large=("mask",))
    found = read_set(hub, split, data)
    rows = [
        {**row, "id": f"{split}-{row['image_id']}-{row['number']}", "expression": row["text"]} for row in found.rows
    ]
    return Rows(found.file, tuple(rows), found.revision)


def _labelled(data: Path, split: Split) -> Rows:
    """ReasonSeg's files as rows, one for each text; the revision is that of all files together."""
    held = {part: sorted((data / part).glob("*.json")) for part in _PARTS}
    files = [file for part in _PARTS if split in ("all", part) for file in held[part]]
    need_some(files, f"split '{split}' of data={data}, by file", {part: len(held[part]) for part in _PARTS})
    digest = hashlib.sha256()
    rows: list[Row] = []
    for file in files:
        content = file.read_bytes()
        digest.update(content)
        rows += _texts(file, _parsed(file, content))
    return Rows(data, tuple(rows), digest.hexdigest()[:12])


def _parsed(file: Path, content: bytes) -> dict[str, Any]:
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("cp1252", errors="replace")
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{file} is not JSON: {error}") from error
    if not isinstance(value, dict) or not {"text", "shapes"} <= value.keys():
        raise UsageError(f"{file} must be an object with text and shapes")
    return value


def _texts(file: Path, labels: dict[str, Any]) -> Iterator[Row]:
    category = "long" if labels.get("is_sentence") else "short"
    for place, text in enumerate(strings(labels, "text")):
        yield {
            "id": f"{file.parent.name}-{file.stem}-{place}", "image": f"{file.parent.name}/{file.stem}.jpg",
            "expression": text, "shapes": labels["shapes"], "split": file.parent.name, "category": category,
        }  # fmt: skip


def _question(row: Row) -> Question:
    name = f"lisa_grounding-{row['id']}"
    return Question(
        id=name,
        image=None,
        text=str(row["expression"]).strip(),
        answer=corners(name, _box(name, row)),
        kind="box",
        category=str(row.get("category", "all")),
    )


def _box(name: str, row: Row) -> Any:
    if "mask" in row:
        return _around(name, row["mask"])
    return row["box"] if "box" in row else _extent(name, row["shapes"])


def _around(name: str, mask: Any) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of the pixels that are set; `mask` is the cell of a list of rows."""
    rows = mask.value().values
    widths = set(rows.value_lengths().to_pylist()) if rows is not None else set()
    if len(widths) != 1 or rows.flatten().null_count:
        raise BadBox(f"{name}: the mask is no rectangle of pixels. {SKIP}")
    down, across = rows.flatten().to_numpy(zero_copy_only=False).reshape(len(rows), -1).nonzero()
    if not len(down):
        raise BadBox(f"{name}: the mask is empty. {SKIP}")
    return int(across.min()), int(down.min()), int(across.max()) + 1, int(down.max()) + 1


def _extent(name: str, shapes: Any) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of all points of the shapes labelled "target"."""
    try:
        points = [(float(x), float(y)) for one in shapes if one["label"] == "target" for x, y in one["points"]]
        across, down = zip(*points, strict=True)
    except (TypeError, KeyError, ValueError) as error:
        raise BadBox(f"{name}: no shape labelled target has points: {error}") from error
    return min(across), min(down), max(across), max(down)
