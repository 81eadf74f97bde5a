"""Heat over pictures: cold places stay, hot ones are tinted, the bar says the maximum, every class has its folder."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image as Pillow

from finespot.errors import FineSpotError
from finespot.structures import Classes, Detections
from finespot.writers import HeatWriter, Names, heat_picture, overlay
from finespot.writers.windows import window_picture

GRAY = np.full((60, 400, 3), 90, np.uint8)
CLASSES = Classes(("car", "a/b", "a:b", "A_B"))


def found(labels=(), source: str = "p/a.png", size=(60, 400)) -> Detections:
    boxes = np.tile([10.0, 10.0, 20.0, 20.0], (len(labels), 1))
    return Detections(boxes, np.full(len(labels), 0.5), labels, size, CLASSES, source)


def spot(row: int = 40, column: int = 300, value: float = 2.0) -> np.ndarray:
    heat = np.zeros((60, 400), np.float32)
    heat[row, column] = value
    return heat


def test_only_what_is_hot_is_tinted() -> None:
    tinted = overlay(GRAY, spot())
    changed = (tinted != GRAY).any(2)
    assert changed.sum() == 1
    assert changed[40, 300]
    np.testing.assert_array_equal(overlay(GRAY, np.zeros((60, 400), np.float32)), GRAY)


def test_tint_follows_heat_and_its_maximum() -> None:
    heat = np.tile(np.linspace(0, 3, 400, dtype=np.float32), (60, 1))
    row = overlay(GRAY, heat)[0].astype(int)
    brightness = row @ [0.299, 0.587, 0.114]
    assert brightness[-1] > brightness[200] > brightness[100]
    np.testing.assert_array_equal(overlay(GRAY, 5 * heat), overlay(GRAY, heat))
    assert (overlay(GRAY, heat, peak=12.0) != overlay(GRAY, heat)).any()
    with pytest.raises(ValueError, match="expected heat of shape"):
        overlay(GRAY, heat.T)


def test_title_and_bar_stand_below_the_picture() -> None:
    page = heat_picture(GRAY, spot(), found([0]), "car, 1 found")
    assert page.shape[1] == 400
    below = page[60:]
    assert 15 < len(below) < 30
    assert (below[:, :100] == 0).all(2).any(), "text"
    assert (below.max(2).astype(int) - below.min(2) > 100).any(), "the colors of the bar"
    assert (page[:60] != overlay(GRAY, spot())).any(), "the box"
    other = heat_picture(GRAY, spot(value=3.0), found([0]), "car, 1 found")
    assert (other[60:] != below).any()
    np.testing.assert_array_equal(other[:60], page[:60])


def test_narrow_pictures_and_long_titles() -> None:
    small = GRAY[:, :40]
    page = heat_picture(small, spot()[:, :40], found(size=(60, 40)), "car")
    assert page.shape[1] == 360
    long = heat_picture(GRAY, spot(), found(), "car, 12 found: what raises the scores (hirescam of backbone.stage3)")
    assert len(long) > len(heat_picture(GRAY, spot(), found(), "car"))


def test_line_width_and_labels_have_effects() -> None:
    plain = heat_picture(GRAY, spot(), found([0]), "car")
    assert (heat_picture(GRAY, spot(), found([0]), "car", line_width=3) != plain).any()
    assert (heat_picture(GRAY, spot(), found([0]), "car", labels=False) != plain).any()


def test_the_bar_ends_at_the_peak_that_is_said() -> None:
    own, said = (heat_picture(GRAY, spot(value=0.5), found(), "car", peak=peak) for peak in (None, 1.0))
    np.testing.assert_array_equal(said[:60], overlay(GRAY, spot(value=0.5), 1.0))
    assert (own[:60] != said[:60]).any()
    np.testing.assert_array_equal(said[60:], heat_picture(GRAY, spot(value=1.0), found(), "car")[60:])


def test_a_flat_map_of_a_seeker_leaves_the_picture_to_be_seen() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (60, 400, 3)).astype(np.uint8)
    flat = np.full((60, 400), 0.05, np.float32)
    page = window_picture(pixels, flat, np.zeros((0, 4), np.float32), found())[:60]
    hot = window_picture(pixels, 20 * flat, np.zeros((0, 4), np.float32), found())[:60]
    contrasts = [one.std((0, 1)).mean() / pixels.std((0, 1)).mean() for one in (page, hot)]
    assert contrasts[0] > 0.8
    assert contrasts[1] == pytest.approx(0.2, abs=0.02)


@pytest.mark.parametrize("side", [7, 8, 20])
def test_every_window_is_drawn_however_many_there_are(side: int) -> None:
    y, x = (20 * one.flatten() + 2 for one in np.mgrid[:side, :side])
    windows, size = np.stack([x, y, x + 16, y + 16], axis=1).astype(np.float32), (20 * side, 20 * side)
    page = window_picture(np.zeros((*size, 3), np.uint8), np.zeros(size, np.float32), windows, found(size=size))
    green = (page == (60, 255, 120)).all(2)
    assert green[y, x].all()
    assert green[y + 15, x + 15].all()


class TestWriter:
    def test_a_folder_for_each_class(self, tmp_path) -> None:
        asked = []

        def explain(pixels, detections):
            asked.append(len(detections))
            return {label: spot() for label in set(detections.labels.tolist())}

        writer = HeatWriter(explain, "scores", extension="png")
        writer.open(tmp_path, Names())
        writer.write(found([0, 1, 1]), GRAY)
        writer.write(found([2, 3], "q/a.png"), GRAY)
        writer.write(found([], "q/none.png"), GRAY)
        assert writer.close() == tmp_path / "heat"
        assert asked == [3, 2]
        assert writer.empty == ["q/none.png"]
        written = sorted(str(p.relative_to(tmp_path / "heat")) for p in tmp_path.rglob("*.*"))
        assert written == ["A_B_3/a_2.png", "a_b/a.png", "a_b_2/a_2.png", "car/a.png"]
        expected = heat_picture(GRAY, spot(), found([1, 1]), "a/b, 2 found: scores")
        np.testing.assert_array_equal(np.asarray(Pillow.open(tmp_path / "heat" / "a_b" / "a.png")), expected)

    def test_format(self, tmp_path) -> None:
        with pytest.raises(FineSpotError, match="jpg or png"):
            HeatWriter(lambda pixels, detections: {}, "scores", extension="gif")
        writer = HeatWriter(lambda pixels, detections: {0: spot()}, "scores")
        writer.open(tmp_path)
        writer.write(found([0]), GRAY)
        assert Pillow.open(tmp_path / "heat" / "car" / "a.jpg").format == "JPEG"
        with pytest.raises(ValueError, match="pixels"):
            writer.write(found([0]), None)
