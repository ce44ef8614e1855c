"""Few-shot classification: a few pictures of each class to train on, all test pictures to be measured on.

Three layouts are read, told apart by what the folder holds; the last two part by part, so that the hub's training
pictures and a folder `test/` may lie side by side:
- `annotations.jsonl` with the columns id, image, label and split (train or test), beside the pictures;
- a folder for each class, `train/<class name>/*.jpg` and `test/<class name>/*.jpg`; `_` in a name is a space;
- the hub's Parquet files, `train-*.parquet`, with the columns image and solution, where the class stands in
  `<answer>` tags, or alone.

Of a class's training pictures those are drawn whose hash of seed, class and id is least, so one shot is among two and
two are among four. An id is the column's or the file's name, and the order of lines or files changes nothing; a
Parquet row's is its number. A class with too few pictures is an error; a drawn picture that is bad is counted, where
bad ones are skipped, and not replaced.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from credit_zoo.answers import extract, same_class
from credit_zoo.question import Question, Score, Source, Split
from credit_zoo.questions.hub import HubSet, holds, read_set
from credit_zoo.questions.local_folder import (
    PictureQuestions,
    Row,
    Rows,
    need_some,
    picture_path,
    read_rows,
    with_pictures,
)
from credit_zoo.registry import UsageError, check_range

_PARTS = ("train", "test")
_SHOTS = (1, 2, 4)
_PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif")
_TRUTH = re.compile(r"<answer>(.*?)</answer>", re.DOTALL)
_APART = re.compile(r"[\W_]")


@dataclass(frozen=True)
class FewShot:
    """What the sets share. `shots` (1, 2 or 4) is the number of training pictures a class; `shots_seed` picks them."""

    name: ClassVar[str]
    asked: ClassVar[str]
    hub: ClassVar[HubSet]
    spellings: ClassVar[Mapping[str, str]] = {}  # other sources' spellings of a class: its name

    shots: int = 4
    shots_seed: int = 0

    def __post_init__(self) -> None:
        if self.shots not in _SHOTS:
            raise UsageError(f"{self.name}.shots must be 1, 2 or 4, got {self.shots!r}")
        check_range(f"{self.name}.shots_seed", self.shots_seed, 0)

    @property
    def twin(self) -> None:
        """Nothing drawn by code stands in for photographs of many classes."""
        return None

    def load(self, split: Split, data: Path | None, skip_bad: bool = False) -> tuple[PictureQuestions, Source]:
        """All rows of a split, but of "train" the drawn ones alone; "all" is both splits in full."""
        found = _read(self.hub, split, data)
        rows = [row for row in found.rows if split in ("all", row["split"])]
        need_some(rows, f"split '{split}' of {found.file}", Counter(str(row["split"]) for row in found.rows))
        named = [{**row, "label": self._label(row)} for row in rows]
        kept = self._draw(named) if split == "train" else named
        dropped = {f"beyond {self.shots} a class": len(rows) - len(kept)} if len(kept) < len(rows) else {}
        source = Source(self.name, False, found.revision, len(kept), dropped)
        return with_pictures(source, kept, self._question, lambda row: row["image"], skip_bad)

    def prompt(self, question: Question) -> str:
        """Visual-RFT's open question, without its call for tags."""
        return question.text

    def score(self, question: Question, response: str) -> Score:
        """The class's name and nothing else; case, spaces, hyphens and known spellings aside."""
        found = extract(response)
        right = found.text is not None and same_class(self._name(found.text), self._name(question.answer))
        return Score(float(right), found.text, found.formatted)

    def _name(self, text: str) -> str:
        """The text in plain spaces, or the class's one name where it is another spelling of it."""
        plain = " ".join(text.replace("_", " ").split())
        return next((name for other, name in self.spellings.items() if same_class(plain, other)), plain)

    def _label(self, row: Row) -> str:
        name = self._name(str(row["label"]))
        if not name or name.isdigit():
            raise UsageError(f"{self.name} {row['split']} {row['id']}: a class must have a name, got {row['label']!r}")
        return name

    def _draw(self, rows: Sequence[Row]) -> list[Row]:
        """The first `shots` rows of each class, in the order of the hash of seed, class and id."""
        kept: list[Row] = []
        counts: Counter[str] = Counter()
        for row in sorted(rows, key=lambda row: _hash(f"{self.shots_seed} {_class(row)} {row['id']}")):
            counts[_class(row)] += 1
            if counts[_class(row)] <= self.shots:
                kept.append(row)
        for row in rows:
            if counts[_class(row)] < self.shots:
                there = f"the class '{row['label']}' has {counts[_class(row)]} training pictures"
                raise UsageError(f"{there}, fewer than {self.name}.shots={self.shots}")
        return kept

    def _question(self, row: Row) -> Question:
        name = f"{self.name}-{row['split']}-{row['label']}-{row['id']}"
        return Question(id=name, image=None, text=self.asked, answer=row["label"], kind="text")


def _class(row: Row) -> str:
    return _APART.sub("", row["label"].casefold())


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _read(hub: HubSet, split: Split, data: Path | None) -> Rows:
    """The rows of at least the asked split, each with id, image, label and split."""
    there = [part for part in _PARTS if (part in hub.splits if data is None else holds(data) or (data / part).is_dir())]
    if data is not None and (not there or (data / "annotations.jsonl").is_file()):
        found = read_rows(data, ("id", "image", "label", "split"))
        rows = [{**row, "image": picture_path(data, row["image"])} for row in found.rows]
        return Rows(found.file, tuple(rows), found.revision)
    parts = _PARTS if split == "all" else (split,)
    for part in parts:
        if part not in there:
            where = f"{hub.repo} on the hub" if data is None else f"data={data}"
            raise UsageError(f"{where} has no split '{part}': give data=FOLDER with {part}/<class name>/*.jpg")
    each = [_classes(data / part) if data and (data / part).is_dir() else _shared(hub, part, data) for part in parts]
    joined = tuple({**row, "split": part} for part, one in zip(parts, each, strict=True) for row in one.rows)
    return Rows(data or each[0].file, joined, "+".join(one.revision for one in each))


def _classes(folder: Path) -> Rows:
    """The pictures of a folder of folders; the revision is that of their names."""
    files = [file for file in sorted(folder.glob("*/[!.]*")) if file.suffix.lower() in _PICTURES]
    rows = tuple({"id": file.stem, "image": file, "label": file.parent.name} for file in files)
    return Rows(folder, rows, _hash("\n".join(f"{file.parent.name}/{file.name}" for file in files))[:12])


def _shared(hub: HubSet, part: str, folder: Path | None) -> Rows:
    """The hub's rows, numbered from 1; Parquet files at hand may hold both parts, whatever the hub has."""
    found = read_set(hub if folder is None else replace(hub, splits={part: part}), part, folder)
    rows = [{**row, "id": number, "label": _truth(str(row["solution"]))} for number, row in enumerate(found.rows, 1)]
    return Rows(found.file, tuple(rows), found.revision)


def _truth(solution: str) -> str:
    tagged = _TRUTH.search(solution)
    return (tagged[1] if tagged else solution).strip()
