"""The numbers of a step that say what a rule did: spread, inequality and sign of weights, agreement of signals."""

import dataclasses
import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from records import a_record, a_training
from steps import batch, trainer

from credit_zoo.errors import UsageError
from credit_zoo.objective.advantages import Grpo
from credit_zoo.objective.base import Base
from credit_zoo.policy.measurement import measure_tokens
from credit_zoo.registry import SHAPERS
from credit_zoo.results.record import Weights
from credit_zoo.results.store import load, write
from credit_zoo.training.signal_agreement import agreement
from credit_zoo.training.step import before_updates, measure_step, prepare, update
from credit_zoo.training.step_report import StepReport, WeightSpread
from credit_zoo.types import ShaperInputs, TokenSignals


def spread(rows, mask=None):
    w = torch.tensor(rows)
    return WeightSpread.of(w, torch.ones(w.shape, dtype=torch.bool) if mask is None else torch.tensor(mask))


# Gini of 1, 3: (-1 * 1 + 1 * 3) / (2 * 4) = 1/4; of 0, 0, 0, 4 = 1 - 1/4; of -1, 3 as of 1, 3.
@pytest.mark.parametrize(
    ("rows", "gini", "same_sign"),
    [
        ([[1.0, 1.0, 1.0]], 0, 1),
        ([[1.0, 3.0]], 0.25, 1),
        ([[3.0, 1.0]], 0.25, 1),
        ([[0.0, 4.0, 0.0, 0.0]], 0.75, 0.25),
        ([[-1.0, 3.0]], 0.25, 0.5),
        ([[1.0, 3.0], [2.0, 2.0]], 0.125, 1),  # the mean over responses
        ([[0.0, 0.0]], 0, 0),
    ],
)
def test_inequality_and_sign_by_hand(rows, gini, same_sign):
    found = spread(rows)
    assert (found.gini, found.same_sign) == pytest.approx((gini, same_sign))


def test_what_stands_outside_the_mask_does_not_count():
    found = spread([[1.0, 9.0, 3.0], [-7.0, -7.0, -7.0]], [[True, False, True], [False] * 3])
    assert (found.gini, found.same_sign, found.ess) == pytest.approx((0.25, 1.0, 16 / 20))


def test_a_step_without_any_advantage_counts_as_uniform():
    found = spread([[5.0]], [[False]])
    assert (found.gini, found.same_sign) == (0, 1)


# Additive credit 1/2 and -1/2 on A = -1: W = -1/2 and 1/2; a response without an advantage has none.
def test_weights_of_added_credit_are_its_ratio_to_the_advantage_where_there_is_one():
    mask = torch.ones(2, 2, dtype=torch.bool)
    ids = torch.zeros(2, 2, dtype=torch.int64)
    x = ShaperInputs(torch.tensor([-1.0, 0.0]), TokenSignals(), mask, ids[:, 0], ids, 0.0, torch.zeros(2))
    w, counted = WeightSpread.part(torch.tensor([[0.5, -0.5], [0.3, 0.3]]), x)
    assert w[0].tolist() == [-0.5, 0.5] and counted.tolist() == [[True, True], [False, False]]
    assert WeightSpread.of(w, counted).same_sign == 0.5


def test_a_reward_that_rounding_keeps_off_its_group_s_mean_has_no_weight():
    """Rewards .1, .3 and .2, their mean up to the last bit: the third answer teaches nothing, and a rule's credit over
    its advantage of 1e-8 would be all that the spread shows.
    """
    group = torch.zeros(3, dtype=torch.int64)
    advantage = Grpo()(torch.tensor([0.1, 0.3, 0.2]), group)
    assert 0 < abs(float(advantage[2])) < 1e-6
    mask, ids = torch.ones(3, 2, dtype=torch.bool), torch.zeros(3, 2, dtype=torch.int64)
    x = ShaperInputs(advantage, TokenSignals(), mask, group, ids, 0.0, torch.zeros(3))
    credit = torch.where(torch.arange(3)[:, None] == 2, 0.3, advantage[:, None]).expand(3, 2)
    found = WeightSpread.of(*WeightSpread.part(credit, x))
    assert (found.std, found.ess, found.quantiles) == (0.0, 1.0, (1.0, 1.0, 1.0))


