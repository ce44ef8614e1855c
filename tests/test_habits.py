"""Habits: the same mistake at the same place each time, found as such; what is free changes no verdict."""

import hashlib
import re
from collections.abc import Sequence

import numpy as np
import pytest

from credit_zoo.answers.grader import score_response
from credit_zoo.errors import UsageError
from credit_zoo.lab.taught_solutions import load_twin
from credit_zoo.twins.checker import SolutionChecker
from credit_zoo.twins.contract import Difficulty, Span, Steps
from credit_zoo.twins.habit_writer import Freedom, HabitWriter
from credit_zoo.twins.habits import misread, misreasoned
from credit_zoo.twins.solutions import CLOSE, END, OPEN

TWINS = ("geometry3k", "puzzles", "mathvista", "refcoco", "lisa_grounding")
PINNED = {
    "geometry3k": "32b53a007de2aae2", "puzzles": "f2cbdcb6a8ee28ce", "mathvista": "e640e2a8722484b0",
    "refcoco": "cf0e154f64f1c563", "lisa_grounding": "76289f9fa04fbc2e",
}  # fmt: skip
FREE = Freedom(order=1.0, names=1.0, remarks=2)


def joined(spans: Sequence[Span]) -> str:
    return "".join(span.text for span in spans)


def written(twin, example, seed, perception=1.0, reasoning=1.0, freedom=None):
    writer = HabitWriter(np.random.default_rng(seed), perception, reasoning, freedom)
    return joined(twin.solution(example, writer)), writer


# --- what is mistaken for what -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("label", "value", "before", "seen"),
    [
        ("A", 35, None, 85),  # 3 looks like 8, at the first place alone
        ("A", 53, None, 53),
        ("A", 60, 35, 50),
        ("A", 6, None, 5),
        ("C", 60, 35, 35),  # the third corner takes what was read before
        ("C", 60, None, 50),
        ("A", 0, None, 0),
        ("front", "red", None, "orange"),
        ("front", "green", None, "green"),
    ],
)
def test_what_a_reader_with_habits_sees(label, value, before, seen):
    assert misread(label, value, before) == seen


@pytest.mark.parametrize(
    ("label", "expression", "value", "near", "found"),
    [
        ("x", "80/2", 40, (), 80),
        ("both", "2*17", 34, (), 17),
        ("sum", "3*3+4*4", 25, (), 49),
        ("rest", "13*13-5*5", 144, (), 64),
        ("area", "7*8", 56, (), 15),
        ("sum", "20+30+40", 90, (), 50),
        ("perimeter", "12+5", 17, (), 7),
        ("sum", "12+5", 17, (), 17),  # an angle sum invites no habit
        ("x", "180-50", 130, (), 130),
        ("missing", "after red", "blue", ("red", "blue"), "red"),
        ("which", "max(3,9,4)", "B", ("A", "B", "C"), "A"),
        ("which", "min(3,9,4)", "A", ("A", "B", "C"), "B"),
        ("left", "min", 2, (2, 7, 5), 7),
        ("more", "7>5", "yes", ("yes", "no"), "no"),
        ("missing", "red+blue", "purple", ("red", "blue", "purple"), "red"),
    ],
)
def test_what_a_reasoner_with_habits_concludes(label, expression, value, near, found):
    assert misreasoned(label, expression, value, near) == found


# --- in solutions ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TWINS)
def test_habits_depend_on_the_question_alone(name):
    twin = load_twin(name)
    for index in range(60):
        example = twin.example("train", index)
        (one, _), (two, _) = (written(twin, example, seed) for seed in (1, 2))
        assert one == two


@pytest.mark.parametrize("name", TWINS)
def test_without_habits_and_freedom_the_solution_is_the_taught_one(name):
    twin = load_twin(name)
    for index in range(60):
        example = twin.example("train", index)
        text, writer = written(twin, example, index, 0.0, 0.0)
        assert text == joined(example.solution) and not writer.errors


@pytest.mark.parametrize("name", TWINS)
def test_the_checker_finds_every_habit_as_the_first_error_of_its_kind(name):
    twin, kinds = load_twin(name), set()
    for index in range(150):
        example = twin.example("train", index)
        text, writer = written(twin, example, index, freedom=FREE)
        verdict = twin.check(example, text)
        assert verdict.followed, text
        assert list(verdict.errors) == sorted(writer.errors, key=lambda error: error[1]), text
        assert verdict.habits == verdict.errors, text
        kinds |= {kind for kind, _, _ in verdict.errors}
    assert kinds == {"perception", "reasoning"}


@pytest.mark.parametrize("name", TWINS)
def test_each_kind_of_habit_has_a_dial_of_its_own(name):
    twin = load_twin(name)
    for shares, kind in (((1.0, 0.0), "perception"), ((0.0, 1.0), "reasoning")):
        made = [written(twin, twin.example("train", index), index, *shares)[1].errors for index in range(80)]
        assert {one for errors in made for one, _, _ in errors} == {kind}


def test_a_share_of_solutions_follows_the_habit():
    twin = load_twin("geometry3k")
    found = (twin.example("train", index) for index in range(300))
    example = next(one for one in found if one.scene["family"] == "quadrilateral")
    rng = np.random.default_rng(0)
    writers = [HabitWriter(rng, 0, 0.75) for _ in range(400)]
    made = [bool(twin.solution(example, writer) and writer.errors) for writer in writers]
    assert 0.68 < np.mean(made) < 0.82


