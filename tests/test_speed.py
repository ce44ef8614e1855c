"""What is measured of a step, and facts about a step that need no clock: bytes, forward passes, tokens."""

import copy
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from steps import batch, trainer

from credit_zoo import profile as command
from credit_zoo.policy import lm_head as head
from credit_zoo.policy.batch_layout import BatchLayout
from credit_zoo.policy.policy import Policy
from credit_zoo.policy.signals import layer_similarity, listen
from credit_zoo.speed import meter, profile, table
from credit_zoo.speed import pepo_baseline as release
from credit_zoo.speed import plots as picture
from credit_zoo.speed.floor import Weights
from credit_zoo.speed.scaling import LADDERS
from credit_zoo.speed.startup import start
from credit_zoo.speed.workload import (
    Work,
    architecture,
    random_batch,
    random_policy,
    trainers,
    training_step,
    with_layout,
)
from credit_zoo.training.step import old_policy_pass, prepare, update

TINY = Work(prompts=2, group=4, tokens=8, repeats=1, shapers="pepo")


@pytest.fixture(scope="module")
def policy():
    return random_policy(architecture("small"), TINY)


# --- counting ----------------------------------------------------------------------------------------------------


def test_bytes_by_hand():
    """4 MB, 2 MB more, 4 MB less, then 1 MB and a copy of it: never more than 6 MB."""

    def job():
        first, second = torch.empty(1_000_000), torch.empty(500_000)
        del first
        third = torch.empty(250_000)
        return second, third.clone()

    assert meter.allocated(job) == meter.Bytes(peak=6_000_000, largest=4_000_000)


def test_turns_alternate_and_the_first_round_does_not_count():
    order = []
    found = meter.in_turns({name: lambda name=name: order.append(name) for name in "ab"}, 3)
    assert "".join(order) == "abbaabba"
    assert {name: len(values) for name, values in found.items()} == {"a": 3, "b": 3}


def test_spreads_ratios_and_exponents_by_hand():
    assert meter.Spread.of([4.0, 1.0, 2.0, 3.0, 5.0]) == meter.Spread(3.0, 2.0, 4.0)
    assert meter.Spread.of([7.0]) == meter.Spread(7.0, 7.0, 7.0)
    assert meter.ratios({"a": [2.0, 3.0, 8.0], "b": [1.0, 1.0, 2.0]}, "a", "b").median == 3.0
    assert meter.exponent([1, 2, 4], [3, 12, 48]) == pytest.approx(2)


# --- what a step does --------------------------------------------------------------------------------------------


def test_the_release_s_way_gives_the_same_numbers(policy):
    """Where no token is forbidden, which it does not know."""
    policy = Policy(policy.model, replace(policy.encoder, vision_tokens=()), policy.settings)
    data = random_batch(policy, TINY)
    rows = BatchLayout.of(data.prompts, data.responses)
    with torch.no_grad():
        ours, theirs = policy(rows, 1.0), with_layout(policy, "plain", release.ReleasePolicy)(rows, 1.0)
    torch.testing.assert_close(ours.logp, theirs.logp, atol=1e-4, rtol=0)
    torch.testing.assert_close(ours.entropy, theirs.entropy, atol=1e-4, rtol=0)
    states, image = torch.randn(2, 5, 16), torch.randn(1, 7, 16)
    mine = layer_similarity(states, image, torch.ones(1, 7, dtype=torch.bool), torch.zeros(2, dtype=torch.int64))
    for one, row in zip(mine, states, strict=True):
        torch.testing.assert_close(one, release.similarity(row, image[0]))


