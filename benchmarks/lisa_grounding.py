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

Known traps: the box is the extent of the target's shapes, which are, as in LISA's code, all but those labelled "flag"
or as to be ignored, and it ends where the picture does; what is to be ignored is not cut out of it. Visual-RFT takes
the first shape, whatever its label. Some files are cp1252, not UTF-8. Each of a picture's texts is a question. The
category tells whole sentences ("long") from noun phrases ("short"), as LISA's tables do. The boxes are made from
ReasonSeg's outlines here, not taken from VLM-R1's list, so the questions may differ from its. The hub's copies,
Ricky06662/ReasonSeg_val and _test, are read as their cards describe them, unverified; which of the two a local copy is,
its user has to know. Frames of coordinates and the form of the answer: see `refcoco`.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from credit_zoo.answers import asks_for_box, score_response
from credit_zoo.errors import UsageError
from credit_zoo.question import SPLITS, Question, Score, Source, Split
from credit_zoo.questions import (
    PLACE,
    SKIP,
    BadBox,
    BadCell,
    HubSet,
    Layout,
    Row,
    Rows,
    annotated,
    corners,
    hub_layout,
    layout_of,
    need_some,
    of_split,
    picture_of,
    read_object,
    read_set,
    text,
    text_or,
    with_pictures,
)
from credit_zoo.registry import BENCHMARKS

if TYPE_CHECKING:
    from credit_zoo.twins import Twin

_COLUMNS = ("id", "image", "expression", "box", "split")
_PICTURES = (".jpg", ".jpeg", ".png", ".webp")  # beside a file of labels


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

    @property
    def layouts(self) -> tuple[Layout, ...]:
        """The folders that are read."""
        labelled = "ReasonSeg's folders train, val and test, each with labelme's <name>.json beside <name>.jpg"
        return (
            annotated(_COLUMNS),
            Layout(labelled, lambda data: any(any((data / part).glob("*.json")) for part in SPLITS), _labelled),
            replace(hub_layout(_copy("test")), read=_copied),
        )

    def load(self, split: Split, data: Path | None, skip_bad: bool = False) -> tuple[Sequence[Question], Source]:
        """The rows of one split."""
        if data is None:
            found = _copied(None, split)
        else:
            found = layout_of("lisa_grounding", data, self.layouts).read(data, split)
        rows = of_split(found.rows, "split", split, f"data={data}")
        source = Source("lisa_grounding", False, found.revision, len(rows))
        clipped = "shapes" in rows[0]
        return with_pictures(source, rows, _question, lambda row: picture_of(row, data), skip_bad, clipped)

    def prompt(self, question: Question) -> str:
        """VLM-R1's request, the same as for RefCOCO."""
        return asks_for_box(question.text)

    def score(self, question: Question, response: str) -> Score:
        """Exactly one box, right from an intersection over union of 0.5 on."""
        return score_response(question, response)


def _copy(split: Split) -> HubSet:
    """The copy with masks of one split, which the hub calls test."""
    columns = ("image_id", "text", "mask")
    return HubSet(f"Ricky06662/ReasonSeg_{split}", {split: "test"}, columns, large=("mask",))


def _copied(data: Path | None, split: Split) -> Rows:
    """The copies with masks: the box is the extent of the mask, right and bottom edge included."""
    if split not in ("val", "test"):
        raise UsageError(
            f"lisa_grounding on the hub has val and test, not '{split}': give data=FOLDER, or train on refcoco"
        )
    found = read_set(_copy(split), split, data)
    rows = [
        {**row, "id": f"{split}-{row['image_id']}-{row['number']}", "expression": row["text"], "split": split}
        for row in found.rows
    ]
    return Rows(found.file, tuple(rows), found.revision)


def _labelled(data: Path, split: Split) -> Rows:
    """ReasonSeg's files as rows, one for each text; the revision is that of all files together."""
    held = {part: sorted((data / part).glob("*.json")) for part in SPLITS}
    files = [file for part in SPLITS if split in ("all", part) for file in held[part]]
    need_some(files, f"split '{split}' of data={data}, by file", {part: len(held[part]) for part in SPLITS})
    digest = hashlib.sha256()
    rows: list[Row] = []
    for file in files:
        labels, content = read_object(file, ("text", "shapes"))
        digest.update(content)
        rows += _texts(file, labels)
    return Rows(data, tuple(rows), digest.hexdigest()[:12])


def _texts(file: Path, labels: Row) -> Iterator[Row]:
    category = "long" if labels.get("is_sentence") else "short"
    picture = next((one for end in _PICTURES if (one := file.with_suffix(end)).is_file()), file.with_suffix(".jpg"))
    if not isinstance(labels["text"], list):
        raise BadCell(f"{file}: column text must hold a list, got {labels['text']!r}")
    for number, expression in enumerate(labels["text"]):
        yield {
            "id": f"{file.parent.name}-{file.stem}-{number}", "image": picture, PLACE: labels[PLACE],
            "expression": expression, "shapes": labels["shapes"], "split": file.parent.name, "category": category,
        }  # fmt: skip


def _question(row: Row) -> Question:
    text(row, "split")
    name = f"lisa_grounding-{text(row, 'id')}"
    return Question(
        id=name,
        image=None,
        text=text(row, "expression").strip(),
        answer=corners(name, _box(name, row)),
        kind="box",
        category=text_or(row, "category", "all"),
    )


def _box(name: str, row: Row) -> Any:
    if "mask" in row:
        return _around(name, row["mask"])
    return _extent(name, row["shapes"]) if "shapes" in row else row["box"]


def _around(name: str, mask: Any) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of the pixels that are set; `mask` is the cell of a list of rows."""
    try:
        rows = mask.value().values
    except ValueError as error:
        raise BadBox(f"{name}: {error}. {SKIP}") from error
    widths = set(rows.value_lengths().to_pylist()) if rows is not None else set()
    if len(widths) != 1 or rows.flatten().null_count:
        raise BadBox(f"{name}: the mask is no rectangle of pixels. {SKIP}")
    down, across = rows.flatten().to_numpy(zero_copy_only=False).reshape(len(rows), -1).nonzero()
    if not len(down):
        raise BadBox(f"{name}: the mask is empty. {SKIP}")
    return int(across.min()), int(down.min()), int(across.max()) + 1, int(down.max()) + 1


def _extent(name: str, shapes: Any) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of all points of the target's shapes: as LISA draws them, of every shape that is no
    flag and not to be ignored, whatever else its label.
    """
    try:
        meant = [one for one in shapes if one["label"].lower() != "flag" and "ignore" not in one["label"].lower()]
        points = [(float(x), float(y)) for one in meant for x, y in one["points"]]
        across, down = zip(*points, strict=True)
    except (TypeError, KeyError, ValueError, AttributeError) as error:
        raise BadBox(f"{name}: no shape labelled target has points, nor another: {error}. {SKIP}") from error
    return min(across), min(down), max(across), max(down)
