"""What sampling elsewhere needs on this side: layout, seeds, plain errors, and the correction for a mismatch."""

import json
import math
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from steps import batch, loss_and_gradient, prompts, trainer

from credit_zoo.errors import UsageError
from credit_zoo.rollout.engines import RolloutConfig, sampler, seeds, to_responses, vllm_ids, weights_of
from credit_zoo.rollout.importance_correction import SamplerMismatch, truncated_importance_ratio
from credit_zoo.rollout.sampling import SamplingParams, generators


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
