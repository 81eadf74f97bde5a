"""Which masks are plausible, and what becomes of the others."""

from __future__ import annotations

import numpy as np
import pytest

from finespot.data.shapes.mask import is_plausible, join

BOX = np.array([10.0, 20.0, 30.0, 30.0])  # 20 x 10 pixels
WINDOW = (10, 20, 30, 30)


def mask(*rects: tuple[int, int, int, int]) -> np.ndarray:
    """Rectangles (x1, y1, x2, y2) in pixels of the box."""
    made = np.zeros((10, 20), bool)
    for x1, y1, x2, y2 in rects:
        made[y1:y2, x1:x2] = True
    return made


@pytest.mark.parametrize(
    ("found", "plausible"),
    [
        (mask((0, 0, 20, 10)), True),  # all of the box
        (mask((8, 4, 12, 6)), True),  # small in the middle
        (mask(), False),  # nothing
        (mask((3, 0, 20, 10)), True),  # centroid 1.5 of 3 allowed to the right
        (mask((7, 0, 20, 10)), False),  # 3.5 of 3
        (mask((0, 0, 13, 10)), False),  # and to the left
        (mask((0, 3, 20, 10)), True),  # 1.5 of 1.5 downward: not more
        (mask((0, 4, 20, 10)), False),
        (mask((0, 0, 20, 6)), False),  # upward
        (mask((0, 0, 9, 10), (11, 0, 20, 10)), False),  # a gap between columns
        (mask((0, 0, 20, 4), (0, 6, 20, 10)), False),  # and between rows
        (mask((0, 0, 10, 5), (10, 5, 20, 10)), True),  # two pieces that no profile tells apart
        (mask((0, 0, 20, 10)) ^ mask((5, 3, 15, 7)), True),  # a ring
    ],
)
def test_plausible(found: np.ndarray, plausible: bool) -> None:
    assert is_plausible(found, BOX, WINDOW) is plausible


def test_the_centroid_is_measured_in_the_picture_not_in_the_window() -> None:
    box = np.array([10.9, 20.0, 14.9, 24.0])  # touches columns 10 to 14
    found = np.zeros((4, 5), bool)
    found[:, 0:3] = True  # centroid 11.5, center 12.9: 1.4 of 0.6
    assert not is_plausible(found, box, (10, 20, 15, 24))
    assert is_plausible(np.ones((4, 5), bool), box, (10, 20, 15, 24))


def test_masks_join_and_implausible_ones_become_boxes() -> None:
    boxes = np.array([[2.5, 1.5, 6.5, 5.5], [10, 1, 14, 5], [5, 4, 9, 8]], np.float32)
    masks = [np.zeros((5, 5), bool), np.zeros((4, 4), bool), np.eye(4, dtype=bool)]
    masks[0][1:4, 1:4] = True
    joined, whole = join((10, 16), boxes, masks)
    expected = np.zeros((10, 16), bool)
    expected[2:5, 3:6] = True
    expected[1:5, 10:14] = True  # nothing was found there
    expected[4:8, 5:9] |= np.eye(4, dtype=bool)
    np.testing.assert_array_equal(joined, expected)
    assert whole == 1


def test_masks_of_another_form_are_a_programming_error() -> None:
    boxes = np.array([[2, 1, 6, 5]], np.float32)
    with pytest.raises(ValueError, match="expected a mask of shape"):
        join((10, 16), boxes, [np.zeros((4, 5), bool)])
    with pytest.raises(ValueError):
        join((10, 16), boxes, [])


def test_no_objects() -> None:
    joined, whole = join((4, 5), np.zeros((0, 4), np.float32), [])
    assert (joined.shape, joined.any(), whole) == ((4, 5), False, 0)
