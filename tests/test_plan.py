"""The plan of a run: sizes as their authors print them, memory by hand, recipes that resolve."""

import json

import pytest

from credit_zoo.cli.arguments import parse
from credit_zoo.errors import UsageError
from credit_zoo.experiment.config import resolve
from credit_zoo.experiment.plan import decoding_seconds, plan_lines
from credit_zoo.experiment.process_plan import process_lines, shares
from credit_zoo.policy.model_size import Sizes, sizes
from credit_zoo.policy.policy import ModelConfig
from credit_zoo.registry import CONFIGS
from credit_zoo.rollout.sampling import SamplingParams
from credit_zoo.training.engine import ParallelConfig
from credit_zoo.training.memory import GIB, memory_forecast

RECIPES = sorted(path.stem for path in (CONFIGS / "recipe").glob("*.txt"))
ANYWHERE = ModelConfig(path="nowhere/at-all", dtype="bfloat16")


def test_sizes_are_those_that_the_models_cards_print():
    """3.75 and 2.09 billion; the language models are Qwen2.5's of 3.09 billion, and of 1.54 and a head of its own."""
    assert sizes(ANYWHERE, "qwen2_5_vl_3b").parameters == pytest.approx(3.75e9, rel=2e-3)
    assert sizes(ANYWHERE, "qwen2_5_vl_3b").trained == pytest.approx(3.09e9, rel=2e-3)
    assert sizes(ANYWHERE, "internvl3_2b").parameters == pytest.approx(2.09e9, rel=2e-3)
    assert sizes(ANYWHERE, "internvl3_2b").trained == pytest.approx(1.54e9 + 151_674 * 1536, rel=3e-3)
    assert sizes(ModelConfig(), "small").parameters == 1_552_384
    assert sizes(ANYWHERE, "small") is None


@pytest.mark.parametrize(
    ("stage", "offload", "bytes_each"),
    [
        (0, "none", 2 + 2 + 12), (1, "none", 2 + 2 + 12 / 4), (2, "none", 2 + (2 + 12) / 4), (3, "none", 16 / 4),
        (2, "optimizer", 2 + 2 / 4), (3, "optimizer", 4 / 4), (3, "all", 2 / 4),
    ],
)  # fmt: skip
def test_memory_by_hand(stage, offload, bytes_each):
    """2**30 parameters, all trained in bfloat16, on four GPUs."""
    assert memory_forecast(Sizes(GIB, GIB), 2, stage, 4, offload) == pytest.approx(bytes_each)


def test_decoding_is_as_long_as_its_tokens_come_one_after_the_other():
    """3.75 billion parameters in bfloat16: reading the weights takes 2.24 ms a token, issuing 36 layers 13.3 ms."""
    found, asked = Sizes(3_750_000_000, 0, 36), SamplingParams(max_tokens=1024)
    assert decoding_seconds(found, 2, asked, 0, vllm=True) == pytest.approx(1024 * 2.24e-3, rel=1e-2)
    assert decoding_seconds(found, 2, asked, 0, vllm=False) == pytest.approx(1024 * (2.24e-3 + 13.3e-3), rel=1e-2)
    assert sizes(ANYWHERE, "qwen2_5_vl_3b").layers == 36
    more = decoding_seconds(found, 2, asked, 64, vllm=False) - decoding_seconds(found, 2, asked, 0, vllm=False)
    assert more == pytest.approx(2 * 3.75e9 * 64 * 1024 / (0.4 * 989e12))


def test_float32_needs_no_copy():
    assert (
        memory_forecast(Sizes(GIB, 0), 4, 0, 1, "none") == 4 and memory_forecast(Sizes(0, GIB), 4, 0, 1, "none") == 12
    )


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_is_pepos_budget(name):
    x = resolve(parse([f"recipe={name}", "data=hub"]))
    assert x.train.prompts * x.sampling.group == 64 and x.train.steps == 262
    assert (x.shaper.alpha, x.shaper.temperature, x.train.shaper_schedule, x.base.kl_beta) == (
        0.05,
        1.8,
        "linear",
        0.001,
    )
    assert (x.train.lr, x.train.lr_schedule, x.sampling.top_k, x.sampling.max_tokens) == (1e-6, "cosine", 50, 1024)
    assert (x.base.loss.eps_low, x.base.loss.eps_high) == (0.2, 0.2)
    assert x.base.dynamic_sampling == name.startswith("pepo_d")
    lines = list(plan_lines(x.model, name.split("_", 2)[2], x.train, x.sampling, x.parallel))
    assert (
        "65,536 sampled at most" in lines[0] and "2 of at most 64 responses and 8,192 tokens on each of 8" in lines[1]
    )
    assert sum("<- this run" in line for line in lines) == 1


def test_typed_words_override_a_recipes():
    command = parse(["recipe=pepo_g_qwen2_5_vl_3b", "shaper=uniform", "train.lr=2e-6", "scale=1gpu", "data=hub"])
    assert (command.shaper, command.scale) == ("uniform", "1gpu")
    assert command.arguments[0] == "recipe=pepo_g_qwen2_5_vl_3b"
    assert [text for thing, key, text in command.settings if (thing, key) == ("train", "lr")] == ["2e-6"]
    with pytest.raises(UsageError, match="There are: pepo_d"):
        parse(["recipe=pepo_x"])


def test_without_a_config_the_plan_says_so():
    x = resolve(parse(["scale=smoke"]))
    assert "unknown" in list(plan_lines(ANYWHERE, "small", x.train, x.sampling, ParallelConfig()))[-1]


def test_kept_configs_belong_to_a_model():
    for file in (CONFIGS / "model").glob("*.json"):
        assert file.with_suffix(".gin").exists() and json.loads(file.read_text())["model_type"]


@pytest.mark.parametrize(("scale", "processes"), [("8gpu", 8), ("2x8gpu", 16)])
def test_a_dry_run_walks_through_every_process(scale, processes):
    """PEPO's budget: a group of 8 for each process; 400 + 8 * 1024 tokens are more than the 8192 of one pass."""
    x = resolve(parse([f"scale={scale}", "model=qwen2_5_vl_3b", "shaper=pepo", "data=hub"]))
    found = shares(x)
    assert [share.questions for share in found] == [(rank,) for rank in range(processes)]
    assert {(share.responses, share.micro_batches) for share in found} == {(8, (7, 1))}
    lines = list(process_lines(x))
    assert lines[0].startswith(f"processes 0 to {processes - 1}") and "read 7 + 1 at a time" in lines[0]
    assert any("1 x gather [1]: micro-batches" in line for line in lines)


def test_processes_with_less_to_do_go_through_as_many_passes():
    x = resolve(parse(["train.prompts=3", "train.micro_batch=8", "sampling.group=8", "parallel.processes=2"]))
    assert [share.micro_batches for share in shares(x)] == [(8, 8), (4, 4)]
    assert [line.split("  ")[0] for line in process_lines(x)][:2] == ["process 0", "process 1"]
