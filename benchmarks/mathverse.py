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
from credit_zoo.registry import BENCHMARKS, UsageError, unknown

VERSIONS = ("Text Dominant", "Text Lite", "Vision Intensive", "Vision Dominant", "Vision Only")

_COLUMNS = ("question", "answer", "question_type", "metadata")
_OFFICIAL = ("sample_index", "problem_version", *_COLUMNS)
_HUB = HubSet("AI4Math/MathVerse", {"test": "testmini"}, (*_OFFICIAL, "question_for_eval"), config="testmini")
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

    def load(self, split: Split, data: Path | None, skip_bad: bool = False) -> tuple[Sequence[Question], Source]:
        """The rows of testmini, under the split "test" (or "all"): MathVerse has nothing to train on."""
        if split not in ("test", "all"):
            raise UsageError(f"mathverse has no split '{split}', only test: train on geometry3k, then measure here")
        if data is None or holds(data):
            found = read_set(_HUB, "test", data)
        elif not (data / "annotations.jsonl").is_file() and (data / "testmini.json").is_file():
            found = read_rows(data, ("image", *_OFFICIAL), "testmini.json")
        else:
            found = read_rows(data, ("id", "image", "choices", *_COLUMNS))
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
        question = _question(row)
        if not row["image"]:
            return "no picture"
        if self.drop_geometry3k and question.meta["origin"].casefold() == "geometry3k":
            return "from Geometry3K"
        if self.multiple_choice_only and question.kind != "choice":
            return "open answer"
        return "" if question.answer else "truth is no single option" if question.kind == "choice" else "no answer"


def _version(row: Row) -> str:
    return str(row.get("problem_version") or (row["metadata"] or {}).get("problem_version", "unknown"))


def _picture(data: Path | None, row: Row) -> Picture:
    """The hub's cell, or a file; the official file names pictures from `images/` on."""
    held: Picture | str = row["image"]
    if data is None or not isinstance(held, str):
        return Path(held) if isinstance(held, str) else held
    inside = picture_path(data / "images", row["image"])
    return inside if inside.is_file() else picture_path(data, row["image"])


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
    options = strings(row, "choices") if "choices" in row else ()
    asked = "\n".join([str(row["question"] or ""), *(["Choices:", *options] if options else [])]).strip()
    whole = asked or str(row.get("question_for_eval") or "")
    answer = "" if row["answer"] is None else str(row["answer"]).replace("掳", "°").strip()
    multiple = str(row["question_type"]).startswith("multi") or (not whole and bool(_LETTER.fullmatch(answer)))
    text, choices = _parted(whole) if multiple else (whole, ())
    return Question(
        id=f"mathverse-{row.get('id', row.get('sample_index'))}",
        image=None,
        text=text if asked else "",
        answer=_truth(answer, choices) if multiple else _NAMED.sub("$", answer, count=1),
        kind="choice" if multiple else "math",
        choices=choices,
        category=_version(row),
        meta={"origin": str((row["metadata"] or {}).get("source", ""))},
    )
