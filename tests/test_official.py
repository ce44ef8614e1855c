"""The published rules, on vectors worked out by hand from their descriptions, holes included."""

import json
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from credit_zoo.answers.official import RULES, distance
from credit_zoo.question import Question
from credit_zoo.registry import BENCHMARKS

CHOICE = {"kind": "choice", "choices": ("7.5", "8", "8.5", "17"), "answer": "8.5"}
WHOLE, TENTH = {"kind": "integer", "answer": "14"}, {"kind": "float", "answer": "1.2", "precision": 1}
LETTER, BOTH = {"kind": "choice", "answer": "C"}, {"kind": "choice", "answer": "A, C"}
NINE, NO = {"kind": "choice", "choices": ("9", "4"), "answer": "9"}, {"kind": "choice", "answer": "No"}
ANGLE = {"kind": "choice", "choices": ("30°", "45°"), "answer": "45°"}
BOX, ROSE = {"kind": "box", "answer": "0,0,100,100"}, {"kind": "text", "answer": "desert-rose"}


def asked(**fields):
    return Question(**{"id": "q", "image": None, "text": "?", "kind": "math", "answer": "5", **fields})


def answer(text):
    return f"<think>x</think><answer>{text}</answer>"


@pytest.mark.parametrize(
    ("rule", "fields", "said", "right"),
    [
        ("mathvista", CHOICE, "(C)", 1), ("mathvista", CHOICE, "C", 1), ("mathvista", CHOICE, "(c) 7.5", 1),
        ("mathvista", CHOICE, "8.55", 1), ("mathvista", CHOICE, "8", 0), ("mathvista", CHOICE, "b", 0),
        ("mathvista", CHOICE, "(Z)", 0), ("mathvista", {**CHOICE, "answer": "8"}, "", 1),
        ("mathvista", WHOLE, "14.9", 1), ("mathvista", WHOLE, "14 cm", 0), ("mathvista", WHOLE, "inf", 0),
        ("mathvista", TENTH, "1.24", 1), ("mathvista", TENTH, "1.26", 0), ("mathvista", TENTH, "nan", 0),
        ("mathvista", {"kind": "list", "answer": "[1, 2]"}, "[1,2]", 0),
        ("logicvista", LETTER, "not A but c", 1), ("logicvista", LETTER, "cat", 1), ("logicvista", LETTER, "C or B", 0),
        ("logicvista", LETTER, "7", 0), ("logicvista", BOTH, "A, C", 0),
        ("puzzles", NINE, "19", 1), ("puzzles", NINE, "9 4", 1), ("puzzles", NINE, "4", 0),
        ("puzzles", NO, "I do not know", 1), ("puzzles", NINE, "", 0),
        ("mathverse", ANGLE, "B", 1), ("mathverse", ANGLE, "B. 45°", 0), ("mathverse", ANGLE, "45°", 0),
        ("refcoco", BOX, '{"bbox_2d": [0, 0, 100, 100]}', 1), ("refcoco", BOX, "[0, 0, 100, 100]", 0),
        ("refcoco", BOX, "{[9,9,9,9] [0,0,100,100]}", 1), ("refcoco", BOX, "{[0,0,100,50]}", 0),
        ("refcoco", BOX, "{[0,0,100,51]}", 1), ("refcoco", BOX, "{[0.5,0,100,100]}", 0),
        ("lisa_grounding", BOX, "{[200,200,300,300]}", 0), ("lisa_grounding", BOX, "{[5,5,5,5]}", 0),
        ("flowers102", ROSE, "", 1), ("flowers102", ROSE, "e", 1), ("flowers102", ROSE, "a Desert-Rose it is", 1),
        ("flowers102", ROSE, "lotus", 0), ("fgvc_aircraft", {"kind": "text", "answer": "Boeing 707"}, "7_0", 1),
    ],
)  # fmt: skip
def test_vectors(rule, fields, said, right):
    assert RULES[rule](asked(**fields), answer(said)) == right


def test_without_a_block_the_whole_response_is_judged_but_for_boxes():
    assert RULES["puzzles"](asked(**NINE), "it is 9") == 1
    assert RULES["refcoco"](asked(**BOX), "{[0,0,100,100]}") == 0


@pytest.mark.parametrize(("left", "right", "far"), [("kitten", "sitting", 3), ("", "abc", 3), ("abc", "abc", 0)])
def test_edit_distances_by_hand(left, right, far):
    assert distance(left, right) == distance(right, left) == far


def test_constants_on_mathvista_score_as_measured_with_the_original(zoo_data):
    """Published figures of the rule itself: an empty answer is right for 16.8% of testmini."""
    from credit_zoo.benchmarks.mathvista import _question

    file = zoo_data / "real" / "mathvista_annotations" / "testmini.json"
    if not file.is_file():
        pytest.skip("no MathVista annotations")
    questions = [_question(row) for row in json.loads(file.read_text(encoding="utf-8")).values()]
    right = {text: sum(RULES["mathvista"](q, answer(text)) for q in questions) for text in ("", "2", "4", "A", "C")}
    assert right == {"": 168, "2": 231, "4": 206, "A": 179, "C": 197}


FIELDS = {
    "fgvc_aircraft": ROSE, "flowers102": ROSE, "lisa_grounding": BOX, "logicvista": LETTER, "mathverse": ANGLE,
    "mathvista": CHOICE, "puzzles": NINE, "refcoco": BOX,
}  # fmt: skip


def test_every_rule_is_one_of_a_benchmark():
    assert set(RULES) == set(FIELDS) <= set(BENCHMARKS)


@pytest.mark.parametrize("rule", sorted(RULES))
@given(text=st.text() | st.text("[]{}(),0123456789.eABCabc<>/answer "))
@settings(deadline=None, max_examples=200)
def test_any_text_is_right_or_wrong(rule, text):
    for fields in (FIELDS[rule], WHOLE, TENTH) if rule == "mathvista" else (FIELDS[rule],):
        assert RULES[rule](asked(**fields), text) in (0, 1)
        assert RULES[rule](asked(**fields), answer(text)) in (0, 1)


@pytest.mark.parametrize("rule", sorted(RULES))
@pytest.mark.parametrize("piece", ["9", "[9,", "{[", "<answer>", "a ", "[1, ", "(A)", "e9", "{[1,1,1,1]}"])
def test_long_texts_are_judged_at_once(rule, piece):
    text = answer(piece * (100_000 // len(piece)))
    question = asked(**FIELDS[rule])
    started = time.process_time()
    RULES[rule](question, text)
    assert time.process_time() - started < 0.2
