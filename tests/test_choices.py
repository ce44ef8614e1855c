"""Answers that pick an option or a letter: what counts as picking, and what as hedging."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from credit_zoo.answers.choices import same_choice, same_letter
from credit_zoo.answers.class_names import same_class


@pytest.mark.parametrize(
    ("answer", "choices", "truth", "same"),
    [
        ("b", ("3/11", "8/11"), "8/11", True), ("B) 8/11", ("3/11", "8/11"), "8/11", True),
        ("\\frac{8}{11}", ("3/11", "8/11"), "8/11", True), ("A or B", ("3/11", "8/11"), "8/11", False),
        ("AB", ("3/11", "8/11"), "8/11", False), ("B", ("(b)", "(a)"), "(a)", True),
        ("(b)", ("(b)", "(a)"), "(b)", True), ("B", ("C", "A", "B"), "B", True), ("(B)", ("C", "A"), "A", True),
        ("145", ("145°", "35°"), "145°", True), ("-4", ("6-10", "11-15"), "11-15", False),
        ("2", ("2cm", "2cm2"), "2cm", False), ("D", ("x", "y", "z"), "z", False), ("A. No", ("Yes", "No"), "Yes", False),
        ("16√3", ("16 \\sqrt { 2 }", "16 \\sqrt { 3 }"), "16 \\sqrt { 3 }", True), ("", ("", "x"), "", False),
    ],
)  # fmt: skip
def test_picks_a_choice(answer, choices, truth, same):
    assert same_choice(answer, choices, truth) is same


@given(st.lists(st.sampled_from(["red", "blue", "light red", "12", "3.5", "x+1"]), min_size=2, unique=True), st.data())
def test_a_choice_is_right_by_letter_and_by_text_alone(choices, data):
    at = data.draw(st.integers(0, len(choices) - 1))
    letter = chr(ord("A") + at)
    for answer in (letter, letter.lower(), f"({letter})", f"{letter}. {choices[at]}", choices[at], choices[at].upper()):
        assert [same_choice(answer, choices, truth) for truth in choices] == [truth == choices[at] for truth in choices]
    assert not same_choice(" or ".join(choices), choices, choices[at])


@pytest.mark.parametrize(
    ("answer", "truth", "same"),
    [
        ("Option C", "C", True), ("(c).", "C", True), ("C and not D", "C", False), ("C: A or B", "C", False),
        ("C, A", "A, C", True), ("A and C", "A, C", True), ("A. the red one", "A", True), ("a cat", "A", False),
    ],
)  # fmt: skip
def test_names_letters(answer, truth, same):
    assert same_letter(answer, truth) is same


@pytest.mark.parametrize(
    ("answer", "same"),
    [
        ("B - the red one", True), ("Answer：B", True), ("B:", True), ("B. Not enough information", True), ("B: False", True),
        ("B (the red one)", True), ("B is correct", True), ("**B.** red", True), ("B – red", True), ("B。", True), ("答案：B", True),
        ("B. is wrong", False), ("B. maybe c", False), ("B) ruled out", False), ("B is wrong", False), ("B. c", False),
        ("B. (C)", False), ("B?", False), ("B - or C", False), ("B. definitely not", False), ("B (not C)", False),
        ("B, C", False), ("B. Option C", False), ("B. does not fit", False), ("B) is ruled out", False), ("A B", False),
    ],
)  # fmt: skip
def test_what_follows_a_letter_may_unsay_it(answer, same):
    assert same_letter(answer, "B") is same


VALUES = ("30", "45", "60", "90")


@pytest.mark.parametrize(
    ("answer", "choices", "truth", "same"),
    [
        ("C = 45", VALUES, "45", False), ("C = 45", VALUES, "60", False), ("45 = C", VALUES, "45", False), ("c = 45", VALUES, "45", False),
        ("B = 45", VALUES, "45", True), ("x = 45", VALUES, "45", True), ("∠C = 45", VALUES, "45", True), ("C:", VALUES, "60", True),
        ("B - 45", VALUES, "45", True), ("B - 60", VALUES, "45", False), ("C (60)", VALUES, "60", True), ("A - 4", ("-4", "4"), "-4", True),
        ("A D", ("A D", "D", "B E"), "A D", True), ("a d", ("B E", "A D"), "A D", True), ("A D", ("D", "A D"), "D", False),
        ("BC", ("A BC", "DE"), "A BC", False), ("A 320", ("A320", "320"), "A320", True), ("A 320", ("320", "330"), "320", False),
        ("a car", ("Car", "Bus"), "Car", True), ("car", ("A car", "A bus"), "A car", True), ("the car", ("car", "bus"), "car", True),
    ],
)  # fmt: skip
def test_letters_articles_and_values_do_not_pass_for_one_another(answer, choices, truth, same):
    assert same_choice(answer, choices, truth) is same


@pytest.mark.parametrize(
    ("answer", "truth", "same"),
    [
        ("Airbus A320", "A320", True), ("Boeing A320", "A320", False), ("Airbus 707-320", "707-320", False),
        ("Boeing Boeing 717", "Boeing 717", False), ("British Aerospace BAE 146-200", "BAE 146-200", True), ("Boeing rose", "rose", False),
        ("A320 (Airbus)", "A320", True), ("A320 (Boeing)", "A320", False), ("A320 (A321)", "A320", False), ("rose (Rosa)", "rose", True),
        ("rose (or tulip)", "rose", False), ("rose (tulip)", "rose", False), ("rose (maybe)", "rose", False),
        ("70-7320", "707-320", False), ("7073-20", "707-320", False), ("707320", "707-320", True), ("A3-20", "A320", False),
        ("DC-93-0", "DC-9-30", False), ("DC9-30", "DC-9-30", True), ("A 320", "A320", True), ("An 12", "An-12", True), ("12", "An-12", False),
    ],
)  # fmt: skip
def test_a_class_by_its_whole_name(answer, truth, same):
    assert same_class(answer, truth) is same


@pytest.mark.parametrize("reach", [1, pytest.param(1000, marks=pytest.mark.slow)], ids=["neighbours", "all pairs"])
@pytest.mark.parametrize("file", ["fgvc_aircraft_classes.txt", "oxford_flowers_classes.txt"])
def test_a_class_in_each_plain_spelling_is_itself_and_no_other(zoo_data, file, reach):
    path = zoo_data / "answers" / file
    if not path.is_file():
        pytest.skip(f"no {file}")
    names = sorted(name for name in path.read_text(encoding="utf-8").split("\n") if name)
    for at, name in enumerate(names):
        near = names[max(0, at - reach) : at + reach + 1]
        joined = name.replace("-", "").replace(" ", "")
        for answer in (name.upper(), name.replace("-", " "), joined, f"the {name}."):
            assert [other for other in near if same_class(answer, other)] == [name]


def rows(zoo_data, file):
    path = zoo_data / "answers" / file
    if not path.is_file():
        pytest.skip(f"no {file}")
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_logicvista_answers_that_are_wrong_are_not_accepted(zoo_data):
    """By the published matches: a bare letter is judged alike, and no answer that they call wrong is right."""
    judged = [
        (row, same_letter(row["raw"], ", ".join(row["truth"]).upper()))
        for row in rows(zoo_data, "logicvista_answers.jsonl")
    ]
    assert [row for row, right in judged if right and not row["match"]] == []
    assert [
        row
        for row, right in judged
        if row["match"] and row["raw"].strip().isalpha() and len(row["raw"].strip()) == 1 and not right
    ] == []


@pytest.mark.parametrize(
    ("answer", "right"),
    [
        ("B. actually D", False), ("B. I think D", False), ("B -> D", False), ("B. Correct answer: D", False),
        ("B. untrue", False), ("B. this fails", False), ("B. contradicts the pattern", False),
        ("B. No", True), ("B. False", True), ("B. the red one", True), ("B. Point C lies left of D", True),
    ],
)  # fmt: skip
def test_a_letter_that_is_taken_back_behind_it_is_none_and_a_text_that_may_be_its_option_is_one(answer, right):
    assert same_letter(answer, "B") is right
