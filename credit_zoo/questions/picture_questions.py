"""Rows of a set as questions whose pictures stay where they are until one is asked.

Up front every row is read and every picture's file looked for, but only a sample of the pictures is decoded; each other
one is checked when its question is taken. With `data.skip_bad=true` all are decoded up front, as their number has to be
known.
"""

import hashlib
import os
import re
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from os.path import commonpath
from pathlib import Path
from typing import overload

from credit_zoo.errors import UsageError
from credit_zoo.question import Question, Source, StoredPicture
from credit_zoo.questions.pictures import SKIP, BadImage, BadRow, Picture, open_image, picture_size
from credit_zoo.questions.table_cells import BadBox, Row

Asked = tuple[Question, Picture]
SAMPLE = 16  # pictures that are decoded before a set is used
THREADS = 8  # that decode, at most
_DIGEST = re.compile(r"[0-9a-f]{12}$")  # what a revision of local files ends in


@dataclass(frozen=True)
class PictureQuestions(Sequence[Question]):
    """Questions whose pictures are opened each time one is looked at, so that a set need not fit in memory.

    A question for a box is told the picture's size, and that the box is in pixels; with `clipped` a box ends where its
    picture does.
    """

    questions: tuple[Question, ...]
    images: tuple[Picture, ...]
    clipped: bool = False
    _sizes: dict[Picture, tuple[int, int]] = field(default_factory=dict, repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.questions)

    @overload
    def __getitem__(self, index: int) -> Question: ...
    @overload
    def __getitem__(self, index: slice) -> "PictureQuestions": ...
    def __getitem__(self, index: int | slice) -> "Question | PictureQuestions":
        if isinstance(index, slice):
            return PictureQuestions(self.questions[index], self.images[index], self.clipped, self._sizes)
        picture = self.images[index]
        question = replace(self.questions[index], image=StoredPicture(picture, open_image))
        if question.kind != "box":
            return question
        if picture not in self._sizes:
            self._sizes[picture] = picture_size(picture)
        return _inside(question, self._sizes[picture], self.clipped)

    def only(self, places: Sequence[int]) -> "PictureQuestions":
        """Those of them that stand at these places."""
        chosen = [(self.questions[at], self.images[at]) for at in places]
        return PictureQuestions(*_columns(chosen), self.clipped, self._sizes)


def with_pictures(
    source: Source,
    rows: Sequence[Row],
    ask: Callable[[Row], Question],
    picture: Callable[[Row], Picture],
    skip_bad: bool,
    clipped: bool = False,
) -> tuple[PictureQuestions, Source]:
    """The rows as questions; a row that cannot be asked is named, or with `skip_bad` left out and counted.

    The source's revision is made to depend on the names and sizes of the pictures' files too.
    """
    kept: list[Asked] = []
    bad: Counter[str] = Counter()
    sizes: dict[Picture, int] = {}
    first: object = "no row"
    for row in rows:
        try:
            path = first = picture(row)
            _look_for(path, sizes)
            kept.append((ask(row), path))
        except BadRow as error:
            if not skip_bad:
                raise
            bad[error.why] += 1
    made = PictureQuestions(*_columns(_checked(kept, clipped, skip_bad, bad)), clipped)
    if not made:
        why = ", ".join(f"{count} {name}" for name, count in bad.items())
        raise UsageError(f"none of the {len(rows)} pictures of {source.name} can be used ({why}); one is {first}")
    revision = _with_files(source.revision, sizes)
    return made, replace(source, rows=len(made), dropped={**source.dropped, **bad}, revision=revision)


def _columns(kept: Sequence[Asked]) -> tuple[tuple[Question, ...], tuple[Picture, ...]]:
    return tuple(question for question, _ in kept), tuple(path for _, path in kept)


def _look_for(path: Picture, sizes: dict[Picture, int]) -> None:
    """Keeps the size in bytes of a picture's file, without opening it."""
    if isinstance(path, Path) and path not in sizes:
        try:
            sizes[path] = path.stat().st_size
        except OSError as error:
            raise BadImage(f"the picture {path} is missing. {SKIP}") from error


def _checked(kept: Sequence[Asked], clipped: bool, skip_bad: bool, bad: Counter[str]) -> list[Asked]:
    """The questions, a sample of them looked at in full; with `skip_bad` those of all that can be asked."""
    step = 1 if skip_bad else max(1, -(-len(kept) // SAMPLE))
    seen = _looked_at([picture for _, picture in kept[::step]])
    good = []
    for number, (question, picture) in enumerate(kept):
        try:
            if number % step == 0:
                if isinstance(size := seen[picture], BadRow):
                    raise size
                if question.kind == "box":
                    _inside(question, size, clipped)
            good.append((question, picture))
        except BadRow as error:
            if not skip_bad:
                raise
            bad[error.why] += 1
    return good


def _looked_at(pictures: Sequence[Picture]) -> dict[Picture, tuple[int, int] | BadRow]:
    """Of each picture, decoded once, its size, or why it cannot be used. Decoders run beside each other."""

    def look(picture: Picture) -> tuple[int, int] | BadRow:
        try:
            return open_image(picture).size
        except BadRow as error:
            return error

    distinct = list(dict.fromkeys(pictures))
    with ThreadPoolExecutor(min(os.cpu_count() or 1, THREADS)) as threads:
        return dict(zip(distinct, threads.map(look, distinct), strict=True))


def _with_files(revision: str, sizes: dict[Picture, int]) -> str:
    """The revision of annotations together with that of the files that they name."""
    if not sizes or not _DIGEST.search(revision):
        return revision
    files = {path: size for path, size in sizes.items() if isinstance(path, Path)}
    above = commonpath([path.absolute().parent for path in files])  # wherever the set lies
    names = sorted(f"{path.absolute().relative_to(above)} {size}" for path, size in files.items())
    told = hashlib.sha256("\n".join([revision, *names]).encode()).hexdigest()[:12]
    return _DIGEST.sub(told, revision)


def _inside(question: Question, size: tuple[int, int], clipped: bool) -> Question:
    """The question with its picture's (width, height); a box may stick out by a pixel, as rounding makes it."""
    x1, y1, x2, y2 = map(float, question.answer.split(","))
    width, height = size
    if clipped:
        x1, x2 = (min(max(x, 0), width) for x in (x1, x2))
        y1, y2 = (min(max(y, 0), height) for y in (y1, y2))
    if not (-1 <= x1 < x2 <= width + 1 and -1 <= y1 < y2 <= height + 1):
        raise BadBox(
            f"{question.id}: the box {question.answer} is empty or outside its picture of {width} x {height} pixels. "
            f"{SKIP}"
        )
    answer = ",".join(f"{edge:.12g}" for edge in (x1, y1, x2, y2)) if clipped else question.answer
    meta = {**question.meta, "unit": "pixels", "size": size}
    return replace(question, image=question.held, answer=answer, meta=meta)