@pytest.mark.parametrize("backward", [False, True])
def test_the_matrix_of_logits_is_never_there(backward):
    """64 tokens under a vocabulary of 20,000: 5 MB of logits, of which 0.26 MB are there at once."""
    linear, ids = torch.nn.Linear(8, 20_000, bias=False), torch.arange(64)
    hidden = torch.randn(64, 8, requires_grad=True)
    matrix, weight, at_once = 4 * 64 * 20_000, 4 * 8 * 20_000, 2**16

    def job():
        logp = head.token_statistics(hidden, linear, ids, at_once=at_once).logp
        if backward:
            logp.sum().backward()

    job()  # the gradients are there
    found = meter.allocated(job)
    assert found.largest <= max(4 * at_once, weight if backward else 0)
    assert found.peak < matrix / 4


def test_a_shared_prompt_takes_fewer_tokens_and_less_memory(policy):
    data = random_batch(policy, TINY)
    made = trainers({"shared": (policy, "uniform"), "plain": (with_layout(policy, "plain"), "uniform")}, TINY)
    read = {}
    for name, one in made.items():
        tokens = []
        hook = policy.decoder.layers[0].register_forward_pre_hook(
            lambda module, args, kwargs, tokens=tokens: tokens.append(args[0].shape[:2].numel()), with_kwargs=True
        )
        training_step(one, data)
        hook.remove()
        read[name] = tokens
    prompt, rows = data.prompts.ids.shape[1], len(data.reward)
    assert read == {"shared": [2 * prompt, rows * 8], "plain": [rows * (prompt + 8)]}
    peaks = {name: meter.allocated(lambda one=one: training_step(one, data)).peak for name, one in made.items()}
    assert peaks["shared"] < 0.5 * peaks["plain"]


@pytest.mark.parametrize(("shaper", "passes"), [("uniform", 1), ("pepo", 1), ("high_entropy", 2)])
def test_signals_cost_no_pass_of_their_own_unless_the_rule_needs_the_whole_batch(tiny, shaper, passes):
    t = trainer(tiny, shaper)
    calls = []
    t.policy.register_forward_hook(lambda *_: calls.append(1))
    update_batch = prepare(t, batch(t.policy), 0.5)
    update(t, old_policy_pass(t, update_batch) if t.two_pass else update_batch, 1e-6)
    assert len(calls) == passes


def test_signals_add_less_than_a_percent_to_the_peak(policy):
    work = replace(TINY, prompts=8, tokens=32)
    data = random_batch(policy, work)
    made = trainers({"uniform": (policy, "uniform"), "pepo": (policy, "pepo")}, work)
    peaks = {name: meter.allocated(lambda one=one: training_step(one, data)).peak for name, one in made.items()}
    assert peaks["pepo"] <= 1.01 * peaks["uniform"]


def test_similarity_keeps_no_states(policy):
    data = random_batch(policy, TINY)
    rows = BatchLayout.of(data.prompts, data.responses)
    with torch.no_grad(), listen(policy, rows, ["visual_similarity"]) as cosines:
        policy(rows, 1.0)
    held = [*cosines.cosine.directions.values(), *cosines.sums.values()]
    width = policy.decoder.norm.weight.numel()
    assert all(x.numel() in (len(data.prompts) * width, rows.mask.numel()) for x in held)


# --- the command -------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_parts_are_measured_written_and_shown(tmp_path, capsys):
    words = ["prompts=2", "group=2", "tokens=4", "high=2", "wide=3", "repeats=2", "shapers=pepo"]
    assert command.main(["steps", "signals", *words, f"out={tmp_path}"]) == 0
    kept = json.loads((tmp_path / "steps.json").read_text())
    assert kept["work"]["tokens"] == 4 and kept["machine"]["cores"] >= 1 and "torch" in kept["versions"]
    names = [row["name"] for row in kept["found"]["rows"]]
    assert names[:2] == ["uniform", "pepo"] and len(names) == 4
    assert all(row["seconds"]["median"] > 0 and row["peak"] > row["largest"] > 0 for row in kept["found"]["rows"])
    assert [part["name"] for part in kept["found"]["parts"]] == ["rollout", "scoring", "shaping", "update"]
    shown = capsys.readouterr().out
    assert "| pepo: training step |" in shown and "visual similarity of 4 layers" in shown
    picture.draw(table.read(tmp_path), tmp_path / "speed.png")
    assert (tmp_path / "speed.png").read_bytes().startswith(b"\x89PNG")