# Ranks of 1 2 3 4 5 and of 2 1 4 3 5: 1 - 6 * 4 / (5 * 24) = 0.8; the highest fifth of five is one token, 5 in both.
def test_agreement_of_two_signals_by_hand():
    mask = torch.tensor([[True, True, True], [True, True, False]])
    one = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 99.0]])
    other = torch.tensor([[2.0, 1.0, 4.0], [3.0, 5.0, -99.0]])
    assert agreement({"b": one, "a": other}, mask) == pytest.approx({"spearman/a~b": 0.8, "top20/a~b": 1.0})
    assert agreement({"a": one, "b": -one}, mask) == pytest.approx({"spearman/a~b": -1.0, "top20/a~b": 0.0})


# 1 1 2 has ranks 1/2 1/2 2, 1 2 3 has 0 1 2: deviations -1/2 -1/2 1 and -1 0 1, 1.5 / sqrt(1.5 * 2).
def test_equal_values_share_their_rank():
    mask = torch.ones(1, 3, dtype=torch.bool)
    found = agreement({"a": torch.tensor([[1.0, 1.0, 2.0]]), "b": torch.tensor([[1.0, 2.0, 3.0]])}, mask)
    assert found["spearman/a~b"] == pytest.approx(1.5 / 3**0.5)


def test_a_constant_agrees_with_nothing_beyond_chance():
    mask = torch.ones(1, 10, dtype=torch.bool)
    found = agreement({"a": torch.ones(1, 10), "b": torch.arange(10.0)[None]}, mask)
    assert found == pytest.approx({"spearman/a~b": 0, "top20/a~b": 0.2})


def test_there_is_no_agreement_without_two_tokens():
    assert agreement({"a": torch.ones(1, 2), "b": torch.ones(1, 2)}, torch.tensor([[True, False]])) == {}


@given(st.lists(st.tuples(st.integers(-9, 9), st.integers(-9, 9)), min_size=2, max_size=30), st.integers(0, 5))
def test_agreement_is_between_its_bounds_and_follows_neither_order_nor_scale(values, shift):
    one, other = torch.tensor(values, dtype=torch.float32).T[:, None]
    mask = torch.ones(one.shape, dtype=torch.bool)
    found = agreement({"a": one, "b": other}, mask)
    assert -1 - 1e-9 <= found["spearman/a~b"] <= 1 + 1e-9 and 0 <= found["top20/a~b"] <= 1
    moved = agreement({"a": 3 * one.roll(shift) + 7, "b": other.roll(shift)}, mask)
    assert moved == pytest.approx(found)


# In a step ------------------------------------------------------------------------------------------------------------
def measured(tiny, shaper, data=None, **settings):
    t = trainer(tiny, shaper, **settings)
    return update(t, before_updates(t, prepare(t, data or batch(tiny), 0.5)), 0.0)


def test_every_pair_of_signals_that_a_rule_wants_is_compared_and_entropy_with_probability_always(tiny):
    assert set(measured(tiny, "uniform").agreement) == {"spearman/entropy~logp", "top20/entropy~logp"}
    pairs = {name.split("/")[1] for name in measured(tiny, "pepo").agreement}
    assert pairs == {"entropy~logp", "entropy~visual_similarity", "logp~visual_similarity"}


@pytest.mark.parametrize("shaper", ["uniform", "pepo", "high_entropy"])
@pytest.mark.parametrize("updates", [1, 2])
def test_micro_batches_change_no_number_of_a_step(tiny, shaper, updates):
    whole, parts = (measured(tiny, shaper, updates=updates, micro_batch=size) for size in (64, 5))
    assert parts.agreement == pytest.approx(whole.agreement, abs=1e-3)
    for name in ("std", "ess", "gini", "same_sign"):
        assert getattr(parts.spread, name) == pytest.approx(getattr(whole.spread, name), abs=1e-4)


