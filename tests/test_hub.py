"""Sets in the hub's format: folders written by `datasets`' own writer give the expected rows; no hub, no wait."""

import os
import subprocess
import sys

import datasets
import numpy as np
import pytest
from datasets import Dataset, Features, List, Value
from datasets import Image as Picture
from PIL import Image

from credit_zoo.errors import UsageError
from credit_zoo.questions import hub
from credit_zoo.questions.hub import HubSet, holds, read_set
from credit_zoo.questions.pictures import BadImage
from credit_zoo.questions.table_cells import BadBox
from credit_zoo.registry import BENCHMARKS

TEXT, NUMBER = Value("string"), Value("int64")


def bench(name, **settings):
    return BENCHMARKS[name].factory(**settings)


def drawn(color=(200, 30, 40), size=(40, 30), mode="RGB"):
    return Image.new(mode, size, color)


def written(folder, name, columns, features):
    (folder / "data").mkdir(parents=True, exist_ok=True)
    table = Dataset.from_dict(columns, features=Features(features))
    table.to_parquet(folder / "data" / f"{name}-00000-of-00001.parquet")
    return table


@pytest.fixture
def geometry(tmp_path):
    features = {"images": List(Picture()), "problem": TEXT, "answer": TEXT, "id": NUMBER}
    for split, answers in (("train", ["007", "1e3"]), ("test", ["true"])):
        rows = len(answers)
        columns = {
            "images": [[drawn()]] * rows,
            "problem": ["<image>Find $x$."] * rows,
            "answer": answers,
            "id": list(range(rows)),
        }
        written(tmp_path, split, columns, features)
    return tmp_path


def test_geometry3k_reads_the_copy_on_the_hub_and_leaves_text_as_it_is(geometry):
    rows, source = bench("geometry3k").load("train", geometry)
    assert [(q.text, q.answer, q.kind) for q in rows] == [("Find $x$.", "007", "math"), ("Find $x$.", "1e3", "math")]
    assert rows[0].image.getpixel((3, 3)) == (200, 30, 40)
    assert (source.twin, source.rows, len({q.id for q in rows})) == (False, 2, 2)
    assert bench("geometry3k").load("test", geometry)[0][0].answer == "true"
    with pytest.raises(UsageError, match="no questions in split 'val'"):
        bench("geometry3k").load("val", geometry)


def vista(pictures, **columns):
    rows = len(pictures)
    whole = {
        "pid": [str(n) for n in range(rows)], "question": ["How many?"] * rows, "image": ["images/1.jpg"] * rows,
        "decoded_image": pictures, "choices": [["2", "3"]] * rows, "unit": [None] * rows, "precision": [None] * rows,
        "answer": ["3"] * rows, "question_type": ["multi_choice"] * rows, "answer_type": ["text"] * rows,
        "metadata": [{"source": "Geometry3K", "task": "counting"}] * rows, **columns,
    }  # fmt: skip
    kinds = {
        "image": TEXT, "decoded_image": Picture(), "choices": List(TEXT), "precision": Value("float64"),
        "metadata": {"source": TEXT, "task": TEXT},
    }  # fmt: skip
    return whole, {name: kinds.get(name, TEXT) for name in whole}


def test_mathvista_takes_the_decoded_picture_and_knows_where_a_question_comes_from(tmp_path):
    half_clear = drawn((0, 0, 0, 0), mode="RGBA")
    written(tmp_path, "testmini", *vista([drawn((1, 2, 3)), half_clear]))
    rows, _ = bench("mathvista").load("test", tmp_path)
    assert [(q.answer, q.choices, q.category, q.meta["origin"]) for q in rows] == [
        ("3", ("2", "3"), "counting", "Geometry3K")
    ] * 2
    assert rows[0].image.getpixel((0, 0)) == (1, 2, 3)
    assert rows[1].image.getpixel((0, 0)) == (255, 255, 255)


def test_a_picture_that_does_not_decode_is_named_by_its_row_or_counted(tmp_path):
    columns, features = vista([drawn(), {"bytes": b"<html>", "path": None}, {"bytes": b"", "path": None}])
    written(tmp_path, "testmini", columns, features)
    with pytest.raises(BadImage, match="row group 0 row 1 does not decode"):
        bench("mathvista").load("test", tmp_path)
    rows, source = bench("mathvista").load("test", tmp_path, skip_bad=True)
    assert (len(rows), dict(source.dropped)) == (1, {"bad picture": 2})


def test_a_missing_column_is_named(tmp_path):
    columns, features = vista([drawn()])
    del columns["choices"], features["choices"]
    written(tmp_path, "testmini", columns, features)
    with pytest.raises(UsageError, match="lacks choices; it has"):
        bench("mathvista").load("test", tmp_path)


def test_refcoco_boxes_become_corners_and_every_expression_a_question(tmp_path):
    columns = {
        "question_id": ["9"],
        "image": [drawn()],
        "answer": [["left man", "man"]],
        "bbox": [[1.0, 2.0, 30.0, 20.0]],
    }
    features = {"question_id": TEXT, "image": Picture(), "answer": List(TEXT), "bbox": List(Value("float32"))}
    written(tmp_path, "testA", columns, features)
    rows, _ = bench("refcoco").load("test", tmp_path)
    assert [(q.text, q.answer, q.category) for q in rows] == [
        ("left man", "1,2,31,22", "testA"), ("man", "1,2,31,22", "testA"),
    ]  # fmt: skip


