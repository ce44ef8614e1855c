"""Gradients of half-precision weights against those of the same weights in float32, by the angle between them."""

import copy

import pytest
import torch
from accelerate import Accelerator
from families import FAMILIES, write
from steps import Coin, Numbers, batch, loss_and_gradient, trainer
from torch import nn

from credit_zoo.errors import UsageError
from credit_zoo.evaluation.harness import EvalConfig, measure
from credit_zoo.policy.policy import ModelConfig, Policy
from credit_zoo.questions.prompt_format import PromptConfig
from credit_zoo.rollout.worker import RolloutWorker
from credit_zoo.training.engine import torch_engine


def cosine(policy, dtype, micro_batch=64, **sizes):
    """Between the gradients of a step of sampled responses, and the share of the half one that is 0."""
    half = copy.deepcopy(policy).to(dtype)
    data, whole = batch(policy, **sizes), copy.deepcopy(half).float()
    one, other = (
        loss_and_gradient(trainer(held, "pepo", micro_batch=micro_batch), data)[1].double() for held in (whole, half)
    )
    alive = one != 0
    return float(one @ other / (one.norm() * other.norm())), float((other[alive] == 0).double().mean())


@pytest.mark.parametrize("sizes", [
    {"count": 2, "group": 5, "length": 20},
    {"count": 4, "group": 12, "length": 40},
    pytest.param({"count": 16, "group": 32, "length": 64}, marks=pytest.mark.slow),
    pytest.param({"count": 64, "group": 64, "length": 64}, marks=pytest.mark.slow),
])  # fmt: skip
def test_bfloat16_keeps_the_direction_of_the_gradient(tiny, sizes):
    """10^2 to 10^5 tokens a step: what each adds becomes small, and bfloat16 has the range of float32."""
    found, lost = cosine(tiny, torch.bfloat16, **sizes)
    assert found > 0.99 and lost < 0.01


def test_bfloat16_keeps_it_whatever_the_micro_batches(tiny):
    assert cosine(tiny, torch.bfloat16, micro_batch=1, count=2, group=5, length=20)[0] > 0.99


@pytest.mark.slow
@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_trains_in_bfloat16(name, tmp_path):
    if name == "smolvlm":
        pytest.importorskip("num2words")
    policy = Policy.load(ModelConfig(path=str(write(name, tmp_path)))).eval()
    assert cosine(policy, torch.bfloat16, count=2, group=6, length=24)[0] > 0.97


@pytest.mark.slow
def test_float16_loses_gradient_as_tokens_grow(tiny):
    """Why it is refused."""
    shares = [
        cosine(tiny, torch.float16, **sizes)[1]
        for sizes in ({"count": 2, "group": 5, "length": 20}, {"count": 32, "group": 32, "length": 64})
    ]
    assert shares[1] > shares[0]


def test_float16_is_not_trained_and_is_measured(tiny):
    layer = nn.Linear(2, 2, dtype=torch.float16)
    with pytest.raises(UsageError, match=r"weights of float16 cannot be trained here: .* model\.dtype=bfloat16"):
        torch_engine(Accelerator(cpu=True), layer, 1e-3, 0.0)
    worker = RolloutWorker(copy.deepcopy(tiny).to(torch.float16), Coin(), PromptConfig(style="short"))
    asked = [Numbers((2, 3))[k] for k in range(2)]
    assert 0 <= measure(worker, asked, EvalConfig(samples=2, max_tokens=6), "x").accuracy <= 100
