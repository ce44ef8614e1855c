"""p values of intervals and Holm's adjustment, against tables and hand-worked numbers."""

import pytest

from credit_zoo.results.comparisons import compared, holm, p_text, p_value, two_sided


@pytest.mark.parametrize(
    ("t", "dof", "p"),
    [  # table 26.10 of Abramowitz & Stegun: two-sided points
        (12.706, 1, 0.05),
        (6.314, 1, 0.10),
        (4.303, 2, 0.05),
        (9.925, 2, 0.01),
        (2.365, 7, 0.05),
        (3.499, 7, 0.01),
        (2.064, 24, 0.05),
        (0.0, 5, 1.0),
    ],
)
def test_student_s_t_against_the_table(t, dof, p):
    assert two_sided(t, dof) == pytest.approx(p, abs=2e-4)
    assert two_sided(-t, dof) == two_sided(t, dof)


def test_holm_by_hand():
    """m = 4: 4 x .005 = .02, 3 x .01 = .03, 2 x .03 = .06, 1 x .04 = .04, which may not fall below the one before."""
    found = holm({"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005})
    assert found == pytest.approx({"d": 0.02, "a": 0.03, "c": 0.06, "b": 0.06})


def test_holm_never_exceeds_one_and_leaves_a_single_p_as_it_is():
    assert holm({1: 0.7, 2: 0.6}) == {2: 1.0, 1: 1.0}
    assert holm({1: 0.03}) == {1: 0.03}
    assert holm({}) == {}


def test_holm_lies_between_the_plain_p_and_bonferroni():
    plain = {number: number / 200 for number in range(1, 21)}
    adjusted = holm(plain)
    assert all(plain[one] <= adjusted[one] <= min(1, 20 * plain[one]) + 1e-12 for one in plain)


@pytest.mark.parametrize(("low", "high", "told"), [(-0.001, 0.5, False), (0.001, 0.5, True), (0.01, 9.0, True)])
def test_p_says_what_the_interval_says(low, high, told):
    assert (p_value(0.2, low, high, 0.0, 7) < 0.05) is told
    assert (p_value(-0.2, -high, -low, 0.0, 7) < 0.05) is told, "and the same below"
    assert (p_value(1.2, 1 + low, 1 + high, 1.0, 23) < 0.05) is told, "and against any null"


def test_the_p_value_of_an_interval_by_hand():
    """0.3 [0.1, 0.5] with 2 degrees of freedom: t = 4.303 x 0.3 / 0.2 = 6.45, and P(|T| > 6.45) is 2.3%."""
    assert p_value(0.3, 0.1, 0.5, 0.0, 2) == pytest.approx(0.0232, abs=2e-4)
    assert p_value(0.0, -0.1, 0.1, 0.0, 2) == 1.0
    assert p_value(0.2, 0.2, 0.2, 0.0, 2) == 0.0, "no spread at all"


def test_a_family_is_adjusted_and_told_apart():
    found = {"far": (0.3, 0.2, 0.4), "near": (0.1, 0.01, 0.19), "none": (0.0, -0.1, 0.1), "below": (-0.3, -0.4, -0.2)}
    family = compared(found, 0.0, dict.fromkeys(found, 7))
    assert {name: one.plain for name, one in family.items()} == {"far": 1, "near": 1, "none": 0, "below": -1}
    assert {name: one.told for name, one in family.items()} == {"far": 1, "near": 0, "none": 0, "below": -1}
    assert family["far"].adjusted == pytest.approx(4 * family["far"].p)


def test_p_values_as_text():
    assert [p_text(p) for p in (0.0004, 0.0321, 0.5, 1.0)] == ["4e-04", ".032", ".500", "1.000"]
