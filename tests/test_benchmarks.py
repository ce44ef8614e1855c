"""Benchmarks: samples score as stated, twins agree with the grader, loaders read what is right and refuse the rest."""

import io
import json
from pathlib import Path

import pandas
import pytest
from PIL import Image

from credit_zoo import benchmarks
from credit_zoo.errors import UsageError
from credit_zoo.question import Question
from credit_zoo.registry import BENCHMARKS

NAMES = list(BENCHMARKS)
TWINS = [name for name in NAMES if BENCHMARKS[name].factory().twin]
SAMPLES = Path(benchmarks.__path__[0]) / "samples"


def bench(name, **settings):
    return BENCHMARKS[name].factory(**settings)


def samples(name):
    lines = (SAMPLES / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    for sample in map(json.loads, lines):
        fields = {**sample["question"], "choices": tuple(sample["question"].get("choices", ()))}
        yield Question(image=None, **fields), sample["responses"]


def drawn(size=(8, 6), color=(200, 30, 40), mode="RGB"):
    return Image.new(mode, size, color)


def folder(root, rows, file="annotations.jsonl", pictures=("images/1.png",)):
    (root / file).write_text("\n".join(map(json.dumps, rows)) + "\n", encoding="utf-8")
    for picture in pictures:
        (root / picture).parent.mkdir(parents=True, exist_ok=True)
        drawn().save(root / picture)
    return root


def geometry(number=1, **fields):
    row = {
        "id": number,
        "image": f"images/{number}.png",
        "problem_text": "Find x.",
        "answer": "13",
        "data_type": "test",
    }
    return {**row, **fields}


def vista(**fields):
    row = {
        "pid": "1", "question": "How many?", "image": "images/1.png", "choices": None, "unit": None, "precision": None,
        "answer": "3", "question_type": "free_form", "answer_type": "integer", "metadata": {"task": "counting"},
    }  # fmt: skip
    return {**row, **fields}


def puzzle(name="p_0", **fields):
    row = {"id": name, "image": "images/1.png", "question": "Which?", "options": [6, "3", 4], "answer": "4"}
    return {**row, "category": "p", **fields}


def region(id="7", **fields):
    row = {"id": id, "image": "images/1.png", "expression": "the left cat", "box": [1, 2, 5, 6], "split": "test"}
    return {**row, **fields}


def verse(id="1", **fields):
    row = {
        "id": id, "question": "Find x", "image": "images/1.png", "choices": ["A:7", "B:9"], "answer": "B",
        "question_type": "multi_choice", "metadata": {"source": "GeoQA", "problem_version": "Text Lite"},
    }  # fmt: skip
    return {**row, **fields}


def aptitude(id="v1_4", **fields):
    row = {"id": id, "image": "images/1.png", "question": "Who is odd? Select from A-I", "answer": "G"}
    return {**row, "skill": ["inductive"], **fields}


def photograph(id="a", **fields):
    return {"id": id, "image": "images/1.png", "label": "rose", "split": "test", **fields}


ROWS = {
    "fgvc_aircraft": photograph, "flowers102": photograph, "geometry3k": geometry, "lisa_grounding": region,
    "logicvista": aptitude, "mathverse": verse, "mathvista": vista, "puzzles": puzzle, "refcoco": region,
}  # fmt: skip
GROUNDING = ("lisa_grounding", "refcoco")


@pytest.mark.parametrize("name", NAMES)
def test_samples_score_as_stated(name):
    held = list(samples(name))
    assert len(held) >= 8
    for question, responses in held:
        assert len(responses) >= 4
        assert bench(name).prompt(question).strip()
        for response in responses:
            score = bench(name).score(question, response["text"])
            assert (score.correct, score.formatted) == (response["correct"], response["formatted"]), response


@pytest.mark.parametrize("name", NAMES)
def test_the_entry_says_what_it_measures(name):
    facts = BENCHMARKS[name].facts
    assert facts.version >= 1
    assert facts.headline and facts.licence and facts.source
    assert facts.trains_on in BENCHMARKS
    for told in ("Licence", "Sample row", "Headline", "Known traps"):
        assert told in BENCHMARKS[name].doc


@pytest.mark.parametrize("name", TWINS)
def test_what_the_twin_teaches_is_right(name):
    made = bench(name)
    for index in range(150):
        example = made.twin.example("test", index)
        taught = "".join(span.text for span in example.solution)
        score = made.score(example.question, taught)
        assert (score.correct, score.formatted) == (1.0, True), (example.question, taught)
        assert made.prompt(example.question).strip()
        assert made.score(example.question, "").correct == 0


def test_prompts_carry_choices_and_no_call_for_tags():
    for name in NAMES:
        for question, _ in samples(name):
            prompt = bench(name).prompt(question)
            assert "<think>" not in prompt and "<answer>" not in prompt
            assert all(choice in prompt for choice in question.choices)


def test_mathvista_prompts_are_the_official_queries(zoo_data):
    file = zoo_data / "real" / "mathvista_annotations"
    if not file.is_dir():
        pytest.skip("no MathVista annotations")
    from credit_zoo.benchmarks.mathvista import _question

    rows = json.loads((file / "testmini.json").read_text(encoding="utf-8"))
    queries = json.loads((file / "query.json").read_text(encoding="utf-8"))
    made = bench("mathvista")
    assert [pid for pid, row in rows.items() if made.prompt(_question(row)) != queries[pid]] == []


@pytest.mark.parametrize(
    ("name", "where", "split", "rows"),
    [
        ("geometry3k", "geometry3k", "train", 55), ("geometry3k", "geometry3k", "val", 2),
        ("geometry3k", "geometry3k_schematic", "val", 300), ("puzzles", "puzzlevqa", "all", 40),
        ("puzzles", "algopuzzlevqa", "all", 34), ("puzzles", "", "all", 74), ("puzzles", "puzzlevqa", "test", None),
    ],
)  # fmt: skip
def test_reads_the_real_sets(zoo_data, name, where, split, rows):
    if not (zoo_data / "real" / where).is_dir():
        pytest.skip(f"no {where}")
    made = bench(name)
    questions, source = made.load(split, zoo_data / "real" / where)
    assert len(questions) == source.rows
    assert rows in (None, source.rows)
    assert not source.twin
    assert len({question.id for question in questions.questions}) == source.rows
    assert questions[0].image.mode == "RGB"
    for question in questions.questions:
        assert made.prompt(question).strip()


def test_redrawn_diagrams_are_named_as_such(zoo_data):
    for where, split in (("geometry3k", "train"), ("geometry3k_schematic", "val")):
        if (zoo_data / "real" / where).is_dir():
            assert "re-drawn" in str(bench("geometry3k").load(split, zoo_data / "real" / where)[1])


@pytest.mark.parametrize("name", NAMES)
def test_reads_a_small_folder(tmp_path, name):
    questions, source = bench(name).load("all", folder(tmp_path, [ROWS[name]()]))
    assert (len(questions), source.rows, len(source.revision)) == (1, 1, 12)
    assert questions[0].image.size == (8, 6)
    assert questions.questions[0].image is None
    assert len(questions[:1]) == 1
    assert next(iter(questions)).answer == questions[-1].answer


def test_reads_pepos_layout(tmp_path):
    content = "<image>\nFind x.\n\nFirst output the thinking process in <think> </think> tags and then ..."
    picture = "Geometry3K/test/2401/img_diagram.png"
    row = {"images": [picture], "messages": [{"role": "user", "content": content}], "solution": "60"}
    questions, _ = bench("geometry3k").load("test", folder(tmp_path, [row], "test.jsonl", [picture]))
    assert (questions[0].id, questions[0].text, questions[0].answer) == ("geometry3k-2401", "Find x.", "60")
    with pytest.raises(UsageError, match="ask for train, val or test"):
        bench("geometry3k").load("all", tmp_path)
    folder(tmp_path, [{**row, "messages": []}], "test.jsonl", [])
    with pytest.raises(UsageError, match="messages must hold one"):
        bench("geometry3k").load("test", tmp_path)


def test_puzzles_are_split_for_good_and_mixed_types_become_strings(tmp_path):
    names = [f"p_{number:04}" for number in range(500)]
    data = folder(tmp_path, [puzzle(name) for name in names])
    made = bench("puzzles")
    held = {split: {one.id for one in made.load(split, data)[0].questions} for split in ("train", "val", "test")}
    assert set.union(*held.values()) == set(names)
    assert sum(map(len, held.values())) == len(names)
    assert 350 < len(held["train"]) < 450
    assert made.load("all", data)[0][0].choices == ("6", "3", "4")


def test_mathvista_leaves_out_what_cannot_be_measured(tmp_path):
    rows = [vista(), vista(pid="2", answer=""), vista(pid="3", metadata={"source": "Geometry3K"})]
    data = folder(tmp_path, rows)
    assert bench("mathvista").load("test", data)[1].dropped == {"no answer": 1}
    source = bench("mathvista", drop_geometry3k=True).load("test", data)[1]
    assert (source.rows, source.dropped) == (1, {"no answer": 1, "from Geometry3K": 1})
    with pytest.raises(UsageError, match="no split 'train'"):
        bench("mathvista").load("train", data)


def test_mathvista_reads_the_official_file(tmp_path):
    data = folder(tmp_path, [])
    (data / "annotations.jsonl").unlink()
    (data / "testmini.json").write_text(json.dumps({"1": vista(precision=1.0, answer_type="float", unit="g")}))
    question = bench("mathvista").load("test", data)[0][0]
    assert (question.precision, question.kind, question.category) == (1, "float", "counting")
    assert "one decimal place" in bench("mathvista").prompt(question)
    assert bench("mathvista").prompt(question).endswith("(Unit: g)")


@pytest.mark.parametrize(
    ("name", "row", "said"),
    [
        ("geometry3k", {"id": 1, "image": "a.png"}, "line 1 lacks problem_text, answer, data_type; it has id, image"),
        ("mathvista", {"pid": "1"}, "line 1 lacks question"), ("puzzles", [1, 2], "line 1 is not an object"),
        ("puzzles", puzzle(answer="7"), "the answer '7' is none of the options"),
        ("puzzles", puzzle(options="4"), "options must hold a list"), ("puzzles", puzzle(image=None), "no picture"),
        ("mathvista", vista(choices=["1", "2"]), "none of the choices"),
        ("geometry3k", geometry(data_type="train"), "no questions in split 'test'.*there are: train 1"),
    ],
)  # fmt: skip
def test_bad_rows_are_named(tmp_path, name, row, said):
    with pytest.raises(UsageError, match=said):
        bench(name).load("test" if name != "puzzles" else "all", folder(tmp_path, [row]))


@pytest.mark.parametrize("name", NAMES)
def test_bad_folders_are_named(tmp_path, name):
    with pytest.raises(UsageError, match="does not exist"):
        bench(name).load("test", tmp_path / "nowhere")
    (tmp_path / "other.txt").write_text("")
    with pytest.raises(UsageError, match=r"has no .*\.jsonl; it holds: other.txt"):
        bench(name).load("test", tmp_path)
    (tmp_path / "annotations.jsonl").write_text("\n")
    with pytest.raises(UsageError, match="holds no rows"):
        bench(name).load("test", tmp_path)
    (tmp_path / "annotations.jsonl").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="not UTF-8"):
        bench(name).load("test", tmp_path)
    with pytest.raises(UsageError, match=r"holds no rows|does not exist|has no"):
        bench(name).load("test", tmp_path / "other.txt")


