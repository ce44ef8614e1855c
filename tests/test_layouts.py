"""Folders as upstream lays them out, cells that hold nothing, rows that a model does not take, sets that overlap."""

import io
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import datasets
import pandas
import pytest
from credit_zoo.benchmarks import flowers102
from PIL import Image
from test_benchmarks import ROWS, label, parquet, png, puzzle, reason_seg, region, vista

from credit_zoo.errors import UsageError
from credit_zoo.question import Question, Source
from credit_zoo.questions import parquet as parquet_files
from credit_zoo.questions.contamination import overlap_warning
from credit_zoo.questions.local_folder import layout_of
from credit_zoo.questions.pictures import BadRow
from credit_zoo.questions.question_streams import (
    DataConfig,
    FramedQuestions,
    SetQuestions,
    check_folder,
    open_questions,
)
from credit_zoo.registry import BENCHMARKS, BenchFacts

HARMLESS = {  # columns whose cells may be empty: what they tell is optional
    "logicvista": {"skill", "answer"}, "puzzles": {"category"}, "lisa_grounding": {"category"},
    "mathvista": {"choices", "unit", "precision", "answer", "question_type", "answer_type", "metadata"},
    "mathverse": {"image", "choices", "question", "answer", "metadata"},
}  # fmt: skip
SPELLINGS = ("None", "nan", "NaN", "null")


def bench(name, **settings):
    return BENCHMARKS[name].factory(**settings)


def written(folder, rows, file="annotations.jsonl"):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / file).write_text("\n".join(map(json.dumps, rows)))
    (folder / "images").mkdir(exist_ok=True)
    Image.new("RGB", (8, 6), (200, 30, 40)).save(folder / "images" / "1.png")
    return folder


def texts(question):
    return [question.id, question.text, question.answer, question.category, *question.choices]


# --- cells that hold nothing -------------------------------------------------------------------------------------


@pytest.mark.parametrize("nothing", [None, float("nan")])
@pytest.mark.parametrize(("name", "column"), [(name, column) for name, row in ROWS.items() for column in row()])
def test_an_empty_cell_never_becomes_text(tmp_path, name, column, nothing):
    good, bad = ROWS[name](), {**ROWS[name](), column: nothing}
    data = written(tmp_path, [good, bad])
    if column not in HARMLESS.get(name, set()):
        with pytest.raises(UsageError, match=r"line 2.*data\.skip_bad=true skips such rows|names no picture|four numb"):
            bench(name).load("all", data)
    questions, source = bench(name).load("all", data, skip_bad=True)
    told = [word for one in questions.questions for text in texts(one) for word in text.replace("-", " ").split()]
    assert not set(told) & {*SPELLINGS}
    assert len(questions) + sum(source.dropped.values()) == 2


def test_an_answer_that_says_none_is_right_only_where_it_is_an_option(tmp_path):
    data = written(tmp_path, [puzzle(options=["None", "3"], answer="None")])
    ((question,), _) = bench("puzzles").load("all", data)
    assert bench("puzzles").score(question, "<answer>None</answer>").correct == 1
    with pytest.raises(UsageError, match="column options has an entry that is no text"):
        bench("puzzles").load("all", written(tmp_path, [puzzle(options=[None, "3"], answer=None)]))


def test_a_precision_that_is_no_number_is_none(tmp_path):
    ((question,), _) = bench("mathvista").load("test", written(tmp_path, [vista(precision=float("nan"))]))
    assert question.precision is None


# --- layouts -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "where", "split", "rows", "first"),
    [
        ("logicvista", "LogicVista", "test", 5, ("logicvista-v1_1", "A, C")),
        ("logicvista", "LogicVista/data", "test", 5, ("logicvista-v1_1", "A, C")),
        ("geometry3k", "InterGPS", "train", 2, ("geometry3k-11", "80")),
        ("geometry3k", "InterGPS/data/geometry3k", "all", 2, ("geometry3k-11", "80")),
        ("puzzles", "LLM-PuzzleTest", "all", 12, ("size_cycle_0000", "large")),
        ("puzzles", "LLM-PuzzleTest/PuzzleVQA", "all", 6, ("size_cycle_0000", "large")),
        ("puzzles", "LLM-PuzzleTest/AlgoPuzzleVQA/data", "all", 6, ("board_tile_0000", "No")),
    ],
)  # fmt: skip
def test_clones_are_read_as_they_are(zoo_data, name, where, split, rows, first):
    if not (zoo_data / "layouts" / where).is_dir():
        pytest.skip(f"no {where}")
    questions, source = bench(name).load(split, zoo_data / "layouts" / where)
    assert (len(questions), source.rows, (questions[0].id, questions[0].answer)) == (rows, rows, first)
    assert all(one.image.mode == "RGB" for one in questions)


