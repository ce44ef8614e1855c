"""Every twin: determinism, disjoint splits, solutions that can be checked, pictures that can be re-read."""

import hashlib
import pkgutil
import re
import time
from collections import Counter
from collections.abc import Sequence
from functools import cache
from importlib import import_module

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import credit_zoo.twins as twins
from credit_zoo.answers.grader import score_response
from credit_zoo.question import Split
from credit_zoo.twins import refcoco
from credit_zoo.twins.canvas import CELL, GLYPHS, Canvas
from credit_zoo.twins.checker import SolutionChecker
from credit_zoo.twins.contract import Difficulty, Span, Steps, V
from credit_zoo.twins.objects import Thing
from credit_zoo.twins.solutions import CLOSE, END, OPEN, ErrorWriter, SolutionWriter
from credit_zoo.twins.twin import Example, Twin

SPLITS: tuple[Split, ...] = ("train", "val", "test")
DIALS = (Difficulty(), Difficulty(0.5, 0.5), Difficulty(1, 1))


def _twins() -> list[Twin]:
    modules = [import_module(f"credit_zoo.twins.{found.name}") for found in pkgutil.iter_modules(twins.__path__)]
    return [module.TWIN for module in modules if hasattr(module, "TWIN")]


@pytest.fixture(params=_twins(), ids=lambda twin: twin.name)
def twin(request: pytest.FixtureRequest) -> Twin:
    """Each twin found in the package in turn."""
    found: Twin = request.param
    return found


def _joined(spans: Sequence[Span]) -> str:
    return "".join(span.text for span in spans)


def _picture(example: Example) -> bytes:
    assert example.question.image is not None
    return example.question.image.tobytes()


@cache
def _some(name: str, count: int, difficulty: Difficulty) -> tuple[Example, ...]:
    (twin,) = (twin for twin in _twins() if twin.name == name)
    return tuple(twin.example(SPLITS[index % 3], index, difficulty) for index in range(count))


def _examples(twin: Twin, count: int, difficulty: Difficulty = DIALS[0]) -> tuple[Example, ...]:
    # Examples never change: tests share them.
    return _some(twin.name, 1500 if difficulty == DIALS[0] else 300, difficulty)[:count]


class _Reads(SolutionWriter):
    """Keeps every value that a solution reads."""

    def __init__(self) -> None:
        super().__init__()
        self.values: list[str] = []

    def read(self, label: str, value: V, near: Sequence[V] = ()) -> V:
        self.values.append(str(value))
        return super().read(label, value, near)

    def reads(self, label: str, values: Sequence[V], near: Sequence[V] = ()) -> tuple[V, ...]:
        self.values += map(str, values)
        return super().reads(label, values, near)


@pytest.mark.parametrize("difficulty", DIALS, ids=str)
def test_examples_are_the_same_bytes_at_each_call(twin: Twin, difficulty: Difficulty) -> None:
    for index in range(20):
        one, two = (twin.example("train", index, difficulty, seed=3) for _ in range(2))
        assert _picture(one) == _picture(two)
        assert (one.solution, one.scene, one.question.text) == (two.solution, two.scene, two.question.text)
        assert one.question.image is not None and one.question.image.size == (84, 84)


def test_index_seed_and_split_all_matter(twin: Twin) -> None:
    a, b, c = (
        [_picture(twin.example(split, index, seed=seed)) for index in range(20)]
        for split, seed in (("train", 0), ("train", 1), ("val", 0))
    )
    assert a != b and a != c and len(set(a)) > 15


@pytest.mark.slow
def test_splits_are_disjoint(twin: Twin) -> None:
    found: dict[str, set[str]] = {split: set() for split in SPLITS}
    more = [twin.example(split, index) for split in SPLITS for index in range(2000, 2200)]
    for example in [*_examples(twin, 1500), *more]:
        mark = hashlib.blake2b(_picture(example) + example.question.text.encode()).hexdigest()
        found[example.question.id.split("-")[1]].add(mark)
    assert not found["train"] & found["val"]
    assert not found["train"] & found["test"]
    assert not found["val"] & found["test"]


@pytest.mark.parametrize("difficulty", DIALS, ids=str)
def test_taught_solution_ends_with_the_answer_and_checks_clean(twin: Twin, difficulty: Difficulty) -> None:
    for example in _examples(twin, 300, difficulty):
        text = _joined(example.solution)
        assert text.startswith(OPEN)
        answer = example.question.answer
        assert text.endswith(f"{CLOSE}{f'[{answer}]' if example.question.kind == 'box' else answer}{END}")
        score = score_response(example.question, text)
        assert score.correct == 1 and score.formatted
        verdict = twin.check(example, text)
        assert verdict.followed and verdict.first_error is None and not verdict.errors
        if example.question.kind == "choice":
            assert example.question.choices.count(example.question.answer) == 1
            assert len(set(example.question.choices)) == len(example.question.choices)


