"""Every spelling of a value is every other spelling of it, and no spelling of a neighbour."""

from itertools import combinations, product

import pytest
from spellings import FAMILIES

from credit_zoo.answers.math_equality import same_integer, same_math, same_reading
from credit_zoo.answers.math_values import read
from credit_zoo.answers.plain_text import clean


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.__name__)
def test_all_pairs_of_spellings(family):
    groups = [[(text, read(clean(text))) for text in group] for group in family()]
    parted = [
        (a, b) for group in groups for (a, one), (b, other) in product(group, group) if not same_reading(one, other)
    ]
    joined = [
        (a, b)
        for left, right in combinations(groups, 2)
        for (a, one), (b, other) in product(left, right)
        if same_reading(one, other) or same_reading(other, one)
    ]
    assert (parted, joined) == ([], [])


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.__name__)
def test_each_spelling_as_the_answer_to_its_value_and_to_the_next(family):
    groups = family()
    for group, following in zip(groups, groups[1:] + groups[:1], strict=True):
        assert [text for text in group if not same_math(text, group[0]) or same_math(text, following[0])] == []


@pytest.mark.parametrize(
    ("answer", "truth", "same"),
    [
        ("(3,7)", "3<x<7", True), ("(3,7)", "3<y<7", True), ("(7,3)", "3<x<7", False), ("P(3,7)", "3<x<7", False),
        ("[3,7]", "3≤x≤7", True), ("(3,7)", "[3,7]", False), ("5$6$", "56", False), ("5\\text{6}", "56", False),
        ("5\\(6\\)", "56", False), ("5\\left6", "56", False), ("5\\,6", "56", False), ("$5$$6$", "56", False), ("x = 5 m", "5", True),
        ("x = 5 m", "y = 5 m", False), ("5\\frac{3}{2}", "13/2", False), ("5\\frac32", "15/2", False), ("5 7/2", "17/2", False),
        ("either 5 or 6", "5, 6", False), ("5 or 5", "5", False), ("not (1,2)", "(1,2)", False), ("30°75'", "31.25", False),
        ("\\tan 90^\\circ", "0", False), ("0.\\overline{9}", "1", True), ("x>3 and x<1", "x>3", False), ("5 cm", "5 kg", False),
        ("x = 2 or 3", "x = 3 or x = 2", True), ("x = 2, y = 3", "x = 3, y = 2", False), ("2, x = 3", "2, 3", False),
        ("60 m/s", "60 m", False), ("20 m", "20 m/s", False), ("1 year", "12 months", True), ("1 km", "1000", False),
    ],
)  # fmt: skip
def test_decides_between_forms(answer, truth, same):
    assert same_math(answer, truth) is same
    assert same_math(truth, answer) is same


@pytest.mark.parametrize(
    "answer", ["30,000", "3 x 10^4", "3 × 10⁴", "3e4", "30000.0", "$30{,}000$", "60000/2", "30000 years"]
)
def test_a_whole_number_in_each_form_that_writes_one(answer):
    assert same_integer(answer, "30000")
    assert not same_integer(answer, "3000")


@pytest.mark.parametrize("answer", ["15000+15000", "2^3", "\\sqrt{9}", "(3,0)", "3, 0", "x<30", "30°15'", "3:1 x"])
def test_what_is_left_to_reckon_is_no_number(answer):
    assert not any(same_integer(answer, truth) for truth in ("30000", "8", "3", "30"))
