"""Several processes: the weights and numbers of one, one record, no process that waits for ever."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import engine_matrix
import pytest
import torch
from safetensors.torch import load_file

from credit_zoo.results.store import load_all

pytestmark = pytest.mark.slow
LAUNCH = ("torch.distributed.run", "--standalone", "--nproc_per_node=2")
TORCHRUN = (*LAUNCH, "-m")
TOLERANCE = 1e-5
SHORT = ("scale=smoke", "eval.questions=2", "eval.samples=2", "eval.greedy=false", "train.lr=1e-4")


def command(folder, *words, processes=1, shaper="pepo"):
    """A run that writes below a folder, under torchrun where there are two processes."""
    launch = TORCHRUN if processes > 1 else ()
    out = [f"results={folder}/leaderboard/results", f"out={folder}/runs"]
    return [sys.executable, "-m", *launch, "credit_zoo.run", f"shaper={shaper}", *SHORT, *words, *out]


def run(folder, *words, processes=1, shaper="pepo"):
    """The weights and the record of a run that has to succeed."""
    words = command(folder, *words, processes=processes, shaper=shaper)
    done = subprocess.run(words, capture_output=True, text=True, timeout=300, env=one_thread())
    assert done.returncode == 0, done.stderr[-3000:]
    return evaluation_fields(folder), done


def evaluation_fields(folder):
    (weights,) = folder.glob("runs/*/model/model.safetensors")
    (record,), problems = load_all(folder / "leaderboard" / "results")
    assert problems == []
    return load_file(weights), record


def one_thread():
    return {**os.environ, "OMP_NUM_THREADS": "1"}


def assert_same(one, other, tolerance=TOLERANCE):
    (weights, record), (others, theirs) = one, other
    assert weights.keys() == others.keys()
    assert max(float((weights[name] - others[name]).abs().max()) for name in weights) <= tolerance
    for ours, their in zip(record.training.curve, theirs.training.curve, strict=True):
        different = {k for k in ours if k != "seconds" and abs(ours[k] - their[k]) > max(tolerance, 2e-5)}
        assert not different, (ours, their)
    assert record.training.counters == theirs.training.counters


@pytest.fixture(scope="module", params=["grpo", "dapo"])
def alone(request, tmp_path_factory):
    """A base and what one process makes of it."""
    return request.param, run(tmp_path_factory.mktemp("alone"), f"base={request.param}")[0]


@pytest.mark.parametrize("zero", ["none", "0", "2", "3"])
def test_two_processes_equal_one(tmp_path, alone, zero):
    if zero != "none":
        pytest.importorskip("deepspeed")
    base, expected = alone
    found, done = run(tmp_path, f"base={base}", f"parallel.zero={zero}", "tracker=tensorboard", processes=2)
    assert_same(expected, found)
    assert len(list((tmp_path / "runs").glob("*/credit_zoo/events*"))) == 1
    assert done.stdout.count("saved ") == 1


@pytest.mark.parametrize(("zero", "offload"), [("2", "optimizer"), ("3", "all")])
def test_offloading_to_the_cpu_changes_nothing(tmp_path, alone, zero, offload):
    pytest.importorskip("deepspeed")
    base, expected = alone
    if base == "dapo":
        pytest.skip("the base does not touch where the optimizer's state lies")
    found, _ = run(tmp_path, f"base={base}", f"parallel.zero={zero}", f"parallel.offload={offload}")
    assert_same(expected, found)


@pytest.mark.parametrize("zero", ["none", "3"])
def test_a_process_that_no_group_falls_to_keeps_step_with_the_others(tmp_path, zero):
    """Two prompts a step, dull ones dropped without a refill: steps on which one process or both have none."""
    if zero != "none":
        pytest.importorskip("deepspeed")
    words = ("base=dapo", "base.max_resampling_rounds=0", "train.prompts=2", "steps=6", "sampling.group=2")
    expected, _ = run(tmp_path / "one", *words)
    kept = [step["kept_prompts"] for step in expected[1].training.curve]
    assert {0, 1} & set(kept)
    found, _ = run(tmp_path / "two", *words, f"parallel.zero={zero}", processes=2)
    assert_same(expected, found)


def test_a_rule_of_the_whole_batch_sees_the_tokens_of_all_processes(tmp_path):
    words = ("base=grpo", "train.updates=2")
    expected, _ = run(tmp_path / "one", *words, shaper="high_entropy")
    found, _ = run(tmp_path / "two", *words, shaper="high_entropy", processes=2)
    assert_same(expected, found)


@pytest.mark.parametrize("base", ["reinforce_pp", "clip_cov", "kl_cov"])
def test_pieces_that_see_the_whole_step_see_the_responses_of_all_processes(tmp_path, base):
    """Two prompts a step and dull ones dropped without a refill, so that a process may have none."""
    words = (f"base={base}", "base.dynamic_sampling=true", "base.max_resampling_rounds=0", "train.prompts=4",
             "steps=4", "sampling.group=2", "train.updates=2", "base.entropy_beta=0.01")  # fmt: skip
    more = {"clip_cov": ("clip_cov.share=0.1", "clip_cov.lowest=0.01"), "kl_cov": ("kl_cov.share=0.1",)}.get(base, ())
    expected, _ = run(tmp_path / "one", *words, *more)
    found, _ = run(tmp_path / "two", *words, *more, processes=2)
    assert_same(expected, found)


COUNTING = '''"""Every response's share falls with the number of responses.

    A[b,t] = A[b] / B