def test_checked_roles_cover_the_text_and_match_the_spans(twin: Twin) -> None:
    for example in _examples(twin, 150):
        text = _joined(example.solution)
        found = twin.check(example, text).roles
        taught = [role for span in example.solution for role in [span.role] * len(span.text)]
        checked = [role for start, end, role in found for role in [role] * (end - start)]
        assert checked == taught
        assert [start for start, _, _ in found] == [0, *(end for _, end, _ in found[:-1])]


@pytest.mark.parametrize("difficulty", DIALS, ids=str)
def test_slips_are_found_where_they_were_made(twin: Twin, difficulty: Difficulty) -> None:
    rng = np.random.default_rng(5)
    kinds: Counter[str] = Counter()
    for example in _examples(twin, 300, difficulty):
        pen = ErrorWriter(rng)
        text = _joined(twin.solution(example, pen))
        verdict = twin.check(example, text)
        assert verdict.followed, text
        assert list(verdict.errors) == sorted(pen.errors, key=lambda error: error[1]), text
        assert verdict.first_error == (verdict.errors[0][0] if verdict.errors else None)
        kinds.update(kind for kind, _, _ in pen.errors)
    assert 60 < kinds["perception"] < 140
    assert 45 < kinds["reasoning"] < 140


@pytest.mark.parametrize("difficulty", DIALS, ids=str)
def test_every_read_value_is_visible(twin: Twin, difficulty: Difficulty) -> None:
    for index in range(100):
        example = twin.example("train", index, difficulty)
        drawn = [text for _, _, text in twin.canvas("train", index, difficulty).drawn]
        pen = _Reads()
        twin.solution(example, pen)
        assert pen.values and not set(pen.values) - set(drawn), (example.scene, drawn)


def test_labels_can_be_read_back_from_the_pixels(twin: Twin) -> None:
    for index in range(100):
        example = twin.example("train", index)
        image = example.question.image
        assert image is not None
        canvas = twin.canvas("train", index)
        for col, row, text in canvas.drawn:
            if (col, row, text) not in canvas.noted:
                assert _reread(image, col, row, len(text)) == text


def _reread(image: Image.Image, col: int, row: int, length: int) -> str:
    pixels = np.asarray(image)
    text = ""
    for place in range(col, col + length):
        cell = pixels[row * CELL : (row + 1) * CELL, place * CELL : (place + 1) * CELL]
        ink = (cell != cell[0, 0]).any(axis=2)
        text += next((name for name, glyph in GLYPHS.items() if (glyph == ink).all()), "")
    return text


def test_free_form_answers_are_spread(twin: Twin) -> None:
    answers = [example.question.answer for example in _examples(twin, 1500) if example.question.kind != "choice"]
    assert Counter(answers).most_common(1)[0][1] < 0.08 * len(answers)


def test_the_truth_is_at_no_favoured_place_among_choices(twin: Twin) -> None:
    places = Counter(
        (len(example.question.choices), example.question.choices.index(example.question.answer))
        for example in _examples(twin, 1500)
        if example.question.kind == "choice"
    )
    for size in {size for size, _ in places}:
        total = sum(count for (other, _), count in places.items() if other == size)
        assert max(places[size, place] for place in range(size)) < (1 / size + 0.13) * total


def test_boxes_are_whole_cells_on_the_grid(twin: Twin) -> None:
    for example in _examples(twin, 300):
        question = example.question
        assert ("unit" in question.meta) == (question.kind == "box")
        if question.kind == "box":
            left, top, right, bottom = map(int, question.answer.split(","))
            assert 0 <= left < right <= 12 and 0 <= top < bottom <= 12 and question.meta["unit"] == "cells"
            assert score_response(question, f"{OPEN}x{CLOSE}[0,0,12,12]{END}").correct < 0.5


def _named(words: str, setting_groups: Sequence[Thing]) -> list[Thing]:
    wanted = set(words.split()) - {"the", "object", "person"}
    return [thing for thing in setting_groups if wanted <= {thing.kind, thing.color, thing.size}]


def _referred(text: str, setting_groups: Sequence[Thing]) -> list[Thing]:
    for words, lies in (
        ("left of", lambda one, other: one.right <= other.left),
        ("right of", lambda one, other: one.left >= other.right),
        ("above", lambda one, other: one.bottom <= other.top),
        ("below", lambda one, other: one.top >= other.bottom),
    ):
        if words in text:
            these, those = (_named(part, setting_groups) for part in text.split(words))
            assert len(those) == 1 and len(these) > 1
            return [thing for thing in these if thing not in those and lies(thing, those[0])]
    for word, edge, best in (
        ("leftmost", "left", min), ("rightmost", "right", max), ("topmost", "top", min), ("lowest", "bottom", max),
    ):  # fmt: skip
        if word in text:
            these = _named(text.replace(word, ""), setting_groups)
            return [thing for thing in these if getattr(thing, edge) == best(getattr(each, edge) for each in these)]
    return _named(text, setting_groups)


@pytest.mark.parametrize("difficulty", DIALS, ids=str)
def test_referring_expressions_fit_one_object(difficulty: Difficulty) -> None:
    for index in range(300):
        example = refcoco.TWIN.example("train", index, difficulty)
        (thing,) = _referred(example.question.text.removeprefix("find ").removesuffix("."), example.scene["things"])
        assert ",".join(map(str, thing.box)) == example.question.answer


