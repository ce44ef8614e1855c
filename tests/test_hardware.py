"""The cost of a step, on the smallest model: the same code that measures the large one."""

import json

from credit_zoo.hardware import main

SMALL = ("small", "prompts=2", "group=2", "tokens=8", "high=3", "wide=4", "dtype=float32", "repeats=2")


def test_a_step_is_measured_with_and_without_a_rule(tmp_path, capsys):
    assert main([*SMALL, f"out={tmp_path}/cost.json"]) == 0
    found = json.loads((tmp_path / "cost.json").read_text())
    assert found["parameters"] == 1_552_384 and set(found["seconds"]) == {"uniform", "pepo"}
    assert all(seconds > 0 for seconds in found["seconds"].values()) and found["ratio"] > 0
    assert found["work"]["tokens"] == 8 and "out" not in found["work"]
    assert "| pepo |" in capsys.readouterr().out


def test_what_cannot_be_measured_is_named(capsys):
    for words, said in (
        (["smal"], "There are: small, internvl3_2b, qwen2_5_vl_3b"), (["internvl3_2b"], "Qwen2.5-VL only"),
        (["small", "tokens=0"], "hardware.tokens"), (["small", "shaper=x"], "hardware.shaper"),
    ):  # fmt: skip
        assert main(words) == 2
        assert said in capsys.readouterr().err