Paper: none.
"""
from dataclasses import dataclass
import torch
from credit_zoo.registry import SHAPERS


@SHAPERS.register("counting", paper="none", scope="batch")
@dataclass(frozen=True)
class Counting:
    def __call__(self, x):
        rows = max(1, int(x.mask.any(1).sum()))
        return x.weighted(torch.full_like(x.mask, 1 / rows, dtype=torch.float32))
'''


def test_a_rule_of_the_whole_batch_sees_no_row_that_is_there_to_keep_processes_in_step(tmp_path):
    """Steps of an odd number of groups, and of none: the processes have unequal numbers of rows."""
    (tmp_path / "counting.py").write_text(COUNTING)
    words = ("model=small", "base=dapo", "base.max_resampling_rounds=0", "train.prompts=4", "steps=6", "sampling.group=2",
             f"plugins={tmp_path}/counting.py")  # fmt: skip
    expected, _ = run(tmp_path / "one", *words, shaper="counting")
    kept = [step["kept_prompts"] for step in expected[1].training.curve]
    assert {1, 3} & set(kept)
    found, _ = run(tmp_path / "two", *words, shaper="counting", processes=2)
    assert_same(expected, found)


@pytest.mark.parametrize(("words", "said"), [
    (("train.prompts=3",), "train.prompts=3 must be a multiple of 2 processes"),
    (("parallel.processes=8",), "parallel.processes=8, but this run has 2: launch it with torchrun --nproc_per_node=8"),
])  # fmt: skip
def test_what_does_not_fit_the_processes_is_refused(tmp_path, words, said):
    done = subprocess.run(command(tmp_path, *words, processes=2), capture_output=True, text=True, timeout=300)
    assert done.returncode != 0
    assert said in done.stderr


def saves(folder):
    return sorted(path.name for path in folder.glob("runs/*/saves/step-*"))


def stopped(folder, *words, after, by=signal.SIGKILL, processes=1):
    """Starts the run and ends it as soon as `after` is saved; the exit status."""
    process = subprocess.Popen(
        command(folder, *words, processes=processes), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        env=one_thread(),
    )  # fmt: skip
    limit = time.monotonic() + 120
    while not (found := saves(folder)) or found[-1] < f"step-{after:06d}":
        assert process.poll() is None and time.monotonic() < limit
        time.sleep(0.01)
    time.sleep(0.05 * (after % 5))  # not always at the same place of a step
    process.send_signal(by)
    return process.wait(60)


def test_a_run_that_is_killed_ten_times_ends_as_one_that_is_not(tmp_path):
    words = ("base=dapo", "steps=12", "checkpoint.every=1")
    expected, _ = run(tmp_path / "whole", *words)
    for kill in range(1, 11):
        assert stopped(tmp_path / "cut", *words, "resume=true", after=kill) == -signal.SIGKILL
    found, done = run(tmp_path / "cut", *words, "resume=true")
    assert "from    step 1" in done.stdout
    assert_same(expected, found, tolerance=0)
    told, theirs = (json.loads(json.dumps(r.evaluations, default=vars)) for r in (expected[1], found[1]))
    assert told == theirs
    assert saves(tmp_path / "cut") == [] and len(list((tmp_path / "cut" / "runs").glob("*/run.json"))) == 1


def test_a_run_that_is_told_to_stop_saves_and_goes_on_elsewhere(tmp_path):
    """Goes on with two processes under ZeRO 2, and ends as one process would have."""
    pytest.importorskip("deepspeed")
    words = ("base=dapo", "steps=5")
    expected, _ = run(tmp_path / "whole", *words)
    assert stopped(tmp_path / "cut", *words, "checkpoint.every=2", after=2, by=signal.SIGTERM) == 128 + signal.SIGTERM
    assert 2 < int(saves(tmp_path / "cut")[-1][-6:]) < 5
    found, done = run(tmp_path / "cut", *words, "resume=true", "parallel.zero=2", processes=2)
    assert "from    step" in done.stdout
    assert_same(expected, found)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGUSR1])
def test_ctrl_c_and_slurms_warning_stop_a_run_too(tmp_path, number):
    assert stopped(tmp_path, "checkpoint.every=1", "steps=9", after=1, by=number) == 128 + number
    assert saves(tmp_path)


def test_a_run_under_zero_3_goes_on_alone(tmp_path):
    pytest.importorskip("deepspeed")
    words = ("base=grpo", "steps=4")
    expected, _ = run(tmp_path / "whole", *words)
    stopped(tmp_path / "cut", *words, "checkpoint.every=2", "parallel.zero=3", after=2, processes=2, by=signal.SIGTERM)
    found, done = run(tmp_path / "cut", *words, "resume=true")
    assert "from    step" in done.stdout
    assert_same(expected, found)


@pytest.fixture(scope="module")
def matrix(tmp_path_factory):
    """What two processes make of the small module, under every engine, and then under the next one from its save."""
    pytest.importorskip("deepspeed")
    folder, script = tmp_path_factory.mktemp("matrix"), Path(engine_matrix.__file__)
    words = [sys.executable, "-m", *LAUNCH, str(script), str(folder)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300, env=one_thread())
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


@pytest.mark.parametrize("dtype", engine_matrix.DTYPES)
@pytest.mark.parametrize("number", range(len(engine_matrix.ENGINES)))
def test_two_processes_train_and_go_on_alike_under_every_engine(matrix, number, dtype):
    """As one process does, but that gradients of bfloat16 are rounded before they are added up; only the first
    process holds what is saved (the script asserts it).
    """
    name, then = (engine_matrix.ENGINES[(number + k) % len(engine_matrix.ENGINES)] for k in range(2))
    for steps, file in ((3, name), (6, f"{name}-then-{then}")):
        found = load_file(matrix / f"{dtype}-{file}.safetensors")
        expected, _ = engine_matrix.by_hand(range(steps), dtype)
        assert found.keys() == expected.keys()
        tolerance = 1e-5 if dtype == "float32" else 1e-3
        for key, value in expected.items():
            torch.testing.assert_close(found[key], value, atol=tolerance, rtol=tolerance, msg=key)
    alike = load_file(matrix / f"{dtype}-none.safetensors")
    found = load_file(matrix / f"{dtype}-{name}.safetensors")
    for key, value in alike.items():
        torch.testing.assert_close(found[key], value, atol=1e-6, rtol=1e-4, msg=key)


@pytest.mark.parametrize("zero", ["0", "3"])
def test_a_bfloat16_run_that_is_stopped_goes_on(tmp_path, zero):
    pytest.importorskip("deepspeed")
    words = ("base=grpo", "steps=4", "model.dtype=bfloat16", f"parallel.zero={zero}")
    expected, _ = run(tmp_path / "whole", *words)
    stopped(tmp_path / "cut", *words, "checkpoint.every=2", after=2, by=signal.SIGTERM)
    found, done = run(tmp_path / "cut", *words, "resume=true")
    assert "from    step" in done.stdout
    assert_same(expected, found)


def test_accelerates_environment_changes_no_number(tmp_path):
    """And a run without DeepSpeed does not hear of it."""
    expected, done = run(tmp_path / "plain", "base=grpo")
    assert "Setting accelerator" not in done.stdout + done.stderr
    words = command(tmp_path / "launched", "base=grpo")
    environment = one_thread() | {"ACCELERATE_MIXED_PRECISION": "bf16", "ACCELERATE_DYNAMO_BACKEND": "no"}
    done = subprocess.run(words, capture_output=True, text=True, timeout=300, env=environment)
    assert done.returncode == 0 and "ACCELERATE_MIXED_PRECISION=bf16 is not used" in done.stderr
    assert_same(expected, evaluation_fields(tmp_path / "launched"), tolerance=0)


# --- measuring -----------------------------------------------------------------------------------------------------

MEASURED = ("eval_only=true", "bench=geometry3k,mathvista", "baseline=blank_image", "eval.questions=9", "eval.batch=2")


def measured(folder, *words, processes=1):
    """The evaluations of a measurement that has to succeed, and the samples in its kept answers."""
    done = subprocess.run(
        measuring(folder, *words, processes=processes), capture_output=True, text=True, timeout=300, env=one_thread()
    )
    assert done.returncode == 0, done.stderr[-3000:]
    (record,), problems = load_all(folder / "leaderboard" / "results")
    assert problems == []
    return record.evaluations, done


def measuring(folder, *words, processes=1):
    return [word for word in command(folder, *MEASURED, *words, processes=processes) if word not in LEARNING]


LEARNING = ("train.lr=1e-4", "shaper=pepo", "eval.questions=2")


def test_two_processes_measure_what_one_does_and_share_the_questions(tmp_path):
    expected, _ = measured(tmp_path / "one")
    found, _ = measured(tmp_path / "two", processes=2)
    assert found == expected
    one, two = ({path.name: path.read_bytes() for path in (tmp_path / name).rglob("*.gz")} for name in ("one", "two"))
    assert one == two and len(one) == 4
    assert not list((tmp_path / "two" / "runs" / "unfinished").iterdir())


@pytest.mark.parametrize("after", [1, 3])
def test_a_killed_measurement_of_two_processes_goes_on_in_one(tmp_path, after):
    expected, _ = measured(tmp_path / "whole")
    folder = tmp_path / "cut"
    with (tmp_path / "err").open("w") as err:
        process = subprocess.Popen(
            measuring(folder, processes=2), stdout=subprocess.DEVNULL, stderr=err, env=one_thread()
        )
    limit = time.monotonic() + 120
    while len(answered(folder)) < 10 * after:
        assert process.poll() is None and time.monotonic() < limit, (tmp_path / "err").read_text()[-3000:]
        time.sleep(0.01)
    for child in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
        os.kill(int(child), signal.SIGKILL)
    process.wait(60)
    before = answered(folder)
    found, done = measured(folder, "resume=true")
    assert found == expected
    assert "kept    geometry3k-after: " in done.stdout
    assert len(before) == len(set(before)), "no question is asked by both"


def answered(folder):
    """What the parts of a measurement under way hold: benchmark, pass and question of every whole line."""
    files = (folder / "runs" / "unfinished").glob("*.jsonl")
    lines = [line for file in files for line in file.read_text().split("\n")[1:-1]]
    rows = [json.loads(line) for line in lines]
    finished = [name for file in (folder / "runs").glob("*/answers/*.gz") for name in [file.name] * 18]
    return [(row["pass"], row["id"]) for row in rows] + [(name, k) for k, name in enumerate(finished)]
