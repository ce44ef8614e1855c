"""The policy loss against numbers worked out by hand, the formula of the papers, and what must not matter."""

import math
from dataclasses import fields, replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from credit_zoo.errors import UsageError
from credit_zoo.objective.base import Base
from credit_zoo.objective.losses import Objective, TokenBatch, Totals, k3
from credit_zoo.objective.policy_losses import LossInputs, PpoClip
from credit_zoo.registry import AGGREGATIONS, ESTIMATORS, LOSSES, RATIOS

NAN, INF = float("nan"), float("inf")
EVERY_AGGREGATION = pytest.mark.parametrize("aggregation", sorted(AGGREGATIONS))


def objective(aggregation="seq_mean_token_mean", kl_beta=0.0, **clip):
    ratio, loss = RATIOS["token"].factory(), LOSSES["ppo_clip"].factory(**clip)
    return Objective(ratio, loss, AGGREGATIONS[aggregation].factory(), kl_beta)


def totals(mask, max_tokens=10):
    return Totals(len(mask), float(mask.sum()), max_tokens)


def evaluate(policy, batch, total=None):
    """Loss, its gradient with respect to the log-probabilities, and the statistics."""
    batch = replace(batch, logp=batch.logp.detach().clone().requires_grad_())
    loss, stats = policy(batch, total or totals(batch.mask))
    loss.backward()
    return loss.detach(), batch.logp.grad, stats


def two_by_three():
    """Ratios 1, 3/2, 1/2 at advantage 2, and 3/2, 1/2 at advantage -1 with one token of padding."""
    ratio = torch.tensor([[1.0, 1.5, 0.5], [1.5, 0.5, 1.0]])
    logp = torch.tensor([[-1.0, -0.5, -2.0], [-0.25, -1.5, -3.0]])
    return TokenBatch(
        logp=logp,
        old_logp=logp - ratio.log(),
        advantage=torch.tensor([[2.0] * 3, [-1.0] * 3]),
        mask=torch.tensor([[True, True, True], [True, True, False]]),
    )