def test_uniform_weights_are_equal_and_a_mask_s_are_not(tiny):
    assert (measured(tiny, "uniform").spread.gini, measured(tiny, "uniform").spread.same_sign) == (0, 1)
    masked = measured(tiny, "high_entropy", rho=0.2).spread
    assert masked.gini > 0.5 and 0.1 < masked.same_sign < 0.3


# Terms and pieces in a step -------------------------------------------------------------------------------------------


def test_the_entropy_bonus_has_the_gradient_of_the_entropy(tiny):
    """Of a step without advantages nothing is left but -beta times the mean entropy, which torch differentiates."""
    data = batch(tiny)
    data = dataclasses.replace(data, reward=torch.ones_like(data.reward))
    t = trainer(tiny, base=Base(entropy_beta=0.5))
    step = prepare(t, data, 0.5)
    found = update(t, step, 0.0)
    head = tiny.model.get_output_embeddings()
    rows = step.rows
    logits = head(tiny._before_responses(rows)).float()
    logits[..., list(tiny.encoder.vision_tokens)] = -1e4
    log_p = logits.log_softmax(-1)
    entropy = -(log_p.exp() * log_p).sum(-1)
    lengths = rows.mask.sum(1, keepdim=True)
    expected = -0.5 * (entropy * rows.mask / lengths).sum() / len(lengths)
    assert found.loss == pytest.approx(expected.item(), abs=1e-5)
    tiny.zero_grad()
    expected.backward()
    norm = torch.stack([p.grad.norm() for p in tiny.parameters() if p.grad is not None]).norm()
    assert found.grad_norm == pytest.approx(float(norm), rel=1e-3)


def test_paying_for_entropy_raises_it_and_charging_lowers_it(tiny):
    entropies = {}
    for beta in (-1.0, 0.0, 1.0):
        data = batch(tiny)
        data = dataclasses.replace(data, reward=torch.ones_like(data.reward))
        t = trainer(tiny, base=Base(entropy_beta=beta))
        for _ in range(5):
            entropies[beta] = update(t, prepare(t, data, 0.5), 0.5).entropy
    assert entropies[-1.0] < entropies[0.0] < entropies[1.0]


@pytest.mark.parametrize("loss", ["clip_cov", "kl_cov"])
def test_what_a_loss_selects_depends_on_no_micro_batch(tiny, loss):
    """A rule without signals, too, has the pass that the selection needs."""
    from credit_zoo.registry import LOSSES

    settings = {"share": 0.1, **({"lowest": 0.0, "highest": 50.0} if loss == "clip_cov" else {})}
    base = Base(loss=LOSSES[loss].factory(**settings))
    chosen = []
    for size in (64, 1):
        t = trainer(tiny, base=base, micro_batch=size)
        assert t.two_pass
        step = before_updates(t, prepare(t, batch(tiny), 0.5))
        chosen.append(step.selected)
        found = update(t, step, 0.0)
    assert torch.equal(*chosen) and 0 < chosen[0].sum() <= 0.1 * step.inputs.mask.sum()
    assert found.stats.clipped == (chosen[0].sum() if loss == "clip_cov" else 0)


