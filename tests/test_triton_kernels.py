"""The Triton kernels against the reference, in Triton's interpreter unless TRITON_INTERPRET=0."""

import pytest
import torch

from credit_zoo.policy.lm_head import TorchKernel, token_statistics
from credit_zoo.policy.truncation import Truncation

pytest.importorskip("triton")
from credit_zoo.policy.triton_kernels import TritonKernel

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def case(vocabulary, dtype, spread=1.0, rows=5):
    """Rows of a wider buffer; the first id lies before the block, the last behind it."""
    generator = torch.Generator().manual_seed(vocabulary)
    buffer = spread * torch.randn(rows, vocabulary + 3, generator=generator)
    ids = torch.randint(0, vocabulary, (rows,), generator=generator)
    ids[0], ids[-1] = -2, vocabulary
    return buffer.to(DEVICE, dtype)[:, :vocabulary], ids.to(DEVICE)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("temperature", [1.0, 0.7])
@pytest.mark.parametrize(("vocabulary", "forbidden"), [(1, ()), (30, ()), (30, (0, 29)), (1500, (3, 1100))])
def test_both_kernels_are_the_reference(vocabulary, forbidden, temperature, dtype):
    logits, ids = case(vocabulary, dtype)
    mine, theirs = (one.reduce(logits.clone(), ids, temperature, forbidden) for one in (TritonKernel(), TorchKernel()))
    assert mine.chosen.isinf().tolist() == [True, False, False, False, True]
    torch.testing.assert_close(mine, theirs, atol=1e-4, rtol=1e-5)
    upstream = torch.linspace(-1, 2, len(ids), device=DEVICE)
    known = (ids, temperature, forbidden, theirs.logsumexp, upstream)
    one, other = (kernel.gradient(logits.clone(), *known) for kernel in (TritonKernel(), TorchKernel()))
    assert one.dtype == dtype
    torch.testing.assert_close(one, other, atol=1e-6 if dtype == torch.float32 else 1e-2, rtol=1e-2)


def test_extreme_logits_and_no_rows():
    logits, ids = case(1500, torch.float32, spread=1000.0)
    found = TritonKernel().reduce(logits.clone(), ids, 1.0, ())
    torch.testing.assert_close(found, TorchKernel().reduce(logits.clone(), ids, 1.0, ()), atol=1e-2, rtol=1e-5)
    assert all(len(values) == 0 for values in TritonKernel().reduce(logits[:0], ids[:0], 1.0, ()))
    assert TritonKernel().gradient(logits[:0], ids[:0], 1.0, (), *[torch.zeros(0, device=DEVICE)] * 2).shape == (
        0,
        1500,
    )


def test_rows_of_a_buffer_are_read_in_place_and_nothing_beside_them_is_written():
    buffer = torch.zeros(4, 40, device=DEVICE)
    ids = torch.zeros(4, dtype=torch.int64, device=DEVICE)
    ones = torch.ones(4, device=DEVICE)
    TritonKernel().gradient(buffer[:, :30], ids, 1.0, (), (30 * ones).log(), ones)
    assert buffer[:, 30:].eq(0).all() and buffer[:, 0].ne(0).all()


@pytest.mark.parametrize("truncation", [Truncation(), Truncation(40, 0.9)])
def test_the_whole_pass_is_that_of_the_reference(truncation):
    results = []
    for kernel in (TorchKernel(), TritonKernel()):
        torch.manual_seed(0)
        linear = torch.nn.Linear(16, 2500, bias=False, device=DEVICE)
        hidden = torch.randn(2, 6, 16, device=DEVICE, requires_grad=True)
        ids = torch.randint(0, 2500, (2, 6), device=DEVICE)
        settings = (0.8, (1, 2499), 12 * 1100, kernel, truncation)
        found = token_statistics(hidden, linear, ids, *settings)
        found.logp.square().sum().backward()
        results.append((*(values.detach() for values in found), hidden.grad, linear.weight.grad))
    torch.testing.assert_close(*results, atol=1e-4, rtol=1e-4)