def random_batch(rows=6, width=9, seed=0, spread=0.4):
    """Ratios on both sides of the clip range, a mask with holes, a reference, one response of one token."""
    generator = torch.Generator().manual_seed(seed)
    noise = [torch.randn(rows, width, generator=generator) for _ in range(4)]
    mask = torch.rand(rows, width, generator=generator) < 0.7
    mask[:, 0] = True
    mask[rows // 2, 1:] = False
    logp = -noise[0].abs()
    return TokenBatch(logp, logp - spread * noise[1], noise[2], mask, logp + spread * noise[3])


def seen(log_ratio, advantage, logp=None, selected=None, mask=None):
    """What a policy loss looks at, of numbers made by hand."""
    mask = torch.ones(log_ratio.shape, dtype=torch.bool) if mask is None else mask
    return LossInputs(log_ratio, log_ratio if logp is None else logp, advantage, mask, selected)


def rows_of(batch, index):
    parts = {f.name: getattr(batch, f.name) for f in fields(batch)}
    return TokenBatch(**{name: None if part is None else part[index] for name, part in parts.items()})


# By hand -------------------------------------------------------------------------------------------------------------
# With eps = 0.2, l = -min(r A, clip(r) A):
#   first row,  A =  2:  r = 1 -> -2;   r = 3/2 -> -1.2 * 2 = -2.4, clipped;   r = 1/2 -> -1            sum -5.4
#   second row, A = -1:  r = 3/2 -> 1.5;   r = 1/2 -> 0.8, clipped;   padding                           sum  2.3
@pytest.mark.parametrize(
    ("aggregation", "loss"),
    [
        ("seq_mean_token_mean", (-5.4 / 3 + 2.3 / 2) / 2),  # -0.325
        ("token_mean", (-5.4 + 2.3) / 5),  # -0.62
        ("seq_mean_token_sum", (-5.4 + 2.3) / (2 * 10)),  # -0.155, limit of 10 tokens
    ],
)
def test_loss_of_two_responses_by_hand(aggregation, loss):
    assert evaluate(objective(aggregation), two_by_three())[0].item() == pytest.approx(loss)


# dl/dlogp = -r A where the token is not clipped, 0 where it is; times 1 / (B T[b]) = 1/6 and 1/4.
def test_gradient_of_two_responses_by_hand():
    _, gradient, _ = evaluate(objective(), two_by_three())
    torch.testing.assert_close(gradient, torch.tensor([[-2 / 6, 0.0, -1 / 6], [1.5 / 4, 0.0, 0.0]]))


# KL(old || current): sum of r - ln r - 1 over 1, 3/2, 1/2, 3/2, 1/2 = 2 (3/2 + 1/2 - 2) - 2 ln(3/4) = -2 ln(3/4).
def test_statistics_of_two_responses_by_hand():
    _, _, stats = evaluate(objective(), two_by_three())
    assert (stats.tokens, stats.clipped, stats.reference_kl) == (5, 2, 0)
    assert stats.old_kl == pytest.approx(-2 * math.log(0.75))


# The reference gives the first token twice the policy's probability and the others the same: k3 = 2 - ln 2 - 1 there.
# Gradient of k3 with respect to logp: 1 - exp(ref - logp) = -1.
def test_distance_to_the_reference_by_hand():
    batch = two_by_three()
    reference = batch.logp.clone()
    reference[0, 0] += math.log(2)
    batch = replace(batch, reference_logp=reference)
    plain, plain_gradient, _ = evaluate(objective(), batch)
    loss, gradient, stats = evaluate(objective(kl_beta=0.5), batch)
    assert stats.reference_kl == pytest.approx(1 - math.log(2))
    assert (loss - plain).item() == pytest.approx(0.5 * (1 - math.log(2)) / 6, abs=1e-6)
    torch.testing.assert_close(gradient - plain_gradient, torch.tensor([[-0.5 / 6, 0, 0], [0, 0, 0]]))


# Clip-higher of DAPO: 1.25 is inside [0.8, 1.28], 1.3 is not.
def test_clip_higher_by_hand():
    log_ratio, advantage = torch.tensor([[1.25, 1.3, 0.75]]).log(), torch.ones(1, 3)
    per_token, clipped = PpoClip(eps_low=0.2, eps_high=0.28)(seen(log_ratio, advantage))
    torch.testing.assert_close(per_token, torch.tensor([[-1.25, -1.28, -0.75]]))
    assert clipped.tolist() == [[False, True, False]]


# Clipping -------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("advantage", "ratio", "loss", "clipped"),
    [
        (2.0, 0.5, -1.0, False),  # below: the pessimistic side stays
        (2.0, 1.1, -2.2, False),
        (2.0, 1.5, -2.4, True),
        (-2.0, 0.5, 1.6, True),
        (-2.0, 0.9, 1.8, False),
        (-2.0, 1.5, 3.0, False),  # above: the pessimistic side stays
        (0.0, 0.5, 0.0, False),
        (0.0, 1.5, 0.0, False),
    ],
)
def test_clipping_case_by_case(advantage, ratio, loss, clipped):
    log_ratio = torch.tensor([[ratio]]).log().requires_grad_()
    value, is_clipped = PpoClip()(seen(log_ratio, torch.tensor([[advantage]])))
    assert value.item() == pytest.approx(loss)
    assert is_clipped.item() is clipped
    (gradient,) = torch.autograd.grad(value.sum(), log_ratio)
    assert gradient.item() == pytest.approx(0 if clipped else -ratio * advantage)


@given(seed=st.integers(0, 1000))
def test_clipped_are_the_tokens_without_gradient(seed):
    batch = random_batch(seed=seed)
    _, gradient, stats = evaluate(objective("token_mean"), batch)
    assert stats.clipped == (batch.mask & (gradient == 0)).sum()


