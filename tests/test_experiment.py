"""Whole runs, from words to a record, with a policy of random weights; and what is left of a run that breaks."""

import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from credit_zoo.cli.arguments import gin_files
from credit_zoo.experiment import training_run
from credit_zoo.leaderboard import site as pages
from credit_zoo.leaderboard import tables as tables
from credit_zoo.objective.losses import Objective
from credit_zoo.policy.export import export_policy, weights_digest
from credit_zoo.policy.policy import SMALL_MODEL, ModelConfig, Policy
from credit_zoo.results.provenance import repeatable
from credit_zoo.results.store import load, load_all
from credit_zoo.run import main
from credit_zoo.training import loop, silence

ROOT = Path(__file__).parents[1]
SIZES = (
    *("scale=smoke", "eval.questions=2", "eval.samples=2", "eval.max_tokens=12"),
    *("steps=2", "train.prompts=2", "sampling.group=2", "sampling.max_tokens=12"),
)
MEASURED_ONLY = ("scale=smoke", "eval.questions=4", "eval.samples=2", "eval.max_tokens=12", "eval_only=true")


@pytest.fixture
def model(tiny, tmp_path) -> Path:
    """A checkpoint of random weights on disk, as a user would have one."""
    return export_policy(tiny, tmp_path / "checkpoint")


@pytest.fixture
def words(model, tmp_path):
    """Where a run reads and writes."""
    return [f"model.path={model}", f"results={tmp_path}/leaderboard/results", f"out={tmp_path}/runs"]


@pytest.fixture
def some_reward(monkeypatch):
    """Random weights never answer right: here the reward is drawn, so that there are advantages to learn from."""
    drawn = torch.Generator().manual_seed(0)
    given = loop.prepare

    def prepare(trainer, batch, *more):
        batch.reward.copy_(torch.rand(len(batch.reward), generator=drawn))
        return given(trainer, batch, *more)

    monkeypatch.setattr(loop, "prepare", prepare)
    return drawn


def records(folder):
    found, problems = load_all(folder / "leaderboard" / "results")
    assert problems == []
    return found


def the_record(folder):
    (found,) = records(folder)
    return found


def leftovers(folder):
    """Files that only an interrupted writer leaves."""
    return [path for path in folder.rglob("*") if path.name.startswith(".") or path.suffix == ".part"]


# --- a run and its record ----------------------------------------------------------------------------------------


def check_run(tmp_path, capsys, shaper, base):
    out = capsys.readouterr().out
    found = the_record(tmp_path)
    assert found.shaper is not None
    assert found.base is not None
    assert found.training is not None
    assert (found.shaper.name, found.base.name) == (shaper, base)
    assert [entry["step"] for entry in found.training.curve] == [1, 2]
    assert [(e.stage, len(e.correctness)) for e in found.evaluations] == [("before", 2), ("after", 2)]
    assert tables.row(found, tmp_path / "leaderboard" / "results") in out
    assert leftovers(tmp_path) == []
    return found


@pytest.mark.parametrize(("shaper", "base"), [("uniform", "grpo"), ("pepo", "dr_grpo"), ("high_entropy", "dapo")])
def test_a_run_ends_with_a_record_a_row_and_0(words, tmp_path, capsys, shaper, base):
    assert main([f"shaper={shaper}", f"base={base}", *SIZES, *words]) == 0
    check_run(tmp_path, capsys, shaper, base)


# `test_compatibility` lets every pair that goes together take a step.
PAIRS = [*((shaper, "grpo") for shaper in gin_files("shaper")), *(("uniform", base) for base in gin_files("base"))]


@pytest.mark.slow
@pytest.mark.parametrize(("shaper", "base"), sorted(set(PAIRS)))
def test_every_shaper_and_every_base_runs(words, tmp_path, capsys, some_reward, shaper, base):
    assert main([f"shaper={shaper}", f"base={base}", *SIZES, *words]) == 0
    found = check_run(tmp_path, capsys, shaper, base)
    assert found.training is not None
    assert found.training.weights is not None
    if shaper in ("uniform", "pepo", "entropy", "siblings") and base != "dapo":  # whose filter leaves nothing of these
        assert (found.training.weights.std > 1e-5) == (shaper != "uniform")


