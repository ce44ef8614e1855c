"""Log-probability, entropy and collision probability against torch's own distributions."""

import shutil
import subprocess
import sys

import pytest
import torch
from torch.distributions import Categorical

from credit_zoo.errors import UsageError
from credit_zoo.policy import lm_head as head
from credit_zoo.policy.head_kernels import kernel_of
from credit_zoo.policy.truncation import Truncation

FORBIDDEN = (2, 29)


def case(dtype=torch.float32, tokens=20, width=8, vocabulary=30, spread=1.0):
    generator = torch.Generator().manual_seed(0)
    linear = torch.nn.Linear(width, vocabulary, bias=False)
    linear.weight.data = (spread * torch.randn(vocabulary, width, generator=generator)).to(dtype)
    hidden = torch.randn(4, tokens // 4, width, generator=generator).to(dtype).requires_grad_()
    ids = torch.randint(3, vocabulary - 1, (4, tokens // 4), generator=generator)
    return linear, hidden, ids


def expected(linear, hidden, ids, temperature, forbidden):
    """From the whole matrix of logits, in float64."""
    states = hidden.detach().double().requires_grad_()
    weight = linear.weight.detach().double().requires_grad_()
    logits = states @ weight.T / temperature
    keep = torch.ones(logits.shape[-1], dtype=torch.bool)
    keep[list(forbidden)] = False
    found = Categorical(logits=logits.masked_fill(~keep, -torch.inf))
    logp = found.log_prob(ids)
    (logp * torch.arange(logp.numel()).view(logp.shape)).sum().backward()
    probabilities = found.probs.detach()
    entropy = -torch.xlogy(probabilities, probabilities).sum(-1)
    return logp.detach(), entropy, probabilities.square().sum(-1), states.grad, weight.grad


def found(linear, hidden, ids, *settings, **options):
    logp, entropy, collision = head.token_statistics(hidden, linear, ids, *settings, **options)
    assert logp.requires_grad and not entropy.requires_grad and not collision.requires_grad
    assert {values.dtype for values in (logp, entropy, collision)} == {torch.float32}
    (logp * torch.arange(logp.numel()).view(logp.shape)).sum().backward()
    return logp.detach(), entropy, collision, hidden.grad, linear.weight.grad


def assert_same(mine, others, tolerance):
    for one, other in zip(mine, others, strict=True):
        torch.testing.assert_close(one.double(), other.double(), atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize("forbidden", [(), FORBIDDEN])
@pytest.mark.parametrize("temperature", [1.0, 0.7])
@pytest.mark.parametrize("at_once", [1, 20, 140, 2**24])  # blocks of 1, 1, 7 and 30 tokens of the vocabulary
def test_values_and_gradients_are_those_of_the_whole_matrix(at_once, temperature, forbidden):
    linear, hidden, ids = case()
    theirs = expected(linear, hidden, ids, temperature, forbidden)
    assert_same(found(linear, hidden, ids, temperature, forbidden, at_once=at_once), theirs, 1e-4)


def left(logits, top_k, top_p, sampled):
    """What top-k and then top-p leave, token after token from the most probable one; the sampled one is left too."""
    keep = torch.zeros(len(logits), dtype=torch.bool)
    order = logits.argsort(descending=True).tolist()[: top_k or None]
    p, mass = logits[order].softmax(-1).tolist(), 0.0
    for token, probability in zip(order, p, strict=True):
        if mass < top_p:
            keep[token] = True
        mass += probability
    keep[sampled] = True
    return keep


@pytest.mark.parametrize("temperature", [1.0, 0.7])
@pytest.mark.parametrize("at_once", [1, 140, 2**24])
@pytest.mark.parametrize(("top_k", "top_p"), [(5, 1.0), (0, 0.8), (12, 0.9), (100, 1.0), (1, 1.0)])
def test_a_truncated_distribution_is_scored_as_what_is_left_of_the_whole_one(top_k, top_p, at_once, temperature):
    linear, hidden, ids = case()
    truncation = Truncation(top_k, top_p)
    mine = found(linear, hidden, ids, temperature, FORBIDDEN, at_once=at_once, truncation=truncation)
    states, weight = (x.detach().double().requires_grad_() for x in (hidden, linear.weight))
    logits = states @ weight.T / temperature
    logits = logits.index_fill(-1, torch.tensor(FORBIDDEN), -1e4).flatten(0, 1)
    keep = torch.stack([left(z, top_k, top_p, y) for z, y in zip(logits.detach(), ids.flatten(), strict=True)])
    theirs = Categorical(logits=logits.masked_fill(~keep, -1e4).view(*ids.shape, -1))
    logp = theirs.log_prob(ids)
    (logp * torch.arange(logp.numel()).view(logp.shape)).sum().backward()
    square = theirs.probs.square().sum(-1)
    assert_same(mine, (logp.detach(), theirs.entropy(), square, states.grad, weight.grad), 1e-4)


@pytest.mark.parametrize("temperature", [1.0, 0.7])
@pytest.mark.parametrize("at_once", [1, 140, 2**24])
@pytest.mark.parametrize(("top_k", "top_p"), [(0, 1.0), (5, 1.0), (12, 0.9)])
def test_the_entropy_has_a_gradient_where_it_is_asked_for(top_k, top_p, at_once, temperature):
    """Beside that of the log-probability, with tokens that have one of the two alone, both, and none."""
    linear, hidden, ids = case()
    place = torch.arange(ids.numel()).view(ids.shape)
    of_logp, of_entropy = (place % 3 == 0) * 1.0, (place % 2 == 0) * (1.0 + place)
    found = head.token_statistics(
        hidden, linear, ids, temperature, FORBIDDEN, at_once, None, Truncation(top_k, top_p), entropy_gradient=True
    )
    (of_logp * found.logp + of_entropy * found.entropy).sum().backward()
    states, weight = (x.detach().double().requires_grad_() for x in (hidden, linear.weight))
    logits = (states @ weight.T / temperature).index_fill(-1, torch.tensor(FORBIDDEN), -1e4)
    flat = logits.detach().flatten(0, 1)
    keep = torch.stack([left(z, top_k, top_p, y) for z, y in zip(flat, ids.flatten(), strict=True)])
    theirs = Categorical(logits=logits.masked_fill(~keep.view(logits.shape), -1e4))
    (of_logp * theirs.log_prob(ids) + of_entropy * theirs.entropy()).sum().backward()
    assert not found.collision.requires_grad
    assert_same((hidden.grad, linear.weight.grad), (states.grad, weight.grad), 1e-4)


def test_a_truncated_distribution_never_has_more_logits_than_asked_for_or_one_tokens():
    linear, hidden, ids = case(tokens=20)
    kernel = Counting()
    head.token_statistics(hidden, linear, ids, at_once=240, kernel=kernel, truncation=Truncation(5))[0].sum().backward()
    assert kernel.forward == [(8, 30), (8, 30), (4, 30)] and kernel.backward == [(20, 12), (20, 12), (20, 6)]


def test_tokens_that_tie_with_the_last_that_is_kept_are_kept():
    logits = torch.tensor([[2.0, 1.0, 1.0, 1.0, 0.0]])
    assert (logits >= Truncation(2).floor(logits)[:, None]).tolist() == [[True, True, True, True, False]]
    assert (logits >= Truncation(0, 0.5).floor(logits)[:, None]).tolist() == [[True, True, True, True, False]]


def test_extreme_logits_stay_finite():
    linear, hidden, ids = case(spread=1e3)
    mine = found(linear, hidden, ids)
    assert all(values.isfinite().all() for values in mine)
    assert_same(mine[:3], expected(linear, hidden, ids, 1.0, ())[:3], 1e-2)


def test_half_precision_is_accumulated_in_float32():
    """The sums over the vocabulary are float32's, of logits that the head rounded."""
    linear, hidden, ids = case(torch.bfloat16, vocabulary=5000)
    logits = linear(hidden).detach().double()
    logp, entropy, collision, *_ = found(linear, hidden, ids)
    theirs = Categorical(logits=logits)
    torch.testing.assert_close(logp.double(), theirs.log_prob(ids), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(entropy.double(), theirs.entropy(), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(collision.double(), theirs.probs.square().sum(-1), atol=1e-6, rtol=1e-5)


def test_collision_and_entropy_of_a_uniform_distribution_are_known():
    linear, hidden, ids = case()
    linear.weight.data.zero_()
    logp, entropy, collision = head.token_statistics(hidden, linear, ids)
    torch.testing.assert_close(logp, torch.full(ids.shape, 1 / 30).log())
    torch.testing.assert_close(entropy, torch.full(ids.shape, 30.0).log())
    torch.testing.assert_close(collision, torch.full(ids.shape, 1 / 30))


class Counting(head.TorchKernel):
    """Notes the size of every block."""

    def __init__(self):
        self.forward, self.backward = [], []

    def reduce(self, logits, *rest):
        self.forward.append(tuple(logits.shape))
        return super().reduce(logits, *rest)

    def gradient(self, logits, *rest):
        self.backward.append(tuple(logits.shape))
        return super().gradient(logits, *rest)


def test_no_more_logits_than_asked_for_exist_at_once_and_backward_makes_them_again():
    linear, hidden, ids = case(tokens=20)
    kernel = Counting()
    logp, *_ = head.token_statistics(hidden, linear, ids, at_once=240, kernel=kernel)
    assert kernel.forward == [(20, 12), (20, 12), (20, 6)] and kernel.backward == []
    logp.sum().backward()
    assert kernel.backward == kernel.forward
    assert "forward" not in vars(linear)


def test_tokens_without_a_gradient_cost_nothing_in_the_backward_pass():
    linear, hidden, ids = case(tokens=20)
    upstream = torch.zeros(ids.shape)
    upstream[0], upstream[2, 1] = 1.0, -2.0
    kernel = Counting()
    (head.token_statistics(hidden, linear, ids, kernel=kernel).logp * upstream).sum().backward()
    assert kernel.backward == [(6, 30)]
    mine, hidden.grad, other = hidden.grad, None, linear.weight.grad.clone()
    linear.weight.grad = None
    (linear(hidden).log_softmax(-1).gather(-1, ids[..., None])[..., 0] * upstream).sum().backward()
    assert_same((mine, other), (hidden.grad, linear.weight.grad), 1e-5)
    (head.token_statistics(hidden, linear, ids).logp * 0).sum().backward()  # a step without any advantage


def test_a_head_with_a_bias_and_a_frozen_one():
    linear, hidden, ids = case()
    linear.bias = torch.nn.Parameter(torch.linspace(-1, 1, 30))
    logp, *_ = head.token_statistics(hidden, linear, ids, at_once=140)
    logits = linear(hidden.detach())
    torch.testing.assert_close(logp, Categorical(logits=logits).log_prob(ids))
    logp.sum().backward()
    expected_bias = (torch.nn.functional.one_hot(ids, 30) - logits.softmax(-1)).sum((0, 1))
    torch.testing.assert_close(linear.bias.grad, expected_bias, atol=1e-5, rtol=1e-5)
    whole, linear.weight.grad = hidden.grad.clone(), None
    linear.requires_grad_(False)
    hidden.grad = None
    head.token_statistics(hidden, linear, ids)[0].sum().backward()
    torch.testing.assert_close(hidden.grad, whole)
    assert linear.weight.grad is None


def test_a_head_of_another_kind_is_refused():
    _, hidden, ids = case()
    with pytest.raises(UsageError, match="linear layer, this model's is a Sequential"):
        head.token_statistics(hidden, torch.nn.Sequential(), ids)


COMPILED = """
import torch
from credit_zoo.policy.lm_head import token_statistics
from credit_zoo.policy.head_kernels import kernel_of

torch.manual_seed(0)
linear, hidden, ids = torch.nn.Linear(8, 30), torch.randn(20, 8), torch.randint(3, 29, (20,))
for at_once in (240, 2**22):
    settings = (hidden, linear, ids, 0.7, (2, 29), at_once)
    torch.testing.assert_close(token_statistics(*settings, kernel_of("compiled")), token_statistics(*settings))
"""


@pytest.mark.slow
def test_the_compiled_reduction_is_the_reference():
    """In a process of its own: the tests' checks of shapes cannot be compiled."""
    if shutil.which("g++") is None:
        pytest.skip("torch.compile needs a C++ compiler")
    done = subprocess.run([sys.executable, "-c", COMPILED], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_kernel_that_is_not_installed_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "credit_zoo.policy.triton_kernels", None)
    with pytest.raises(UsageError, match=r"model\.kernel=triton needs triton"):
        kernel_of("triton")