def test_tokens_outside_the_mask_do_not_count_as_clipped():
    batch = two_by_three()
    batch = replace(batch, mask=torch.tensor([[True, False, True], [True, False, False]]))
    _, _, stats = evaluate(objective(), batch)
    assert (stats.tokens, stats.clipped) == (3, 0)


@given(seed=st.integers(0, 1000))
def test_on_policy_the_gradient_is_the_policy_gradient_and_nothing_is_clipped(seed):
    batch = random_batch(seed=seed, spread=0.0)
    loss, gradient, stats = evaluate(objective("token_mean"), batch)
    expected = torch.where(batch.mask, -batch.advantage / batch.mask.sum(), 0.0)
    torch.testing.assert_close(gradient, expected)
    assert loss.item() == pytest.approx(expected.sum().item(), abs=1e-6)
    assert (stats.clipped, stats.old_kl) == (0, 0)


@pytest.mark.parametrize("setting", [{"eps_low": -0.1}, {"eps_low": 1.5}, {"eps_high": -0.1}, {"eps_high": NAN}])
def test_senseless_clip_ranges_are_refused_by_name(setting):
    with pytest.raises(UsageError, match=rf"ppo_clip\.{next(iter(setting))}"):
        PpoClip(**setting)


# Weights --------------------------------------------------------------------------------------------------------------
tokens = st.tuples(st.floats(-2, 2), st.floats(-3, 3), st.floats(0, 5))


@given(drawn=st.lists(tokens, min_size=1, max_size=20), high=st.sampled_from([0.2, 0.28, 9.0]))
def test_a_weight_on_the_advantage_is_a_weight_on_the_loss(drawn, high):
    log_ratio, advantage, weight = torch.tensor(drawn).T[:, None, :]
    policy = PpoClip(eps_high=high)
    torch.testing.assert_close(
        policy(seen(log_ratio, weight * advantage))[0],
        weight * policy(seen(log_ratio, advantage))[0],
        atol=1e-5,
        rtol=1e-5,
    )


# At ratio 3/2: A = 1 costs -1.2, A = -2 costs 3, but their sum, A = -1, costs 1.5; and -(-1.2) is not 1.5.
def test_neither_a_shift_of_the_advantage_nor_a_negative_weight_acts_so_on_the_loss():
    def cost(advantage):
        return PpoClip()(seen(torch.tensor([[1.5]]).log(), torch.tensor([[advantage]])))[0].item()

    assert cost(1.0) + cost(-2.0) == pytest.approx(1.8)
    assert cost(1.0 - 2.0) == pytest.approx(1.5)
    assert -1.0 * cost(1.0) == pytest.approx(1.2)
    assert cost(-1.0 * 1.0) == pytest.approx(1.5)


# Aggregation ----------------------------------------------------------------------------------------------------------
@given(lengths=st.lists(st.integers(1, 500), min_size=1, max_size=12), limit=st.integers(500, 4096))
def test_every_aggregation_is_the_token_mean_times_a_length_factor(lengths, limit):
    # DAPO 1, GRPO mean length / length, Dr. GRPO mean length / limit.
    length = torch.tensor(lengths, dtype=torch.float32)[:, None]
    whole = Totals(len(lengths), float(sum(lengths)), limit)
    mean = sum(lengths) / len(lengths)
    factors = {
        "token_mean": torch.ones_like(length),
        "seq_mean_token_mean": mean / length,
        "seq_mean_token_sum": torch.full_like(length, mean / limit),
    }
    for name, factor in factors.items():
        torch.testing.assert_close(AGGREGATIONS[name].factory()(length, whole), factor / sum(lengths))


def test_aggregations_agree_where_all_responses_have_the_limit_s_length():
    batch = replace(random_batch(width=10), mask=torch.ones(6, 10, dtype=torch.bool))
    values = [evaluate(objective(name), batch)[0] for name in sorted(AGGREGATIONS)]
    torch.testing.assert_close(torch.stack(values), values[0].expand(len(values)))


