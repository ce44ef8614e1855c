"""The check of a GPU in its smallest form, which the CPU bears: every part runs, one that fails stops no other."""

import json
from importlib.util import find_spec

import pytest

from credit_zoo import check_gpu as command
from credit_zoo.errors import UsageError
from credit_zoo.hardware import parts as all_parts
from credit_zoo.hardware import report
from credit_zoo.hardware.budget import Budget, Skipped, guarded
from credit_zoo.hardware.large_models import models
from credit_zoo.policy.model_size import sizes
from credit_zoo.policy.policy import ModelConfig

SMALLEST = ("smallest=true", "device=cpu")


@pytest.mark.slow
def test_every_part_runs_in_its_smallest_form(tmp_path, capsys):
    assert command.main([*SMALLEST, f"out={tmp_path}", "name=Here & now"]) == 0
    kept = json.loads((tmp_path / "here-now.json").read_text())
    told = {name: part["status"] for name, part in kept["parts"].items()}
    left_out = {"tests"} if find_spec("vllm") else {"tests", "rollout_engine"}
    assert told == {name: "skipped" if name in left_out else "done" for name in all_parts.PARTS}
    losses = kept["parts"]["losses"]
    assert losses["largest difference of losses"] == 0 and losses["sampled tokens alike"] == 1
    assert kept["parts"]["kernels"]["kernels"]["torch"]["largest difference"] < 1e-5
    phases = kept["parts"]["model_3b"]["phases"]
    assert all(phase["status"] == "done" for phase in phases.values())
    assert (
        any(name.startswith("gradient, pepo") for name in phases) and "| model_3b | done |" in capsys.readouterr().out
    )


def test_a_part_that_fails_stops_no_other(tmp_path, monkeypatch, capsys):
    def broken(here, budget):
        raise RuntimeError("no such kernel")

    monkeypatch.setattr(report, "PARTS", {"first": broken, "second": lambda here, budget: {"found": 1}})
    assert command.main([*SMALLEST, f"out={tmp_path}"]) == 1
    kept = json.loads((tmp_path / "cpu.json").read_text())["parts"]
    assert kept["first"]["status"] == "failed" and "no such kernel" in kept["first"]["why"]
    assert kept["second"]["status"] == "done"
    assert "| first | failed |" in capsys.readouterr().out


def test_what_the_seconds_do_not_reach_is_left_out(tmp_path):
    found = report.check(report.CheckGpu(device="cpu", smallest=True, seconds=1e-9, out=str(tmp_path)))
    parts = json.loads(found.read_text())["parts"]
    assert {part["why"] for part in parts.values()} == {"the budget's seconds are over"}
    assert Budget(1e-9).repeats(lambda: None, 5) == 1 and Budget(1e9).repeats(lambda: None, 5) == 5


def test_a_reason_is_no_failure():
    def reason():
        raise Skipped("vllm is not installed")

    found = guarded(reason)
    assert (found["status"], found["why"]) == ("skipped", "vllm is not installed")


@pytest.mark.parametrize(("words", "said"), [
    (["device=cpu"], "smallest=true"),
    (["device=tpu", "smallest=true"], "cuda or cpu"),
    ([], "torch sees no GPU here"),
    (["lossess", *SMALLEST], "losses"),
])  # fmt: skip
def test_words_that_cannot_be_used_are_refused(capsys, monkeypatch, words, said):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert command.main(words) == 2
    assert said in capsys.readouterr().err


def test_the_models_are_of_the_sizes_on_their_cards():
    """8.29 billion, of which Qwen2.5's language model has 7.62."""
    found = sizes(ModelConfig(path="nowhere/at-all"), "qwen2_5_vl_7b")
    assert found.parameters == pytest.approx(8.29e9, rel=2e-3) and found.trained == pytest.approx(7.62e9, rel=2e-3)
    assert {part.keywords["model"] for part in all_parts.PARTS.values() if getattr(part, "func", None) is models} == {
        "qwen2_5_vl_3b", "qwen2_5_vl_7b",
    }  # fmt: skip
    with pytest.raises(UsageError):
        report.CheckGpu(parts=("nothing",))