def corrupt(file, how):
    if how == "html":
        file.write_text("<html>not found</html>")
    elif how == "cut":
        drawn((300, 300)).save(file, "PNG")
        file.write_bytes(file.read_bytes()[:60])
    else:
        file.unlink()


@pytest.mark.parametrize("how", ["html", "cut", "gone"])
@pytest.mark.parametrize("name", NAMES)
def test_a_corrupt_picture_is_named_and_can_be_skipped(tmp_path, name, how):
    data = folder(tmp_path, [ROWS[name](), {**ROWS[name](), "image": "images/2.png"}], pictures=["images/1.png"])
    drawn().save(data / "images" / "2.png")
    corrupt(data / "images" / "2.png", how)
    with pytest.raises(UsageError, match=r"images/2\.png.*data\.skip_bad=true skips such rows"):
        bench(name).load("all", data)
    questions, source = bench(name).load("all", data, skip_bad=True)
    assert (len(questions), source.rows, source.dropped) == (1, 1, {"bad picture": 1})
    corrupt(data / "images" / "1.png", "html")
    with pytest.raises(UsageError, match="none of the 2 pictures"):
        bench(name).load("all", data, skip_bad=True)


@pytest.mark.parametrize("name", GROUNDING)
def test_a_box_is_in_pixels_of_its_picture(tmp_path, name):
    question = bench(name).load("test", folder(tmp_path, [region(box=[1.004, 2, 8, 6.5])]))[0][0]
    assert (question.kind, question.answer, question.text) == ("box", "1,2,8,6.5", "the left cat")
    assert question.meta == {"unit": "pixels", "size": (8, 6)}
    assert bench(name).prompt(question).endswith("the region this sentence describes: the left cat.")
    score = bench(name).score(question, "<think>a</think><answer>[1, 2, 8, 4.25]</answer>")
    assert (score.correct, score.overlap) == (1.0, 0.5)