@EVERY_AGGREGATION
@given(seed=st.integers(0, 1000), cuts=st.sets(st.integers(1, 5)), data=st.data())
def test_micro_batches_sum_to_the_whole_however_it_is_split(aggregation, seed, cuts, data):
    batch = random_batch(seed=seed)
    policy, whole = objective(aggregation, kl_beta=0.1), totals(batch.mask)
    loss, gradient, stats = evaluate(policy, batch)
    order = torch.tensor(data.draw(st.permutations(range(6))))
    parts = order.tensor_split(sorted(cuts))
    results = [evaluate(policy, rows_of(batch, part), whole) for part in parts]
    assert sum(result[0].item() for result in results) == pytest.approx(loss.item(), abs=1e-6)
    for part, (_, part_gradient, _) in zip(parts, results, strict=True):
        torch.testing.assert_close(part_gradient, gradient[part])
    summed = sum((result[2] for result in results[1:]), results[0][2])
    assert (summed.tokens, summed.clipped) == (stats.tokens, stats.clipped)
    assert (summed.old_kl, summed.reference_kl) == pytest.approx((stats.old_kl, stats.reference_kl))


def test_means_of_unequal_micro_batches_are_not_the_mean_of_the_whole():
    # Why totals are those of the step: 1 token of loss -1 and 3 of loss 1 average to 1/2, the two means to 0.
    batch = TokenBatch(
        logp=torch.zeros(2, 3),
        old_logp=torch.zeros(2, 3),
        advantage=torch.tensor([[1.0] * 3, [-1.0] * 3]),
        mask=torch.tensor([[True, False, False], [True, True, True]]),
    )
    policy, parts = objective("token_mean"), [rows_of(batch, slice(k, k + 1)) for k in (0, 1)]
    assert evaluate(policy, batch)[0].item() == 0.5
    assert sum(evaluate(policy, part)[0].item() for part in parts) / 2 == 0
    assert sum(evaluate(policy, part, totals(batch.mask))[0].item() for part in parts) == 0.5


@EVERY_AGGREGATION
@pytest.mark.parametrize("place", [0, 4, 9])
def test_columns_of_padding_do_not_matter(aggregation, place):
    batch, policy = random_batch(), objective(aggregation, kl_beta=0.1)
    loss, gradient, stats = evaluate(policy, batch)

    def widened(x, filling):
        return torch.cat([x[:, :place], torch.full((len(x), 3), filling, dtype=x.dtype), x[:, place:]], dim=1)

    names = ("logp", "old_logp", "advantage", "reference_logp")
    wide = TokenBatch(mask=widened(batch.mask, False), **{n: widened(getattr(batch, n), -7.5) for n in names})
    wide_loss, wide_gradient, wide_stats = evaluate(policy, replace(wide, logp=widened(batch.logp, -0.5)))
    torch.testing.assert_close(wide_loss, loss)
    torch.testing.assert_close(wide_gradient, widened(gradient, 0.0))
    assert (wide_stats.tokens, wide_stats.clipped) == (stats.tokens, stats.clipped)
    assert (wide_stats.old_kl, wide_stats.reference_kl) == pytest.approx((stats.old_kl, stats.reference_kl))


# What the overlong filter makes of a response that was cut: no token of it is left, but it was sampled.
@pytest.mark.parametrize(
    ("aggregation", "share"), [("seq_mean_token_mean", 0.5), ("seq_mean_token_sum", 0.5), ("token_mean", 1.0)]
)
def test_a_response_without_tokens_adds_no_loss_but_counts_as_a_response(aggregation, share):
    batch, policy = random_batch(rows=2), objective(aggregation, kl_beta=0.1)
    alone = rows_of(batch, slice(0, 1))
    filtered = replace(batch, mask=batch.mask & torch.tensor([[True], [False]]))
    loss, gradient, stats = evaluate(policy, filtered)
    alone_loss, alone_gradient, alone_stats = evaluate(policy, alone)
    torch.testing.assert_close(loss, share * alone_loss)
    torch.testing.assert_close(gradient, torch.cat([share * alone_gradient, torch.zeros(1, 9)]))
    assert stats == alone_stats