def test_lisas_box_is_the_extent_of_the_mask(tmp_path):
    mask = np.zeros((30, 40), dtype=bool)
    mask[5:8, 10:21] = mask[20, 15] = True
    columns = {"image": [drawn()], "text": ["what keeps rain off"], "mask": [mask.tolist()], "image_id": ["7"]}
    features = {"image": Picture(), "text": TEXT, "mask": List(List(Value("bool"))), "image_id": TEXT}
    written(tmp_path, "test", columns, features)
    ((question,), _) = bench("lisa_grounding").load("test", tmp_path)
    assert (question.text, question.answer) == ("what keeps rain off", "10,5,21,21")


@pytest.mark.parametrize("mask", [[[True], [True, False]], [[False, False]], None, []])
def test_a_mask_without_an_extent_is_a_bad_box(tmp_path, mask):
    columns = {"image": [drawn()] * 2, "text": ["it"] * 2, "mask": [mask, [[True, True]]], "image_id": ["7", "8"]}
    features = {"image": Picture(), "text": TEXT, "mask": List(List(Value("bool"))), "image_id": TEXT}
    written(tmp_path, "test", columns, features)
    with pytest.raises(BadBox, match=r"test-7-0: the mask is .*data\.skip_bad=true skips such rows"):
        bench("lisa_grounding").load("test", tmp_path)
    rows, source = bench("lisa_grounding").load("test", tmp_path, skip_bad=True)
    assert ([q.answer for q in rows], dict(source.dropped)) == (["0,0,2,1"], {"bad box": 1})


def test_a_part_that_a_folder_lacks_is_left_out_of_all_and_files_count_once(geometry):
    assert len(bench("geometry3k").load("all", geometry)[0]) == 3
    (geometry / "train-00000-of-00001.parquet").write_bytes(
        (geometry / "data" / "train-00000-of-00001.parquet").read_bytes()
    )
    assert len(bench("geometry3k").load("train", geometry)[0]) == 2


# --- the hub itself ----------------------------------------------------------------------------------------------


class Api:
    """What the hub's client says of the newest commit."""

    def dataset_info(self, repo, revision, timeout):
        assert (repo, revision) == ("somebody/geometry", "main")
        return type("Info", (), {"sha": "c0ffee" * 7})


def test_the_hubs_rows_are_those_of_a_folder_in_its_format(geometry, monkeypatch):
    """`datasets.load_dataset` loads the folder where it would load the repository; the rest is the real thing."""
    real, asked = datasets.load_dataset, []

    def load_dataset(repo, config, split, revision):
        asked.append((repo, config, split, revision))
        return real(str(geometry), split=split, cache_dir=str(geometry / "cache"))

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    monkeypatch.setattr("huggingface_hub.HfApi", Api)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    wanted = HubSet("somebody/geometry", {"train": "train", "test": "test"}, ("problem", "answer"), image="images")
    ours, copied = read_set(wanted, "all", None), read_set(wanted, "all", geometry)
    assert asked == [("somebody/geometry", None, split, "c0ffee" * 7) for split in ("train", "test")]
    assert ours.revision == "c0ffeec0ffee"
    for here, there in zip(ours.rows, copied.rows, strict=True):
        assert here["image"].read().read() == there["image"].read().read()
        assert {**here, "image": 0} == {**there, "image": 0}
    assert str(ours.rows[2]["image"]) == "somebody/geometry@c0ffeec0ffee test row 0"


@pytest.mark.parametrize("name", ["geometry3k", "mathvista", "refcoco", "lisa_grounding", "mathverse", "logicvista"])
def test_without_the_hub_one_sentence_says_what_to_give(name, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(UsageError, match=r"^\S+ cannot be loaded from the hub .*: give data=FOLDER with a copy of it$"):
        bench(name).load("test", None)


def test_the_command_refuses_at_once_when_offline():
    words = [sys.executable, "-m", "credit_zoo.run", "bench=geometry3k", "data=hub", "eval_only=true"]
    done = subprocess.run(words, env={**os.environ, "HF_HUB_OFFLINE": "1"}, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert "hiyouga/geometry3k cannot be loaded from the hub" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


def test_puzzles_are_not_on_the_hub_but_their_repository_is_read(tmp_path):
    with pytest.raises(UsageError, match="clone github"):
        bench("puzzles").load("all", None)
    inside = tmp_path / "PuzzleVQA" / "data"
    (inside / "images").mkdir(parents=True)
    rows = ('{"image": "images/a_0001.png", "question": "?", "options": [7, 9], "answer": 7}',) * 2
    (inside / "circle_size_number.json").write_text("\n".join(rows).replace("a_0001", "a_0002", 1))
    for name in ("a_0001", "a_0002"):
        drawn().save(inside / "images" / f"{name}.png")
    found, _ = bench("puzzles").load("all", tmp_path)
    assert [(q.id, q.answer, q.choices, q.category) for q in found] == [
        ("a_0002", "7", ("7", "9"), "circle_size_number"), ("a_0001", "7", ("7", "9"), "circle_size_number"),
    ]  # fmt: skip


def test_a_folder_with_annotations_is_not_in_the_hubs_format(geometry):
    assert holds(geometry)
    (geometry / "annotations.jsonl").write_text("{}\n")
    assert not holds(geometry)
    assert not holds(geometry / "none")


def test_a_part_that_the_hub_lacks_is_told():
    with pytest.raises(UsageError, match="has no split 'train', only test"):
        hub.read_set(HubSet("a/b", {"test": "test"}, ()), "train", None)
