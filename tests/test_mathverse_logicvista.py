"""MathVerse and LogicVista: layouts, what is left out, which truths are repaired, what scores."""

import json
import re
from pathlib import Path

import pytest
from credit_zoo.benchmarks import logicvista, mathverse
from PIL import Image

from credit_zoo.errors import UsageError
from credit_zoo.questions.local_folder import Rows
from credit_zoo.registry import BENCHMARKS

OPTIONS = ("40°", "60°", "120°", "140°")
ASKED = "Angle CED is ()\nChoices:\nA:40°\nB:60°\nC:120°\nD:140°"
CALL = "\nAnswer with the option's letter from the given choices directly."


def bench(name, **settings):
    return BENCHMARKS[name].factory(**settings)


def verse(id="1", version="Text Lite", source="GeoQA", **fields):
    row = {
        "id": id, "question": "Angle CED is ()", "image": "images/1.png", "answer": "D", "question_type": "multi_choice",
        "choices": [f"{letter}:{text}" for letter, text in zip("ABCD", OPTIONS, strict=True)],
        "metadata": {"source": source, "problem_version": version},
    }  # fmt: skip
    return {**row, **fields}


def official(number="7", version="Text Lite", **fields):
    row = {
        "sample_index": number, "problem_version": version, "question": ASKED, "image": "part/image_1.png",
        "answer": "D", "question_type": "multi-choice", "metadata": {"source": "GeoQA"},
    }  # fmt: skip
    return {**row, **fields}


def vista(id="v1_4", **fields):
    row = {"id": id, "image": "images/1.png", "question": "Who is odd? Select from A-I", "answer": "G"}
    return {**row, "skill": ["inductive"], **fields}


def folder(root, rows, file="annotations.jsonl", picture="images/1.png"):
    text = json.dumps(rows) if file.endswith(".json") else "\n".join(map(json.dumps, rows)) + "\n"
    (root / file).write_text(text, encoding="utf-8")
    (root / picture).parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (8, 6)).save(root / picture)
    return root


def score(made, question, answer):
    return made.score(question, f"<think>a</think><answer>{answer}</answer>").correct


def forms(question):
    """Ways to write the truth, and answers beside it."""
    truth, options = question.answer, question.choices
    if question.kind == "math":
        near = re.sub(r"\d+", lambda run: str(int(run[0]) + 1), truth, count=1)
        return [truth, f"${truth.strip('$')}$", f"{truth}."], [
            near,
            f"{truth} or {near}",
            f"{truth}; {near}",
            "",
            "none",
        ]
    held = [chr(ord("A") + options.index(truth))] if options else truth.split(", ")
    others = [letter for letter in "ABCDEFGHI"[: len(options) or None] if letter not in held]
    letters = ", ".join(held)
    right = [truth, letters, f"{letters.lower()}.", ", ".join(f"({one})" for one in held)]
    wrong = [*others, f"{letters} or {others[0]}", f"{letters}, {others[0]}", "", "none of these"]
    if len(held) == 1:
        right += [f"Option {letters}", f"{letters}. {truth if options else '45°'}"]
        wrong += [text for text in options if text != truth]
    return right, wrong + (held if len(held) > 1 else [])


@pytest.mark.parametrize(
    ("name", "settings", "rows", "dropped"),
    [
        ("mathverse", {}, 10, {"open answer": 40}), ("mathverse", {"multiple_choice_only": False}, 50, {}),
        ("mathverse", {"version": "Vision Only"}, 1, {"open answer": 9}), ("logicvista", {}, 37, {"no answer": 1}),
    ],
)  # fmt: skip
def test_every_real_truth_scores_and_its_neighbours_do_not(zoo_data, name, settings, rows, dropped):
    if not (zoo_data / "real" / name).is_dir():
        pytest.skip(f"no {name}")
    made = bench(name, **settings)
    questions, source = made.load("test", zoo_data / "real" / name)
    assert (len(questions), source.rows, source.dropped) == (rows, rows, dropped)
    assert len({question.id for question in questions.questions}) == rows
    assert {image.mode for image in (questions[at].image for at in range(min(rows, 10)))} == {"RGB"}
    for question in questions.questions:
        right, wrong = forms(question)
        assert [text for text in right if score(made, question, text) != 1] == [], question
        assert [text for text in wrong if score(made, question, text) != 0] == [], question
        assert made.score(question, f"\\boxed{{{right[0]}}}").correct == 1
        assert made.prompt(question).strip()
    held = {question.category for question in questions.questions}
    assert held <= (set(mathverse.VERSIONS) if name == "mathverse" else held) and "all" not in held


