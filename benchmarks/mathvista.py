"""MathVista: charts, tables, diagrams and photographs, with choices, integers, decimals and lists as answers.

Source: Lu et al. (arXiv:2310.02255), AI4Math/MathVista; testmini has 1,000 questions with answers (the 5,141 of
test are without). Licence: CC BY-SA 4.0; some pictures have their own terms.

Sample row (`annotations.jsonl`, or the official `testmini.json`, beside `images/`):
    {"pid": "28", "question": "... Find the radius of the circle.", "image": "images/28.jpg",
     "choices": ["7.5", "8", "8.5", "17"], "unit": null, "precision": null, "answer": "8.5",
     "question_type": "multi_choice", "answer_type": "text", "metadata": {...}}

Headline: avg@8 accuracy over testmini, graded by rule (PEPO's protocol). Published numbers with answers picked
out by a language model are higher and not comparable.

Known traps: the official normaliser maps any text to the nearest choice by edit distance, so an empty answer
scores; here only a choice's letter or text counts. It also truncates 14.9 to 14; here 14.9 is not 14. 62 of the
questions are from Geometry3K's own set: after training on that set they are not out of domain, and
`mathvista.drop_geometry3k=true` leaves them out. On the hub the picture is in `decoded_image`, while
`image` is a path. A wrong choice may be listed twice. The
choices `(c) (a) (e) (d) (b)` of two questions make `B` ambiguous: a bare letter is the place in the list, as the
query asks for it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from credit_zoo.answers import score_response
from credit_zoo.errors import UsageError
from credit_zoo.question import Kind, Question, Score, Source, Split
from credit_zoo.questions import (
    SKIP,
    BadCell,
    HubSet,
    Layout,
    Row,
    annotated,
    decimals,
    hub_layout,
    is_empty,
    layout_of,
    picture_of,
    place,
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

if TYPE_CHECKING:
    from credit_zoo.twins import Twin

_COLUMNS = ("pid", "question", "choices", "unit", "precision", "answer", "question_type", "answer_type")
_HUB = HubSet("AI4Math/MathVista", {"test": "testmini"}, (*_COLUMNS, "metadata"), image="decoded_image")
_OFFICIAL = "testmini.json"
_KINDS: dict[str, Kind] = {"integer": "integer", "float": "float", "list": "list"}
_DECIMALS = {1: ("one decimal place", "1.2, 1.3, 1.4"), 2: ("two decimal places", "1.23, 1.34, 1.45")}
_ASKED = "Hint: Please answer the question requiring"


@BENCHMARKS.register(
    "mathvista",
    version=1,
    headline="avg@8 accuracy",
    trains_on="geometry3k",
    source="arXiv:2310.02255",
    licence="CC BY-SA 4.0",
)
@dataclass(frozen=True)
class MathVista:
    """`drop_geometry3k` leaves out the questions that come from Geometry3K. Default: all, as published numbers do."""

    drop_geometry3k: bool = False

    @property
    def twin(self) -> "Twin":
        """Charts, tables and diagrams drawn by code."""
        from credit_zoo.twins.mathvista import TWIN

        return TWIN

    @property
    def layouts(self) -> tuple[Layout, ...]:
        """The folders that are read."""
        columns = (*_COLUMNS, "image")
        return (
            annotated(columns),
            Layout(
                f"the official {_OFFICIAL} beside images/",
                lambda data: table_file(data, _OFFICIAL),
                lambda data, _: read_rows(data, columns, _OFFICIAL),
            ),
            hub_layout(_HUB),
        )

    def load(self, split: Split, data: Path | None, skip_bad: bool = False) -> tuple[Sequence[Question], Source]:
        """All rows with an answer, under the split "test" (or "testmini", or "all"): nothing here is to train on."""
        if split not in ("test", "testmini", "all"):
            raise UsageError(f"mathvista has no split '{split}', only test: train on geometry3k, then measure here")
        found = layout_of("mathvista", data, self.layouts).read(data, "test") if data else read_set(_HUB, "test", None)
        answered = [row for row in found.rows if not is_empty(row.get("answer"))]
        rows = [row for row in answered if not (self.drop_geometry3k and _origin(row) == "Geometry3K")]
        if not rows:
            raise UsageError(f"{found.file} has no row with an answer: the set to measure on is testmini")
        counts = {"no answer": len(found.rows) - len(answered), "from Geometry3K": len(answered) - len(rows)}
        dropped = {why: count for why, count in counts.items() if count}
        source = Source("mathvista", twin=False, revision=found.revision, rows=len(rows), dropped=dropped)
        return with_pictures(source, rows, _question, lambda row: picture_of(row, data), skip_bad)

    def prompt(self, question: Question) -> str:
        """The official query: a hint on the answer's type, the question with its unit, the lettered choices."""
        unit = question.meta.get("unit")
        lines = [f"Question: {question.text}" + (f" (Unit: {unit})" if unit else "")]
        hint = _hint(question)
        if question.choices:
            lines += ["Choices:", *(f"({chr(ord('A') + at)}) {text}" for at, text in enumerate(question.choices))]
        return "\n".join([hint, *lines] if hint else lines).strip()

    def score(self, question: Question, response: str) -> Score:
        """By type: the choice's letter or text, the integer, the decimal after rounding, the list in order."""
        return score_response(question, response)


def _hint(question: Question) -> str:
    if question.kind == "choice":
        return "Hint: Please answer the question and provide the correct option letter, e.g., A, B, C, D, at the end."
    if question.kind == "integer":
        return f"{_ASKED} an integer answer and provide the final value, e.g., 1, 2, 3, at the end."
    if question.kind == "float" and question.precision in _DECIMALS:
        places, examples = _DECIMALS[question.precision]
        return (
            f"{_ASKED} a floating-point number with {places} and provide the final value, e.g., {examples}, at the end."
        )
    if question.kind == "list":
        lists = "[1, 2, 3], [1.2, 1.3, 1.4]"
        return f"{_ASKED} a Python list as an answer and provide the final list, e.g., {lists}, at the end."
    return ""


def _origin(row: Row) -> str:
    return text_or(table(row, "metadata"), "source", "")


def _question(row: Row) -> Question:
    choices, answer = strings(row, "choices"), text(row, "answer")
    if choices and answer not in choices:
        raise BadCell(f"{place(row)}: mathvista's answer {answer!r} is none of the choices {choices}. {SKIP}")
    unit = text_or(row, "unit", "")
    return Question(
        id=f"mathvista-{text(row, 'pid')}",
        image=None,
        text=text(row, "question"),
        answer=answer,
        kind="choice" if choices else _KINDS.get(text_or(row, "answer_type", "text"), "text"),
        choices=choices,
        precision=decimals(row, "precision"),
        category=text_or(table(row, "metadata"), "task", "all"),
        meta={"unit": unit or None, "origin": _origin(row)},
    )
