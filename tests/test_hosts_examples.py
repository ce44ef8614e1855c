"""The examples run in their smallest form, and TRL's on two processes sees what it sees on one."""

import os
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import torch

pytest.importorskip("trl")

from credit_zoo.testing import check_shaper

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"


def run(folder, *words, processes=1, timeout=300):
    launch = ("-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}")
    return subprocess.run(
        [sys.executable, *(launch if processes > 1 else ()), *map(str, words)],
        cwd=folder, capture_output=True, text=True, timeout=timeout,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT / "tests"), "ACCELERATE_USE_CPU": "true"},
    )  # fmt: skip


def test_the_notebook_runs_cell_by_cell():
    names = runpy.run_path(str(EXAMPLES / "library.py"))
    found, mask = names["token_advantage"], names["mask"]
    means = found.sum(1) / mask.sum(1)
    torch.testing.assert_close(means, names["advantage"], atol=1e-5, rtol=0)


def test_the_script_of_the_readme_trains_with_pepo_inside_trl(tmp_path):
    done = run(tmp_path, EXAMPLES / "trl_pepo.py", 1)
    assert done.returncode == 0, done.stderr[-2000:]
    assert re.search(r"reward 0\.\d+ -> 0\.\d+ in 1 steps", done.stdout)
    assert "credit/weight_std" in done.stdout


def test_the_script_of_the_readme_is_the_example():
    (code,) = [one for one in re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)
               if "Shaped" in one]  # fmt: skip
    example = (EXAMPLES / "trl_pepo.py").read_text("utf-8").split('"""', 2)[2].strip()
    assert code.strip() == example
    assert len([line for line in code.splitlines() if line.strip()]) <= 20


def test_the_rule_of_the_page_on_forks_keeps_what_it_promises(tmp_path, own_registrations):
    page = (ROOT / "docs" / "hosts.md").read_text("utf-8")
    (code,) = [one for one in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "SHAPERS.register" in one]
    (tmp_path / "half.py").write_text(code, encoding="utf-8")
    own_registrations.add_plugin(tmp_path / "half.py")
    check_shaper("half")


@pytest.mark.slow
def test_the_reward_of_the_script_rises(tmp_path):
    done = run(tmp_path, EXAMPLES / "trl_pepo.py", 30)
    first, last = map(float, re.search(r"reward ([\d.]+) -> ([\d.]+) in 30", done.stdout).groups())
    assert last > first + 0.1, done.stdout[-300:]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["high_entropy", "position_only(entropy)"])
def test_two_processes_hand_a_rule_what_it_has_to_see(tmp_path, name):
    done = run(tmp_path, ROOT / "tests" / "hosts_two_processes.py", tmp_path, name, processes=2)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("rows of 8 agree") == 2


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
def test_under_every_loss_uniform_is_trl_alone_and_a_rule_s_advantages_reach_the_loss(tmp_path, processes):
    """For micro-batches 1 and 4 to a step; bit for bit, and to 1e-6."""
    done = run(tmp_path, ROOT / "tests" / "hosts_losses.py", tmp_path, processes=processes, timeout=570)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("14 settings agree") == processes


@pytest.mark.slow
def test_the_measurement_of_the_overhead_runs(tmp_path):
    done = run(tmp_path, EXAMPLES / "trl_overhead.py", 2)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "times TRL's, 2 rounds" in done.stdout and "peak memory" in done.stdout