def test_both_are_measured_on_the_real_set_only():
    for name in ("mathverse", "logicvista"):
        assert bench(name).twin is None
        with pytest.raises(UsageError, match="no split 'train', only test"):
            bench(name).load("train", None)


def test_the_layouts_of_mathverse_give_the_same_question(tmp_path, monkeypatch):
    made = bench("mathverse")
    ours = made.load("test", folder(tmp_path, [verse("7")]))[0]
    (tmp_path / "annotations.jsonl").unlink()
    theirs = made.load("test", folder(tmp_path, [official()], "testmini.json", "images/part/image_1.png"))[0]
    hub = [official(image=tmp_path / "images" / "1.png", question_for_eval=ASKED)]
    monkeypatch.setattr(mathverse, "read_set", lambda hub_set, part, data: Rows(tmp_path, tuple(hub), hub_set.repo))
    remote, source = made.load("all", None)
    assert ours.questions == theirs.questions == remote.questions
    assert source.revision == "AI4Math/MathVerse"
    assert remote[0].image.size == (8, 6)
    question = remote[0]
    assert (question.choices, question.answer, question.category) == (OPTIONS, "140°", "Text Lite")
    assert made.prompt(question) == ASKED + CALL


@pytest.mark.parametrize(
    ("fields", "answer", "choices"),
    [
        ({}, "140°", OPTIONS), ({"answer": "(C)"}, "120°", OPTIONS), ({"answer": "60 ^\\circ"}, "60°", OPTIONS),
        ({"answer": "40掳"}, "40°", OPTIONS), ({"answer": "C\nD"}, "", OPTIONS), ({"answer": "E"}, "", OPTIONS),
        ({"answer": False, "question": "So?\nChoices:\nA:True\nB:False"}, "False", ("True", "False")),
        ({"answer": False, "question": "So?"}, "", ()), ({"question": "Is it D? A:1 B:2"}, "D", ()),
        ({"question": "Which?\nChoices:\nA:1\nC:2\nD:3"}, "D", ()), ({"question": "Which?\nChoices:\n1\n2"}, "D", ()),
        ({"answer": "B", "question": "Which?\nChoices:\nA:B\nB:A"}, "B", ()),
        ({"answer": "B", "question": "Which?\nChoices:\n(A) one\nline\n(B) two"}, "two", ("one\nline", "two")),
        ({"question": "", "question_for_eval": ASKED}, "140°", OPTIONS), ({"question": ""}, "D", ()),
        ({"question": "", "question_type": "free_form"}, "D", ()),
    ],
)  # fmt: skip
def test_what_the_truth_of_a_choice_is(fields, answer, choices):
    question = mathverse._question(official(**fields))
    assert (question.kind, question.answer, question.choices) == ("choice", answer, choices)


def test_without_a_question_the_picture_is_pointed_to():
    made = bench("mathverse")
    question = mathverse._question(official(question="", question_for_eval=ASKED, version="Vision Only"))
    assert made.prompt(question) == "Answer the question shown in the image." + CALL
    assert score(made, question, "140") == 1
    question = mathverse._question(official(question="Which?\nChoices:\nA:B\nB:A", answer="B"))
    assert made.prompt(question) == "Which?\nChoices:\nA:B\nB:A" + CALL
    assert [score(made, question, text) for text in ("B", "A")] == [1, 0]


@pytest.mark.parametrize(
    ("truth", "right", "wrong"),
    [
        ("118掳", "118°", "119°"), ("118掳T", "118° T", "119° T"), ("Center $=(20,10)$", "(20, 10)", "(10, 20)"),
        ("Area $=\\frac{25 \\pi}{4} \\mathrm{~mm}^{2}$", "25\\pi/4", "26\\pi/4"), ("$h=30$", "30", "31"),
        ("$g(x)=\\ln x+4$", "g(x)=\\ln x+4", "g(x)=\\ln x+5"), (12.5, "25/2", "12.6"),
    ],
)  # fmt: skip
def test_open_answers_are_compared_by_value(truth, right, wrong):
    made = bench("mathverse")
    question = mathverse._question(official(question="How much?", question_type="free-form", answer=truth))
    assert (question.kind, "掳" in question.answer, made.prompt(question)) == ("math", False, "How much?")
    assert [score(made, question, text) for text in (right, wrong, f"{right} or {wrong}")] == [1, 0, 0]