@pytest.mark.parametrize("name", GROUNDING)
@pytest.mark.parametrize(
    ("box", "said"),
    [
        ([5, 2, 5, 6], "empty or outside its picture of 8 x 6 pixels"), ([5, 2, 1, 6], "empty or outside"),
        ([1, 2, 5, 16], "empty or outside"), ([-3, 2, 5, 6], "empty or outside"), ([1, 2, 5], "must be four numbers"),
        ("1,2,5,6", "must be four numbers"), (None, "must be four numbers"), ([1, 2, 5, True], "must be four numbers"),
        ([1, 2, 5, float("nan")], "must be four numbers"),
    ],
)  # fmt: skip
def test_a_bad_box_is_named_and_can_be_skipped(tmp_path, name, box, said):
    data = folder(tmp_path, [region(), region("8b", box=box)])
    with pytest.raises(UsageError, match=rf"{name}-.*8b: .*{said}.*data\.skip_bad=true skips such rows"):
        bench(name).load("test", data)
    questions, source = bench(name).load("test", data, skip_bad=True)
    assert (len(questions), source.rows, source.dropped) == (1, 1, {"bad box": 1})
    with pytest.raises(UsageError, match=r"none of the 1 pictures of \w+ can be used \(1 bad box\)"):
        bench(name).load("test", folder(tmp_path, [region(box=box)]), skip_bad=True)