def test_vlm_r1s_files_alone_tell_what_is_missing(zoo_data):
    if not (zoo_data / "layouts" / "vlm_r1_rec_jsons").is_dir():
        pytest.skip("no files of VLM-R1")
    folder = str(zoo_data / "layouts" / "vlm_r1_rec_jsons")
    with pytest.raises(UsageError, match=r"names pictures like train2014/COCO.*put COCO's train2014/ into one of"):
        check_folder(bench("refcoco"), "val", folder)


@pytest.mark.parametrize("beside", ["rec_jsons_processed", "."])
def test_vlm_r1s_pictures_may_lie_beside_the_folder_of_its_files(tmp_path, beside):
    row = {"image": "train2014/a.jpg", "problem": "the cat", "solution": [1, 2, 5, 6]}
    (tmp_path / beside / "train2014").mkdir(parents=True, exist_ok=True)
    (tmp_path / "train2014").mkdir(exist_ok=True)
    Image.new("RGB", (8, 6)).save(tmp_path / "train2014" / "a.jpg")
    Image.new("RGB", (8, 6)).save(tmp_path / beside / "train2014" / "a.jpg")
    (tmp_path / beside / "refcoco_testA.json").write_text(json.dumps([row]))
    ((question,), _) = bench("refcoco").load("testA", tmp_path / beside)
    assert (question.answer, question.image.size, question.category) == ("1,2,5,6", (8, 6), "refcoco testA")


def test_a_part_that_only_one_set_has_can_be_asked_for(tmp_path):
    data = written(tmp_path, [region(split=part) for part in ("val", "testA", "testB")])
    made = bench("refcoco")
    found = open_questions(made, "testA", str(data), DataConfig(), 0, shuffle=False)
    assert [one.category for one in found.rows.questions] == ["testA"]
    with pytest.raises(UsageError, match=r"split 'testC'.*there are: testA 1, testB 1, val 1"):
        made.load("testC", data)
    with pytest.raises(UsageError, match=r"the twin of refcoco has the splits train, val, test, not 'testA'"):
        check_folder(made, "testA", None)


@pytest.mark.parametrize("name", list(ROWS))
def test_an_unknown_folder_is_answered_with_all_layouts(tmp_path, name):
    (tmp_path / "notes.txt").write_text("")
    made = bench(name)
    with pytest.raises(UsageError, match=r"has no annotations\.jsonl; it holds: notes\.txt") as told:
        check_folder(made, "test", str(tmp_path))
    assert str(told.value).count("\n  - ") == len(made.layouts) >= 2
    assert layout_of(name, written(tmp_path, [ROWS[name]()]), made.layouts) is not None


def test_the_command_tells_layouts_before_it_loads_a_model(tmp_path):
    words = [sys.executable, "-m", "credit_zoo.run", "bench=mathverse", "eval_only=true", f"data={tmp_path}"]
    done = subprocess.run([*words, "model.path=nowhere/at-all"], capture_output=True, text=True, timeout=120)
    assert (done.returncode, "Traceback" in done.stderr) == (2, False)
    assert "mathverse reads:" in done.stderr and "nowhere" not in done.stderr


def test_puzzles_read_the_hubs_files_with_the_ids_of_the_clone(tmp_path):
    rows = [{"image": png(), "question": "?", "options": ["7", "9"], "answer": answer} for answer in ("7", "9")]
    parquet(tmp_path / "data" / "venn-00000-of-00001.parquet", rows)
    parquet(tmp_path / "clock" / "test-00000-of-00001.parquet", rows[:1])
    questions, _ = bench("puzzles").load("all", tmp_path)
    assert sorted((q.id, q.answer, q.category) for q in questions) == [
        ("clock_0000", "7", "clock"), ("venn_0000", "7", "venn"), ("venn_0001", "9", "venn"),
    ]  # fmt: skip


@pytest.mark.parametrize("whole", [True, False])
def test_what_save_to_disk_wrote_is_read(tmp_path, whole):
    held = io.BytesIO()
    Image.new("RGB", (8, 6), (200, 30, 40)).save(held, "PNG")
    columns = {"images": [[{"bytes": held.getvalue(), "path": None}]] * 2, "problem": ["<image>Find x."] * 2}
    features = datasets.Features(
        {"images": datasets.List(datasets.Image()), "problem": datasets.Value("string"),
         "answer": datasets.Value("string")}
    )  # fmt: skip
    made = datasets.Dataset.from_dict({**columns, "answer": ["007", "1e3"]}, features=features)
    if whole:
        datasets.DatasetDict({"test": made}).save_to_disk(str(tmp_path))
    else:
        made.save_to_disk(str(tmp_path / "test"))
    questions, source = bench("geometry3k").load("test", tmp_path)
    assert [(q.text, q.answer) for q in questions] == [("Find x.", "007"), ("Find x.", "1e3")]
    assert (questions[1].image.getpixel((0, 0)), len(source.revision)) == ((200, 30, 40), 12)
    with pytest.raises(UsageError, match="no questions in split 'train'"):
        bench("geometry3k").load("train", tmp_path)


