"""Rewards: parts, their sum, the price on length by hand."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from credit_zoo.errors import UsageError
from credit_zoo.objective.rewards import Reward, overlong_penalty
from credit_zoo.question import Score


def test_parts_are_weighted_and_sum_up():
    score = Score(correct=0.5, extracted="5", formatted=True)
    assert Reward().parts(score) == {"format": 1.0, "accuracy": 0.5}
    assert Reward(format=0.1, accuracy=0.9).total(score) == pytest.approx(0.1 + 0.45)
    assert Reward().total(Score(0.0, None, False)) == 0.0


def test_the_overlap_is_a_part_where_it_has_a_weight():
    score = Score(correct=1.0, extracted="[0, 0, 2, 1]", formatted=True, overlap=0.75)
    assert Reward().parts(score) == {"format": 1.0, "accuracy": 1.0}
    paid = Reward(accuracy=0.0, overlap=2.0)
    assert paid.parts(score) == {"format": 1.0, "accuracy": 0.0, "overlap": 1.5}
    assert paid.total(score) == 2.5
    assert paid.parts(Score(0.0, None, False, 0.0)) == {"format": 0.0, "accuracy": 0.0, "overlap": 0.0}
    assert Reward(format=0, accuracy=0, overlap=1).total(score) == 0.75


def test_an_overlap_cannot_be_paid_where_there_are_no_boxes():
    with pytest.raises(UsageError, match=r"reward\.overlap=0\.5 must be 0: this benchmark's questions have no boxes"):
        Reward(overlap=0.5).parts(Score(1.0, "5", True))


@pytest.mark.parametrize(
    "settings",
    [{"format": -1}, {"accuracy": math.nan}, {"overlap": -0.1}, {"format": "1"}, {"accuracy": True}, {"overlap": None}],
)
def test_weights_out_of_range_are_refused(settings):
    (name,) = settings
    with pytest.raises(Exception, match=f"reward.{name} must be in|{name}"):
        Reward(**settings)


def test_rewarding_nothing_is_refused():
    with pytest.raises(UsageError, match="nothing would be rewarded"):
        Reward(format=0, accuracy=0)


@pytest.mark.parametrize(
    ("length", "penalty"),
    [(0, 0.0), (16384, 0.0), (16385, -1 / 4096), (18432, -0.5), (20480, -1.0), (20481, -1.0), (10**9, -1.0)],
)
def test_overlong_penalty_by_hand(length, penalty):
    assert overlong_penalty(length, limit=20480, cache=4096) == penalty


@given(st.integers(0, 300), st.integers(1, 200), st.data())
def test_overlong_penalty_falls_from_0_to_minus_1(length, limit, data):
    cache = data.draw(st.integers(1, limit))
    penalty = overlong_penalty(length, limit, cache)
    assert -1 <= overlong_penalty(length + 1, limit, cache) <= penalty <= 0


@pytest.mark.parametrize(("limit", "cache"), [(10, 0), (10, 11)])
def test_an_impossible_cache_is_refused(limit, cache):
    with pytest.raises(UsageError, match="overlong"):
        overlong_penalty(1, limit, cache)
