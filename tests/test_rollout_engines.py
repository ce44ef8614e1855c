"""What sampling elsewhere needs on this side: layout, seeds, plain errors, and the correction for a mismatch."""

import json
import math
import sys
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from steps import batch, loss_and_gradient, prompts, trainer

from credit_zoo.errors import UsageError
from credit_zoo.policy.policy import SMALL_MODEL, Policy
from credit_zoo.rollout.engines import (
    InProcessVllm,
    RolloutConfig,
    close_engines,
    sampler,
    seeds,
    to_responses,
    vllm_ids,
    weights_of,
)
from credit_zoo.rollout.importance_correction import SamplerMismatch, truncated_importance_ratio
from credit_zoo.rollout.sampling import SamplingParams, generators
from credit_zoo.rollout.vllm_engine import VllmEngine


def test_a_picture_is_one_token_and_padding_is_none(tiny):
    encoded, image = prompts(tiny), tiny.encoder.image_token
    for row, mask, ids in zip(encoded.ids, encoded.mask, vllm_ids(tiny, encoded), strict=True):
        assert ids.count(image) == 1 < int((row == image).sum())
        assert [t for t in ids if t != image] == [t for t in row[mask].tolist() if t != image]


def test_responses_are_laid_out_as_our_own_sampler_lays_them_out(tiny):
    told = [[{"ids": [5, 6, 7], "logp": [-1.0, -2.0, -3.0], "truncated": False},
             {"ids": [8, 9, 5, 6], "logp": [-1.0] * 4, "truncated": True}]]  # fmt: skip
    found = to_responses(tiny, told, SamplingParams(group=2, max_tokens=4))
    assert found.ids.tolist() == [[5, 6, 7, tiny.encoder.pad_token], [8, 9, 5, 6]]
    assert found.mask.sum(1).tolist() == [3, 4] and found.truncated.tolist() == [False, True]
    assert found.logp[0].tolist() == [-1, -2, -3, 0] and found.row_of.tolist() == [0, 0]


def test_seeds_belong_to_questions_and_all_differ():
    sampling = SamplingParams(group=4, max_tokens=8)
    three = seeds(3, sampling, generators(0, [5, 6, 7]))
    assert three[1:] == seeds(2, sampling, generators(0, [6, 7]))
    assert len({seed for row in three for seed in row}) == 12
    assert [row[:4] for row in seeds(3, SamplingParams(group=7, max_tokens=30), generators(0, [5, 6, 7]))] == three


def test_weights_have_the_names_of_a_checkpoint(tiny, tmp_path):
    from safetensors import safe_open

    tiny.model.save_pretrained(tmp_path)
    with safe_open(tmp_path / "model.safetensors", "pt") as file:
        assert set(weights_of(tiny)) == set(file.keys())


# --- an engine in the trainer's process --------------------------------------------------------------------------


class StandIn:
    """In vLLM's place: its memory comes and goes by parts, as on a GPU, and none may be used or taken when it must not."""

    def __init__(self, **options):
        self.options, self.awake, self.told, self.log = options, {"weights", "kv_cache"}, {}, []
        ends = SimpleNamespace(shutdown=lambda: self.log.append("end"))
        self.llm_engine = SimpleNamespace(reset_encoder_cache=lambda: None, engine_core=ends)
        StandIn.made = self

    def sleep(self, level):
        assert level == 1 and self.awake == {"weights", "kv_cache"}
        self.awake = set()
        self.log.append("sleep")

    def wake_up(self, tags):
        assert tags and not self.awake & set(tags), "memory is taken once"
        self.awake |= set(tags)
        self.log.append("+".join(tags))

    def apply_model(self, job):
        assert "weights" in self.awake
        job(SimpleNamespace(load_weights=lambda weights: self.told.update(weights)))
        self.log.append("load")

    def reset_prefix_cache(self): ...
    def reset_mm_cache(self): ...

    def generate(self, prompts, settings, use_tqdm):
        assert self.awake == {"weights", "kv_cache"}
        self.log.append("generate")
        ids = [7, 8]
        logprobs = [{token: SimpleNamespace(logprob=-1.0)} for token in ids]
        output = SimpleNamespace(token_ids=ids, logprobs=logprobs, finish_reason="stop")
        return [SimpleNamespace(outputs=[output])] * len(prompts)


