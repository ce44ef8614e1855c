"""Few-shot sets: the draw is nested and its own, layouts agree, only a class's whole name is right."""

import io
import json

import pandas
import pytest
from PIL import Image

from credit_zoo.errors import UsageError
from credit_zoo.question import Question
from credit_zoo.registry import BENCHMARKS

NAMES = ("fgvc_aircraft", "flowers102")
CLASSES = ("rose", "tiger lily", "globe-flower")
KEYS = [(label, split) for label in CLASSES for split in ("train", "test")]
SHADES = {key: 20 * place + 20 for place, key in enumerate(KEYS)}  # of the pictures of a class in a split


def bench(name="flowers102", **settings):
    return BENCHMARKS[name].factory(**settings)


def drawn(shade=90):
    return Image.new("L", (6, 5), shade)


def stems(label, split, count=6):
    return [f"{split}_{label[:2]}_{number}" for number in range(count if split == "train" else 3)]


EVERY = [(label, split, stem) for label, split in KEYS for stem in stems(label, split)]


def annotated(root, rows=EVERY):
    (root / "images").mkdir(parents=True, exist_ok=True)
    for label, split, stem in rows:
        drawn(SHADES.get((label, split), 5)).save(root / "images" / f"{stem}.png")
    lines = [
        json.dumps({"id": stem, "image": f"images/{stem}.png", "label": label, "split": split})
        for label, split, stem in rows
    ]
    (root / "annotations.jsonl").write_text("\n".join(lines))
    return root


def foldered(root, rows=EVERY):
    for label, split, stem in rows:
        file = root / split / label / f"{stem}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        drawn(SHADES[label, split]).save(file)
    return root


def parquets(root, rows=EVERY, told="<think></think><answer>{}</answer>"):
    (root / "data").mkdir(parents=True)
    for part in {split for _, split, _ in rows}:
        held = []
        for label, split, stem in rows:
            file = io.BytesIO()
            drawn(SHADES[label, split]).save(file, "PNG")
            image = {"bytes": file.getvalue(), "path": f"{stem}.png"}
            held += [{"image": image, "problem": "Which?", "solution": told.format(label)}] if split == part else []
        pandas.DataFrame(held).to_parquet(root / "data" / f"{part}-00000-of-00001.parquet")
    return root


def ids(questions):
    return [question.id for question in questions.questions]


def train(data, name="flowers102", **settings):
    return ids(bench(name, **settings).load("train", data)[0])


@pytest.mark.parametrize("name", NAMES)
def test_fewer_shots_are_among_more(tmp_path, name):
    data = annotated(tmp_path)
    held = {shots: train(data, name, shots=shots) for shots in (1, 2, 4)}
    assert [len(held[shots]) for shots in (1, 2, 4)] == [3, 6, 12]
    assert set(held[1]) < set(held[2]) < set(held[4])
    assert train(data, name) == held[4]
    for label in CLASSES:
        assert sum(f"-{label}-" in one for one in held[2]) == 2


def test_the_draw_depends_on_the_seed_and_not_on_the_order_of_lines(tmp_path):
    first, second = annotated(tmp_path / "a"), annotated(tmp_path / "b", EVERY[::-1])
    assert train(first, shots=2) == train(second, shots=2)
    draws = {tuple(train(first, shots=2, shots_seed=seed)) for seed in range(5)}
    assert len(draws) == 5


def test_the_test_split_is_all_of_it_and_what_is_not_drawn_is_told(tmp_path):
    data, made = annotated(tmp_path), bench(shots=2)
    questions, source = made.load("test", data)
    assert (len(questions), source.rows, source.dropped) == (9, 9, {})
    assert made.load("train", data)[1].dropped == {"beyond 2 a class": 12}
    assert made.load("all", data)[1].rows == 27


def test_all_layouts_give_the_same_rows(tmp_path):
    layouts = [annotated(tmp_path / "a"), foldered(tmp_path / "f"), parquets(tmp_path / "p")]
    layouts.append(parquets(tmp_path / "q", told="{}"))
    for split in ("test", "all"):
        loaded = [bench().load(split, data) for data in layouts]
        rows = [sorted((one.answer, one.text, one.image.getpixel((0, 0))) for one in held) for held, _ in loaded]
        assert rows[1:] == rows[:1] * 3
        assert {source.rows for _, source in loaded} == {9 if split == "test" else 27}
        assert all(len(set(ids(held))) == source.rows for held, source in loaded)
    assert train(layouts[0]) == train(layouts[1])
    answers = [sorted(one.answer for one in bench(shots=2).load("train", data)[0]) for data in layouts]
    assert answers == [sorted(CLASSES * 2)] * 4
    assert set(train(layouts[2], shots=1)) < set(train(layouts[2], shots=2))


def test_the_hubs_training_pictures_may_stand_beside_folders(tmp_path):
    parquets(tmp_path, [row for row in EVERY if row[1] == "train"])
    foldered(tmp_path, [row for row in EVERY if row[1] == "test"])
    assert bench().load("test", tmp_path)[1].rows == 9
    questions, source = bench().load("all", tmp_path)
    assert (len(questions), source.rows, len(source.revision)) == (27, 27, 25)


@pytest.mark.parametrize("layout", [annotated, foldered, parquets])
def test_an_unknown_split_is_refused(tmp_path, layout):
    with pytest.raises(UsageError, match="split 'val'"):
        bench().load("val", layout(tmp_path))


