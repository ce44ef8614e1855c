"""Advantage estimators against numbers worked out by hand, closed forms, and what must not matter."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from credit_zoo.errors import UsageError
from credit_zoo.registry import ESTIMATORS

EVERY = pytest.mark.parametrize("name", sorted(ESTIMATORS))
BY_GROUP = pytest.mark.parametrize(
    "name", [name for name in sorted(ESTIMATORS) if ESTIMATORS[name].facts.scope == "group"]
)
CENTRED = pytest.mark.parametrize("name", sorted({*ESTIMATORS} - {"reinforce_pp"}))  # within the group
SHIFTED = pytest.mark.parametrize("name", sorted({*ESTIMATORS} - {"reinforce_pp", "maxrl"}))
ROOT2 = 2**0.5

# Rewards in eighths: sums and differences of them are exact in float32.
eighths = st.integers(-40, 40).map(lambda k: k / 8)
groups = st.lists(st.lists(eighths, min_size=1, max_size=9), min_size=1, max_size=5)


def advantages(name, rewards, group=None, lengths=None, **settings):
    """Of responses of one token each, unless told otherwise."""
    reward = rewards if isinstance(rewards, torch.Tensor) else torch.tensor(rewards)
    numbers = torch.as_tensor([0] * len(reward) if group is None else group, dtype=torch.int64)
    length = torch.ones(len(reward)) if lengths is None else torch.as_tensor(lengths, dtype=torch.float32)
    return ESTIMATORS[name].factory(**settings)(reward, numbers, length)


def batch(lists):
    """Groups of rewards as one batch: rewards and the number of the group of each."""
    rewards = torch.tensor([reward for rewards in lists for reward in rewards])
    return rewards, torch.tensor([number for number, rewards in enumerate(lists) for _ in rewards])


# Mean 0, squares 9 + 1 + 1 + 1 = 12, over G - 1 = 3: deviation 2. RLOO: 3 - (-1) and -1 - (3 - 1 - 1) / 3.
@pytest.mark.parametrize(
    ("name", "settings", "expected"),
    [
        ("grpo", {"eps": 0.0}, [1.5, -0.5, -0.5, -0.5]),
        ("grpo", {"eps": 2.0}, [0.75, -0.25, -0.25, -0.25]),
        ("grpo", {}, [3 / 2.0001, -1 / 2.0001, -1 / 2.0001, -1 / 2.0001]),
        ("dr_grpo", {}, [3.0, -1.0, -1.0, -1.0]),
        ("rloo", {}, [4.0, -4 / 3, -4 / 3, -4 / 3]),
    ],
)
def test_one_good_response_among_four_by_hand(name, settings, expected):
    torch.testing.assert_close(advantages(name, [3.0, -1.0, -1.0, -1.0], **settings), torch.tensor(expected))


# The gap cancels out of the normalised advantage of a pair: its deviation is gap / sqrt(2).
@pytest.mark.parametrize("gap", [0.25, 1.0, 64.0])
def test_a_pair_gets_one_over_root_two_whatever_the_gap(gap):
    assert advantages("grpo", [gap, 0.0], eps=0.0).tolist() == pytest.approx([1 / ROOT2, -1 / ROOT2])


def test_two_groups_do_not_mix():
    # {0, 3} about 1.5 and {10, 12, 14} about 12, deviation 2; rows interleaved.
    reward, group = torch.tensor([10.0, 0.0, 12.0, 3.0, 14.0]), [7, 4, 7, 4, 7]
    assert advantages("dr_grpo", reward, group).tolist() == [-2, -1.5, 0, 1.5, 2]
    assert advantages("rloo", reward, group).tolist() == [-3, -3, 0, 3, 3]
    expected = [-1, -1 / ROOT2, 0, 1 / ROOT2, 1]
    assert advantages("grpo", reward, group, eps=0.0).tolist() == pytest.approx(expected)


@CENTRED
@given(lists=groups)
def test_the_advantages_of_every_group_sum_to_zero(name, lists):
    reward, group = batch(lists)
    result = advantages(name, reward, group)
    for number in group.unique():
        assert result[group == number].sum().item() == pytest.approx(0, abs=1e-4)


@given(lists=groups)
def test_rloo_is_the_centred_reward_times_g_over_g_minus_1(lists):
    reward, group = batch([rewards for rewards in lists if len(rewards) > 1] or [[1.0, 0.0]])
    size = (group[:, None] == group).sum(1)
    centred = advantages("dr_grpo", reward, group)
    torch.testing.assert_close(advantages("rloo", reward, group), centred * size / (size - 1))


@given(lists=groups)
def test_rloo_is_the_reward_less_the_mean_of_the_others(lists):
    for rewards in lists:
        for k, result in enumerate(advantages("rloo", rewards).tolist()):
            others = rewards[:k] + rewards[k + 1 :]
            expected = rewards[k] - sum(others) / len(others) if others else 0
            assert result == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("size", [2, 4, 8, 16, 64])
@pytest.mark.parametrize("share", [0.25, 0.5, 0.75])
def test_binary_rewards_depend_on_the_share_of_correct_responses_alone(size, share):
    right = max(1, int(share * size))
    p, bessel = right / size, ((size - 1) / size) ** 0.5
    result = advantages("grpo", [1.0] * right + [0.0] * (size - right), eps=0.0)
    good, bad = bessel * ((1 - p) / p) ** 0.5, -bessel * (p / (1 - p)) ** 0.5
    torch.testing.assert_close(result, torch.tensor([good] * right + [bad] * (size - right)))


def test_normalisation_gives_a_rare_success_more_than_a_common_one_and_centring_too():
    # p = 1/4 and 3/4 of G = 4, both of deviation 1/2: 3/4 / (1/2) and 1/4 / (1/2).
    hard, easy = [1.0, 0.0, 0.0, 0.0], [1.0, 1.0, 1.0, 0.0]
    assert [advantages("grpo", r, eps=0.0)[0].item() for r in (hard, easy)] == pytest.approx([1.5, 0.5])
    assert [advantages("dr_grpo", r)[0].item() for r in (hard, easy)] == pytest.approx([0.75, 0.25])


@EVERY
@given(reward=st.floats(-1e6, 1e6, width=32), size=st.integers(1, 64))
def test_equal_rewards_give_exact_zeros_whatever_their_size(name, reward, size):
    assert advantages(name, [reward] * size).tolist() == [0.0] * size


@EVERY
@pytest.mark.parametrize("scale", [1e-3, 1.0, 10.0, 1e3, 1e6])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rewards_that_differ_by_rounding_alone_give_exact_zeros(name, scale, dtype):
    sums = torch.tensor([0.1 + 0.2, 0.3, 0.3, 0.1 + 0.2, 0.3], dtype=torch.float64) * scale
    sums = sums.to(dtype)
    sums[1] = torch.nextafter(sums[0], sums.new_tensor(torch.inf))  # the next number of that precision
    assert sums[0] != sums[1]
    assert advantages(name, sums).tolist() == [0.0] * 5


@EVERY
def test_rounding_noise_about_zero_gives_exact_zeros(name):
    assert advantages(name, [0.1 + 0.2 - 0.3, 0.0, 0.3 - 0.2 - 0.1]).tolist() == [0, 0, 0]


@EVERY
def test_a_real_difference_between_rewards_is_kept_however_small_or_far_from_zero(name):
    assert advantages(name, [1e-3, 0.0])[0] > 0
    assert advantages(name, [1e3 + 0.125, 1e3])[0] > 0


@CENTRED
def test_a_group_of_equal_rewards_does_not_silence_its_neighbours(name):
    result = advantages(name, [0.3, 1.0, 0.1 + 0.2, 0.0], [0, 1, 0, 1])
    assert result[[0, 2]].tolist() == [0, 0]
    assert result[1] > 0 > result[3]


@CENTRED
def test_a_group_of_one_gets_zero(name):
    assert advantages(name, [5.0, 1.0, 0.0, -3.0], [8, 2, 2, 1])[[0, 3]].tolist() == [0, 0]


@EVERY
def test_no_responses_have_no_advantages(name):
    assert advantages(name, torch.zeros(0)).shape == (0,)


@EVERY
@given(lists=groups, data=st.data())
def test_the_order_of_the_rows_does_not_matter(name, lists, data):
    reward, group = batch(lists)
    order = torch.tensor(data.draw(st.permutations(range(len(reward)))))
    torch.testing.assert_close(advantages(name, reward[order], group[order]), advantages(name, reward, group)[order])


@BY_GROUP
@given(lists=groups)
def test_every_group_gets_what_it_gets_alone(name, lists):
    reward, group = batch(lists)
    alone = torch.cat([advantages(name, rewards) for rewards in lists])
    torch.testing.assert_close(advantages(name, reward, group), alone)


@EVERY
@given(lists=groups)
def test_the_numbers_of_the_groups_do_not_matter(name, lists):
    reward, group = batch(lists)
    expected = advantages(name, reward, group)
    for numbers in (1_000_000 + group, -group, group * 2**40):
        assert torch.equal(advantages(name, reward, numbers), expected)


@SHIFTED
@given(lists=groups, shifts=st.lists(eighths, min_size=5, max_size=5))
def test_a_constant_added_to_the_rewards_of_a_group_does_not_matter(name, lists, shifts):
    shifted = [[reward + shift for reward in rewards] for rewards, shift in zip(lists, shifts, strict=False)]
    torch.testing.assert_close(advantages(name, *batch(shifted)), advantages(name, *batch(lists)))


@given(lists=groups, scale=st.sampled_from([0.25, 2.0, 8.0, 1000.0]))
def test_normalised_advantages_do_not_depend_on_the_scale_of_the_rewards_but_for_eps(lists, scale):
    reward, group = batch(lists)
    unscaled = advantages("grpo", reward, group, eps=0.0)
    torch.testing.assert_close(advantages("grpo", reward * scale, group, eps=0.0), unscaled)
    # Rewards in eighths that differ at all have a deviation of at least 1/8 / 3 in a group of nine.
    bound = unscaled.abs() * 1e-4 * 24 * max(1, 1 / scale)
    assert ((advantages("grpo", reward * scale, group) - unscaled).abs() <= bound + 1e-6).all()


@pytest.mark.parametrize("name", ["dr_grpo", "rloo"])
@given(lists=groups, scale=st.sampled_from([0.25, 2.0, 8.0]))
def test_centred_advantages_grow_with_the_scale_of_the_rewards(name, lists, scale):
    reward, group = batch(lists)
    torch.testing.assert_close(advantages(name, reward * scale, group), scale * advantages(name, reward, group))


@EVERY
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_advantages_are_float32_whatever_the_rewards_are(name, dtype):
    reward = [1.0, 0.5, 0.0, 2.0]
    result = advantages(name, torch.tensor(reward, dtype=dtype))
    assert result.dtype == torch.float32
    torch.testing.assert_close(result, advantages(name, reward))


@EVERY
def test_the_rewards_are_left_as_they_were(name):
    reward = torch.tensor([1.0, 0.0, 2.0])
    advantages(name, reward)
    assert reward.tolist() == [1, 0, 2]


@pytest.mark.parametrize("eps", [-1e-4, float("nan")])
def test_a_senseless_eps_is_refused_by_name(eps):
    with pytest.raises(UsageError, match=r"grpo\.eps"):
        advantages("grpo", [1.0, 0.0], eps=eps)