def test_phases_stand_beside_their_floors(tmp_path, capsys):
    words = ["prompts=2", "group=2", "tokens=4", "high=2", "wide=3", "repeats=2", f"out={tmp_path}"]
    assert command.main(["phases", *words]) == 0
    found = json.loads((tmp_path / "phases.json").read_text())["found"]
    rows = {row["name"]: row for row in found["rows"]}
    assert sum(row["share"] for row in rows.values()) == pytest.approx(1)
    # 2 x 4 responses of 4 tokens and 2 prompts of 8 + 6 + 8, once forward and twice backward; 2 x 24 patches once.
    text, vision = found["weights"]["text"], found["weights"]["vision"]
    forward = 2 * (text * (4 * 4 + 2 * 22) + vision * 2 * 24) / found["rate"]
    assert rows["training: forward"]["floor"] == pytest.approx(forward)
    assert rows["training: backward"]["floor"] == pytest.approx(2 * 2 * text * (4 * 4 + 2 * 22) / found["rate"])
    assert "times the floor" in capsys.readouterr().out


def test_weights_that_a_token_meets_are_all_but_the_tower_s_the_tied_embedding_once(policy):
    found, config = Weights.of(policy), policy.model.config.get_text_config()
    every = sum(parameter.numel() for parameter in policy.model.parameters())
    assert found.text + found.vision == every and found.text > config.vocab_size * config.hidden_size


def test_random_responses_are_measured_as_sampling_would(policy):
    data = random_batch(policy, TINY)
    with torch.no_grad():
        said = policy(BatchLayout.of(data.prompts, data.responses), 1.0)
    for name, values in data.responses.signals.items():
        torch.testing.assert_close(values, getattr(said, name), atol=1e-5, rtol=0)


def test_a_whole_run_is_told_by_its_sums():
    seconds = {"TRL, sampling": 10.0, "ours, sampling": 5.0, "TRL, training": 20.0, "ours, training": 5.0}
    found = {"seconds": seconds, "training": 4.0, "whole": 3.0, "read": 0.66, "tenths": []}
    part = {"part": "run", "work": {"steps": 100}, "found": found, "machine": {"gpu": "g"},
            "versions": {"torch": "1", "transformers": "1"}}  # fmt: skip
    shown = table.summary({"run": part})
    assert (
        "over a run of 100 steps, 66% of the response tokens read with a gradient | 5.000 s | 20.000 s (TRL) | 4.00"
        in shown
    )
    assert "| a whole run of 100 steps, sampling in it | 10.000 s | 30.000 s (TRL) | 3.00 times faster |" in shown


def test_a_large_model_is_measured_under_a_name_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setitem(profile.PARTS, "steps", lambda work: {"rows": [], "parts": []})
    work = Work(model="qwen2_5_vl_3b", dtype="bfloat16")
    assert profile.measure("steps", work, tmp_path).name == "steps-qwen2_5_vl_3b.json"
    assert "## qwen2_5_vl_3b, bfloat16" in table.page(table.read(tmp_path))


