import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from credit_zoo import stats
from credit_zoo.registry import UsageError


def simulated(rng, seeds, questions, between_seeds, between_questions, noise):
    """Scores whose true mean is 0."""
    columns = rng.normal(0, between_questions, (1, questions))
    return rng.normal(0, between_seeds, (seeds, 1)) + columns + rng.normal(0, noise, (seeds, questions))


def test_constant_scores_have_no_width():
    found = stats.interval(np.full((3, 20), 0.25))
    assert (found.value, found.low, found.high) == (0.25, 0.25, 0.25)
    assert (found.seeds, found.questions) == (3, 20)


@pytest.mark.parametrize(
    "spread",
    [
        pytest.param((1.0, 0.0, 0.1), id="seeds differ"),
        pytest.param((0.0, 1.0, 0.1), id="questions differ"),
        pytest.param((0.0, 0.0, 1.0), id="noise alone"),
        pytest.param((0.1, 0.7, 0.7), id="all three"),
    ],
)
@pytest.mark.parametrize("seeds", [3, 6])
def test_an_interval_covers_the_truth_19_times_in_20(seeds, spread):
    rng = np.random.default_rng(11)
    found = [stats.interval(simulated(rng, seeds, 40, *spread), draws=1000, rng_seed=i) for i in range(300)]
    covered = np.mean([one.low <= 0 <= one.high for one in found])
    assert 0.915 <= covered <= 0.992


def test_without_the_seeds_an_interval_misses_another_run():
    rng = np.random.default_rng(3)
    scores = [simulated(rng, 3, 40, 1.0, 0.0, 0.1) for _ in range(100)]
    found = [stats.interval(one, over_seeds=False, draws=500) for one in scores]
    assert np.mean([one.low <= 0 <= one.high for one in found]) < 0.3


def test_an_interval_over_one_seed_is_about_questions():
    scores = np.random.default_rng(0).random((1, 400))
    found = stats.interval(scores)
    half = 1.96 * scores.std(ddof=1) / 20
    assert found.low == pytest.approx(scores.mean() - half, abs=0.1 * half)
    assert found.high == pytest.approx(scores.mean() + half, abs=0.1 * half)


def test_the_same_scores_give_the_same_interval():
    scores = np.random.default_rng(0).random((3, 50))
    assert stats.interval(scores) == stats.interval(scores.copy())


@given(st.floats(-3, 3), st.floats(0.1, 10))
def test_an_interval_moves_and_scales_with_the_scores(shift, scale):
    scores = np.random.default_rng(0).random((4, 30))
    one, other = stats.interval(scores, draws=500), stats.interval(scale * scores + shift, draws=500)
    assert other.low == pytest.approx(scale * one.low + shift)
    assert other.high == pytest.approx(scale * one.high + shift)


@pytest.mark.parametrize("scores", [np.zeros(3), np.zeros((0, 4)), np.zeros((2, 0)), np.array([[0.5, np.nan]])])
def test_scores_that_cannot_be_averaged_are_refused(scores):
    with pytest.raises(UsageError, match="scores must be"):
        stats.interval(scores)


def test_pairing_removes_what_both_sides_share():
    rng = np.random.default_rng(7)
    hard = simulated(rng, 3, 100, 0.1, 1.0, 0.1)
    rule = {seed: hard[seed] + 0.2 + rng.normal(0, 0.1, 100) for seed in range(3)}
    reference = dict(enumerate(hard))
    found = stats.paired(rule, reference)
    width = found.interval.high - found.interval.low
    alone = [stats.interval(np.stack(list(side.values()))) for side in (rule, reference)]
    assert width < 0.5 * min(one.high - one.low for one in alone)
    assert 0 < found.interval.low < 0.2 < found.interval.high


def test_pairing_takes_common_seeds_and_names_the_others():
    scores = np.random.default_rng(0).random((5, 8))
    found = stats.paired(
        {0: scores[0], 2: scores[2], 3: scores[3]}, {3: scores[3] - 0.1, 0: scores[0] - 0.3, 4: scores[4]}
    )
    assert found.seeds == (0, 3)
    assert found.dropped == (2, 4)
    assert found.interval.value == pytest.approx(0.2)
    assert found.interval.seeds == 2