@pytest.fixture
def stand_in(monkeypatch):
    module = SimpleNamespace(LLM=StandIn, SamplingParams=SimpleNamespace, _custom_ops=SimpleNamespace())
    monkeypatch.setitem(sys.modules, "vllm", module)

    def engine(**options):
        return VllmEngine(str(SMALL_MODEL), "float32", 64, **options)

    return engine


def test_an_engine_sleeps_while_the_trainer_works_and_its_weights_wake_first_to_be_replaced(tiny, stand_in):
    made = InProcessVllm(stand_in(enable_sleep_mode=True))
    asked, sampling = prompts(tiny), SamplingParams(group=2, max_tokens=4)

    def step():
        made.sync(tiny)
        made(tiny, [None] * len(asked), asked, sampling, generators(0, range(len(asked))))

    step()
    assert StandIn.made.awake == set()
    step()
    made(tiny, [None] * len(asked), asked, sampling, generators(0, range(len(asked))))  # measuring tells no weights
    assert StandIn.made.log == ["load", "generate", "sleep", "weights", "load", "kv_cache", "generate", "sleep",
                                "weights+kv_cache", "generate", "sleep"]  # fmt: skip
    assert set(StandIn.made.told) == set(weights_of(tiny))


def test_an_engine_that_cannot_sleep_is_left_awake(tiny, stand_in):
    made = InProcessVllm(stand_in())
    made.sync(tiny)
    made(
        tiny, [None], prompts(tiny).select(torch.tensor([0])), SamplingParams(group=2, max_tokens=4), generators(0, [0])
    )
    assert StandIn.made.log == ["load", "generate"] and not StandIn.made.options["enable_sleep_mode"]


def test_of_several_processes_each_has_an_engine_on_its_own_gpu(stand_in, monkeypatch):
    stand_in()
    assert "distributed_executor_backend" not in StandIn.made.options
    monkeypatch.setenv("WORLD_SIZE", "2")
    stand_in()
    assert StandIn.made.options["distributed_executor_backend"] == "external_launcher"
    stand_in(distributed_executor_backend="ray")
    assert StandIn.made.options["distributed_executor_backend"] == "ray"


def test_a_process_keeps_one_engine_for_all_its_seeds_and_ends_it_when_it_is_told(tiny, stand_in):
    settings = RolloutConfig("vllm", "none")
    first, second = sampler(settings, tiny, 64), sampler(settings, tiny, 64)
    assert first.engine is second.engine
    one = StandIn.made
    assert sampler(settings, tiny, 32).engine is not first.engine and one.log == ["end"]
    close_engines()
    assert StandIn.made.log == ["end"]


def test_adapters_are_added_to_the_weights_that_an_engine_is_told(tiny):
    """The engine knows nothing of them: the same names and shapes, and of what they adapt other values."""
    pytest.importorskip("peft")
    plain = {name: value.clone() for name, value in weights_of(tiny).items()}
    torch.manual_seed(0)
    adapted = Policy(tiny.model, tiny.encoder, replace(tiny.settings, lora_rank=4))
    for name, parameter in adapted.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    told = weights_of(adapted)
    assert {name: value.shape for name, value in told.items()} == {name: value.shape for name, value in plain.items()}
    assert any(not torch.equal(told[name], plain[name]) for name in plain)


# --- servers -----------------------------------------------------------------------------------------------------