def test_the_parts_of_refcocos_test_are_categories(tmp_path):
    parts = ["train", "val", "testA", "testB", "test"]
    rows = [region(part, split=part) for part in parts] + [region("g", split="test", dataset="refcocog")]
    data, made = folder(tmp_path, rows), bench("refcoco")
    held = {split: [one.category for one in made.load(split, data)[0].questions] for split in ("train", "val", "test")}
    assert held == {"train": ["train"], "val": ["val"], "test": ["testA", "testB", "test", "refcocog test"]}
    assert len(made.load("all", data)[0]) == 6
    assert [one.category for one in made.load("testA", data)[0].questions] == ["testA"]
    assert made.load("minival", folder(tmp_path, [region(split="minival")]))[1].rows == 1
    with pytest.raises(UsageError, match=r"no questions in split 'val'.*there are: testA 1"):
        made.load("val", folder(tmp_path, [region(split="testA")]))


def test_reads_vlm_r1s_files(tmp_path):
    problem = "Please provide the bounding box coordinate of the region this sentence describes: the lady, left."
    row = {"image": "images/1.png", "problem": problem, "solution": [1, 2.5, 5, 6]}
    for name in ("refcoco_testA", "refcocop_testB", "refcoco_val", "lisa_test", "info"):
        folder(tmp_path, [], f"{name}.json")
        (tmp_path / f"{name}.json").write_text(json.dumps([row, {**row, "problem": "Where is it?"}]))
    made = bench("refcoco")
    questions, source = made.load("test", tmp_path)
    assert [one.category for one in questions] == ["refcoco testA"] * 2 + ["refcocop testB"] * 2
    assert [one.id for one in questions][:2] == ["refcoco-refcoco-testA-1", "refcoco-refcoco-testA-2"]
    assert [one.text for one in questions][:2] == ["the lady, left", "Where is it?"]
    assert (questions[0].answer, source.rows, len(source.revision)) == ("1,2.5,5,6", 4, 25)
    assert made.prompt(questions[0]) == problem
    with pytest.raises(UsageError, match=r"no questions in split 'train'.*there are: testA 1, testB 1, val 1"):
        made.load("train", tmp_path)
    (tmp_path / "refcoco_val.json").write_text(json.dumps([{"image": "images/1.png"}]))
    with pytest.raises(UsageError, match=r"refcoco_val\.json entry 1 lacks problem, solution"):
        made.load("val", tmp_path)


