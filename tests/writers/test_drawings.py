"""Drawings: the object under the frame stays visible, options have effects, labels cover nothing."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image as Pillow

from finespot.errors import FineSpotError
from finespot.structures import Annotations, Classes, Detections
from finespot.writers import DrawingWriter, Stroke, draw, grid, outline, palette, side_by_side
from finespot.writers.drawings import auto_line_width

CLASSES = Classes(("car", "person", "boat"))
GRAY = np.full((120, 160, 3), 90, np.uint8)


def found(boxes, labels=None, scores=None) -> Detections:
    boxes = np.asarray(boxes, np.float32).reshape(-1, 4)
    labels = np.zeros(len(boxes)) if labels is None else labels
    return Detections(
        boxes, np.full(len(boxes), 0.5) if scores is None else scores, labels, (120, 160), CLASSES, "a.png"
    )


def changed(drawn) -> np.ndarray:
    return (drawn != GRAY).any(2)


@pytest.mark.parametrize("side", [1, 4, 8, 16])
@pytest.mark.parametrize("line_width", [None, 1, 3])
def test_nothing_of_the_object_is_covered(side, line_width) -> None:
    drawn = draw(GRAY, found([[70, 50, 70 + side, 50 + side]]), line_width=line_width)
    assert not changed(drawn)[50 : 50 + side, 70 : 70 + side].any()
    color = np.array(palette(3)[0])
    assert (drawn[49, 70 : 70 + side] == color).all()
    assert (drawn[50 + side, 70 : 70 + side] == color).all()
    assert (drawn[50 : 50 + side, 69] == color).all()


def test_the_input_is_not_changed() -> None:
    pixels = GRAY.copy()
    pixels.setflags(write=False)
    draw(pixels, found([[1, 1, 9, 9]]))
    np.testing.assert_array_equal(pixels, GRAY)


def test_nothing_to_draw() -> None:
    np.testing.assert_array_equal(draw(GRAY, found([])), GRAY)


def test_edges_and_boxes_without_area() -> None:
    draw(GRAY, found([[0, 0, 160, 120], [0, 0, 0, 0], [160, 120, 160, 120], [159, 0, 160, 1]]), line_width=4)


def test_line_width_has_an_effect() -> None:
    counts = [changed(draw(GRAY, found([[60, 40, 100, 80]]), line_width=w, labels=False)).sum() for w in (1, 2, 4)]
    assert counts[0] < counts[1] < counts[2]
    with pytest.raises(FineSpotError, match="line_width"):
        draw(GRAY, found([]), line_width=0)
    assert [auto_line_width(size) for size in ((512, 640), (2250, 4000), (120, 160))] == [1, 3, 1]


def test_labels_have_an_effect_and_cover_no_box() -> None:
    boxes = [[60, 40, 72, 52], [60, 60, 72, 72], [100, 40, 112, 52], [20, 20, 40, 40]]
    with_labels, without = (draw(GRAY, found(boxes), labels=flag) for flag in (True, False))
    assert changed(with_labels).sum() > changed(without).sum()
    for x1, y1, x2, y2 in boxes:
        assert not changed(with_labels)[y1:y2, x1:x2].any()


def test_a_crowd_gets_fewer_labels_not_hidden_objects() -> None:
    boxes = [[x, y, x + 5, y + 5] for x in range(2, 150, 8) for y in range(2, 110, 8)]
    drawn = draw(GRAY, found(boxes))
    for x1, y1, x2, y2 in boxes:
        assert not changed(drawn)[y1:y2, x1:x2].any()


def test_small_boxes_lie_over_large_ones() -> None:
    boxes = [[50, 50, 58, 58], [40, 58, 120, 110]]  # the large one's upper line runs under the small one's lower line
    drawn = draw(GRAY, found(boxes, [0, 1], [0.3, 0.9]), labels=False)
    assert (drawn[58, 50:58] == palette(3)[0]).all()


def test_colors_differ() -> None:
    for count in (1, 4, 10, 80, 400):
        assert len(set(palette(count))) == count
    assert palette(80)[:10] == palette(10)
    pair = [draw(GRAY, found([[60, 40, 72, 52]], [label]), labels=False) for label in (0, 1)]
    assert (pair[0] != pair[1]).any()


def test_truth_and_ignore_regions() -> None:
    truth = Annotations([[20, 20, 30, 30], [60, 40, 100, 80]], [1, -1], (120, 160), ignore=[False, True])
    drawn = draw(GRAY, truth, CLASSES)
    assert (drawn[19, 20:30] == palette(3)[1]).all()
    line = (drawn[39, 60:100] == 200).all(1)
    assert line.any()
    assert not line.all()  # dashed
    with pytest.raises(ValueError, match="classes"):
        draw(GRAY, truth)


def test_side_by_side() -> None:
    truth = Annotations([[20, 20, 30, 30]], [1], (120, 160))
    drawn = side_by_side(GRAY, truth, found([[60, 40, 72, 52]]))
    assert drawn.shape[0] > 120
    assert drawn.shape[1] == 160 + 2 + 160
    top = drawn.shape[0] - 120
    np.testing.assert_array_equal(drawn[top:, :160], draw(GRAY, truth, CLASSES))
    np.testing.assert_array_equal(drawn[top:, 162:], draw(GRAY, found([[60, 40, 72, 52]])))


def test_grid() -> None:
    images = [GRAY, GRAY[:60], GRAY]
    page = grid(images, [found([[20, 20, 30, 30]])] * 3, CLASSES)
    assert page.shape == (242, 322, 3)
    assert (page[122 + 19, 20:30] == palette(3)[0]).all()
    assert grid(images, [found([])] * 3, CLASSES, columns=3).shape == (120, 484, 3)
    with pytest.raises(ValueError):
        grid(images, [], CLASSES)


@pytest.mark.parametrize("extension", ["jpg", "png"])
def test_writer(tmp_path, extension) -> None:
    writer = DrawingWriter(line_width=2, labels=False, extension=extension)
    writer.open(tmp_path / "out")
    writer.write(found([[60, 40, 72, 52]]), GRAY)
    folder = writer.close()
    drawn = np.asarray(Pillow.open(folder / f"a.{extension}")).astype(int)
    expected = draw(GRAY, found([[60, 40, 72, 52]]), line_width=2, labels=False).astype(int)
    assert np.abs(drawn - expected).max() <= (0 if extension == "png" else 60)
    with pytest.raises(FineSpotError):
        DrawingWriter(extension="tif")


RED, BLUE = (255, 0, 0), (0, 0, 255)


@pytest.mark.parametrize("pattern", ["solid", "dashed", "dotted", "corners"])
@pytest.mark.parametrize("side", [4, 12, 40])
@pytest.mark.parametrize("width", [1, 2])
def test_outlines_leave_the_object_visible(pattern, side, width) -> None:
    drawn = outline(GRAY, [([[60, 40, 60 + side, 40 + side]], Stroke(RED, pattern, width, gap=2))])
    inside = drawn[40 : 40 + side, 60 : 60 + side]
    np.testing.assert_array_equal(inside, GRAY[40 : 40 + side, 60 : 60 + side])
    assert (drawn == RED).all(2).any()
    edge = 3 + width
    assert not changed(drawn)[: 40 - edge].any()
    assert not changed(drawn)[40 + side + edge :].any()


def test_patterns_differ_without_color() -> None:
    box = [[60, 40, 100, 80]]
    drawn = {
        pattern: (outline(GRAY, [(box, Stroke(RED, pattern, 2))]) == RED).all(2)
        for pattern in ("solid", "dashed", "dotted", "corners")
    }
    top = {pattern: shown[39, 58:102] for pattern, shown in drawn.items()}
    assert top["solid"].all()
    assert top["corners"][:14].all()
    assert not top["corners"][14:30].any()
    lengths = {pattern: np.diff(np.flatnonzero(np.diff(np.r_[0, top[pattern], 0]))) for pattern in top}
    assert lengths["dashed"][0] == 8
    assert set(lengths["dotted"][::2][:-1]) == {4}


def test_later_outlines_lie_over_earlier_ones_and_gaps_part_them() -> None:
    box = [[60, 40, 80, 60]]
    both = outline(GRAY, [(box, Stroke(RED)), (box, Stroke(BLUE))])
    assert not (both == RED).all(2).any()
    apart = outline(GRAY, [(box, Stroke(RED)), (box, Stroke(BLUE, gap=3))])
    assert (apart == RED).all(2).any()
    assert (apart == BLUE).all(2).any()


def test_outlines_beyond_the_picture() -> None:
    outside = [[-50, -50, -20, -20], [200, 10, 220, 20], [10, 300, 20, 320]]
    np.testing.assert_array_equal(outline(GRAY, [(outside, Stroke(RED))]), GRAY)
    assert changed(outline(GRAY, [([[-10, -10, 20, 20]], Stroke(RED, "corners", 2))])).any()
    np.testing.assert_array_equal(outline(GRAY, [(np.zeros((0, 4)), Stroke(RED))]), GRAY)
