"""The statistics of the instrument against a Gaussian whose signal and noise are known, and agreement by hand."""

import numpy as np
import pytest

from credit_zoo.credit.agreement import agreement, decisive, mean_over, ranks, response_auroc, spearman
from credit_zoo.credit.estimates import (
    Products,
    between,
    cosine,
    efficiency,
    jackknife,
    noise,
    power,
    progress,
    removed,
    sampling_share,
    snr,
    statistics,
)
from credit_zoo.errors import UsageError

K, B, J = 40, 12, 8
MEAN = np.r_[1.0, 0.5, np.zeros(K - 2)]  # |m|^2 = 1.25
SPREAD = np.linspace(0.2, 0.8, K)  # of each number; tr C is the sum of its squares
TRUE_NOISE = float((SPREAD**2).sum())
DIRECTION = np.r_[2.0, np.zeros(K - 1)]  # m . J' = 2


def drawn(rng, mean=MEAN, spread=SPREAD, parts_noise=0.3, count=B):
    gradients = mean + spread * rng.standard_normal((count, K))
    parts = DIRECTION + parts_noise * rng.standard_normal((J, K))
    return Products.of(gradients, parts)


def many(statistic, draws=400):
    rng = np.random.default_rng(0)
    found = np.array([statistic(drawn(rng)) for _ in range(draws)])
    return found.mean(), found.std() / draws**0.5


@pytest.mark.parametrize(
    ("statistic", "truth"),
    [
        (power, 1.25),
        (noise, TRUE_NOISE),
        (lambda p: p.along.mean(), 2.0),
        (lambda p: progress(p) * noise(p) * 4, 1.0 * 4),  # (m . J')^2 / |J'|^2 = 4 / 4, up to the ratio's own bias
    ],
)
def test_signal_noise_and_progress_are_those_of_the_gaussian(statistic, truth):
    mean, error = many(statistic)
    assert abs(mean - truth) < 4 * error + 0.02 * truth


def test_a_mean_of_zero_has_no_signal_on_average():
    rng = np.random.default_rng(1)
    found = np.array([power(drawn(rng, mean=np.zeros(K))) for _ in range(400)])
    assert abs(found.mean()) < 4 * found.std() / 20
    assert found.min() < 0  # unbiased, and so below 0 half of the time


def test_the_interval_of_the_jackknife_holds_the_truth_as_often_as_it_says():
    rng, truth = np.random.default_rng(2), 1.25 / TRUE_NOISE
    inside = [one.low <= truth <= one.high for one in (jackknife(snr, drawn(rng, count=24)) for _ in range(200))]
    assert 0.89 <= np.mean(inside) <= 0.99


def test_cosine_is_that_of_the_means():
    rng = np.random.default_rng(3)
    exact = Products.of(MEAN + 1e-6 * rng.standard_normal((B, K)), np.tile(DIRECTION, (J, 1)))
    assert cosine(exact) == pytest.approx(2 / (1.25**0.5 * 2), abs=1e-5)


def test_uniform_against_itself_is_exactly_one_without_an_error():
    one = drawn(np.random.default_rng(4))
    found = jackknife(efficiency, one, one)
    assert (found.value, found.error, found.low, found.high) == (1.0, 0.0, 1.0, 1.0)


def test_scaling_a_rule_changes_nothing_and_halving_its_noise_doubles_the_efficiency():
    rng = np.random.default_rng(5)
    draws = SPREAD * rng.standard_normal((400, K))
    parts = np.tile(DIRECTION, (J, 1))
    uniform, calm = Products.of(MEAN + draws, parts), Products.of(MEAN + draws / 2**0.5, parts)
    assert efficiency(Products.of(7 * (MEAN + draws), parts), uniform) == pytest.approx(1)
    assert efficiency(calm, uniform) == pytest.approx(2, rel=0.02)


def test_a_rule_that_points_away_has_a_negative_efficiency():
    rng = np.random.default_rng(6)
    uniform = drawn(rng)
    assert efficiency(drawn(rng, mean=-MEAN), uniform) < 0


