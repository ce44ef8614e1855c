import subprocess
import sys
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from credit_zoo.errors import UsageError
from credit_zoo.results import proportion_interval as proportion
from credit_zoo.results import stats


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


def test_seeds_that_agree_by_chance_leave_the_noise_of_their_answers():
    """Each seed is two answers better and one worse, on other questions: their means agree, and yet another three runs
    would not; without the answers' noise the interval would be a point, and any null a discovery.
    """
    scores = np.zeros((3, 24))
    for seed in range(3):
        scores[seed, [8 * seed, 8 * seed + 1]], scores[seed, 8 * seed + 2] = 1, -1
    found = stats.interval(scores)
    assert found.value == pytest.approx(1 / 24) and found.low < 0 < found.high


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
    assert found.seed_sd == pytest.approx(0.2 / 2**0.5)
    assert np.isnan(stats.paired({0: scores[0]}, {0: scores[1]}).seed_sd)


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


def test_the_probability_of_improvement_over_benchmarks_is_their_mean():
    rule, reference = np.array([[1.0, 5.0], [2.0, 7.0]]), np.array([[0.0, 6.0]])
    assert stats.probability_of_improvement(rule, reference) == (1.0 + 0.5) / 2


@pytest.mark.parametrize(("own", "shared"), [(1.0, 0.3), (0.3, 1.0)])
@pytest.mark.parametrize("seeds", [3, 5])
def test_the_interval_of_the_interquartile_mean_covers_the_truth(seeds, own, shared):
    rng, levels = np.random.default_rng(6), np.array([0.0, 5.0, 10.0])
    covered = []
    for _ in range(200):
        scores = levels + rng.normal(0, shared, (seeds, 1)) + rng.normal(0, own, (seeds, 3))
        low, high = stats.iqm_interval(scores, draws=500)
        assert low <= stats.iqm(scores) <= high
        covered.append(low <= 5 <= high)
    assert 0.9 <= np.mean(covered) <= 0.995


def test_an_interval_of_the_interquartile_mean_needs_two_seeds_and_is_the_same_again():
    scores = np.random.default_rng(0).random((3, 2))
    assert stats.iqm_interval(scores) == stats.iqm_interval(scores.copy())
    with pytest.raises(UsageError, match="one seed"):
        stats.iqm_interval(scores[:1])


def test_the_interval_of_an_improvement_holds_it_also_where_runs_do_not_overlap():
    rng = np.random.default_rng(0)
    rule, reference = rng.normal(0.3, 1, (5, 2)), rng.normal(0, 1, (5, 2))
    low, high = stats.improvement_interval(rule, reference)
    assert 0 <= low < stats.probability_of_improvement(rule, reference) < high <= 1
    assert stats.improvement_interval(reference, rule) == pytest.approx((1 - high, 1 - low))
    for better, bounds in ((rule + 100, (0.05 ** (1 / 5), 1)), (rule - 100, (0, 1 - 0.05 ** (1 / 5)))):
        assert stats.improvement_interval(better, reference) == pytest.approx(bounds), "p^5 / 2 = 2.5%"


def known_distributions():
    """(name, draw x [N, S], draw y [N, R], the true P(x > y) + 1/2 P(x = y))."""
    normal = NormalDist()
    for shift, own, other in ((0, 1, 1), (0.7, 1, 1), (1.5, 1, 1), (3, 1, 1), (0, 1, 4), (2, 1, 4), (2, 4, 1)):
        truth = normal.cdf(shift / (own**2 + other**2) ** 0.5)
        yield (
            f"normal {shift} {own}:{other}",
            lambda rng, size, shift=shift, own=own: rng.normal(shift, own, size),
            lambda rng, size, other=other: rng.normal(0, other, size),
            truth,
        )
    yield (
        "exponential",
        lambda rng, size: 4 * rng.exponential(size=size),
        lambda rng, size: rng.exponential(size=size),
        0.8,
    )
    coin = lambda share: lambda rng, size: (rng.random(size) < share).astype(float)  # noqa: E731
    yield "coins", coin(0.8), coin(0.4), 0.8 * 0.6 + 0.5 * (0.8 * 0.4 + 0.2 * 0.6)


@pytest.mark.parametrize(("seeds", "others"), [(3, 3), (5, 5), (8, 8), (3, 8), (8, 3)])
@pytest.mark.parametrize(
    ("draw", "other", "truth"), [pytest.param(*rest, id=name) for name, *rest in known_distributions()]
)
def test_the_interval_of_an_improvement_covers_the_truth(seeds, others, draw, other, truth):
    rng, times = np.random.default_rng(8), 400
    sides = zip(draw(rng, (times, seeds, 1)), other(rng, (times, others, 1)), strict=True)
    found = [stats.improvement_interval(x, y) for x, y in sides]
    assert np.mean([low <= truth <= high for low, high in found]) >= 0.94
    assert np.mean([high - low for low, high in found]) <= {3: 0.9, 5: 0.75, 8: 0.65}[min(seeds, others)]


@pytest.mark.parametrize("shared", [0.0, 0.7])
def test_it_covers_over_benchmarks_whose_runs_belong_together(shared):
    rng, shifts = np.random.default_rng(9), np.array([-0.5, 0.5, 1.5])
    truth = np.mean([NormalDist().cdf(shift / 2**0.5) for shift in shifts])
    covered = []
    for _ in range(400):
        x, y = (shared**0.5 * rng.normal(size=(3, 1)) + (1 - shared) ** 0.5 * rng.normal(size=(3, 3)) for _ in range(2))
        low, high = stats.improvement_interval(x + shifts, y)
        covered.append(low <= truth <= high)
    assert np.mean(covered) >= 0.95


