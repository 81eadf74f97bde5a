"""Box forms: values, round trips, types and shapes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from finespot.boxes import clip, cxcywh_to_xyxy, xywh_to_xyxy, xyxy_to_cxcywh, xyxy_to_xywh

BOX = [[10.0, 20.0, 30.0, 60.0]]


@pytest.mark.parametrize(
    ("function", "source", "expected"),
    [
        (xywh_to_xyxy, [[10, 20, 20, 40]], BOX),
        (xyxy_to_xywh, BOX, [[10, 20, 20, 40]]),
        (cxcywh_to_xyxy, [[20, 40, 20, 40]], BOX),
        (xyxy_to_cxcywh, BOX, [[20, 40, 20, 40]]),
    ],
)
def test_values(function, source, expected) -> None:
    np.testing.assert_array_equal(function(source), expected)


@pytest.mark.parametrize("function", [xywh_to_xyxy, xyxy_to_xywh, cxcywh_to_xyxy, xyxy_to_cxcywh])
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_keeps_type_shape_and_input(function, kind) -> None:
    source = np.ones((2, 3, 4), kind)
    result = function(source)
    assert result.dtype == kind
    assert result.shape == (2, 3, 4)
    np.testing.assert_array_equal(source, np.ones((2, 3, 4)))
    assert function(np.ones((1, 4), np.int64)).dtype == np.float64
    assert function([]).shape == (0, 4)
    with pytest.raises(ValueError, match="expected boxes of shape"):
        function(np.ones((2, 5)))


@pytest.mark.slow
@given(
    arrays(np.float64, st.tuples(st.integers(0, 5), st.just(4)), elements=st.integers(0, 2**20).map(lambda v: v / 4))
)
def test_round_trips(boxes) -> None:
    np.testing.assert_array_equal(xyxy_to_xywh(xywh_to_xyxy(boxes)), boxes)
    np.testing.assert_array_equal(xyxy_to_cxcywh(cxcywh_to_xyxy(boxes)), boxes)


def test_clip_uses_height_and_width() -> None:
    boxes = np.array([[-5, -5, 700, 700], [650, 10, 660, 20]], np.float32)
    clipped = clip(boxes, (480, 640))
    np.testing.assert_array_equal(clipped, [[0, 0, 640, 480], [640, 10, 640, 20]])
    assert clipped.dtype == np.float32
