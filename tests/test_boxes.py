"""Boxes: read exactly one, overlap by hand and by law."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from credit_zoo.answers import iou, parse_box, rescale, score_response
from credit_zoo.bench import Question

BOXES = st.tuples(*[st.floats(0, 500)] * 2, *[st.floats(501, 1000)] * 2)


@given(BOXES, BOXES)
def test_iou_is_symmetric_and_in_its_range(left, right):
    assert iou(left, right) == iou(right, left)
    assert 0 <= iou(left, right) <= 1
    assert math.isclose(iou(left, left), 1.0)


def test_iou_by_hand():
    assert iou((0, 0, 2, 2), (1, 1, 3, 3)) == pytest.approx(1 / 7)
    assert iou((0, 0, 1, 1), (1, 0, 2, 1)) == 0.0


@pytest.mark.parametrize(
    ("text", "box"),
    [
        ('```json\n[{"bbox_2d": [1, 2, 3, 4], "label": "dog"}]\n```', (1, 2, 3, 4)),
        ("[[1, 2, 3, 4]]", (1, 2, 3, 4)), ("<|box_start|>(1,2),(3,4)<|box_end|>", (1, 2, 3, 4)),
        ("The box is [1, 2, 3, 4].", (1, 2, 3, 4)), ("[1, 2, 3, 4] and [5, 6, 7, 8]", None),
        ("[[1, 2, 3, 4], [5, 6, 7, 8]]", None), ("[1, 2, 3, NaN]", None), ("[3, 2, 1, 4]", None), ("[1, 2, 3]", None),
        ("[true, 0, 2, 2]", None), ("1 2 3 4", None), ("", None), ("[" * 900, None), ("[1, 2, 3, 1e999]", None),
    ],
)  # fmt: skip
def test_reads_exactly_one_box(text, box):
    assert parse_box(text) == box


def test_a_box_scores_its_overlap():
    question = Question("q", None, "?", "0,0,2,2", "box")
    assert score_response(question, "<think>a</think><answer>[1, 1, 3, 3]</answer>").correct == pytest.approx(1 / 7)


def test_thousandths_become_pixels():
    assert rescale((500, 500, 900, 900), (1000, 1000), (640, 480)) == pytest.approx((320, 240, 576, 432))