def test_sides_without_a_common_seed_or_the_same_questions_are_refused():
    with pytest.raises(UsageError, match="no seed is on both sides"):
        stats.paired({0: np.zeros(3)}, {1: np.zeros(3)})
    with pytest.raises(UsageError, match="same questions"):
        stats.paired({0: np.zeros(3)}, {0: np.zeros(4)})


def test_the_interquartile_mean_by_hand():
    assert stats.iqm(np.array([100.0, 1, 2, 3, 4, 5, 6, -50])) == (2 + 3 + 4 + 5) / 4
    assert stats.iqm(np.array([[7.0, 1.0], [2.0, 3.0]])) == 2.5
    assert stats.iqm(np.array([1.0, 2.0, 6.0])) == 3.0
    with pytest.raises(UsageError, match="no scores"):
        stats.iqm(np.array([]))


def test_the_probability_of_improvement_by_hand():
    assert stats.probability_of_improvement(np.array([1.0, 2.0]), np.array([0.0])) == 1.0
    assert stats.probability_of_improvement(np.array([1.0, 2.0]), np.array([1.0, 3.0])) == (0.5 + 0 + 1 + 0) / 4
    with pytest.raises(UsageError, match="at least one run"):
        stats.probability_of_improvement(np.array([]), np.array([1.0]))


@given(st.lists(st.integers(0, 4), min_size=1, max_size=5), st.lists(st.integers(0, 4), min_size=1, max_size=5))
def test_one_side_improves_as_often_as_the_other_does_not(x, y):
    x, y = np.array(x, dtype=float), np.array(y, dtype=float)
    both = stats.probability_of_improvement(x, y) + stats.probability_of_improvement(y, x)
    assert both == pytest.approx(1)


def test_the_standard_error_by_hand():
    assert stats.standard_error(np.array([0.0, 1.0, 0.0, 1.0])) == pytest.approx((1 / 3) ** 0.5 / 2)
    assert np.isnan(stats.standard_error(np.array([0.5])))


@pytest.mark.parametrize(("dof", "table"), [(1, 12.706), (2, 4.303), (10, 2.228), (11, 2.201), (20, 2.086), (60, 2.0)])
def test_students_t_is_the_table(dof, table):
    assert stats.student_t(dof) == pytest.approx(table, abs=0.003)


def test_students_t_needs_a_degree_of_freedom():
    with pytest.raises(UsageError, match="degree of freedom"):
        stats.student_t(0)


def test_the_detectable_difference_by_hand_and_its_directions():
    least = stats.minimal_detectable_difference
    assert least(1.0, 3) == pytest.approx((2.776 + 0.8416) * (2 / 3) ** 0.5, abs=1e-3)
    assert least(2.0, 3) == pytest.approx(2 * least(1.0, 3))
    assert least(1.0, 3) > least(1.0, 4) > least(1.0, 10) > least(1.0, 40)
    assert least(1.0, 3, power=0.9) > least(1.0, 3, power=0.8)
    for bad in ((1.0, 1, 0.8), (-1.0, 3, 0.8), (float("nan"), 3, 0.8), (1.0, 3, 1.0)):
        with pytest.raises(UsageError, match="two seeds"):
            least(*bad)


def test_the_detectable_difference_is_detected_four_times_in_five():
    rng = np.random.default_rng(2)
    seeds, truth = 5, stats.minimal_detectable_difference(1.0, 5)
    x, y = rng.normal(truth, 1, (4000, seeds)), rng.normal(0, 1, (4000, seeds))
    pooled = ((x.var(axis=1, ddof=1) + y.var(axis=1, ddof=1)) / seeds) ** 0.5
    found = (x.mean(axis=1) - y.mean(axis=1)) / pooled > stats.student_t(2 * seeds - 2)
    assert found.mean() == pytest.approx(0.8, abs=0.05)


def test_the_spread_between_seeds_is_that_of_their_means():
    assert stats.between_seed_sd(np.array([[0.0, 0.2], [0.4, 0.6]])) == pytest.approx(0.4 / 2**0.5)
    with pytest.raises(UsageError, match="one seed"):
        stats.between_seed_sd(np.zeros((1, 4)))


@pytest.mark.parametrize("module", ["stats", "results", "leaderboard"])
def test_no_torch_is_imported(module):
    code = f"import sys, credit_zoo.{module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