def png(size=(8, 6)):
    held = io.BytesIO()
    drawn(size).save(held, "PNG")
    return {"bytes": held.getvalue(), "path": "1.png"}


def parquet(file, rows, **settings):
    file.parent.mkdir(parents=True, exist_ok=True)
    pandas.DataFrame(rows).to_parquet(file, **settings)


def lmms(id, answer=("the left cat",), bbox=(1.0, 2.0, 4.0, 3.5), image=None):
    return {"question_id": id, "image": image or png(), "answer": list(answer), "bbox": list(bbox), "iscrowd": 0}


def test_reads_lmms_labs_files(tmp_path):
    rows = [lmms("1", ["the left cat", "cat on the left"]), lmms("2"), lmms("3", image=png((10, 9)))]
    parquet(tmp_path / "RefCOCOg" / "data" / "test-00000-of-00001-1a2b.parquet", rows, row_group_size=2)
    parquet(tmp_path / "RefCOCO" / "testB-00000-of-00001.parquet", [lmms("1")])
    questions, source = bench("refcoco").load("test", tmp_path)
    assert [one.category for one in questions] == ["RefCOCO testB"] + ["RefCOCOg test"] * 4
    assert [one.id for one in questions][1:3] == ["refcoco-RefCOCOg-test-1-0", "refcoco-RefCOCOg-test-1-1"]
    assert [one.text for one in questions][1:3] == ["the left cat", "cat on the left"]
    assert {one.answer for one in questions} == {"1,2,5,5.5"}
    assert [one.image.size for one in questions] == [(8, 6)] * 4 + [(10, 9)]
    assert source.rows == 5
    again, _ = bench("refcoco").load("test", tmp_path / "RefCOCOg")
    assert [one.category for one in again] == ["test"] * 4


