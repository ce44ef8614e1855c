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
from credit_zoo.question import Question, Score, Source, Split
from credit_zoo.questions import (
    HubSet,
    Picture,
    Row,
    holds,
    need_some,
    picture_path,
    read_rows,
    read_set,
    strings,
    with_pictures,
)
from credit_zoo.registry import BENCHMARKS, UsageError

_COLUMNS = ("question", "answer", "skill")
_HUB = HubSet("lscpku/LogicVista", {"test": "test"}, _COLUMNS)
_OPTIONS = frozenset("ABCDEFGHI")


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
    """Reads `annotations.jsonl` and the hub's files."""

    @property
    def twin(self) -> None:
        """None: it is measured on the real set."""

    def load(self, split: Split, data: Path | None, skip_bad: bool = False) -> tuple[Sequence[Question], Source]:
        """All rows with a letter as answer, under the split "test" (or "all"): nothing here is to train on."""
        if split not in ("test", "all"):
            raise UsageError(f"logicvista has no split '{split}', only test: train on geometry3k, then measure here")
        if data is None or holds(data):
            found = read_set(_HUB, "test", data)
        else:
            found = read_rows(data, ("id", "image", *_COLUMNS))
        numbered = [{"id": at, **row} for at, row in enumerate(found.rows)]
        rows = [row for row in numbered if _letters(row)]
        dropped = Counter(
            "truth is no letter" if _answer(row) else "no answer" for row in numbered if not _letters(row)
        )
        need_some(rows, f"{found.file}", dropped)
        source = Source("logicvista", twin=False, revision=found.revision, rows=len(rows), dropped=dropped)
        return with_pictures(source, rows, _question, lambda row: _picture(data, row), skip_bad)

    def prompt(self, question: Question) -> str:
        """The question alone, which names the letters to choose from, as in PEPO."""
        return question.text

    def score(self, question: Question, response: str) -> Score:
        """The letter, or all of the letters and no other."""
        return score_response(question, response)


def _answer(row: Row) -> str:
    return str(row["answer"] or "").strip()


def _letters(row: Row) -> frozenset[str]:
    found = letters(_answer(row))
    return found if found <= _OPTIONS else frozenset()


def _picture(data: Path | None, row: Row) -> Picture:
    if data is not None and isinstance(row["image"], str):
        return picture_path(data, row["image"])
    cell: Picture = row["image"]
    return cell


def _question(row: Row) -> Question:
    return Question(
        id=f"logicvista-{row['id']}",
        image=None,
        text=str(row["question"]).strip(),
        answer=", ".join(sorted(_letters(row))),
        kind="choice",
        category=" ".join(strings(row, "skill")) or "all",
    )
