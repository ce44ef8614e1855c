"""Ratios, policy losses and the terms beside them: numbers by hand, what must agree at ratio 1, what must not matter."""

import dataclasses
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from test_losses import NAN, evaluate, random_batch, rows_of, seen, totals

from credit_zoo.errors import UsageError
from credit_zoo.objective.base import Base
from credit_zoo.objective.covariance import ResponsesOfStep, covariance, highest, token_keys
from credit_zoo.objective.losses import Objective, TokenBatch
from credit_zoo.objective.policy_losses import Cispo, ClipCov, DualClip, KlCov, Sapo
from credit_zoo.registry import AGGREGATIONS, LOSSES, RATIOS

LN2 = math.log(2)
EVERY = pytest.mark.parametrize(("ratio", "loss"), [(ratio, loss) for ratio in RATIOS for loss in LOSSES])


def objective(ratio="token", loss="ppo_clip", aggregation="token_mean", **settings):
    return Objective(
        RATIOS[ratio].factory(), LOSSES[loss].factory(**settings), AGGREGATIONS[aggregation].factory(),
        kl_beta=0.1, entropy_beta=0.01, perception_gamma=0.02,
    )  # fmt: skip


def full_batch(seed=0, spread=0.4, rows=6):
    """With everything that any term asks for, and tokens selected at random."""
    batch = random_batch(rows=rows, seed=seed, spread=spread)
    generator = torch.Generator().manual_seed(seed + 1)
    noise = [torch.randn(batch.mask.shape, generator=generator) for _ in range(2)]
    selected = torch.rand(batch.mask.shape, generator=generator) < 0.2
    return dataclasses.replace(batch, entropy=noise[0].abs(), view_logp=batch.logp + noise[1], selected=selected)


def value_and_slope(loss, log_ratio, advantage, **more):
    """Of one token."""
    x = torch.tensor([[log_ratio]]).requires_grad_()
    value, bounded = loss(seen(x, torch.tensor([[float(advantage)]]), **more))
    (slope,) = torch.autograd.grad(value.sum(), x)
    return value.item(), slope.item(), bounded.item()


# Ratios by hand -------------------------------------------------------------------------------------------------------
# log r = log 2, 0, log 4: their mean is log 2, s = 2; the fourth token is padding.
def test_ratios_of_a_response_by_hand():
    logp = torch.tensor([[-1.0, -2.0, -3.0, NAN]])
    old = logp - torch.tensor([[LN2, 0.0, 2 * LN2, NAN]])
    mask = torch.tensor([[True, True, True, False]])
    found = {name: RATIOS[name].factory()(logp, old, mask).exp() for name in RATIOS}
    torch.testing.assert_close(found["token"], torch.tensor([[2.0, 1.0, 4.0, 1.0]]))
    torch.testing.assert_close(found["gspo"], torch.tensor([[2.0, 2.0, 2.0, 1.0]]))
    torch.testing.assert_close(found["gspo_token"], found["gspo"])


def test_the_ratio_of_a_response_is_at_most_e_to_the_ten():
    logp, mask = torch.full((1, 2), 50.0), torch.ones(1, 2, dtype=torch.bool)
    for name in ("gspo", "gspo_token"):
        assert RATIOS[name].factory()(logp, torch.zeros(1, 2), mask).tolist() == [[10, 10]]


# With one advantage for all tokens both forms of GSPO are one: value and gradient.
@given(seed=st.integers(0, 300))
def test_with_uniform_credit_both_forms_of_gspo_have_one_gradient(seed):
    batch = random_batch(seed=seed)
    batch = dataclasses.replace(batch, advantage=batch.advantage[:, :1].expand(6, 9))
    plain, token = (
        evaluate(
            Objective(RATIOS[n].factory(), LOSSES["ppo_clip"].factory(), AGGREGATIONS["seq_mean_token_mean"].factory()),
            batch,
        )
        for n in ("gspo", "gspo_token")
    )
    torch.testing.assert_close(plain[0], token[0])
    torch.testing.assert_close(plain[1], token[1], atol=1e-6, rtol=1e-4)


