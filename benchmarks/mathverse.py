r"""MathVerse: one geometry or function problem in five versions, from all in the text to all in the picture.

Source: Zhang et al. (arXiv:2403.14624), AI4Math/MathVerse; testmini has 788 problems in five versions, 3,940 rows,
of which 436 a version have options to choose from. Licence: MIT.

Sample row (`annotations.jsonl`; the official `testmini.json`, beside `images/`, and the hub's copy keep the options
in the question, after "Choices:", and the version in `problem_version`):
    {"id": "105", "question": "... Does the graphed function have an even or odd power?",
     "image": "images/105.png", "choices": ["A:Odd", "B:Even"], "answer": "B", "question_type": "multi_choice",
     "metadata": {"source": "Functions (Self-Collected)", "problem_version": "Text Dominant"}}

Headline: avg@8 accuracy over the questions with options (PEPO's protocol). The official score has a language model
extract and judge the answer: it is higher and not comparable.

Known traps: PEPO compares the whole answer with the letter, so `B. 45°` is wrong there and right here. An option's
text counts as its letter does. "Vision Only" has no question in the text: the prompt points to the picture. Its
options are read from the hub's `question_for_eval`; where that is missing only the letter counts, and a letter as
truth makes the row a choice, as the rows of the authors' web page call all of them free. Some truths are dirty: `(C)`
is C, an option's own text is that option; the rest (`C\nD`) are left out, counted. 129 problems come from Geometry3K:
after training on that set they are not out of domain. The web page's rows name a subject as their source, so
`drop_geometry3k` finds none there. Open answers need `multiple_choice_only=false`: degrees garbled to `掳` are
repaired, `Center $=(20,10)$` is `$(20,10)$`, but a bearing `329° T` needs its T, and sentences are compared as text.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from string import ascii_uppercase

from credit_zoo.answers import key, score_response
from credit_zoo.errors import UsageError, unknown
from credit_zoo.question import Question, Score, Source, Split
from credit_zoo.questions import (
    BadRow,
    HubSet,
    Layout,
    Picture,
    Row,
    Rows,
    annotated,
    hub_layout,
    is_empty,
    layout_of,
    need_some,
    picture_of,
    read_rows,
    read_set,
    strings,
    table,
    table_file,
    text,
    text_or,
    with_pictures,
)
from credit_zoo.registry import BENCHMARKS

VERSIONS = ("Text Dominant", "Text Lite", "Vision Intensive", "Vision Dominant", "Vision Only")

_COLUMNS = ("question", "answer", "question_type", "metadata")
_OFFICIAL = ("sample_index", "problem_version", *_COLUMNS)
_HUB = HubSet("AI4Math/MathVerse", {"test": "testmini"}, (*_OFFICIAL, "question_for_eval"), config="testmini")
_FILE = "testmini.json"
_LETTER = re.compile(r"\(?([A-Z])\)?\.?")
_CHOICES = re.compile(r"\n?\s*Choices?:\s*\n")
_OPTION = re.compile(r"^\(?([A-Z])\)?\s*[:.)]", re.MULTILINE)
_NAMED = re.compile(r"^[A-Za-z ]{2,}\$\s*=")
_ASK_LETTER = "Answer with the option's letter from the given choices directly."


@BENCHMARKS.register(
    "mathverse",
    version=1,
    headline="avg@8 accuracy",
    trains_on="geometry3k",
    source="arXiv:2403.14624",
    licence="MIT",
)
@dataclass(frozen=True)
class MathVerse:
    """`version` picks one of the five, "" all of them; `drop_geometry3k` leaves out what comes from Geometry3K.

    `multiple_choice_only` is PEPO's choice, and ours: no rule grades all of the open answers.
    """

    version: str = ""
    multiple_choice_only: bool = True
    drop_geometry3k: bool = False

    def __post_init__(self) -> None:
        if self.version and self.version not in VERSIONS:
            raise unknown("version of MathVerse", self.version, VERSIONS)

    @property
    def twin(self) -> None:
        """None: it is measured on the real set."""

    @property
    def layouts(self) -> tuple[Layout, ...]:
        """The folders that are read."""
        return (
            annotated(("id", "image", "choices", *_COLUMNS)),
            Layout(
                f"the official {_FILE} beside images/",
                lambda data: table_file(data, _FILE),
                _official,
            ),
            hub_layout(_HUB),
        )

    def load(self, split: Split, data: Path | None, skip_bad: bool = False) -> tuple[Sequence[Question], Source]:
        """The rows of testmini, under the split "test" (or "testmini", or "all"): nothing here is to train on."""
        if split not in ("test", "testmini", "all"):
            raise UsageError(f"mathverse has no split '{split}', only test: train on geometry3k, then measure here")
        found = layout_of("mathverse", data, self.layouts).read(data, "test") if data else read_set(_HUB, "test", None)
        asked = [row for row in found.rows if self.version in ("", _version(row))]
        need_some(asked, f"version '{self.version}' of {found.file}", Counter(map(_version, found.rows)))
        reasons = [self._dropped(row) for row in asked]
        rows = [row for row, why in zip(asked, reasons, strict=True) if not why]
        dropped = Counter(why for why in reasons if why)
        need_some(rows, f"what is asked of {found.file}", dropped)
        source = Source("mathverse", twin=False, revision=found.revision, rows=len(rows), dropped=dropped)
        return with_pictures(source, rows, _question, lambda row: _picture(data, row), skip_bad)

    def prompt(self, question: Question) -> str:
        """The question with its lettered options, as in the set; PEPO's call for the letter comes last."""
        lines = [question.text or "Answer the question shown in the image."]
        if question.choices and question.text:
            lines += [
                "Choices:",
                *(f"{letter}:{text}" for letter, text in zip(ascii_uppercase, question.choices, strict=False)),
            ]
        return "\n".join([*lines, _ASK_LETTER] if question.kind == "choice" else lines)

    def score(self, question: Question, response: str) -> Score:
        """The option's letter or text; for an open answer the value."""
        return score_response(question, response)

    def _dropped(self, row: Row) -> str:
        """Why a row is not asked, "" where it is."""
        if not isinstance(row["image"], list) and is_empty(row["image"]):
            return "no picture"
        try:
            question = _question(row)
        except BadRow:
            return ""  # told, or counted, with the bad pictures
        if self.drop_geometry3k and question.meta["origin"].casefold() == "geometry3k":
            return "from Geometry3K"
        if self.multiple_choice_only and question.kind != "choice":
            return "open answer"
        return "" if question.answer else "truth is no single option" if question.kind == "choice" else "no answer"