def test_a_bad_row_of_a_parquet_file_is_named_and_can_be_skipped(tmp_path):
    file, made = tmp_path / "val-00000-of-00001.parquet", bench("refcoco")
    empty, broken = {"bytes": None, "path": "gone.png"}, {"bytes": b"<html>", "path": "1.png"}
    parquet(file, [lmms("1"), lmms("2", bbox=(1, 2, 0, 3)), lmms("3", image=empty), lmms("4", image=broken)])
    with pytest.raises(UsageError, match=r"refcoco-val-2-0: the box 1,2,1,5 is empty"):
        made.load("val", tmp_path)
    questions, source = made.load("val", tmp_path, skip_bad=True)
    assert (len(questions), source.dropped) == (1, {"bad box": 1, "bad picture": 2})
    parquet(tmp_path / "testA.parquet", [lmms("4", image=broken)])
    with pytest.raises(UsageError, match=r"testA\.parquet row group 0 row 0 does not decode"):
        made.load("test", tmp_path)
    parquet(file, [{"question_id": "1", "image": png()}])
    with pytest.raises(UsageError, match="lacks answer, bbox; it has question_id, image"):
        made.load("val", tmp_path)
    file.write_text("<html>")
    with pytest.raises(UsageError, match="is not a Parquet file"):
        made.load("val", tmp_path)


def label(*shapes, text=("the umbrella",), is_sentence=False):
    named = [{"label": name, "points": points} for name, points in shapes]
    return {"text": list(text), "is_sentence": is_sentence, "shapes": named}


TARGET = ("target", [[1, 2], [4, 2], [3, 5]])


def reason_seg(root, part, name, labels, encoding="utf-8"):
    folder(root, [], "unused.txt", [f"{part}/{name}.jpg"])
    (root / part / f"{name}.json").write_bytes(json.dumps(labels, ensure_ascii=False).encode(encoding))


def test_reads_reason_segs_files(tmp_path):
    shapes = [("ignore", [[0, 0], [8, 6]]), TARGET, ("flag", [[0, 0]]), ("target", [[6, 3.5], [7, 4]])]
    reason_seg(tmp_path, "test", "a", label(*shapes, text=["the umbrella", "what keeps dry"]))
    reason_seg(tmp_path, "test", "b", label(TARGET, text=["the café’s sign"], is_sentence=True), "cp1252")
    reason_seg(tmp_path, "val", "c", label(TARGET))
    made = bench("lisa_grounding")
    questions, source = made.load("test", tmp_path)
    assert [one.text for one in questions] == ["the umbrella", "what keeps dry", "the café’s sign"]
    assert [one.answer for one in questions] == ["1,2,7,5", "1,2,7,5", "1,2,4,5"]
    assert [one.category for one in questions] == ["short", "short", "long"]
    assert [one.id for one in questions][1:] == ["lisa_grounding-test-a-1", "lisa_grounding-test-b-0"]
    assert (source.rows, len(source.revision), questions[0].meta["size"]) == (3, 12, (8, 6))
    assert made.load("all", tmp_path)[1].rows == 4
    with pytest.raises(UsageError, match=r"no questions in split 'train'.*there are: test 2, val 1"):
        made.load("train", tmp_path)


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (label(("ignore", [[0, 0], [8, 6]])), "lisa_grounding-val-a-0: no shape labelled target has points"),
        (label(("target", [])), "no shape labelled target"), (label(("target", [[1]])), "no shape labelled target"),
        (label(("target", [[1, 2], [1, 5]])), "lisa_grounding-val-a-0: the box 1,2,1,5 is empty"),
        ({"text": ["a"]}, r"a\.json must be an object with text and shapes"),
        (label(TARGET, text="") | {"text": "a"}, "column text must hold a list"),
    ],
)  # fmt: skip
def test_bad_labels_are_named(tmp_path, labels, said):
    reason_seg(tmp_path, "val", "a", labels)
    with pytest.raises(UsageError, match=said):
        bench("lisa_grounding").load("val", tmp_path)


def test_labels_that_are_not_json_are_named(tmp_path):
    reason_seg(tmp_path, "val", "a", {})
    (tmp_path / "val" / "a.json").write_text("{")
    with pytest.raises(UsageError, match=r"a\.json is not JSON"):
        bench("lisa_grounding").load("val", tmp_path)
