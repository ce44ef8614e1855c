"""What a run leaves in its folder for people, and that a finished one is not done again."""

import json
import re

import pytest

from credit_zoo.policy.export import export_policy
from credit_zoo.results.provenance import run_id_of
from credit_zoo.results.store import load_all
from credit_zoo.run import main

SIZES = ("steps=3", "train.prompts=2", "sampling.group=2", "sampling.max_tokens=8", "eval.questions=2")
SHORT = ("eval.samples=2", "eval.max_tokens=8", "eval.greedy=false", "scale=smoke")


@pytest.fixture
def words(tiny, tmp_path):
    model = export_policy(tiny, tmp_path / "tiny")
    return [f"model.path={model}", *SIZES, *SHORT, f"out={tmp_path}/runs", f"results={tmp_path}/results"]


def run_folders(tmp_path):
    return sorted(file.parent for file in (tmp_path / "runs").glob("*/run.json"))


def test_a_folder_is_named_for_people_and_holds_a_line_for_every_step(words, tmp_path, capsys):
    assert main(["shaper=entropy", "base=dr_grpo", *words]) == 0
    (folder,), ((record,), _) = run_folders(tmp_path), load_all(tmp_path / "results")
    assert re.fullmatch(r"\d{14}-[0-9a-f]{8}-geometry3k-dr_grpo-entropy-seed0", folder.name)
    assert run_id_of(folder.name) == record.run_id
    steps = [json.loads(line) for line in (folder / "steps.jsonl").read_text().splitlines()]
    assert [one["step"] for one in steps] == [1, 2, 3]
    assert [one["reward"] for one in steps] == pytest.approx([one["reward"] for one in record.training.curve], abs=1e-4)
    out = capsys.readouterr().out
    assert [f"step    {k} of 3: reward " in out for k in (1, 2, 3)] == [True] * 3, "no terminal: lines instead of a bar"


def test_a_finished_seed_is_left_as_it_is_and_the_next_one_is_run(words, tmp_path, capsys):
    assert main(words) == 0
    (before,) = load_all(tmp_path / "results")[0]
    assert main([*words, "seed=0,1", "resume=true"]) == 0
    assert f"resume  seed 0 is finished: {tmp_path}/results/" in capsys.readouterr().out
    records, problems = load_all(tmp_path / "results")
    assert problems == [] and sorted(record.seed for record in records) == [0, 1]
    assert before in records


def test_a_finished_measurement_is_left_as_it_is_too(words, tmp_path, capsys):
    words = [word for word in words if not word.startswith(("steps=", "train.", "sampling."))] + ["eval_only=true"]
    assert main(words) == 0
    assert main([*words, "resume=true"]) == 0
    assert "is finished" in capsys.readouterr().out and len(load_all(tmp_path / "results")[0]) == 1


def test_without_its_record_a_finished_run_is_done_again(words, tmp_path):
    assert main(words) == 0
    for file in (tmp_path / "results").rglob("*.json"):
        file.unlink()
    assert main([*words, "resume=true"]) == 0
    assert len(load_all(tmp_path / "results")[0]) == 1


def test_measuring_during_training_is_told_and_changes_nothing(words, tmp_path, capsys):
    assert main(words) == 0
    (plain,) = load_all(tmp_path / "results")[0]
    assert main([*words, "eval_steps=1", f"results={tmp_path}/others", f"out={tmp_path}/other-runs"]) == 0
    assert "step 1  geometry3k: avg@2 " in capsys.readouterr().out
    (told,) = load_all(tmp_path / "others")[0]
    assert (told.evaluations, told.identity) == (plain.evaluations, plain.identity)
    (log,) = (tmp_path / "other-runs").glob("*/evaluations.jsonl")
    assert [json.loads(line)["step"] for line in log.read_text().splitlines()] == [1, 2]