def _official(data: Path, split: Split) -> Rows:
    found = read_rows(data, ("image", *_OFFICIAL), _FILE)
    return Rows(found.file, tuple({**row, "id": row["sample_index"]} for row in found.rows), found.revision)


def _version(row: Row) -> str:
    return text_or(row, "problem_version", "") or text_or(table(row, "metadata"), "problem_version", "unknown")


def _picture(data: Path | None, row: Row) -> Picture:
    """The hub's cell, or a file; the official file names pictures from `images/` on."""
    inside = picture_of(row, data / "images" if data else None)
    return inside if data is None or not isinstance(inside, Path) or inside.is_file() else picture_of(row, data)


def _parted(text: str) -> tuple[str, tuple[str, ...]]:
    """The question and its options; the whole text and none where they cannot be told apart for certain.

    Options that are letters themselves are not told apart: `B` would be either of two.
    """
    parts = _CHOICES.split(text.strip())
    before, *listed = _OPTION.split(parts[-1])
    options = tuple(option.strip() for option in listed[1::2])
    in_order = "".join(listed[::2]) == ascii_uppercase[: len(options)]
    clear = len(parts) == 2 and not before and len(options) > 1 and in_order
    if clear and all(one and not _LETTER.fullmatch(one) for one in options):
        return parts[0].strip(), options
    return text.strip(), ()


def _truth(answer: str, choices: tuple[str, ...]) -> str:
    """The right option's text, its letter where the options are unknown, "" where no single one is meant."""
    if letter := _LETTER.fullmatch(answer):
        place = ascii_uppercase.index(letter[1])
        return choices[place] if place < len(choices) else "" if choices else letter[1]
    same = [choice for choice in choices if key(choice) == key(answer)]
    return same[0] if len(same) == 1 else ""


def _question(row: Row) -> Question:
    options = strings(row, "choices")
    asked = "\n".join([text_or(row, "question", ""), *(["Choices:", *options] if options else [])]).strip()
    whole = asked or text_or(row, "question_for_eval", "")
    answer = text_or(row, "answer", "").replace("掳", "°").strip()
    multiple = text(row, "question_type").startswith("multi") or (not whole and bool(_LETTER.fullmatch(answer)))
    spoken, choices = _parted(whole) if multiple else (whole, ())
    return Question(
        id=f"mathverse-{text(row, 'id' if 'id' in row else 'sample_index')}",
        image=None,
        text=spoken if asked else "",
        answer=_truth(answer, choices) if multiple else _NAMED.sub("$", answer, count=1),
        kind="choice" if multiple else "math",
        choices=choices,
        category=_version(row),
        meta={"origin": text_or(table(row, "metadata"), "source", "")},
    )
