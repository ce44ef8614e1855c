"""Log-probability, entropy and collision probability against torch's own distributions."""

import pytest
import torch
from torch.distributions import Categorical

from credit_zoo import head

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
@pytest.mark.parametrize("chunk", [0, 1, 7, 100])
def test_values_and_gradients_are_those_of_the_whole_matrix(chunk, temperature, forbidden):
    linear, hidden, ids = case()
    theirs = expected(linear, hidden, ids, temperature, forbidden)
    assert_same(found(linear, hidden, ids, temperature, forbidden, chunk=chunk), theirs, 1e-4)


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


def test_no_more_logits_than_asked_for_exist_at_once_and_backward_makes_them_again():
    linear, hidden, ids = case(tokens=20)
    sizes = []
    linear.register_forward_hook(lambda module, args, out: sizes.append(len(out)))
    logp, *_ = head.token_statistics(hidden, linear, ids, chunk=6)
    assert sizes == [6, 6, 6, 2]
    logp.sum().backward()
    assert sizes == [6, 6, 6, 2, 2, 6, 6, 6]
    sizes.clear()
    with torch.no_grad():
        head.token_statistics(hidden, linear, ids)
    assert sizes == [20] and head.LOGITS_AT_ONCE // 30 > 20