# s = 2 is above the range: tokens of positive advantage are clipped, those of negative advantage go on.
def test_on_a_response_outside_of_the_range_the_sign_of_a_token_decides():
    logp = torch.zeros(1, 2)
    batch = TokenBatch(logp, logp - LN2, torch.tensor([[1.0, -1.0]]), torch.ones(1, 2, dtype=torch.bool))
    policy = Objective(
        RATIOS["gspo_token"].factory(), LOSSES["ppo_clip"].factory(), AGGREGATIONS["token_mean"].factory()
    )
    loss, gradient, stats = evaluate(policy, batch)
    assert loss.item() == pytest.approx((-1.2 + 2) / 2)
    torch.testing.assert_close(gradient, torch.tensor([[0.0, 1.0]]))
    assert stats.clipped == 1


def test_the_distance_to_the_old_policy_is_that_of_tokens_whatever_the_ratio():
    batch = random_batch()
    found = [evaluate(objective(ratio, "ppo_clip"), full_batch())[2].old_kl for ratio in RATIOS]
    log_ratio = (batch.logp - batch.old_logp)[batch.mask]
    assert found == pytest.approx([float((log_ratio.exp() - log_ratio - 1).sum())] * 3, rel=1e-5)


# Losses by hand -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("advantage", "ratio", "value", "slope", "bounded"),
    [
        (-1.0, 2.0, 2.0, 2.0, False),  # as ppo_clip, whose pessimistic side has no end
        (-1.0, 4.0, 3.0, 0.0, True),  # but here it has: 3
        (-2.0, 4.0, 6.0, 0.0, True),
        (-1.0, 0.5, 0.8, 0.0, True),  # clipped below, as by ppo_clip
        (1.0, 4.0, -1.2, 0.0, True),
        (1.0, 0.5, -0.5, -0.5, False),
        (0.0, 4.0, 0.0, 0.0, False),
    ],
)
def test_dual_clip_by_hand(advantage, ratio, value, slope, bounded):
    found = value_and_slope(DualClip(bound=3.0), math.log(ratio), advantage)
    assert found == (pytest.approx(value, abs=1e-6), pytest.approx(slope, abs=1e-6), bounded)


# l = -sg[min(r, 5)] A log pi at log pi = -2: the gradient is that of log pi, the ratio's is stopped.
@pytest.mark.parametrize(
    ("advantage", "ratio", "weight", "bounded"),
    [(1.0, 2.0, 2.0, False), (-3.0, 8.0, 5.0, True), (1.0, 0.1, 0.1, False)],
)
def test_cispo_by_hand(advantage, ratio, weight, bounded):
    logp = torch.tensor([[-2.0]]).requires_grad_()
    log_ratio = logp + 2 + math.log(ratio)
    value, is_bounded = Cispo()(seen(log_ratio, torch.tensor([[advantage]]), logp))
    (gradient,) = torch.autograd.grad(value.sum(), logp)
    assert value.item() == pytest.approx(2 * weight * advantage)
    assert gradient.item() == pytest.approx(-weight * advantage)
    assert is_bounded.item() is bounded


def test_cispo_with_a_lower_bound_weighs_no_token_less():
    assert value_and_slope(Cispo(lowest=0.8), math.log(0.5), 1.0)[2] is True
    x = seen(torch.tensor([[math.log(0.5)]]), torch.ones(1, 1), torch.tensor([[-1.0]]))
    assert Cispo(lowest=0.8)(x)[0].item() == pytest.approx(0.8)


# f(r) = 4/tau sigmoid(tau (r - 1)), df/dr = 4 s (1 - s): at r = 1 + ln 3 and tau = 1, s = 3/4: f = 3, df/dr = 3/4.
# At tau = 2 and r = 1 + ln 3 / 2: s = 3/4 too: f = 3/2, df/dr = 3/4. dl/dlog r = -A r df/dr.
def test_sapo_by_hand():
    ratio = 1 + math.log(3)
    value, slope, bounded = value_and_slope(Sapo(), math.log(ratio), 2.0)
    assert (value, slope, bounded) == (pytest.approx(-6), pytest.approx(-2 * ratio * 0.75), False)
    ratio = 1 + math.log(3) / 2
    value, slope, _ = value_and_slope(Sapo(temperature_negative=2.0), math.log(ratio), -2.0)
    assert (value, slope) == (pytest.approx(3), pytest.approx(2 * ratio * 0.75))