@EVERY_AGGREGATION
def test_a_step_without_any_token_costs_nothing(aggregation):
    batch = random_batch()
    batch = replace(batch, mask=torch.zeros_like(batch.mask))
    loss, gradient, stats = evaluate(objective(aggregation, kl_beta=0.1), batch)
    assert loss == 0
    assert (gradient == 0).all()
    assert stats.sums.eq(0).all()


# The reference policy -------------------------------------------------------------------------------------------------
@given(values=st.lists(st.floats(-20, 20, width=32), min_size=1))
def test_k3_is_never_negative(values):
    assert (k3(torch.tensor([values])) >= -1e-6).all()


@given(seed=st.integers(0, 1000))
def test_k3_is_kl_in_expectation_and_its_gradient_is_that_of_the_opposite_kl(seed):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(5, dtype=torch.float64, generator=generator).requires_grad_()
    log_q = torch.randn(5, dtype=torch.float64, generator=generator).log_softmax(0)
    log_p = logits.log_softmax(0)
    p, q = log_p.exp(), log_q.exp()
    # Sampling from p is not differentiated through: the weights of the expectation are constants.
    expectation = (p.detach() * k3((log_q - log_p)[None])[0]).sum()
    torch.testing.assert_close(expectation, (p * (log_p - log_q)).sum())
    (gradient,) = torch.autograd.grad(expectation, logits, retain_graph=True)
    (opposite,) = torch.autograd.grad((q * (log_q - log_p)).sum(), logits)
    torch.testing.assert_close(gradient, opposite)


def test_without_beta_the_reference_does_not_matter_even_if_it_is_broken():
    batch = random_batch()
    loss, gradient, stats = evaluate(objective(), replace(batch, reference_logp=torch.full_like(batch.logp, NAN)))
    bare_loss, bare_gradient, bare_stats = evaluate(objective(), replace(batch, reference_logp=None))
    assert torch.equal(loss, bare_loss)
    assert torch.equal(gradient, bare_gradient)
    assert stats == bare_stats


@EVERY_AGGREGATION
def test_the_distance_to_the_reference_is_not_weighted_by_the_advantage(aggregation):
    batch = random_batch()

    def kl_part(advantage):
        changed = replace(batch, advantage=advantage)
        with_kl, without = (evaluate(objective(aggregation, beta), changed) for beta in (0.3, 0.0))
        return with_kl[0] - without[0], with_kl[1] - without[1]

    expected = kl_part(torch.zeros_like(batch.advantage))
    assert expected[0] > 0
    for advantage in (batch.advantage, -5 * batch.advantage):
        torch.testing.assert_close(kl_part(advantage), expected, atol=2e-6, rtol=1e-5)


def test_the_distance_grows_linearly_with_beta():
    batch = random_batch()
    zero, one, three = (evaluate(objective(kl_beta=beta), batch)[0] for beta in (0.0, 1.0, 3.0))
    torch.testing.assert_close(three - zero, 3 * (one - zero))


# What the gradient must not reach, and what must not be read ----------------------------------------------------------
def test_no_gradient_reaches_advantage_old_policy_or_reference():
    batch = random_batch()
    names = ("logp", "old_logp", "advantage", "reference_logp")
    leaves = {name: getattr(batch, name).clone().requires_grad_() for name in names}
    loss, _ = objective(kl_beta=0.1)(TokenBatch(mask=batch.mask, **leaves), totals(batch.mask))
    loss.backward()
    assert [name for name in names if leaves[name].grad is not None] == ["logp"]