def test_noise_between_questions_is_told_by_a_second_sample_on_the_same_questions():
    rng = np.random.default_rng(7)
    questions = 0.5 * rng.standard_normal((600, K))
    first, second = (MEAN + questions + SPREAD * rng.standard_normal((600, K)) for _ in range(2))
    found = Products.of(first, np.tile(DIRECTION, (J, 1)), second)
    assert between(found) == pytest.approx(0.25 * K, rel=0.1)
    assert sampling_share(found) == pytest.approx(TRUE_NOISE / (TRUE_NOISE + 0.25 * K), abs=0.03)
    still = Products.of(MEAN + questions, np.tile(DIRECTION, (J, 1)))
    assert removed(still, found) == pytest.approx(1, abs=0.1)  # no sampling noise is left


def test_few_batches_are_refused_with_how_many_it_takes():
    with pytest.raises(UsageError, match="4 batches and parts or more, got 3, 8"):
        Products.of(np.ones((3, K)), np.ones((J, K)))


# --- agreement with the truth --------------------------------------------------------------------------------------


def test_ranks_correlation_and_auroc_by_hand():
    assert ranks(np.array([3.0, 1.0, 3.0, 2.0])).tolist() == [3.5, 1, 3.5, 2]
    assert spearman(np.array([1.0, 2, 3]), np.array([10.0, 20, 25])) == 1
    assert spearman(np.array([1.0, 2, 3]), np.array([3.0, 2, 1])) == -1
    assert spearman(np.ones(3), np.array([1.0, 2, 3])) == 0
    marks = np.array([False, True, False, False])
    assert response_auroc(np.array([1.0, 2, 3, 0]), marks) == pytest.approx(2 / 3)
    assert response_auroc(np.ones(4), marks) == 0.5


def test_the_decisive_token_is_the_largest_drop_and_there_is_none_where_nothing_drops():
    assert decisive(np.array([0.1, -0.2, -0.6, 0.0])).tolist() == [False, False, True, False]
    assert not decisive(np.array([0.1, 0.2])).any()


def test_agreement_takes_the_truth_as_perfect_and_uniform_as_chance():
    truth = np.array([[0.2, -0.7, 0.0, 0.0], [0.1, 0.2, 0.3, 0.0], [0.3, 0.1, -0.9, 0.0], [0.2, 0.3, 0.5, 0.0]])
    mask = np.array([[1, 1, 1, 1], [1, 1, 1, 0], [1, 1, 1, 1], [1, 1, 1, 0]], dtype=bool)
    right, group, error = np.array([False, True, False, True]), np.array([0, 0, 1, 1]), truth < 0
    best = agreement(truth, truth, error, mask, right, group)
    assert {name: round(one.value, 9) for name, one in best.items()} == dict.fromkeys(best, 1.0)
    uniform = agreement(np.where(right, 1.0, -1.0)[:, None] * mask, truth, error, mask, right, group)
    assert {name: one.value for name, one in uniform.items()} == {
        "decisive": 0.5,
        "first_error": 0.5,
        "rank_right": 0.0,
        "rank_wrong": 0.0,
    }


def test_responses_without_credit_are_left_out_and_none_of_any_is_no_number():
    truth, mask = np.array([[0.2, -0.7], [0.2, -0.7]]), np.ones((2, 2), dtype=bool)
    found = agreement(np.zeros((2, 2)), truth, truth < 0, mask, np.array([False, False]), np.array([0, 1]))
    assert set(found.values()) == {None}


def test_answers_to_one_question_are_taken_together():
    values = np.array([1.0, 1, 0, 0])
    apart, together = mean_over(values, np.arange(4)), mean_over(values, np.array([0, 0, 1, 1]))
    assert apart.value == together.value == 0.5
    assert together.error == pytest.approx(apart.error * 2**0.5 * (2 / 4 * 3) ** 0.5)
    assert mean_over(values, np.zeros(4, dtype=np.int64)) is None


def test_where_no_answer_has_an_advantage_there_is_no_number_and_nothing_is_raised():
    rng = np.random.default_rng(0)
    parts = DIRECTION + rng.standard_normal((J, K))
    nothing = Products.of(np.zeros((B, K)), parts, np.zeros((B, K)))
    found = statistics({"uniform": nothing}, "uniform")["uniform"]
    assert set(found) == {"snr", "cosine", "efficiency", "removed"}
    assert all(np.isnan(one.value) for one in found.values()) and np.isnan(jackknife(sampling_share, nothing).value)
