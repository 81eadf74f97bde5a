"""Sheets: panels in order, one color a class, titles and a legend outside the pictures, large pictures shrunk."""

from __future__ import annotations

import numpy as np
import pytest

from finespot.errors import FineSpotError
from finespot.structures import Annotations, Classes, Detections
from finespot.writers import draw, palette, sheet, write_drawing

CLASSES = Classes(("car", "person", "boat"))
GRAY = np.full((120, 160, 3), 90, np.uint8)
GAP = 4


def found(boxes, labels) -> Detections:
    return Detections(boxes, np.full(len(boxes), 0.5), labels, (120, 160), CLASSES, "a.png")


ONE = found([[20, 20, 60, 60]], [1])
TWO = found([[80, 40, 120, 90], [10, 90, 30, 110]], [0, 2])
TRUTH = Annotations([[20, 20, 60, 60], [0, 0, 9, 9]], [1, -1], (120, 160), ignore=[False, True])


def panels(page: np.ndarray, high: int, wide: int, columns: int, count: int) -> list[np.ndarray]:
    line = title_line(high, wide)
    tops = [line + number // columns * (line + high + GAP) for number in range(count)]
    lefts = [number % columns * (wide + GAP) for number in range(count)]
    return [page[top : top + high, left : left + wide] for top, left in zip(tops, lefts)]


def title_line(high: int, wide: int) -> int:
    page = sheet(np.full((high, wide, 3), 90, np.uint8), {"a": None}, CLASSES, side=0)
    return page.shape[0] - high - GAP


@pytest.mark.parametrize(("count", "columns", "expected"), [(1, None, 1), (3, None, 3), (4, None, 2), (5, None, 3)])
def test_every_panel_is_the_drawing_of_its_model(count, columns, expected) -> None:
    shown = {str(number): (ONE, TWO, TRUTH, None, ONE)[number] for number in range(count)}
    page = sheet(GRAY, shown, CLASSES, columns=columns)
    assert page.shape[1] == expected * 164 - GAP
    for cut, one in zip(panels(page, 120, 160, expected, count), shown.values()):
        np.testing.assert_array_equal(cut, GRAY if one is None else draw(GRAY, one, CLASSES))


def test_columns_side_lines_and_labels_have_effects() -> None:
    shown = {"a": ONE, "b": TWO}
    page = sheet(GRAY, shown, CLASSES)
    stacked = sheet(GRAY, shown, CLASSES, columns=1)
    assert stacked.shape[1] == 160
    np.testing.assert_array_equal(panels(stacked, 120, 160, 1, 2)[1], panels(page, 120, 160, 2, 2)[1])
    assert sheet(GRAY, shown, CLASSES, columns=9).shape == page.shape
    assert (sheet(GRAY, shown, CLASSES, line_width=3) != page).any()
    assert (sheet(GRAY, shown, CLASSES, labels=False) != page).any()
    assert sheet(GRAY, shown, CLASSES, side=80).shape[1] == 2 * 84 - GAP


def test_boxes_shrink_with_the_picture() -> None:
    page = sheet(GRAY, {"a": ONE}, CLASSES, side=80)
    (cut,) = panels(page, 60, 80, 1, 1)
    half = Detections([[10, 10, 30, 30]], [0.5], [1], (60, 80), CLASSES)
    np.testing.assert_array_equal(cut, draw(np.full((60, 80, 3), 90, np.uint8), half))
    assert sheet(GRAY, {"a": ONE}, CLASSES, side=0).shape[1] == 160
    assert sheet(np.repeat(GRAY, 10, 1), {"a": None}, CLASSES).shape[1] == 960


def colors_below(page: np.ndarray) -> set[int]:
    below = page[title_line(120, 160) + 120 + GAP :].reshape(-1, 3)
    return {label for label, color in enumerate(palette(3)) if (below == color).all(1).any()}


def test_the_legend_holds_what_occurs() -> None:
    assert colors_below(sheet(GRAY, {"a": ONE, "b": ONE}, CLASSES)) == {1}
    assert colors_below(sheet(GRAY, {"a": ONE, "b": TWO}, CLASSES)) == {0, 1, 2}
    assert colors_below(sheet(GRAY, {"truth": TRUTH, "b": None}, CLASSES)) == {1}
    assert colors_below(sheet(GRAY, {"a": None}, CLASSES)) == set()


def test_a_legend_too_wide_goes_on_below() -> None:
    classes = Classes(tuple(f"a class with a long name {number}" for number in range(3)))
    shown = Detections(TWO.boxes, TWO.scores, TWO.labels, TWO.size, classes)
    low, high = (sheet(GRAY, {"a": shown.select(rows)}, classes) for rows in ([0], [0, 1]))
    assert high.shape[0] - low.shape[0] == title_line(120, 160)


def test_titles_count_and_are_cut() -> None:
    line = title_line(120, 160)
    page = sheet(GRAY, {"a": ONE, "b": ONE}, CLASSES)
    titles = [page[:line, :160], page[:line, 164:]]
    assert (titles[0] != titles[1]).any()
    assert (sheet(GRAY, {"a": TWO}, CLASSES)[:line] != titles[0]).any(), "another count"
    long = sheet(GRAY, {"x" * 200: ONE, "b": ONE}, CLASSES)
    np.testing.assert_array_equal(long[:line, 160:], page[:line, 160:])
    assert (long[:line, 100:156] == 0).all(2).any(), "the count is still there"
    with pytest.raises(ValueError, match="at least one panel"):
        sheet(GRAY, {}, CLASSES)


def test_a_jpeg_has_limits(tmp_path) -> None:
    wide = np.zeros((1, 65_501, 3), np.uint8)
    with pytest.raises(FineSpotError, match="65501x1; write png instead"):
        write_drawing(tmp_path / "a.jpg", wide)
    assert write_drawing(tmp_path / "a.png", wide).is_file()