def test_times_and_memory_have_one_kind_of_ratio_each():
    spread = {"median": 2.0, "low": 1.6, "high": 2.5}
    seconds = {name: {"median": value} for name, value in (("uniform", 1.0), ("pepo", 1.25), ("uniform, slow", 2.0))}
    ratios = {
        "uniform": {**spread, "median": 1.0},
        "pepo": {"median": 1.25, "low": 1.0, "high": 1.6},
        "uniform, slow": spread,
    }
    rows = [{"name": name, "seconds": seconds[name], "ratio": ratios[name], "peak": 2**20 * seconds[name]["median"]}
            for name in seconds]  # fmt: skip
    shown = table.summary({"steps": {"part": "steps", "machine": {"gpu": "g"}, "versions": {"torch": "1", "transformers": "1"},
                                     "found": {"rows": rows}}})  # fmt: skip
    assert "| pepo: training step | 1.250 s | 1.000 s (uniform) | 0.800 [0.625, 1.000] times faster |" in shown
    assert "| pepo: peak memory | 1.2 MiB | 1.0 MiB (uniform) | 125% of the memory |" in shown
    assert "| uniform: training step | 1.000 s | 2.000 s (uniform, slow) | 2.00 [1.60, 2.50] times faster |" in shown
    assert "| uniform: peak memory | 1.0 MiB | 2.0 MiB (uniform, slow) | 50.0% of the memory |" in shown


def test_every_ratio_of_the_committed_costs_is_of_these_kinds():
    lines = table.summary(table.read(Path(__file__).parents[1] / "leaderboard" / "speed")).split("\n\n")[1].splitlines()
    ratios = [line.split("|")[-2].strip() for line in lines[2:]]
    assert len(ratios) > 10 and all(re.search(r"(times faster|% of the memory|^)$", ratio) for ratio in ratios)


def test_nothing_measured_is_said():
    assert "make bench" in table.summary({})


def test_what_cannot_be_measured_is_named(capsys, tmp_path):
    for words, said in (
        (["stepz"], "Did you mean 'steps'"), (["steps", "model=smal"], "There are: small, internvl3_2b, qwen2_5_vl_3b"),
        (["steps", "model=internvl3_2b"], "Qwen2.5-VL only"), (["steps", "tokens=0"], "work.tokens"),
        (["steps", "shapers=pepoo"], "pepo"), (["steps", "shapers=oracle_exact"], "oracle_exact needs truth_advantage"), (["steps", "dtype=int8"], "work.dtype"), (["trl", "model=qwen2_5_vl_3b"], "model=small"),
    ):  # fmt: skip
        assert command.main([*words, f"out={tmp_path}"]) == 2
        assert said in capsys.readouterr().err


def test_every_ranked_rule_is_measured_unless_some_are_named():
    rules = Work().rules
    assert rules[0] == "uniform" and {"pepo", "vppo", "siblings"} < set(rules) and not {"random", "length"} & set(rules)


def test_a_vocabulary_of_any_size_can_be_asked_for():
    config = copy.deepcopy(architecture("small"))
    config.text_config.vocab_size = LADDERS["vocabulary"][1]
    assert random_policy(config, TINY).model.get_output_embeddings().weight.shape[0] == 2688


@pytest.mark.slow
def test_trl_does_the_same_work_in_turns(tmp_path):
    pytest.importorskip("trl")
    words = ["prompts=4", "group=4", "tokens=6", "micro_batch=8", "repeats=1"]
    assert command.main(["trl", *words, f"out={tmp_path}"]) == 0
    found = json.loads((tmp_path / "trl.json").read_text())["found"]
    assert found["training"]["median"] > 0 and found["prompt_tokens"] > 36 and found["read"] > 0
    assert found["peak"]["training"]["ours"]["peak"] < found["peak"]["training"]["TRL"]["peak"]


@pytest.mark.slow
def test_a_whole_run_takes_turns_with_trl(tmp_path):
    pytest.importorskip("trl")
    words = ["prompts=4", "group=4", "micro_batch=8", "steps=3"]
    assert command.main(["run", *words, f"out={tmp_path}"]) == 0
    found = json.loads((tmp_path / "run.json").read_text())["found"]
    assert found["training"] > 0 and 0 < found["read"] <= 1 and len(found["tenths"]) == 3


@pytest.mark.slow
def test_a_start_is_one_of_the_real_command():
    found = start(1)
    assert 0 < found["help"] < found["first step"]