def test_sapo_has_a_temperature_for_each_token_by_its_own_sign():
    log_ratio = torch.full((1, 2), math.log(3.0))
    value, _ = Sapo(1.0, 2.0)(seen(log_ratio, torch.tensor([[1.0, -1.0]])))
    expected = [-4 / (1 + math.exp(-2)), 2 / (1 + math.exp(-4))]
    assert value[0].tolist() == pytest.approx(expected)


def test_a_selected_token_loses_its_gradient_under_clip_cov_and_is_held_under_kl_cov():
    chosen, others = torch.tensor([[True]]), torch.tensor([[False]])
    assert value_and_slope(ClipCov(), LN2, 1.0, selected=chosen) == (0, 0, True)
    assert value_and_slope(ClipCov(), LN2, 1.0, selected=others) == (pytest.approx(-2), pytest.approx(-2), False)
    assert value_and_slope(KlCov(beta=3.0), LN2, 1.0, selected=chosen)[:2] == pytest.approx((3 * LN2 - 2, 3 - 2))
    assert value_and_slope(KlCov(beta=3.0), -LN2, 1.0, selected=chosen)[:2] == pytest.approx((3 * LN2 - 0.5, -3 - 0.5))
    assert value_and_slope(KlCov(beta=3.0), math.log(9), 1.0, selected=others)[:2] == pytest.approx((-9, -9))


@pytest.mark.parametrize("loss", [ClipCov(), KlCov()])
def test_a_loss_that_selects_refuses_a_step_of_which_nothing_was_selected(loss):
    with pytest.raises(UsageError, match="selected over the whole step, and none were selected"):
        loss(seen(torch.zeros(1, 1), torch.ones(1, 1)))


# One response of two tokens, A = 1, log p = -1, -3; another of two, A = -1, log p = -2, -2; mean A 0, mean log p -2.
def test_covariance_by_hand():
    step = ResponsesOfStep(
        advantage=torch.tensor([1.0, -1.0]),
        logp=torch.tensor([[-1.0, NAN, -3.0], [-2.0, -2.0, NAN]]),
        mask=torch.tensor([[True, False, True], [True, True, False]]),
        ids=torch.arange(6).view(2, 3),
        group=torch.tensor([0, 0]),
    )
    assert covariance(step).tolist() == [[1, -math.inf, -1], [0, 0, -math.inf]]
    assert KlCov(share=0.25).select(step).nonzero().tolist() == [[0, 0]]
    assert KlCov(share=0.01).select(step).sum() == 1  # at least one
    assert ClipCov(lowest=0.5).select(step).nonzero().tolist() == [[0, 0]]
    assert ClipCov(lowest=1.0).select(step).sum() == 0  # both bounds are open


def step_of(batch, seed=0):
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(0, 50, batch.mask.shape, generator=generator)
    return ResponsesOfStep(
        3 * batch.advantage[:, 0], 3 * batch.logp, batch.mask, ids, torch.arange(len(batch.mask)) // 2
    )


@pytest.mark.parametrize("loss", [ClipCov(share=0.1, lowest=0.1), KlCov(share=0.1)])
@given(seed=st.integers(0, 100), data=st.data())
def test_what_is_selected_depends_neither_on_order_nor_on_padding(loss, seed, data):
    step = step_of(random_batch(seed=seed))
    whole = loss.select(step)
    order = torch.tensor(data.draw(st.permutations(range(6))))
    moved = ResponsesOfStep(*(getattr(step, one.name)[order] for one in dataclasses.fields(step)))
    assert torch.equal(loss.select(moved), whole[order])
    wide = {name: torch.nn.functional.pad(getattr(step, name), (2, 3)) for name in ("logp", "mask", "ids")}
    assert torch.equal(loss.select(dataclasses.replace(step, **wide))[:, 2:-3], whole)
    count = max(1, int(0.1 * int(step.mask.sum())))
    assert whole.sum() == count or (isinstance(loss, ClipCov) and whole.sum() < count)


