"""Two processes: they agree on the step, write one record, and hang nowhere."""

import subprocess
import sys

import pytest

from credit_zoo.results import load_all


def two_processes(words):
    """The command under torchrun, on this machine."""
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node=2", "-m", "credit_zoo.run"]
    return subprocess.run([*launch, *words], capture_output=True, text=True, timeout=300)


@pytest.mark.slow
@pytest.mark.parametrize("rule", [("uniform", "grpo"), ("pepo", "grpo"), ("high_entropy", "dapo")])
def test_two_processes_train_together_and_write_one_record(tmp_path, rule):
    shaper, base = rule
    results = tmp_path / "leaderboard" / "results"
    words = [f"shaper={shaper}", f"base={base}", "scale=smoke", "eval.questions=2", "eval.samples=2"]
    words += [f"results={results}", f"out={tmp_path / 'runs'}", "tracker=tensorboard"]
    done = two_processes(words)
    assert done.returncode == 0, done.stderr[-2000:]
    (record,), problems = load_all(results)
    assert problems == [] and record.training.counters["asked"] >= 12
    assert len(list((tmp_path / "runs").glob("*/credit_zoo/events*"))) == 1
    assert done.stdout.count("saved ") == 1


@pytest.mark.slow
def test_prompts_that_cannot_be_shared_out_are_refused(tmp_path):
    words = ["scale=smoke", "train.prompts=3", f"results={tmp_path}/leaderboard/results", f"out={tmp_path}/runs"]
    done = two_processes(words)
    assert done.returncode != 0
    assert "train.prompts=3 must be a multiple of 2 processes" in done.stderr