@EVERY_AGGREGATION
@pytest.mark.parametrize("rubbish", [NAN, INF, -INF, 1e30])
@pytest.mark.parametrize("name", ["logp", "old_logp", "advantage", "reference_logp"])
def test_rubbish_outside_the_mask_changes_neither_loss_nor_gradient_nor_statistics(aggregation, rubbish, name):
    batch, policy = random_batch(), objective(aggregation, kl_beta=0.1)
    broken = replace(batch, **{name: getattr(batch, name).masked_fill(~batch.mask, rubbish)})
    loss, gradient, stats = evaluate(policy, broken)
    clean_loss, clean_gradient, clean_stats = evaluate(policy, batch)
    assert torch.equal(loss, clean_loss)
    assert torch.equal(gradient, clean_gradient)
    assert stats == clean_stats


@EVERY_AGGREGATION
def test_rubbish_everywhere_outside_the_mask_at_once(aggregation):
    batch, policy = random_batch(), objective(aggregation, kl_beta=0.1)
    names = ("logp", "old_logp", "advantage", "reference_logp")
    broken = replace(batch, **{name: getattr(batch, name).masked_fill(~batch.mask, NAN) for name in names})
    assert torch.equal(evaluate(policy, broken)[1], evaluate(policy, batch)[1])


def test_the_gradient_outside_the_mask_is_zero():
    batch = random_batch()
    assert (evaluate(objective(kl_beta=0.1), batch)[1][~batch.mask] == 0).all()


def test_bfloat16_log_probabilities_are_summed_in_float32():
    # 4096 tokens of loss -1: a bfloat16 sum would stop at 256.
    logp = torch.zeros(1, 4096, dtype=torch.bfloat16)
    batch = TokenBatch(logp, logp, torch.ones(1, 4096), torch.ones(1, 4096, dtype=torch.bool))
    loss, _, stats = evaluate(objective(), batch)
    assert (loss.dtype, loss.item(), stats.tokens) == (torch.float32, -1, 4096)


# The whole formula ----------------------------------------------------------------------------------------------------
def textbook_grpo(rewards, logp, old_logp, reference, lengths, beta):
    """Equation 3 of arXiv:2402.03300 with outcome rewards, one prompt, in plain numbers."""
    size = len(rewards)
    mean = sum(rewards) / size
    std = math.sqrt(sum((reward - mean) ** 2 for reward in rewards) / (size - 1))
    outer = 0.0
    for i in range(size):
        inner = 0.0
        for t in range(lengths[i]):
            ratio = math.exp(logp[i][t] - old_logp[i][t])
            advantage = (rewards[i] - mean) / (std + 1e-4)
            surrogate = min(ratio * advantage, max(0.8, min(ratio, 1.2)) * advantage)
            gap = reference[i][t] - logp[i][t]
            inner += surrogate - beta * (math.exp(gap) - gap - 1)
        outer += inner / lengths[i]
    return -outer / size


@given(seed=st.integers(0, 1000), rewards=st.lists(st.sampled_from([0.0, 1.0, 2.0]), min_size=2, max_size=8))
def test_uniform_advantages_give_the_grpo_of_the_paper(seed, rewards):
    size = len(rewards)
    batch = random_batch(rows=size, seed=seed)
    lengths = [1 + (seed * (k + 3)) % 9 for k in range(size)]
    mask = torch.arange(9) < torch.tensor(lengths)[:, None]
    one_group = torch.zeros(size, dtype=torch.int64)
    advantage = ESTIMATORS["grpo"].factory()(torch.tensor(rewards), one_group, torch.tensor(lengths).float())
    batch = replace(batch, mask=mask, advantage=advantage[:, None].expand(size, 9))
    numbers = [x.tolist() for x in (batch.logp, batch.old_logp, batch.reference_logp)]
    expected = textbook_grpo(rewards, *numbers, lengths, beta=0.04)
    assert evaluate(Base(kl_beta=0.04).objective, batch)[0].item() == pytest.approx(expected, rel=1e-5, abs=1e-6)


def test_a_base_of_defaults_is_grpo_without_a_reference():
    assert Base().objective == objective("seq_mean_token_mean", kl_beta=0.0, eps_low=0.2, eps_high=0.2)
    assert Base().estimator == ESTIMATORS["grpo"].factory()
