"""Micro-batches: every response once, none too large, groups together, and no more padding than the lengths ask for."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from credit_zoo.policy.packing import MicroBatch, pack, split
from credit_zoo.policy.processor import LENGTHS, padded_length


@st.composite
def steps(draw):
    groups = draw(st.lists(st.lists(st.integers(0, 300), min_size=1, max_size=6), min_size=1, max_size=6))
    row_of = torch.tensor([k for k, group in enumerate(groups) for _ in group])
    lengths = torch.tensor([length for group in groups for length in group])
    order = torch.tensor(draw(st.permutations(range(len(lengths)))))
    return row_of[order], lengths[order], draw(st.integers(1, 12)), draw(st.sampled_from([0, 200, 700, 5000]))


def tokens_read(part, row_of, prompt):
    return len(row_of[part.rows].unique()) * prompt + len(part.rows) * part.width


@given(steps())
def test_every_response_is_read_once_within_the_limits_and_whole(step):
    row_of, lengths, responses, tokens = step
    parts = pack(row_of, lengths, 60, 320, responses, tokens)
    assert sorted(torch.cat([part.rows for part in parts]).tolist()) == list(range(len(row_of)))
    for part in parts:
        assert lengths[part.rows].max() <= part.width <= 320
        assert part.width == 320 or part.width in LENGTHS
        assert len(part.rows) == 1 or not tokens or tokens_read(part, row_of, 60) <= tokens
        assert len(part.rows) <= responses


@given(steps(), st.integers(0, 6))
def test_a_process_with_less_to_do_goes_through_as_many_passes(step, more):
    row_of, lengths, responses, tokens = step
    parts = pack(row_of, lengths, 60, 320, responses, tokens)
    count = min(len(parts) + more, len(row_of))
    found = split(parts, count)
    assert len(found) == count and all(len(part.rows) for part in found)
    assert sorted(torch.cat([part.rows for part in found]).tolist()) == list(range(len(row_of)))
    assert all(lengths[part.rows].max() <= part.width for part in found)


def test_groups_stay_together_and_the_short_do_not_pay_for_the_long():
    """Two short groups and a long one, four responses a micro-batch: 4 x 16, 4 x 16 and 4 x 64 tokens, not 12 x 64."""
    row_of = torch.tensor([0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2])
    lengths = torch.tensor([60, 5, 5, 5, 9, 8, 7, 6, 3, 3, 3, 3])
    parts = pack(row_of, lengths, 50, 64, 4, 0)
    assert [(row_of[part.rows].unique().tolist(), part.width) for part in parts] == [([2], 16), ([1], 16), ([0], 64)]


def test_a_budget_counts_a_shared_prompt_once():
    row_of, lengths = torch.zeros(8, dtype=torch.int64), torch.full((8,), 16)
    assert [len(part.rows) for part in pack(row_of, lengths, 100, 16, 64, 100 + 8 * 16)] == [8]
    assert [len(part.rows) for part in pack(row_of, lengths, 100, 16, 64, 100 + 8 * 16 - 1)] == [7, 1]


def test_the_longest_allowed_response_is_not_padded_beyond_it():
    assert padded_length(50) == 56
    (part,) = pack(torch.zeros(1, dtype=torch.int64), torch.tensor([50]), 10, 50, 8, 0)
    assert part.width == 50


def test_a_part_is_cut_out_and_put_back():
    values = torch.arange(12).view(3, 4)
    part = MicroBatch(torch.tensor([2, 0]), 3)
    assert part.cut(values).tolist() == [[8, 9, 10], [0, 1, 2]]
    into = torch.zeros(3, 4, dtype=torch.int64)
    part.put(into, part.cut(values))
    assert into.tolist() == [[0, 1, 2, 0], [0, 0, 0, 0], [8, 9, 10, 0]]