def test_the_first_lines_say_what_was_resolved(words, tmp_path, capsys):
    assert main(["shaper=pepo", "pepo.alpha=0.25", "bench=geometry3k,mathvista", "seed=3", *SIZES, *words]) == 0
    out = capsys.readouterr().out
    assert "shaper  pepo(alpha=0.25, temperature=1.0), schedule linear" in out
    assert re.search(r"base    grpo: estimator=grpo\(eps=0.0001\), .*ppo_clip\(eps_low=0.2, eps_high=0.2\)", out)
    assert "2 steps of 2 prompts x 2 responses (at most 48 tokens a step), 1 process, seed 3" in out
    assert f"model   {tmp_path}/checkpoint, 0." in out
    assert re.search(r"measure geometry3k \(procedural twin, .*\): 2 questions of split 'test'", out)
    assert re.search(r"measure mathvista \(procedural twin, .*\): 2 questions of split 'test'", out)
    assert re.search(r"train   geometry3k \(procedural twin, .*\), split 'train'", out)
    assert re.search(r"record  below .*/leaderboard/results, commit ", out)
    assert [(e.bench, e.stage) for e in the_record(tmp_path).evaluations] == [
        (bench, stage) for stage in ("before", "after") for bench in ("geometry3k", "mathvista")
    ]


def test_a_record_holds_what_is_needed_to_repeat_and_compare_the_run(words, model, tmp_path, some_reward):
    typed = ["shaper=pepo", "pepo.alpha=0.25", "train.lr=0.001", "train.shaper_schedule=none", "seed=5", *SIZES, *words]
    assert main(typed) == 0
    found = the_record(tmp_path)
    assert found.command == repeatable(typed)
    assert found.seed == 5
    assert found.shaper is not None
    assert found.shaper.settings == {"alpha": 0.25, "temperature": 1.0, "shaper_schedule": "none"}
    assert found.base is not None
    assert found.base.settings["loss"] == "ppo_clip(eps_low=0.2, eps_high=0.2)"
    for line in ("pepo.alpha = 0.25", "train.lr = 0.001", "train.steps = 2", "sampling.group = 2", "eval.samples = 2"):
        assert line in found.gin
    assert found.model.revision == weights_digest(Policy.load(ModelConfig(str(model)))), "the weights before training"
    training = found.training
    assert training is not None
    assert training.source.twin
    assert training.source.rows == 0
    assert training.counters["sampled_prompts"] == training.counters["kept_prompts"] == 4
    assert training.steps == len(training.curve) == 2
    assert training.settings["train.lr"] == 0.001
    assert 8 <= training.tokens == sum(entry["sampled_tokens"] for entry in training.curve) <= 96
    weights = training.weights
    assert weights is not None
    assert weights.std > 0
    assert 0 < weights.ess < 1
    assert weights.p05 < weights.p50 < weights.p95
    before, after = found.evaluations
    assert before.measure == after.measure
    assert (after.samples, after.decoding.max_tokens, after.decoding.seed) == (2, 12, 1234)
    assert sum(category.count for category in after.categories.values()) == 2
    assert found.machine.threads >= 1
    assert "torch" in found.origin.packages


def test_the_weights_of_uniform_are_recorded_as_ones(words, tmp_path, some_reward):
    assert main([*SIZES, *words]) == 0
    training = the_record(tmp_path).training
    assert training is not None
    weights = training.weights
    assert weights is not None
    assert (weights.std, weights.p05, weights.p95) == pytest.approx((0, 1, 1), abs=1e-5)
    assert weights.ess == pytest.approx(1, abs=1e-5)


def test_training_moves_the_weights_that_it_saves(words, model, tmp_path, some_reward):
    assert main(["train.lr=0.01", *SIZES, *words]) == 0
    (saved,) = (tmp_path / "runs").glob("*/model")
    old, new = (Policy.load(ModelConfig(str(path))).model.state_dict() for path in (model, saved))
    moved = {name for name in old if not torch.equal(old[name], new[name])}
    assert any("layers.0" in name for name in moved)
    assert not any("visual" in name for name in moved), "the vision tower is frozen"