def test_what_mathverse_leaves_out_is_counted(tmp_path):
    rows = [
        verse("1"), verse("2", "Vision Only", "Geometry3K"), verse("3", image=None), verse("4", answer="C\nD"),
        verse("5", question_type="free_form", choices=None, answer="7"),
        verse("6", question_type="free_form", choices=None, answer=None),
    ]  # fmt: skip
    data = folder(tmp_path, rows)
    left = {"no picture": 1, "truth is no single option": 1}
    questions, source = bench("mathverse").load("test", data)
    assert (source.rows, source.dropped) == (2, {**left, "open answer": 2})
    assert questions[1].meta == {"origin": "Geometry3K"}
    source = bench("mathverse", multiple_choice_only=False, drop_geometry3k=True).load("test", data)[1]
    assert (source.rows, source.dropped) == (2, {**left, "from Geometry3K": 1, "no answer": 1})
    assert [one.id for one in bench("mathverse", version="Vision Only").load("test", data)[0]] == ["mathverse-2"]
    with pytest.raises(UsageError, match=r"no questions in version 'Text Dominant'.*: Text Lite 5, Vision Only 1"):
        bench("mathverse", version="Text Dominant").load("test", data)
    with pytest.raises(UsageError, match=r"no questions in what is asked of .*: open answer 1"):
        bench("mathverse").load("test", folder(tmp_path, rows[4:5]))


def test_a_version_that_is_none_is_refused():
    with pytest.raises(UsageError, match=r"no version of MathVerse named 'vision only'\. Did you mean 'Vision Only'"):
        bench("mathverse", version="vision only")


def test_what_logicvista_leaves_out_is_counted(tmp_path):
    answers = ["G", "C, A", "3", "", None, "(b)", "J"]
    rows = [vista(f"v1_{at}", answer=answer) for at, answer in enumerate(answers)]
    questions, source = bench("logicvista").load("test", folder(tmp_path, rows))
    assert [(one.id, one.answer) for one in questions] == [
        ("logicvista-v1_0", "G"), ("logicvista-v1_1", "A, C"), ("logicvista-v1_5", "B"),
    ]  # fmt: skip
    assert (source.rows, source.dropped) == (3, {"truth is no letter": 2, "no answer": 2})
    for question in questions:
        right, wrong = forms(question)
        assert {score(bench("logicvista"), question, text) for text in right} == {1}
        assert {score(bench("logicvista"), question, text) for text in wrong} == {0}
    with pytest.raises(UsageError, match=r"no questions in .*annotations\.jsonl; there are: truth is no letter 1"):
        bench("logicvista").load("test", folder(tmp_path, rows[2:3]))


def test_logicvista_on_the_hub_is_numbered(tmp_path, monkeypatch):
    picture = folder(tmp_path, []) / "images" / "1.png"
    row = {"image": picture, "question": " Which? ", "answer": "A", "skill": ["spatial"]}
    monkeypatch.setattr(logicvista, "read_set", lambda hub, part, data: Rows(tmp_path, (row, row), hub.splits[part]))
    questions, source = bench("logicvista").load("test", None)
    assert [one.id for one in questions.questions] == ["logicvista-0", "logicvista-1"]
    assert (questions[0].category, bench("logicvista").prompt(questions[0]), source.revision) == (
        "spatial", "Which?", "test",
    )  # fmt: skip


def test_the_hubs_format_is_read_from_a_folder(tmp_path):
    pandas = pytest.importorskip("pandas")
    picture = folder(tmp_path, []) / "images" / "1.png"
    (tmp_path / "annotations.jsonl").unlink()
    held = {"image": {"bytes": picture.read_bytes(), "path": "1.png"}, "question_for_eval": ASKED}
    pandas.DataFrame([{**official(), **held}]).to_parquet(tmp_path / "testmini-00000-of-00001.parquet")
    questions = bench("mathverse").load("test", tmp_path)[0]
    assert not isinstance(questions.images[0], Path)
    assert (questions[0].answer, questions[0].image.size) == ("140°", (8, 6))