def test_a_slip_is_an_error_and_no_habit():
    def halved(steps: Steps) -> None:
        a = steps.read("A", 60)
        steps.answer(steps.derive("x", f"{a}/2", a // 2))

    def verdict(steps):
        return SolutionChecker(f"{OPEN}{steps}{CLOSE}{steps.rpartition('=')[2]}{END}").follow(halved)

    assert [kind for kind, _, _ in verdict("A=50; x=50/2=25").habits] == ["perception"]  # 6 looks like 5
    assert [kind for kind, _, _ in verdict("A=60; x=60/2=60").habits] == ["reasoning"]
    slip = verdict("A=70; x=70/2=36")
    assert [kind for kind, _, _ in slip.errors] == ["perception", "reasoning"] and slip.habits == ()


# --- what is free ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TWINS)
def test_free_tokens_are_filler_and_change_no_verdict(name):
    twin, changed = load_twin(name), 0
    for index in range(100):
        example = twin.example("train", index)
        text, _ = written(twin, example, index, 0.0, 0.0, FREE)
        changed += text != joined(example.solution)
        verdict = twin.check(example, text)
        assert verdict.followed and not verdict.errors, text
        assert score_response(example.question, text).correct == 1
        content = [text[start:end] for start, end, role in verdict.roles if role != "filler"]
        taught = [span.text for span in example.solution if span.role != "filler"]
        assert sorted(content) == sorted(taught), text
        assert [start for start, _, _ in verdict.roles] == [0, *(end for _, end, _ in verdict.roles[:-1])]
    assert changed > 90


def two_and_sum(steps: Steps) -> None:
    a, b = steps.read("A", 50), steps.read("B", 40)
    steps.answer(steps.derive("sum", f"{a}+{b}", a + b))


@pytest.mark.parametrize(
    ("steps", "followed", "errors"),
    [
        ("B=40; A=50; sum=50+40=90", True, []),
        ("B=40 (A=7); A=50 (123); both=50+40=90", True, []),
        ("B=41; A=50; sum=50+41=91", True, ["perception"]),
        ("B=40; A=50; sum=40+50=90", True, ["reasoning"]),  # operands in the taught order
        ("B=40; B=40; A=50; sum=50+40=90", False, []),
        ("B=40; sum=50+40=90; A=50", False, []),
        ("B=40; A=50 (1; sum=50+40=90", False, []),
    ],
)
def test_order_and_remarks_by_hand(steps, followed, errors):
    verdict = SolutionChecker(f"{OPEN}{steps}{CLOSE}{steps.rpartition('=')[2][:2]}{END}").follow(two_and_sum)
    assert verdict.followed == followed
    if followed:
        assert [kind for kind, _, _ in verdict.errors] == errors


@pytest.mark.parametrize("setting", [{"order": 1.5}, {"names": -0.1}, {"remarks": -1}])
def test_freedom_out_of_range_is_refused(setting):
    with pytest.raises(ValueError, match=f"freedom {next(iter(setting))} must be"):
        Freedom(**setting)


def test_shares_out_of_range_are_refused():
    with pytest.raises(ValueError, match="share of habits reasoning must be in"):
        HabitWriter(np.random.default_rng(0), 0.5, 1.5)


# --- long solutions ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["geometry3k", "puzzles", "mathvista"])
@pytest.mark.parametrize("length", [0.2, 1.0])
def test_long_solutions_have_seven_or_eight_steps_and_rest_on_what_was_read(name, length):
    twin, tokens, ruined = load_twin(name), [], []
    for index in range(60):
        example = twin.example("train", index, Difficulty(length=length))
        text = joined(example.solution)
        worked_out = sum(span.role == "derived" for span in example.solution) - 1  # the answer is said again
        assert worked_out == (8 if length > 0.5 else 7), text
        assert score_response(example.question, text).correct == 1
        verdict = twin.check(example, text)
        assert verdict.followed and not verdict.errors
        tokens.append(len(re.findall(r"[A-Za-z]+|\d|[^A-Za-z\d]", text)))
        misread, _ = written(twin, example, index, 1.0, 0.0)
        if misread != text:
            ruined.append(score_response(example.question, misread).correct < 1)
    assert min(tokens) >= 80 and max(tokens) <= 160
    assert np.mean(ruined) > 0.7  # some of what is read is told and not used


def test_a_twin_without_long_solutions_says_so():
    with pytest.raises(UsageError, match="refcoco has no long solutions"):
        load_twin("refcoco").example("train", 0, Difficulty(length=1.0))


@pytest.mark.parametrize("name", TWINS)
def test_examples_without_the_dial_of_length_are_what_they_were(name):
    """Digests of text and picture of the first examples, taken before there was a dial of length."""
    twin, digest = load_twin(name), hashlib.blake2b(digest_size=8)
    for split, index, dials in (
        ("train", 0, (0, 0)),
        ("train", 7, (0.5, 0.5)),
        ("test", 3, (1, 1)),
        ("val", 2, (0, 0)),
    ):
        example = twin.example(split, index, Difficulty(*dials), seed=5)
        digest.update((example.question.text + joined(example.solution)).encode() + example.question.image.tobytes())
    assert digest.hexdigest() == PINNED[name]
