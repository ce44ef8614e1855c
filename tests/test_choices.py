"""Answers that pick an option or a letter: what counts as picking, and what as hedging."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from credit_zoo.answers.choices import same_choice, same_letter


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
