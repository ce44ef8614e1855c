"""LogicVista: reasoning puzzles of aptitude tests, the options mostly in the picture, a letter as answer.

Source: Xiao et al. (arXiv:2407.04973), github.com/Yijia-Xiao/LogicVista, on the hub lscpku/LogicVista; 448
questions in five skills. Licence: Apache-2.0; the pictures are from third-party test sites.

Sample row (`annotations.jsonl`):
    {"id": "v1_4", "image": "images/v1_4.png", "question": "Who is the odd-one-out? Select answers from A-I",
     "answer": "G", "skill": ["inductive"]}

Headline: avg@8 accuracy. PEPO takes the last letter that stands alone, else the first letter of any word (`cat` is
C), and leaves out the three questions with two letters as truth; the official score has a language model pick the
letters out. Here an answer that is no letter, or holds more letters than the truth, is wrong.

Known traps: the options stand in the picture, up to nine of them (A to I), so the letter is the answer, not an
option's text. A truth of two letters (`A, C`) is a set: both must be named, in any order. One truth is `3` and one
row is empty: both are left out, counted, and 446 remain. 81 pictures are transparent, two with black beneath: they
are put on white.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from credit_zoo.answers import letters, score_response
from credit_zoo.errors import UsageError
from credit_zoo.question import Question, Score, Source, Split
from credit_zoo.questions import (
    HubSet,
    Layout,
    Row,
    Rows,
    annotated,
    hub_layout,
    layout_of,
    need_some,
    picture_of,
    read_rows,
    read_set,
    strings,
    text,
    text_or,
    with_pictures,
)
from credit_zoo.registry import BENCHMARKS

_COLUMNS = ("question", "answer", "skill")
_HUB = HubSet("lscpku/LogicVista", {"test": "test"}, _COLUMNS)
_OPTIONS = frozenset("ABCDEFGHI")
_CLONES = ("data", ".")  # where a clone keeps dataset.json and images/


@BENCHMARKS.register(
    "logicvista",
    version=1,
    headline="avg@8 accuracy",
    trains_on="geometry3k",
    source="arXiv:2407.04973",
    licence="Apache-2.0",
)
@dataclass(frozen=True)
class LogicVista:
    """Reads annotations of ours, a clone of the authors' repository, and the hub's files."""

    @property
    def twin(self) -> None:
        """None: it is measured on the real set."""

    @property
    def layouts(self) -> tuple[Layout, ...]:
        """The folders that are read."""
        clone = "a clone of Yijia-Xiao/LogicVista, or its folder data: dataset.json beside images/"
        return annotated(("id", "image", *_COLUMNS)), Layout(clone, _clone, _cloned), hub_layout(_HUB)

    def load(self, split: Split, data: Path | None, skip_bad: bool = False) -> tuple[Sequence[Question], Source]:
        """All rows with a letter as answer, under the split "test" (or "all"): nothing here is to train on."""
        if split not in ("test", "all"):
            raise UsageError(f"logicvista has no split '{split}', only test: train on geometry3k, then measure here")
        found = layout_of("logicvista", data, self.layouts).read(data, "test") if data else read_set(_HUB, "test", None)
        numbered: list[Row] = [{"id": at, **row} for at, row in enumerate(found.rows)]
        rows = [row for row in numbered if _letters(row)]
        dropped = Counter(
            "truth is no letter" if _answer(row) else "no answer" for row in numbered if not _letters(row)
        )
        need_some(rows, f"{found.file}", dropped)
        source = Source("logicvista", twin=False, revision=found.revision, rows=len(rows), dropped=dropped)
        return with_pictures(source, rows, _question, lambda row: picture_of(row, data), skip_bad)

    def prompt(self, question: Question) -> str:
        """The question alone, which names the letters to choose from, as in PEPO."""
        return question.text

    def score(self, question: Question, response: str) -> Score:
        """The letter, or all of the letters and no other."""
        return score_response(question, response)


def _clone(data: Path) -> Path | None:
    return next((data / one for one in _CLONES if (data / one / "dataset.json").is_file()), None)


def _cloned(data: Path, split: Split) -> Rows:
    """The authors' rows, by id, each with the name of its picture."""
    folder = _clone(data) or data
    found = read_rows(folder, ("imagename", *_COLUMNS), "dataset.json")
    rows = [{**row, "image": folder / "images" / text_or(row, "imagename", f"{row['id']}.png")} for row in found.rows]
    return Rows(found.file, tuple(rows), found.revision)


def _answer(row: Row) -> str:
    return text_or(row, "answer", "").strip()


def _letters(row: Row) -> frozenset[str]:
    found = letters(_answer(row))
    return found if found <= _OPTIONS else frozenset()


def _question(row: Row) -> Question:
    return Question(
        id=f"logicvista-{text(row, 'id')}",
        image=None,
        text=text(row, "question").strip(),
        answer=", ".join(sorted(_letters(row))),
        kind="choice",
        category=" ".join(strings(row, "skill")) or "all",
    )
