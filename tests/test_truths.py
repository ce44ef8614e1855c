"""Every truth of the real sets at hand scores 1 in each accepted form, and a plausible neighbour of it scores 0.

The sets are read from the folder of data (`CREDIT_ZOO_DATA`); without it nothing here runs.
"""

import json
import re

import pytest
from credit_zoo.benchmarks.mathvista import _question

from credit_zoo.question import Question
from credit_zoo.registry import BENCHMARKS

THOUGHT = "<think>a</think>"
FORMS = ("<answer>{}</answer>", "\\boxed{{{}}}", "<answer>${}$</answer>", "<answer> {}. </answer>")
NUMBER = re.compile(r"-? ?\d+(\.\d+)?")
FRACTION = re.compile(r"\\frac \{ (\d+) \} \{ (\d+) \}")


def judged(made, question, answers):
    return [made.score(question, THOUGHT + FORMS[0].format(answer)).correct for answer in answers]


def own_forms(question):
    """The truth in each accepted form; of a choice its letter too."""
    spelled = [question.answer]
    if question.choices:
        letter = "ABCDEFGHIJ"[question.choices.index(question.answer)]
        spelled += [letter, f"({letter})"]
    forms = FORMS if question.kind == "math" else FORMS[:2]
    return [THOUGHT + form.format(text) for text in spelled for form in forms]


def neighbours(question):
    """Wrong answers that are near: the other choices, the number one off, the fraction inverted."""
    if question.choices:
        return [choice for choice in question.choices if choice != question.answer]
    if question.kind == "choice":
        return [letter for letter in "ABCD" if letter != question.answer]
    if turned := FRACTION.fullmatch(question.answer):
        return [f"\\frac{{{turned[2]}}}{{{turned[1]}}}"] if turned[1] != turned[2] else []
    if question.kind in ("math", "integer", "float") and NUMBER.fullmatch(question.answer):
        value = float(question.answer.replace(" ", ""))
        return [f"{value + 1:g}", f"{value - 1:g}"]
    return []


def check(name, questions, wanted, wrong, **settings):
    """All truths right, all neighbours wrong, and as many of both as there should be."""
    made = BENCHMARKS[name].factory(**settings)
    lost = [q.id for q in questions for form in own_forms(q) if made.score(q, form).correct != 1]
    near = [(q, answers) for q in questions if (answers := neighbours(q))]
    believed = [(q.id, q.answer, answers) for q, answers in near if any(judged(made, q, answers))]
    assert (lost, believed) == ([], [])
    assert (len(questions), sum(len(answers) for _, answers in near)) == (wanted, wrong)


def test_geometry3k(zoo_data):
    folder = zoo_data / "real" / "geometry3k_schematic"
    if not folder.is_dir():
        pytest.skip("no Geometry3K answers")
    rows = [row for split in ("train", "val", "test") for row in lines(folder / f"{split}.jsonl")]
    questions = [Question(str(k), None, "?", str(row["solution"]), "math") for k, row in enumerate(rows)]
    check("geometry3k", questions, 3002, 5419)


def lines(file):
    return map(json.loads, file.read_text(encoding="utf-8").splitlines())


@pytest.mark.parametrize(
    ("name", "where", "split", "settings", "truths", "wrong"),
    [
        ("puzzles", "puzzlevqa", "all", {}, 40, 112), ("puzzles", "algopuzzlevqa", "all", {}, 34, 98),
        ("logicvista", "logicvista", "test", {}, 37, 116),
        ("mathverse", "mathverse", "test", {"multiple_choice_only": False}, 50, 52),
    ],
)  # fmt: skip
def test_sets_with_pictures(zoo_data, name, where, split, settings, truths, wrong):
    if not (zoo_data / "real" / where).is_dir():
        pytest.skip(f"no {where}")
    questions, _ = BENCHMARKS[name].factory(**settings).load(split, zoo_data / "real" / where)
    check(name, questions.questions, truths, wrong, **settings)


def test_mathvista(zoo_data):
    file = zoo_data / "real" / "mathvista_annotations" / "testmini.json"
    if not file.is_file():
        pytest.skip("no MathVista annotations")
    questions = [_question(row) for row in json.loads(file.read_text(encoding="utf-8")).values()]
    check("mathvista", questions, 1000, 2229)