@pytest.mark.parametrize("name", NAMES)
def test_the_hub_has_no_test_pictures(name):
    for split in ("test", "all"):
        with pytest.raises(
            UsageError, match=r"laolao77/.* has no split 'test': give data=FOLDER with test/<class name>"
        ):
            bench(name).load(split, None)


def test_a_class_with_too_few_pictures_is_named(tmp_path):
    data = annotated(tmp_path, [*EVERY, ("daisy", "train", "x"), ("Daisy", "train", "y")])
    assert len(train(data, shots=2)) == 8
    with pytest.raises(UsageError, match=r"'daisy' has 2 training pictures, fewer than flowers102\.shots=4"):
        train(data)


@pytest.mark.parametrize("layout", [annotated, foldered])
def test_a_web_page_saved_as_a_picture_is_named_and_can_be_skipped(tmp_path, layout):
    data = layout(tmp_path)
    page = next(data.rglob("test_ro_1.png"))
    page.rename(page.with_suffix(".jpg")).write_text("<!doctype html><title>404</title>")
    for lines in data.glob("annotations.jsonl"):
        lines.write_text(lines.read_text().replace("test_ro_1.png", "test_ro_1.jpg"))
    with pytest.raises(UsageError, match=r"test_ro_1\.jpg does not decode.*data\.skip_bad=true"):
        bench().load("test", data)
    questions, source = bench().load("test", data, skip_bad=True)
    assert (len(questions), source.rows, source.dropped) == (8, 8, {"bad picture": 1})
    assert len(train(data)) == 12


def test_files_that_are_no_pictures_are_not_looked_at(tmp_path):
    data = foldered(tmp_path)
    (data / "test" / "rose" / "Thumbs.db").write_text("")
    (data / "test" / "rose" / "._test_ro_1.png").write_text("")
    (data / "test" / "readme.txt").write_text("")
    assert bench().load("test", data)[1].rows == 9


@pytest.mark.parametrize("label", ["7", "", "_", 7])
def test_a_class_must_have_a_name(tmp_path, label):
    with pytest.raises(UsageError, match=r"flowers102 test x: a class must have a name"):
        bench().load("test", annotated(tmp_path, [(label, "test", "x")]))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("settings", "said"),
    [({"shots": 3}, r"shots must be 1, 2 or 4, got 3"), ({"shots": 0}, "shots must be"),
     ({"shots_seed": -1}, r"shots_seed must be in \[0, inf\), got -1")],
)  # fmt: skip
def test_settings_are_checked(name, settings, said):
    with pytest.raises(UsageError, match=rf"{name}\.{said}"):
        bench(name, **settings)


def right(name, truth, answer):
    question = Question("q", None, "Which?", truth, "text")
    return bench(name).score(question, f"<think>a</think><answer>{answer}</answer>").correct


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("answer", ["", " ", "-", "_", "0", "00", "e", "a", "i", "()", "the", "flower", "aircraft"])
def test_constants_earn_nothing(name, answer):
    for truth in ("707-320", "Boeing 717", "A300B4", "rose", "tiger lily", "globe-flower", "colts foot"):
        assert right(name, truth, answer) == 0


@pytest.mark.parametrize(
    ("name", "truth", "answer", "correct"),
    [
        ("fgvc_aircraft", "707-320", "Boeing 707 320", 1), ("fgvc_aircraft", "707-320", "707", 0),
        ("fgvc_aircraft", "707-320", "707-320, 727-200", 0), ("fgvc_aircraft", "A330-300", "A330", 0),
        ("fgvc_aircraft", "F-16A B", "F-16A/B", 1), ("flowers102", "rose", "desert-rose", 0),
        ("flowers102", "desert-rose", "Desert Rose", 1), ("flowers102", "tiger lily", "tiger_lily", 1),
        ("flowers102", "colts foot", "colt's foot", 1), ("flowers102", "colt’s foot", "coltsfoot", 1),
        ("flowers102", "lotus", "lotus lotus", 1), ("flowers102", "lotus lotus", "Lotus.", 1),
        ("flowers102", "water lily", "lotus lotus", 0),
    ],
)  # fmt: skip
def test_only_the_whole_name_is_right(name, truth, answer, correct):
    assert right(name, truth, answer) == correct


def test_spellings_of_one_class_are_drawn_as_one(tmp_path):
    labels = ["colt's foot", "colts foot", "Colt’s_foot", "lotus", "lotus lotus", "Lotus"]
    rows = [(label, "train", f"{number}_{copy}") for number, label in enumerate(labels) for copy in range(2)]
    questions = bench().load("train", annotated(tmp_path, rows))[0]
    assert len(questions) == 8
    assert sorted({one.answer.casefold() for one in questions}) == ["colts foot", "lotus"]


@pytest.mark.parametrize(("name", "asked"), [("fgvc_aircraft", "the model of the aircraft"), ("flowers102", "plant")])
def test_the_prompt_is_the_open_question(tmp_path, name, asked):
    question = bench(name).load("test", annotated(tmp_path))[0][0]
    prompt = bench(name).prompt(question)
    assert asked in prompt and prompt.endswith("based on the image.")
    assert not any(label in prompt for label in CLASSES)
    assert bench(name).twin is None