def test_two_runs_of_one_seed_are_the_same_and_another_seed_is_not(words, tmp_path, some_reward):
    found = []
    for seed, results in ((0, "first"), (0, "second"), (1, "other")):
        some_reward.manual_seed(0)
        folder = tmp_path / results / "leaderboard" / "results"
        places = [word for word in words if not word.startswith("results=")]
        assert main([f"seed={seed}", "shaper=pepo", "train.lr=0.01", *SIZES, *places, f"results={folder}"]) == 0
        found.append(the_record(tmp_path / results))
    first, second, other = found

    def evaluation_fields(record):
        curve = [{k: v for k, v in entry.items() if k != "seconds"} for entry in record.training.curve]
        return (
            curve,
            [(e.correctness, e.question_ids, e.truncated) for e in record.evaluations],
            record.training.weights,
        )

    assert evaluation_fields(first) == evaluation_fields(second)
    assert first.run_id != second.run_id
    assert evaluation_fields(first)[0] != evaluation_fields(other)[0]
    assert first.evaluations[0].question_ids == other.evaluations[0].question_ids, "every seed is asked the same"


def test_several_seeds_are_a_record_each_and_one_page(words, tmp_path):
    assert main(["seed=0,1", *SIZES, *words]) == 0
    assert [record.seed for record in sorted(records(tmp_path), key=lambda record: record.seed)] == [0, 1]
    page = (tmp_path / "leaderboard" / "results" / "LEADERBOARD.md").read_text()
    assert page == pages.build(tmp_path / "leaderboard" / "results").page
    assert "uniform" in page


def test_the_page_is_written_once_after_the_last_seed(words, tmp_path, monkeypatch):
    """Between two seeds the other processes would wait for it."""
    from credit_zoo import leaderboard

    recorded = []
    count = lambda folder: recorded.append(len(list(folder.rglob("*.json")))) or pages.build(folder)  # noqa: E731
    monkeypatch.setattr(leaderboard, "build", count)
    assert main(["seed=0,1", *SIZES, *words]) == 0
    assert recorded == [2]


def test_an_infinite_setting_reaches_the_record_as_text(words, tmp_path):
    assert main(["shaper=entropy", "entropy.temperature=inf", *SIZES, *words]) == 0
    found = the_record(tmp_path)
    assert found.shaper is not None
    assert found.shaper.settings["temperature"] == "inf"
    assert "entropy.temperature = 1e999" in found.gin


# --- measuring alone ---------------------------------------------------------------------------------------------


def test_eval_only_measures_once_and_trains_nothing(words, tmp_path, capsys):
    assert main([*MEASURED_ONLY, *words]) == 0
    found = the_record(tmp_path)
    assert (found.shaper, found.base, found.training) == (None, None, None)
    assert [(e.bench, e.stage, e.questions) for e in found.evaluations] == [("geometry3k", "after", 4)]
    assert not list((tmp_path / "runs").glob("*/model"))
    assert "not trained | geometry3k (twin): " in capsys.readouterr().out


def test_eval_only_asks_a_real_set_without_official_split_in_full(words, tmp_path, zoo_data, capsys):
    folder = zoo_data / "real" / "puzzlevqa"
    assert main(["bench=puzzles", f"data={folder}", *MEASURED_ONLY, *words]) == 0
    (asked,) = the_record(tmp_path).evaluations
    assert (asked.bench, asked.twin, asked.split, asked.questions) == ("puzzles", False, "all", 4)
    assert "puzzles (real, " in capsys.readouterr().out


def test_a_typed_split_of_such_a_set_is_kept(words, tmp_path, zoo_data):
    folder = zoo_data / "real" / "puzzlevqa"
    assert main(["bench=puzzles", f"data={folder}", "eval.split=train", *MEASURED_ONLY, *words]) == 0
    (asked,) = the_record(tmp_path).evaluations
    assert asked.split == "train"


@pytest.mark.skipif(not SMALL_MODEL.is_dir(), reason="the small model is not in this checkout")
def test_the_model_that_ships_is_measured_by_default(tmp_path):
    places = [f"results={tmp_path}/leaderboard/results", f"out={tmp_path}/runs"]
    assert main(["scale=smoke", "eval.questions=4", "eval.samples=2", "eval_only=true", *places]) == 0
    assert the_record(tmp_path).model.name == "habits"