def test_the_draw_is_as_often_any_candidate_as_another_and_follows_the_seed():
    step = ResponsesOfStep(
        torch.zeros(1),
        torch.zeros(1, 8),
        torch.ones(1, 8, dtype=torch.bool),
        torch.arange(8)[None],
        torch.zeros(1).long(),
    )
    drawn = torch.stack([token_keys(step, seed) for seed in range(400)])
    assert torch.equal(drawn[3], token_keys(step, 3))
    counts = drawn.argmin(-1).flatten().bincount(minlength=8)
    assert counts.min() > 25 and counts.max() < 80  # 50 expected, standard deviation 6.6
    other = dataclasses.replace(step, group=torch.ones(1).long())
    assert not torch.equal(token_keys(step, 3), token_keys(other, 3))


def test_the_highest_are_all_there_are_or_those_above_the_last():
    values = torch.tensor([[3.0, 1.0, 2.0, 2.0]])
    every = torch.ones(1, 4, dtype=torch.bool)
    assert highest(values, every, 1).tolist() == [[True, False, False, False]]
    assert highest(values, every, 2).tolist() == [[True, False, True, True]]
    assert highest(values, every, 9).all()
    assert highest(values, values < 3, 1).tolist() == [[False, False, True, True]]


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: DualClip(bound=1.0), r"dual_clip\.bound must be in \(1, inf\)"),
        (lambda: DualClip(eps_low=2.0), r"dual_clip\.eps_low"),
        (lambda: Cispo(lowest=2.0), r"cispo\.lowest"),
        (lambda: Cispo(highest=0.5), r"cispo\.highest"),
        (lambda: Sapo(temperature_positive=0.0), r"sapo\.temperature_positive"),
        (lambda: ClipCov(share=0.0), r"clip_cov\.share"),
        (lambda: ClipCov(lowest=5.0, highest=5.0), r"clip_cov\.highest"),
        (lambda: ClipCov(lowest=NAN), r"clip_cov\.highest"),
        (lambda: KlCov(share=NAN), r"kl_cov\.share"),
        (lambda: KlCov(beta=-1.0), r"kl_cov\.beta"),
        (lambda: Base(entropy_beta=NAN), r"base\.entropy_beta"),
        (lambda: Base(perception_gamma=-1.0), r"base\.perception_gamma"),
    ],
)
def test_senseless_settings_are_refused_by_name(make, said):
    with pytest.raises(UsageError, match=said):
        make()


# What all of them have in common --------------------------------------------------------------------------------------
@EVERY
@given(seed=st.integers(0, 200))
def test_at_ratio_one_every_loss_has_the_gradient_of_the_policy(ratio, loss, seed):
    """-A / N for each token; of a ratio that erases credit, the mean of A over the response's tokens."""
    batch = dataclasses.replace(full_batch(seed=seed, spread=0.0), selected=torch.zeros(6, 9, dtype=torch.bool))
    policy = dataclasses.replace(objective(ratio, loss), kl_beta=0.0, entropy_beta=0.0, perception_gamma=0.0)
    _, gradient, stats = evaluate(policy, batch)
    advantage = torch.where(batch.mask, batch.advantage, 0.0)
    if not RATIOS[ratio].facts.keeps_token_credit and loss != "cispo":
        advantage = advantage.sum(1, keepdim=True) / batch.mask.sum(1, keepdim=True)
    expected = torch.where(batch.mask, -advantage / batch.mask.sum(), 0.0)
    torch.testing.assert_close(gradient, expected, atol=1e-6, rtol=1e-5)
    assert stats.clipped == 0


@EVERY
@given(seed=st.integers(0, 200), cuts=st.sets(st.integers(1, 5)), data=st.data())
def test_micro_batches_sum_to_the_whole(ratio, loss, seed, cuts, data):
    batch, policy = full_batch(seed=seed), objective(ratio, loss)
    whole = totals(batch.mask)
    value, gradient, stats = evaluate(policy, batch)
    order = torch.tensor(data.draw(st.permutations(range(6))))
    parts = order.tensor_split(sorted(cuts))
    found = [evaluate(policy, rows_of(batch, part), whole) for part in parts]
    assert sum(one[0].item() for one in found) == pytest.approx(value.item(), abs=1e-5)
    for part, (_, part_gradient, _) in zip(parts, found, strict=True):
        torch.testing.assert_close(part_gradient, gradient[part])
    together = sum((one[2] for one in found[1:]), found[0][2])
    torch.testing.assert_close(together.sums, stats.sums, rtol=1e-4, atol=1e-4)


