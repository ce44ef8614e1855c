"""A question about a picture, where it comes from, and the verdict on a response. Imports neither torch nor pillow."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from PIL.Image import Image

Kind = Literal["integer", "float", "math", "choice", "list", "text", "box"]
Split = Literal["train", "val", "test", "all"]


@dataclass(frozen=True)
class Question:
    """One question about one image, whatever set it comes from.

    `text` is the question without image token, choices and instructions; `answer` the truth as text (for
    `kind="choice"` the text of the right choice, never its letter; for `kind="box"` "x1,y1,x2,y2").
    `precision` is the number of decimals asked for (`kind="float"`).
    """

    id: str
    image: "Image | None"
    text: str
    answer: str
    kind: Kind
    choices: tuple[str, ...] = ()
    precision: int | None = None
    category: str = "all"
    meta: Mapping[str, Any] = field(default_factory=dict)


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