# --- runs that break ---------------------------------------------------------------------------------------------


def test_a_run_that_diverges_saves_the_policy_and_the_prompts_and_writes_no_record(
    words, tmp_path, capsys, monkeypatch, some_reward
):
    steps = []
    whole = Objective.__call__

    def broken_at_step_2(self, batch, totals):
        loss, stats = whole(self, batch, totals)
        if batch.logp.shape == (silence.ROWS, silence.WIDTH):  # made-up numbers, of which a loss is asked beforehand
            return loss, stats
        steps.append(loss)
        return (loss if len(steps) < 2 else loss * torch.nan), stats

    monkeypatch.setattr(Objective, "__call__", broken_at_step_2)
    assert main(["train.lr=0.001", *SIZES, *words]) == 1
    err = capsys.readouterr().err
    assert "Traceback" not in err
    message = re.search(r"credit_zoo: step 2: the loss is not finite\. Prompts of the step: (.+)", err)
    assert message is not None
    asked = message[1].split(", ")
    (folder,) = (tmp_path / "runs").glob("*/diverged-step-2")
    assert str(folder) in err
    lines = (folder / "prompts.tsv").read_text().splitlines()
    assert [line.split("\t")[0] for line in lines] == asked
    assert len(asked) == 2
    assert all(len(line.split("\t")) == 3 for line in lines)
    saved = Policy.load(ModelConfig(str(folder))).model.state_dict()
    assert all(value.isfinite().all() for value in saved.values())
    assert not list((tmp_path / "leaderboard").rglob("*.*"))
    assert leftovers(tmp_path) == []


def test_weights_that_break_during_training_end_the_run_like_a_broken_loss(words, tmp_path, capsys, monkeypatch):
    prepared = loop.prepare

    def spoil(trainer, batch, progress, idle, given):
        if progress > 0:
            next(p for p in trainer.policy.parameters() if p.requires_grad).data.fill_(torch.nan)
        return prepared(trainer, batch, progress, idle, given)

    monkeypatch.setattr(loop, "prepare", spoil)
    assert main([*SIZES, *words]) == 1
    assert "step 2: the loss is not finite" in capsys.readouterr().err
    assert not list((tmp_path / "leaderboard").rglob("*.*"))


def test_the_prompts_of_a_broken_step_stay_one_line_each(tmp_path, tiny, monkeypatch):
    question = type("EvalSet", (), {"id": "real-1", "text": "Find x.\n\tIn  degrees.", "answer": "30\n"})
    context = type("Context", (), {"folder": tmp_path, "policy": tiny})
    error = type("Broken", (), {"step": 4, "questions": [question]})
    rescue = getattr(training_run.save_diverged, "__wrapped__", training_run.save_diverged)
    folder = rescue(context, error)
    assert (folder / "prompts.tsv").read_text() == "real-1\tFind x. In degrees.\t30\n"


@pytest.mark.slow
@pytest.mark.parametrize("stage", ["train ", "after ", "saved "])
def test_a_killed_run_leaves_no_record_and_no_half_written_file(words, tmp_path, stage):
    sizes = [word for word in SIZES if not word.startswith("eval.questions")]
    command = [sys.executable, "-u", "-m", "credit_zoo.run", "eval.questions=64", *sizes, *words]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        seen = any(line.startswith(stage) for line in process.stdout)
        process.send_signal(signal.SIGKILL)
    assert seen
    written = list((tmp_path / "leaderboard").rglob("*.json"))
    assert not written or stage == "after "
    for path in written:
        load(path)  # the record was quicker than the kill, and is whole
    assert leftovers(tmp_path / "leaderboard") == []
    for path in (tmp_path / "runs").glob("*/model/config.json"):
        json.loads(path.read_text())


def test_running_out_of_memory_names_what_to_change(words, capsys, monkeypatch):
    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB.\nmore")

    monkeypatch.setattr(training_run, "train_policy", full)
    assert main([*SIZES, *words]) == 1
    err = capsys.readouterr().err
    assert "out of memory" in err and "train.micro_batch" in err and "Traceback" not in err
