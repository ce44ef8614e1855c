"""A question about a picture, where it comes from, and the verdict on a response. Imports neither torch nor pillow."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from PIL.Image import Image

Kind = Literal["integer", "float", "math", "choice", "list", "text", "box"]
Split = str  # "train", "val" or "test", "all" of them, or another part that a set has, as RefCOCO has "testA"
SPLITS: tuple[Split, ...] = ("train", "val", "test")


@dataclass(frozen=True)
class StoredPicture:
    """A picture that is opened each time it is asked for; `source` says where it is, by `==` the same for the same."""

    source: Any
    opener: Callable[[Any], "Image"]

    def open(self) -> "Image":
        """The picture, decoded."""
        return self.opener(self.source)


@dataclass(frozen=True)
class Question:
    """One question about one image, whatever set it comes from.

    `image` is made from a picture, a `StoredPicture`, or, in what a benchmark's `load` returns, the path of a file;
    what is stored is opened when `image` is read, and not kept, so that many questions fit in memory.
    `text` is the question without image token, choices and instructions; `answer` the truth as text (for
    `kind="choice"` the text of the right choice, never its letter; for `kind="box"` "x1,y1,x2,y2").
    `precision` is the number of decimals asked for (`kind="float"`).
    """

    id: str
    image: "Image | Any | None"
    text: str
    answer: str
    kind: Kind
    choices: tuple[str, ...] = ()
    precision: int | None = None
    category: str = "all"
    meta: Mapping[str, Any] = field(default_factory=dict)

    @property
    def held(self) -> "Image | StoredPicture | Path | str | None":
        """The picture as it is kept, unopened."""
        return vars(self)["image"]  # type: ignore[no-any-return]


class _Opened:
    """How `Question.image` is read and kept: a dataclass's field has no other place for it."""

    def __get__(self, question: Question | None, owner: type) -> Any:
        held = self if question is None else question.held
        return held.open() if isinstance(held, StoredPicture) else held

    def __set__(self, question: Question, held: Any) -> None:
        vars(question)["image"] = held


Question.image = _Opened()  # type: ignore[assignment]


@dataclass(frozen=True)
class Score:
    """The verdict on one response.

    `correct` is in [0, 1] (0 or 1 for exact answers); `extracted` is the answer found in the response, None
    where none was found; `formatted` says whether the response has one think block, then one answer block,
    and nothing else. `overlap` is the intersection over union with the true box, in [0, 1], 0 where no box was
    found; None for questions that are not about boxes.
    """

    correct: float
    extracted: str | None
    formatted: bool
    overlap: float | None = None


@dataclass(frozen=True)
class Source:
    """Where the questions came from, as the record tells it; `rows` is 0 for an endless twin."""

    name: str
    twin: bool
    revision: str
    rows: int
    dropped: Mapping[str, int] = field(default_factory=dict)

    def __str__(self) -> str:
        kind = "procedural twin" if self.twin else "real"
        dropped = "".join(f", {count} dropped ({why})" for why, count in self.dropped.items())
        rows = f", {self.rows} questions" if self.rows else ""
        return f"{self.name} ({kind}, {self.revision}{rows}{dropped})"