@EVERY
@pytest.mark.parametrize("name", ["logp", "old_logp", "advantage", "reference_logp", "entropy", "view_logp"])
@pytest.mark.parametrize("rubbish", [NAN, math.inf, 1e30])
def test_rubbish_outside_the_mask_changes_nothing(ratio, loss, name, rubbish):
    batch, policy = full_batch(), objective(ratio, loss)
    clean = evaluate(policy, batch)
    broken = dataclasses.replace(batch, **{name: getattr(batch, name).masked_fill(~batch.mask, rubbish)})
    found = evaluate(policy, broken)
    assert torch.equal(found[0], clean[0]) and torch.equal(found[1], clean[1]) and found[2] == clean[2]


@pytest.mark.parametrize("loss", sorted(set(LOSSES) - {"kl_cov"}))
@given(seed=st.integers(0, 200), weight=st.floats(0, 5))
def test_a_weight_on_the_advantage_is_a_weight_on_the_loss(loss, seed, weight):
    batch = full_batch(seed=seed)
    policy = LOSSES[loss].factory()
    known = (batch.logp - batch.old_logp, batch.advantage, batch.logp, batch.selected)
    plain = policy(seen(*known))[0]
    weighed = policy(seen(known[0], weight * batch.advantage, *known[2:]))[0]
    torch.testing.assert_close(weighed, weight * plain, atol=1e-5, rtol=1e-5)


# Beside the policy loss -----------------------------------------------------------------------------------------------
# Two tokens of one response, no advantage: loss = -beta (H1 + H2) / 2, and a slope of -beta / 2 on each entropy.
def test_the_entropy_is_paid_for_by_hand():
    zeros, mask = torch.zeros(1, 3), torch.tensor([[True, True, False]])
    entropy = torch.tensor([[0.5, 1.5, NAN]]).requires_grad_()
    batch = TokenBatch(zeros, zeros, zeros, mask, entropy=entropy)
    loss, _ = Base(entropy_beta=0.1).objective(batch, totals(mask))
    assert loss.item() == pytest.approx(-0.1)
    (slope,) = torch.autograd.grad(loss, entropy)
    torch.testing.assert_close(slope, torch.tensor([[-0.05, -0.05, 0.0]]))
    assert Base(entropy_beta=-0.1).objective(batch, totals(mask))[0].item() == pytest.approx(0.1)


# log q - log p = -log 2 on one of two tokens: k3 = 1/2 + log 2 - 1; its slope on log p is 1 - 1/2.
def test_the_distance_to_the_view_is_subtracted_by_hand():
    logp, mask = torch.zeros(1, 2), torch.ones(1, 2, dtype=torch.bool)
    batch = TokenBatch(logp, logp, torch.zeros(1, 2), mask, view_logp=torch.tensor([[-LN2, 0.0]]))
    loss, gradient, stats = evaluate(Base(perception_gamma=0.02).objective, batch)
    assert loss.item() == pytest.approx(-0.02 * (LN2 - 0.5) / 2)
    torch.testing.assert_close(gradient, torch.tensor([[-0.02 * 0.5 / 2, 0.0]]))
    assert stats.perception == pytest.approx(LN2 - 0.5)


@pytest.mark.parametrize(("setting", "signal"), [("entropy_beta", "entropy"), ("perception_gamma", "view_logp")])
def test_a_term_without_what_it_is_computed_from_is_refused(setting, signal):
    with pytest.raises(UsageError, match=rf"base\.{setting} needs '{signal}' of every response"):
        evaluate(Base(**{setting: 0.1}).objective, random_batch())


def test_no_rule_weighs_what_stands_beside_the_policy_loss():
    batch = full_batch()
    still = dataclasses.replace(batch, advantage=torch.zeros_like(batch.advantage))
    with_terms, without = objective(), dataclasses.replace(objective(), kl_beta=0, entropy_beta=0, perception_gamma=0)
    beside = [evaluate(with_terms, one)[1] - evaluate(without, one)[1] for one in (batch, still)]
    torch.testing.assert_close(*beside, atol=1e-6, rtol=1e-5)