@pytest.mark.parametrize("difficulty", DIALS, ids=str)
def test_no_number_follows_a_space(twin: Twin, difficulty: Difficulty) -> None:
    words = set()
    for example in _examples(twin, 300, difficulty):
        text = _joined(example.solution)
        for piece in (text, example.question.text):
            assert not re.search(r"\s[0-9]|\s\s|\n", piece), piece
        words |= set(re.findall("[A-Za-z]+", f"{text} {example.question.text}"))
        assert len(example.question.text.split()) <= 20
    assert len(words) < 150


@pytest.mark.slow
def test_speed(twin: Twin) -> None:
    start = time.process_time()
    for index in range(400):
        twin.example("train", index)
    assert 400 / (time.process_time() - start) >= 200


@given(text=st.text(max_size=120), cut=st.integers(0, 120), index=st.integers(0, 60))
def test_check_never_raises(text: str, cut: int, index: int) -> None:
    for twin in _twins():
        example = twin.example("train", index)
        taught = _joined(example.solution)
        for response in (text, taught[:cut] + text + taught[cut:], re.sub("[0-9]+", text[:4], taught)):
            verdict = twin.check(example, response)
            assert all(0 <= start <= end <= len(response) for start, end, _ in verdict.roles)
        assert not twin.check(example, taught[: min(cut, len(taught) - 1)]).followed


def _sum_and_half(pen: Steps) -> None:
    a, b = pen.read("A", 50), pen.read("B", 60)
    total = pen.derive("sum", f"{a}+{b}", a + b)
    pen.answer(pen.derive("x", f"180-{total}", 180 - total))


@pytest.mark.parametrize(
    ("steps", "answer", "errors"),
    [
        ("A=50; B=60; sum=50+60=110; x=180-110=70", "70", []),
        ("A=55; B=60; sum=55+60=115; x=180-115=65", "65", ["perception"]),
        ("A=50; B=60; sum=50+60=100; x=180-100=80", "80", ["reasoning"]),
        ("A=50; B=60; sum=50+70=120; x=180-120=60", "60", ["reasoning"]),
        ("A=50; B=66; sum=50+66=116; x=180-116=74", "74", ["perception", "reasoning"]),
        ("A=50; B=60; sum=50+60=110; x=180-110=70", "71", ["reasoning"]),
    ],
)
def test_check_by_hand(steps: str, answer: str, errors: list[str]) -> None:
    verdict = SolutionChecker(f"{OPEN}{steps}{CLOSE}{answer}{END}").follow(_sum_and_half)
    assert verdict.followed and [kind for kind, _, _ in verdict.errors] == errors


def test_leaving_the_form_keeps_what_was_before() -> None:
    text = f"{OPEN}A=55; B=60; then I guess"
    verdict = SolutionChecker(text).follow(_sum_and_half)
    assert not verdict.followed and verdict.first_error == "perception"
    assert [text[start:end] for start, end, role in verdict.roles if role == "read"] == ["55", "60"]


def _box(pen: Steps) -> None:
    pen.answer(pen.reads("box", (3, 5, 6, 7)))


@pytest.mark.parametrize(
    ("steps", "answer", "followed", "errors"),
    [
        ("box=3,5,6,7", "[3,5,6,7]", True, []),
        ("box=3,4,6,7", "[3,4,6,7]", True, ["perception"]),
        ("box=3,5,6,7", "[3,5,8,7]", True, ["reasoning"]),
        ("box=3,5,6", "[3,5,6,7]", False, []),
        ("box=3,5,6,7", "3,5,6,7", False, []),
        ("box=3,5,6,7", "[3,5,6,7,8]", False, []),
    ],
)
def test_check_lists_by_hand(steps: str, answer: str, followed: bool, errors: list[str]) -> None:
    verdict = SolutionChecker(f"{OPEN}{steps}{CLOSE}{answer}{END}").follow(_box)
    assert verdict.followed == followed and [kind for kind, _, _ in verdict.errors] == errors


@pytest.mark.parametrize(("dials", "name"), [((7, 0), "perception"), ((0, -0.1), "reasoning")])
def test_difficulty_range(dials: tuple[float, float], name: str) -> None:
    with pytest.raises(ValueError, match=rf"difficulty\.{name} must be in \[0, 1\], got "):
        Difficulty(*dials)


def test_canvas_refuses_labels_that_do_not_fit() -> None:
    canvas = Canvas()
    canvas.text(3, 3, "12")
    with pytest.raises(ValueError, match="would cover '2' at cell"):
        canvas.text(4, 3, "A")
    with pytest.raises(ValueError, match="leaves the 12x12 grid"):
        canvas.text(11, 3, "12")
    with pytest.raises(ValueError, match="no glyph for"):
        canvas.text(0, 0, "~")


def test_unknown_split(twin: Twin) -> None:
    # A TypeError where the tests check types at run time.
    with pytest.raises((ValueError, TypeError), match="'dev'"):
        twin.example("dev", 0)  # type: ignore[arg-type]