def test_large_cells_are_read_in_blocks_never_a_row_group_at_once(tmp_path, monkeypatch):
    from pyarrow.parquet import ParquetFile

    monkeypatch.setattr(parquet_files, "BLOCK", 4)
    monkeypatch.setattr(ParquetFile, "read_row_group", None)
    rows = [{"image": png((8 + number, 6)), "question": str(number)} for number in range(11)]
    pandas.DataFrame(rows).to_parquet(tmp_path / "a.parquet", row_group_size=6)
    found = parquet_files.read_parquet(tmp_path / "a.parquet", ("question",)).rows
    assert [Image.open(row["image"].read()).width for row in found] == [8 + number for number in range(11)]
    assert len(parquet_files._block(tmp_path / "a.parquet", 0, "image", 0)) == 4


# --- numbered classes, official lists, labels --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("numbers", "names", "classes"),
    [(("1", "102"), None, {"pink primrose", "blackberry lily"}), (("1",), {"1": "rose"}, {"rose"})],
)
def test_numbered_flowers_have_the_official_names(tmp_path, numbers, names, classes):
    for number in numbers:
        (tmp_path / "test" / number).mkdir(parents=True)
        Image.new("RGB", (8, 6)).save(tmp_path / "test" / number / "image_1.jpg")
    if names:
        (tmp_path / "cat_to_name.json").write_text(json.dumps(names))
    assert {one.answer for one in bench("flowers102").load("test", tmp_path)[0]} == classes
    assert len(set(flowers102.Flowers102.numbered)) == 102
    (tmp_path / "test" / "1").rename(tmp_path / "test" / "0")
    if not names:
        with pytest.raises(UsageError, match="a class must have a name, got"):
            bench("flowers102").load("test", tmp_path)


def test_the_official_aircraft_are_read(tmp_path):
    lists = tmp_path / "data"
    (lists / "images").mkdir(parents=True)
    for part, name in (("train", "0034309"), ("test", "1025794")):
        Image.new("RGB", (8, 6)).save(lists / "images" / f"{name}.jpg")
        (lists / f"images_variant_{part}.txt").write_text(f"{name} Boeing 717\n")
    for split, rows in (("train", 1), ("test", 1), ("all", 2)):
        questions, source = bench("fgvc_aircraft", shots=1).load(split, tmp_path)
        assert ({one.answer for one in questions}, source.rows) == ({"Boeing 717"}, rows)


def test_labels_are_read_as_lisas_code_reads_them(tmp_path):
    shapes = [
        ("FLAG", [[0, 0], [8, 6]]), ("please ignore", [[0, 0], [8, 6]]), ("Target ", [[1, 2], [4, 2], [3, 5]]),
        ("umbrella", [[5, 3], [9.5, 3], [9.5, 4]]), ("target", []),
    ]  # fmt: skip
    reason_seg(tmp_path, "val", "a", label(*shapes))
    reason_seg(tmp_path, "val", "b", label(("target", [[-3, -2], [8.7, 1], [4, 30]])))
    questions, _ = bench("lisa_grounding").load("val", tmp_path)
    assert [one.answer for one in questions] == ["1,2,8,5", "0,0,8,6"]
    reason_seg(tmp_path, "val", "c", label(("target", [[9, 7], [12, 7], [12, 9]])))
    with pytest.raises(UsageError, match=r"val-c-0: the box .* is empty or outside"):
        bench("lisa_grounding").load("val", tmp_path)


# --- what a model does not take ----------------------------------------------------------------------------------


def test_what_the_model_does_not_take_is_named_or_counted(tmp_path, tiny):
    data = written(tmp_path, [puzzle(f"p_{number}", image=f"images/{number}.png") for number in range(3)])
    for number, size in enumerate(((8, 6), (2010, 10), (8, 6))):
        Image.new("RGB", size).save(data / "images" / f"{number}.png")
    made = bench("puzzles")

    def refusal(question):
        return tiny.encoder.refusal(question.image.size, made.prompt(question))

    found = open_questions(made, "all", str(data), DataConfig(), 0, False, refusal)
    with pytest.raises(BadRow, match=r"p_1: a picture of 2010 x 10 pixels .*data\.skip_bad=true skips such rows"):
        found[1]
    found = open_questions(made, "all", str(data), DataConfig(skip_bad=True), 0, False, refusal)
    assert ([found[at].id for at in (0, 1)], found.source.rows) == (["p_0", "p_2"], 2)
    assert found.source.dropped == {"not taken by the model": 1}
    with pytest.raises(UsageError, match=r"does not take the question 'Find x\.' and its picture of 2010 x 10"):
        tiny.encoder.prompts([(Image.new("RGB", (2010, 10)), "Find x.")])