@pytest.mark.parametrize(("shaper", "updates"), [("uniform", 1), ("uniform", 2), ("high_entropy", 1), ("vppo", 1)])
def test_a_base_that_pays_for_perception_has_the_view_measured_whatever_the_rule(tiny, shaper, updates):
    """Of a step without advantages nothing is left but -gamma times the mean distance."""
    data = batch(tiny)
    data = dataclasses.replace(data, reward=torch.ones_like(data.reward))
    t = trainer(tiny, shaper, base=Base(perception_gamma=0.5), updates=updates)
    step = before_updates(t, prepare(t, data, 0.5))
    found = update(t, step, 0.0)
    said, signals = measure_tokens(tiny, tiny, step.rows, ("view_logp",))
    gap = torch.where(step.inputs.mask, signals.view_logp - said.logp, 0.0)
    distance = (gap.exp() - gap - 1).detach()
    assert found.stats.perception == pytest.approx(float(distance.sum()), rel=1e-3)
    assert found.loss == pytest.approx(-0.5 * float((distance.sum(1) / step.inputs.mask.sum(1)).mean()), rel=1e-3)
    assert found.grad_norm > 0 and any("view_logp" in name for name in found.agreement)


def test_a_base_that_does_not_has_no_other_pass(tiny):
    t = trainer(tiny)
    assert t.measured == () and prepare(t, batch(tiny), 0.5).rows.degraded is None


# In a record ----------------------------------------------------------------------------------------------------------
def test_a_record_of_before_is_read_without_them(tmp_path):
    path = write(a_record(training=a_training()), tmp_path)
    content = json.loads(path.read_text())
    for name in ("gini", "same_sign"):
        del content["training"]["weights"][name]
    del content["training"]["agreement"]
    path.write_text(json.dumps(content))
    found = load(path).training
    assert (found.weights.gini, found.weights.same_sign, found.agreement) == (None, None, {})


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Weights(0.1, 1.0, 0.9, 1.0, 1.1, gini=1.5), r"weights\.gini"),
        (lambda: Weights(0.1, 1.0, 0.9, 1.0, 1.1, same_sign=-0.5), r"weights\.same_sign"),
        (lambda: dataclasses.replace(a_training(), agreement={"spearman/a~b": 1.5}), r"agreement\.spearman/a~b"),
    ],
)
def test_numbers_outside_of_their_range_are_refused(make, said):
    with pytest.raises(UsageError, match=said):
        make()


def test_a_report_of_before_has_none_and_all_numbers_reach_the_curve():
    told = [one for one in dataclasses.fields(StepReport) if one.default is one.default_factory is dataclasses.MISSING]
    numbers = {one.name: 1 if one.type is int else 1.0 for one in told}
    old = StepReport(**{**numbers, "weight_quantiles": (1.0, 1.0, 1.0)})
    assert (old.weight_gini, old.weight_same_sign, old.agreement) == (0, 1, {})
    shown = dataclasses.replace(old, agreement={"spearman/a~b": 0.5}).scalars()
    assert shown["spearman/a~b"] == 0.5 and shown["weight_gini"] == 0 and "agreement" not in shown


def test_a_rule_s_signals_are_all_compared_whatever_the_rule(tiny):
    data, compared = batch(tiny, count=2, group=2, length=4), 0
    for shaper in SHAPERS:
        facts = SHAPERS[shaper].facts
        if not facts.truth:
            wanted = {*facts.measured, *facts.text, "entropy", "logp"}
            found = measured(tiny, shaper, data, updates=2 if facts.stage == "update" else 1).agreement
            assert len(found) in (0, len(wanted) * (len(wanted) - 1)), "none where the rule teaches nothing"
            compared += bool(found)
    assert compared > len(list(SHAPERS)) / 2


def test_a_step_without_effect_measures_the_view_that_its_base_asks_for(tiny):
    t = trainer(tiny, base=Base(perception_gamma=0.1))
    found = measure_step(t, prepare(t, batch(tiny, count=2, group=2, length=4), 0.5))
    assert found.stats.perception > 0


@pytest.mark.parametrize("value", [1.0, 1 / 3, 1 / 7, 0.1, 3e-4])
def test_equal_weights_have_no_inequality_and_all_of_the_effective_sample_whatever_is_rounded(value):
    for length in range(1, 60):
        spread = WeightSpread.of(torch.full((3, length), value), torch.ones(3, length, dtype=torch.bool))
        assert 0 <= spread.gini < 1e-6 and 1 - 1e-6 < spread.ess <= 1