@pytest.mark.parametrize(
    ("x", "a", "b", "table"),
    [(0.3, 1, 1, 0.3), (0.5, 2, 2, 0.5), (0.3, 2, 5, 0.579825), (0.9, 0.5, 0.5, 0.795167), (0, 2, 3, 0), (1, 2, 3, 1)],
)
def test_the_beta_distribution_is_the_table(x, a, b, table):
    assert proportion.beta_cdf(x, a, b) == pytest.approx(table, abs=1e-6)
    assert proportion.beta_cdf(1 - x, b, a) == pytest.approx(1 - table, abs=1e-6)


def test_the_interval_of_a_share_by_hand():
    """Three of three: p^3 / 2 = 2.5%. One of two: 1/2 (2 p (1 - p)) + p^2 = p = 2.5%, and its mirror."""
    assert proportion.share_interval(1.0, 3, 0.95) == pytest.approx((0.05 ** (1 / 3), 1))
    assert proportion.share_interval(0.0, 3, 0.95) == pytest.approx((0, 1 - 0.05 ** (1 / 3)))
    assert proportion.share_interval(0.5, 2, 0.95) == pytest.approx((0.025, 0.975))
    for share, trials, level in ((1.5, 3, 0.95), (0.5, 0, 0.95), (0.5, 3, 1.0)):
        with pytest.raises(UsageError, match="share in"):
            proportion.share_interval(share, trials, level)
    with pytest.raises(UsageError, match="beta distribution"):
        proportion.beta_cdf(0.5, 0, 1)


def test_the_standard_error_by_hand():
    assert stats.standard_error(np.array([0.0, 1.0, 0.0, 1.0])) == pytest.approx((1 / 3) ** 0.5 / 2)
    assert np.isnan(stats.standard_error(np.array([0.5])))


@pytest.mark.parametrize(("dof", "table"), [(1, 12.706), (2, 4.303), (10, 2.228), (11, 2.201), (20, 2.086), (60, 2.0)])
def test_students_t_is_the_table(dof, table):
    assert stats.student_t(dof) == pytest.approx(table, abs=0.003)


def test_students_t_needs_a_degree_of_freedom():
    with pytest.raises(UsageError, match="degree of freedom"):
        stats.student_t(0)


@pytest.mark.parametrize(
    ("probability", "dof", "table"),
    [
        (0.025, 1, 0.000982),
        (0.025, 2, 0.0506),
        (0.975, 2, 7.378),
        (0.025, 4, 0.4844),
        (0.975, 4, 11.143),
        (0.025, 9, 2.700),
        (0.975, 9, 19.023),
        (0.95, 30, 43.773),
    ],
)
def test_chi_square_is_the_table(probability, dof, table):
    assert stats.chi_square_point(probability, dof) == pytest.approx(table, rel=1e-3)
    assert stats.chi_square_cdf(stats.chi_square_point(probability, dof), dof) == pytest.approx(probability)


def test_chi_square_of_two_degrees_of_freedom_is_an_exponential():
    for x in (0.0, 0.1, 2.0, 30.0):
        assert stats.chi_square_cdf(x, 2) == pytest.approx(1 - np.exp(-x / 2), abs=1e-12)


def test_chi_square_without_a_degree_of_freedom_or_a_probability_is_refused():
    for probability, dof in ((0.5, 0), (0.0, 2), (1.0, 2)):
        with pytest.raises(UsageError, match="degree of freedom"):
            stats.chi_square_point(probability, dof)


def test_the_interval_of_a_standard_deviation_by_hand_and_its_coverage():
    assert stats.sd_interval(2.0, 3) == pytest.approx((2 * (2 / 7.378) ** 0.5, 2 * (2 / 0.0506) ** 0.5), rel=1e-3)
    spreads = np.random.default_rng(4).normal(0, 1, (2000, 3)).std(axis=1, ddof=1)
    covered = [low <= 1 <= high for low, high in (stats.sd_interval(spread, 3) for spread in spreads)]
    assert np.mean(covered) == pytest.approx(0.95, abs=0.02)
    with pytest.raises(UsageError, match="no spread"):
        stats.sd_interval(1.0, 1)


def test_the_detectable_differences_by_hand():
    assert stats.detectable_unpaired(1.0) == pytest.approx(3.195 * 0.4**0.5)
    assert stats.detectable_paired(1.0) == pytest.approx(3.717 / 5**0.5)
    assert (stats.student_t(8), stats.student_t(4)) == (stats.T975_DOF8, stats.T975_DOF4)


def test_the_detectable_differences_are_detected_four_times_in_five():
    rng, runs = np.random.default_rng(2), (4000, stats.PLANNED_SEEDS)
    x, y = rng.normal(stats.detectable_unpaired(1.0), 1, runs), rng.normal(0, 1, runs)
    error = ((x.var(axis=1, ddof=1) + y.var(axis=1, ddof=1)) / 5) ** 0.5
    assert ((x - y).mean(axis=1) / error > 2.306).mean() == pytest.approx(0.8, abs=0.02)
    paired = rng.normal(stats.detectable_paired(1.0), 1, runs)
    assert (paired.mean(axis=1) / paired.std(axis=1, ddof=1) * 5**0.5 > 2.776).mean() == pytest.approx(0.8, abs=0.02)


def test_the_spread_between_seeds_is_that_of_their_means():
    assert stats.between_seed_sd(np.array([[0.0, 0.2], [0.4, 0.6]])) == pytest.approx(0.4 / 2**0.5)
    with pytest.raises(UsageError, match="one seed"):
        stats.between_seed_sd(np.zeros((1, 4)))


@pytest.mark.parametrize("module", ["results.stats", "results.store", "leaderboard.site", "curves"])
def test_no_torch_is_imported(module):
    code = f"import sys, credit_zoo.{module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