class Other(BaseHTTPRequestHandler):
    """A server of another version."""

    def do_GET(self):
        body = json.dumps({"protocol": 99}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


def test_servers_that_cannot_be_used_are_named_in_a_sentence(tiny):
    with pytest.raises(UsageError, match=r"no vLLM server answers at rollout.url=http://127.0.0.1:9 .* rollout=hf"):
        sampler(RolloutConfig("vllm", "http://127.0.0.1:9"), tiny, 64)
    server = HTTPServer(("127.0.0.1", 0), Other)
    threading.Thread(target=server.handle_request).start()
    with pytest.raises(UsageError, match="speaks version 99 of the protocol, this trainer 1"):
        sampler(RolloutConfig("vllm", f"http://127.0.0.1:{server.server_port}"), tiny, 64)
    server.server_close()
    assert sampler(RolloutConfig(), tiny, 64) is None


@pytest.mark.parametrize(("name", "value"), [("cap", 0.5), ("timeout", 0.0), ("memory", 1.5)])
def test_settings_out_of_range_are_named_as_typed(name, value):
    with pytest.raises(UsageError, match=f"rollout.{name}"):
        RolloutConfig(**{name: value})


def test_the_correction_by_hand():
    sampler_logp = torch.tensor([[-1.0, -1.0, -1.0, 9.0]])
    logp = sampler_logp + torch.tensor([[0.0, math.log(3), math.log(0.5), -99.0]])
    mask = torch.tensor([[True, True, True, False]])
    weight, found = truncated_importance_ratio(logp, sampler_logp, mask, cap=2.0)
    torch.testing.assert_close(weight, torch.tensor([[1.0, 2.0, 0.5, 0.0]]))
    numbers = found.numbers()
    assert numbers["sampler_ratio"] == pytest.approx((1 + 3 + 0.5) / 3)
    assert numbers["sampler_truncated"] == pytest.approx(1 / 3)
    assert numbers["sampler_ess"] == pytest.approx(3.5**2 / (3 * 5.25))
    assert numbers["sampler_difference"] == pytest.approx((math.log(3) + math.log(2)) / 3)


@given(st.lists(st.floats(-30, 30), min_size=1, max_size=8), st.floats(1, 10))
def test_the_correction_is_bounded_and_adds_up(differences, cap):
    logp, zero = torch.tensor([differences]), torch.zeros(1, len(differences))
    mask = torch.ones(1, len(differences), dtype=torch.bool)
    weight, whole = truncated_importance_ratio(logp, zero, mask, cap)
    assert (weight >= 0).all() and (weight <= cap + 1e-6).all()
    assert 0 <= whole.numbers()["sampler_ess"] <= 1 + 1e-6
    first = mask.clone()
    first[:, 1:] = False
    parts = (
        truncated_importance_ratio(logp, zero, first, cap)[1]
        + truncated_importance_ratio(logp, zero, mask & ~first, cap)[1]
    )
    assert parts.numbers() == pytest.approx(whole.numbers(), rel=1e-5)
    assert SamplerMismatch().numbers() == {
        "sampler_ratio": 1,
        "sampler_truncated": 0,
        "sampler_ess": 1,
        "sampler_difference": 0,
    }


def test_a_sampler_that_agrees_changes_nothing_and_one_that_does_not_is_corrected(tiny):
    import dataclasses

    data = batch(tiny)
    plain = loss_and_gradient(trainer(tiny), data)
    corrected = dataclasses.replace(trainer(tiny), importance_cap=2.0)
    torch.testing.assert_close(loss_and_gradient(corrected, data)[1], plain[1], atol=1e-5, rtol=1e-4)
    # Everywhere half as likely under the trainer: half the loss and the gradient.
    moved = dataclasses.replace(data.responses, logp=data.responses.logp + math.log(2) * data.responses.mask)
    corrected = dataclasses.replace(trainer(tiny), importance_cap=2.0)
    found = loss_and_gradient(corrected, dataclasses.replace(data, responses=moved))
    torch.testing.assert_close(found[1], plain[1] / 2, atol=1e-5, rtol=1e-4)