def test_a_question_that_holds_the_pictures_stand_in_is_refused(tiny):
    token = tiny.encoder.tokenizer.convert_ids_to_tokens(tiny.encoder.image_token)
    assert token in tiny.encoder.refusal((56, 56), f"What does {token} mean?")
    assert tiny.encoder.refusal((56, 56), "What is <think> for? <answer>") is None


# --- sets that overlap, benchmarks from one file -----------------------------------------------------------------


@dataclass(frozen=True)
class Plain:
    """A benchmark as a newcomer writes it: paths for pictures, and no thought of splits."""

    twin = None
    parts: bool = False

    def load(self, split, data, skip_bad=False):
        names = {"train": "ab", "test": "cd"}[split] if self.parts else "abcd"
        rows = [Question(f"{name}", f"{name}.png", "Find x.", "1", "integer") for name in names]
        return rows, Source("plain", False, "v1", len(rows))

    def prompt(self, question):
        return question.text

    def score(self, question, response):
        raise AssertionError


def opened(made, split, data):
    return open_questions(made, split, str(data), DataConfig(), 0, shuffle=split == "train")


@pytest.mark.parametrize(
    ("parts", "copied", "ids", "pictures"), [(False, False, 4, 4), (True, False, 0, 0), (True, True, 0, 2)]
)
def test_sets_that_overlap_are_told(tmp_path, parts, copied, ids, pictures):
    for number, name in enumerate("abcd"):
        shade = number % 2 if copied else number
        Image.new("L", (4, 4), 50 * shade).save(tmp_path / f"{name}.png")
    made = Plain(parts)
    measured = opened(made, "test", tmp_path)
    asked = [measured[at] for at in range(len(measured.rows))]
    assert asked[0].image.size == (4, 4)
    training = FramedQuestions(opened(made, "train", tmp_path), "pixels", lambda size: size)
    said = overlap_warning(training, "plain", asked)
    if ids or pictures:
        assert (
            f"of the {len(asked)} questions that are measured, {ids} have an id and {pictures} have a picture" in said
        )
    else:
        assert said is None


def test_twins_do_not_overlap():
    made = bench("geometry3k")
    training = open_questions(made, "train", None, DataConfig(), 0, True)
    assert (
        overlap_warning(training, "geometry3k", [open_questions(made, "test", None, DataConfig(), 0, False)[0]]) is None
    )


def test_pictures_in_memory_are_compared_by_their_pixels():
    def rows(*shades):
        return [
            Question(f"{shades}{at}", Image.new("L", (4, 4), one), "?", "1", "math") for at, one in enumerate(shades)
        ]

    training = SetQuestions(rows(1, 2), Source("set", False, "v1", 2))
    assert "0 have an id and 1 have a picture" in overlap_warning(training, "set", rows(2, 3, 4))


def test_the_benchmark_of_the_guide_works_from_one_file(tmp_path, monkeypatch):
    guide = (Path(__file__).parents[1] / "CONTRIBUTING.md").read_text("utf-8")
    (tmp_path / "squares.py").write_text(guide.split("```python\n")[1].split("```")[0])
    for kept in ("_entries", "_plugins"):
        monkeypatch.setattr(BENCHMARKS, kept, type(getattr(BENCHMARKS, kept))(getattr(BENCHMARKS, kept)))
    BENCHMARKS.add_plugin(tmp_path / "squares.py")
    facts = BENCHMARKS["squares"].facts
    assert facts == BenchFacts(version=1, headline="avg@8 accuracy", trains_on="squares")
    rows = [{"id": "a", "picture": "a.png", "question": "Which number?", "answer": "7"}]
    (tmp_path / "test.json").write_text(json.dumps(rows))
    Image.new("RGB", (8, 6), (200, 30, 40)).save(tmp_path / "a.png")
    made = bench("squares")
    question = opened(made, "test", tmp_path)[0]
    assert (question.image.getpixel((0, 0)), made.prompt(question)) == ((200, 30, 40), "Which number?")
    assert made.score(question, "<think>a</think><answer>7</answer>").correct == 1
