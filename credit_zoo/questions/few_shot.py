"""Few-shot classification: a few pictures of each class to train on, all test pictures to be measured on.

Three layouts are read, told apart by what the folder holds; the last two part by part, so that the hub's training
pictures and a folder `test/` may lie side by side:
- `annotations.jsonl` (or .json, .csv, .tsv) with the columns id, image, label and split, beside the pictures;
- a folder for each class, `train/<class name>/*.jpg` and `test/<class name>/*.jpg`; `_` in a name is a space, and a set
  may know the names of numbered folders;
- the hub's Parquet files, `train-*.parquet`, or what `save_to_disk` wrote of them, with the columns image and solution,
  where the class stands in `<answer>` tags, or alone.
A set may read its own official layout besides.

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
from credit_zoo.errors import UsageError, check_range
from credit_zoo.question import Question, Score, Source, Split
from credit_zoo.questions.hub import HubSet, holds, read_set
from credit_zoo.questions.local_folder import Layout, Rows, annotated, layout_of, read_object
from credit_zoo.questions.picture_questions import PictureQuestions, with_pictures
from credit_zoo.questions.pictures import SKIP, BadRow
from credit_zoo.questions.table_cells import BadCell, Row, need_some, of_split, picture_of, place, text, text_or

_PARTS = ("train", "test")
_SHOTS = (1, 2, 4)
_NAMES = "cat_to_name.json"  # the names of numbered folders, as copies carry them
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
    numbered: ClassVar[Sequence[str]] = ()  # the classes in the official order, whose numbers, from 1, name folders

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

    @property
    def layouts(self) -> tuple[Layout, ...]:
        """The folders that are read."""
        told = f"train/<class name>/*.jpg and test/<class name>/*.jpg, or Parquet files as {self.hub.repo} has them"
        return (
            annotated(("id", "image", "label", "split")),
            *self._official(),
            Layout(told, lambda data: holds(data) or any((data / part).is_dir() for part in _PARTS), self._parts),
        )

    def _official(self) -> tuple[Layout, ...]:
        """The set's own layout, where it has one that is read."""
        return ()

    def load(self, split: Split, data: Path | None, skip_bad: bool = False) -> tuple[PictureQuestions, Source]:
        """All rows of a split, but of "train" the drawn ones alone; "all" is both splits in full."""
        found = layout_of(self.name, data, self.layouts).read(data, split) if data else self._parts(None, split)
        rows = of_split(found.rows, "split", split, found.file)
        named, dropped = self._named(rows, skip_bad)
        kept = self._draw(named) if split == "train" else named
        if len(kept) < len(named):
            dropped[f"beyond {self.shots} a class"] = len(named) - len(kept)
        source = Source(self.name, False, found.revision, len(kept), dropped)
        return with_pictures(source, kept, self._question, lambda row: picture_of(row, data), skip_bad)

    def _named(self, rows: Sequence[Row], skip_bad: bool) -> tuple[list[Row], Counter[str]]:
        """The rows with their classes' names, and what was left out for want of one."""
        named: list[Row] = []
        bad: Counter[str] = Counter()
        for row in rows:
            try:
                told = {"id": text(row, "id"), "split": text(row, "split"), "label": self._label(row)}
                named.append({**row, **told})
            except BadRow as error:
                if not skip_bad:
                    raise
                bad[error.why] += 1
        need_some(named, f"what {self.name} can use", bad)
        return named, bad

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
        told = text_or(row, "label", "")
        known = row.get("folders") and told.isdigit() and 0 < int(told) <= len(self.numbered)
        name = self._name(self.numbered[int(told) - 1] if known else told)
        if not name or name.isdigit():
            where = f"{place(row)}: {self.name} {row['split']} {row['id']}"
            raise BadCell(f"{where}: a class must have a name, got {row['label']!r}. {SKIP}")
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

    def _parts(self, data: Path | None, split: Split) -> Rows:
        """The rows of at least the asked split, each with id, image, label and split."""
        parts = _PARTS if split == "all" else (split,)
        for part in parts:
            if not (part in self.hub.splits if data is None else holds(data) or (data / part).is_dir()):
                where = f"{self.hub.repo} on the hub" if data is None else f"data={data}"
                raise UsageError(f"{where} has no split '{part}': give data=FOLDER with {part}/<class name>/*.jpg")
        each = [
            _classes(data, part) if data and (data / part).is_dir() else _shared(self.hub, part, data) for part in parts
        ]
        joined = tuple({**row, "split": part} for part, one in zip(parts, each, strict=True) for row in one.rows)
        return Rows(data or each[0].file, joined, "+".join(one.revision for one in each))


def _class(row: Row) -> str:
    return _APART.sub("", row["label"].casefold())


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _classes(data: Path, part: str) -> Rows:
    """The pictures of a folder of folders; the revision is that of their names."""
    folder = data / part
    names = read_object(data / _NAMES, ())[0] if (data / _NAMES).is_file() else {}
    files = [file for file in sorted(folder.glob("*/[!.]*")) if file.suffix.lower() in _PICTURES]
    from_one = all(file.parent.name != "0" for file in files)  # else they are in nobody's official order
    rows = tuple(
        {"id": file.stem, "image": file, "label": names.get(file.parent.name, file.parent.name), "folders": from_one}
        for file in files
    )
    return Rows(folder, rows, _hash("\n".join(f"{row['label']}/{row['image'].name}" for row in rows))[:12])


def _shared(hub: HubSet, part: str, folder: Path | None) -> Rows:
    """The hub's rows, numbered from 1; Parquet files at hand may hold both parts, whatever the hub has."""
    found = read_set(hub if folder is None else replace(hub, splits={part: part}), part, folder)
    rows = [{**row, "id": number, "label": _truth(row["solution"])} for number, row in enumerate(found.rows, 1)]
    return Rows(found.file, tuple(rows), found.revision)


def _truth(solution: object) -> object:
    """What stands in the tags, where there are some."""
    tagged = _TRUTH.search(solution) if isinstance(solution, str) else None
    return tagged[1].strip() if tagged else solution
