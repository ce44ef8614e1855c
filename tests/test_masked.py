"""Mask arithmetic against numbers worked out by hand, and against what must not matter."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from credit_zoo import masked

NAN, INF = float("nan"), float("inf")
# Rows: four of five tokens, with a hole; one token; none.
MASK = torch.tensor([[True, False, True, True, True], [False, True, False, False, False], [False] * 5])
VALUES = torch.tensor([[1.0, NAN, 2.0, 3.0, 6.0], [INF, 5.0, NAN, -INF, INF], [NAN, INF, -INF, NAN, INF]])


def test_count_total_and_mean_by_hand():
    assert masked.count(MASK).flatten().tolist() == [4, 1, 0]
    assert masked.total(VALUES, MASK).flatten().tolist() == [12, 5, 0]
    assert masked.mean(VALUES, MASK).flatten().tolist() == [3, 5, 0]


def test_std_by_hand():
    # 1, 2, 3, 6 about 3: squares 4, 1, 0, 9 -> 14 / 4 (population)
    assert masked.std(VALUES, MASK).flatten().tolist() == pytest.approx([3.5**0.5, 0, 0])


def test_minmax_by_hand():
    expected = [[0, 0, 0.2, 0.4, 1], [0] * 5, [0] * 5]
    torch.testing.assert_close(masked.minmax(VALUES, MASK), torch.tensor(expected), atol=1e-6, rtol=0)


def test_minmax_of_a_constant_row_is_zero():
    assert masked.minmax(torch.full((1, 4), 7.0), torch.ones(1, 4, dtype=torch.bool)).tolist() == [[0.0] * 4]


def test_softmax_by_hand():
    # scores 0 and log 3 have the odds 1 : 3
    scores = torch.tensor([[0.0, 9.0, 3.0]]).log()
    scores[0, 0] = 0.0
    mask = torch.tensor([[True, False, True]])
    torch.testing.assert_close(masked.softmax(scores, mask), torch.tensor([[0.25, 0.0, 0.75]]))


def test_softmax_of_empty_rows_is_zero_and_of_one_token_is_one():
    weights = masked.softmax(VALUES, MASK)
    assert weights.sum(-1).tolist() == pytest.approx([1, 1, 0])
    assert weights[1].tolist() == [0, 1, 0, 0, 0]


@pytest.mark.parametrize("size", [1e4, -1e4, 3e38])
def test_softmax_of_huge_scores_is_finite(size):
    weights = masked.softmax(torch.tensor([[size, 0.0, size]]), torch.ones(1, 3, dtype=torch.bool))
    assert weights.isfinite().all()
    assert weights.sum().item() == pytest.approx(1)


@pytest.mark.parametrize(
    "function", [masked.total, masked.mean, masked.std, masked.minmax, masked.softmax, masked.fill]
)
def test_nothing_outside_the_mask_is_read(function):
    clean = VALUES.masked_fill(~MASK, 0.0)
    assert torch.equal(function(VALUES, MASK), function(clean, MASK))
    assert function(VALUES, MASK).isfinite().all()


@pytest.mark.parametrize(
    "function", [masked.total, masked.mean, masked.std, masked.minmax, masked.softmax, masked.fill]
)
def test_bfloat16_is_accumulated_in_float32(function):
    # 256 + 1 is not a bfloat16: a running sum in bfloat16 would stay at 256
    values = torch.cat([torch.full((1, 1), 256.0), torch.ones(1, 255)], dim=1)
    mask = torch.ones_like(values, dtype=torch.bool)
    result = function(values.bfloat16(), mask)
    assert result.dtype == torch.float32
    torch.testing.assert_close(result, function(values, mask))


def test_a_sum_in_bfloat16_keeps_its_small_terms():
    values = torch.cat([torch.full((1, 1), 256.0), torch.ones(1, 255)], dim=1).bfloat16()
    assert masked.total(values, torch.ones(1, 256, dtype=torch.bool)).item() == 511


@given(
    values=st.lists(st.floats(-100, 100, width=32), min_size=6, max_size=6),
    mask=st.lists(st.booleans(), min_size=6, max_size=6).filter(any),
    q=st.sampled_from([0.0, 0.2, 0.5, 0.8, 1.0]) | st.floats(0, 1),
)
def test_quantile_is_torch_quantile_over_the_whole_tensor(values, mask, q):
    table, keep = torch.tensor(values).view(2, 3), torch.tensor(mask).view(2, 3)
    expected = torch.quantile(table[keep].double(), q).float()
    torch.testing.assert_close(masked.quantile(table, keep, q), expected, atol=1e-4, rtol=1e-5)


def test_quantile_of_nothing_is_zero():
    assert masked.quantile(VALUES, torch.zeros_like(MASK), 0.8).item() == 0


def test_quantile_of_more_entries_than_torch_quantile_takes_before_2_15():
    values = torch.ones(1, 2**24 + 1)
    assert masked.quantile(values, values.bool(), 0.5).item() == 1


def test_fill_puts_a_value_outside_the_mask():
    assert masked.fill(VALUES, MASK, -1.0)[1].tolist() == [-1, 5, -1, -1, -1]
