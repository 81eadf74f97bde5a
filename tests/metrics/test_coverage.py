"""Coverage: against rasters and loops, worked examples, edges, and what cannot be measured."""

from __future__ import annotations

import json
import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from finespot.errors import FineSpotError
from finespot.metrics import Truth, coverage
from finespot.metrics.coverage import DEFINITIONS, union_area
from finespot.structures import Annotations, Classes, Tiling
from finespot.tiling import windows as tiles

CLASSES = Classes(("car", "person"))
SIZE = (24, 32)


def truth_of(*pictures, size=SIZE, ignore=None) -> Truth:
    """Pictures given as lists of boxes; `ignore` are rows of the first one."""
    marked = [
        Annotations(
            np.array(boxes, np.float32).reshape(-1, 4),
            np.zeros(len(boxes), np.int64),
            size,
            ignore=np.isin(np.arange(len(boxes)), ignore if number == 0 and ignore is not None else []),
        )
        for number, boxes in enumerate(pictures)
    ]
    return Truth.from_annotations(marked, CLASSES, list(range(len(pictures))))


def raster(windows, size) -> np.ndarray:
    """How many windows lie on each pixel."""
    count = np.zeros(size, int)
    for x1, y1, x2, y2 in windows:
        count[max(y1, 0) : max(y2, 0), max(x1, 0) : max(x2, 0)] += 1
    return count


def slow(pictures, windows, size, share) -> dict[str, float]:
    """The measures pixel by pixel and pair by pair, for boxes and windows in whole pixels inside the picture."""
    held = centered = total = 0
    sums, unions, idle_center, idle_overlap = [], [], [], []
    for boxes, own in zip(pictures, windows):
        count = raster(own, size)
        sums.append(count.sum() / count.size)
        unions.append((count > 0).mean())
        without_center = untouched = 0
        for box in boxes:
            total += 1
            covers = []
            for window in own:
                here = raster([window], size)[box[1] : box[3], box[0] : box[2]]
                covers.append(here.sum() / here.size)
            held += max(covers, default=0) >= share
            x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
            centered += any(x1 <= x < x2 and y1 <= y < y2 for x1, y1, x2, y2 in own)
        for x1, y1, x2, y2 in own:
            centers = [((a + c) / 2, (b + d) / 2) for a, b, c, d in boxes]
            without_center += not any(x1 <= x < x2 and y1 <= y < y2 for x, y in centers)
            untouched += not any(raster([box], size)[y1:y2, x1:x2].any() for box in boxes)
        if len(own):
            idle_center.append(without_center / len(own))
            idle_overlap.append(untouched / len(own))
    return {
        "BPR box": held / total if total else None,
        "BPR center": centered / total if total else None,
        "missing rate": 1 - held / total if total else None,
        "occupy with overlap": np.mean(sums),
        "occupy without overlap": np.mean(unions),
        "empty rate": 1 - np.mean(unions),
        "idle by center": np.mean(idle_center) if idle_center else None,
        "idle by overlap": np.mean(idle_overlap) if idle_overlap else None,
    }


@st.composite
def boxes(draw):
    x1, y1 = draw(st.integers(0, SIZE[1] - 1)), draw(st.integers(0, SIZE[0] - 1))
    return [x1, y1, draw(st.integers(x1 + 1, SIZE[1])), draw(st.integers(y1 + 1, SIZE[0]))]


pictures = st.lists(
    st.tuples(st.lists(boxes(), max_size=5), st.lists(boxes(), max_size=5)),
    min_size=1,
    max_size=3,
)


@pytest.mark.slow
@given(pictures, st.sampled_from([0.25, 0.5, 1.0]))
def test_as_the_raster_counts(data, share) -> None:
    truths, windows = [one for one, _ in data], [two for _, two in data]
    measured = coverage(truth_of(*truths), windows, share=share)
    expected = slow(truths, windows, SIZE, share)
    assert measured.values() == {
        name: None if value is None else pytest.approx(value, abs=1e-12) for name, value in expected.items()
    }


@pytest.mark.slow
@given(st.lists(boxes(), max_size=12))
def test_union_is_exact(windows) -> None:
    assert union_area(np.array(windows, float).reshape(-1, 4)) == (raster(windows, SIZE) > 0).sum()


def test_union_of_fractions_and_of_many() -> None:
    assert union_area(np.array([[0, 0, 0.5, 0.5], [0.25, 0.25, 1, 1]])) == 0.25 + 0.5625 - 0.0625
    steps = np.arange(600.0)
    stairs = np.stack([steps, steps, steps + 2, steps + 2], axis=1)
    assert union_area(stairs) == 600 * 4 - 599


@pytest.mark.parametrize(("count", "occupied"), [(1, 0.019), (5, 0.093), (10, 0.185), (28, 0.519), (56, 1.037)])
def test_windows_of_the_paper(count, occupied) -> None:
    """An eighth of 1536 x 864, rounded up to four cells of 8 px: 192 x 128; the last row overlaps the one above."""
    corners = [(x, min(y, 864 - 128)) for y in range(0, 864, 128) for x in range(0, 1536, 192)]
    windows = [[x, y, x + 192, y + 128] for x, y in corners[:count]]
    measured = coverage(truth_of([], size=(864, 1536)), [windows])
    assert measured.occupy_sum == pytest.approx(occupied, abs=5e-4)
    if count == 56:
        assert (measured.occupy_union, measured.empty_rate) == (1, 0)
        assert measured.occupy_sum == pytest.approx(7 * 128 / 864)


def test_a_margin_costs_what_it_adds() -> None:
    cores = [[x, y, x + 256, y + 256] for y in (256, 1024) for x in (256, 1024)]
    windows = np.array(cores) + np.array([-32, -32, 32, 32])
    truth = truth_of([[250, 250, 260, 260], [240, 240, 250, 250]], size=(2048, 2048))
    with_margin = coverage(truth, [windows], cores=[cores])
    alone = coverage(truth, [cores])
    assert with_margin.occupy_sum / alone.occupy_sum == pytest.approx((1 + 2 * 32 / 256) ** 2)
    # The second object lies in the margin: seen by a window, kept by no core.
    assert (with_margin.all.bpr_box, with_margin.all.bpr_center) == (1, 0)
    assert coverage(truth, [windows]).all.bpr_center == 1
    assert alone.all.bpr_box == 0


def test_the_windows_of_a_tiling_see_everything() -> None:
    rng = np.random.default_rng(0)
    corner = rng.uniform(0, 400, (200, 2))
    truth = truth_of(np.concatenate([corner, corner + rng.uniform(1, 20, (200, 2))], axis=1), size=(420, 420))
    plan = [np.array([tile.window for tile in tiles((420, 420), Tiling(128, 0.2))])]
    measured = coverage(truth, plan, share=1.0)
    assert (measured.all.bpr_box, measured.all.bpr_center, measured.occupy_union) == (1, 1, 1)
    assert measured.occupy_sum > 1


def test_one_window_must_hold_enough() -> None:
    truth = truth_of([[8, 8, 16, 16]])
    halves = [[0, 0, 12, 24], [12, 0, 32, 24]]
    assert coverage(truth, [halves]).all.bpr_box == 1
    assert coverage(truth, [halves], share=0.51).all.bpr_box == 0
    # The edge between them belongs to the right one.
    assert coverage(truth, [halves[:1]]).all.bpr_center == 0
    assert coverage(truth, [halves[1:]]).all.bpr_center == 1


def test_sizes_by_the_area_of_the_truth() -> None:
    truth = truth_of([[0, 0, 4, 4], [8, 8, 16, 16], [20, 0, 32, 24]])
    measured = coverage(truth, [[[0, 0, 10, 10]]], bins=(8, 16))
    assert [(one.label, one.objects, one.bpr_box) for one in measured.sizes] == [
        ("below 8", 1, 1),
        ("8 to 16", 1, 0),
        ("16 and more", 1, 0),
    ]
    assert [one.missing_rate for one in measured.sizes] == [0, 1, 1]
    masks = replace(truth, area=np.array([400.0, 1, 1]))
    assert [one.objects for one in coverage(masks, [[]], bins=(8, 16)).sizes] == [2, 0, 1]
    assert coverage(truth, [[]], bins=()).sizes[0].objects == 3


def test_what_is_ignored_does_not_count() -> None:
    pictures = [[[0, 0, 4, 4], [8, 8, 16, 16]], [[0, 0, 4, 4]]]
    windows = [[[8, 8, 16, 16]], [[0, 0, 8, 8], [8, 8, 16, 16]]]
    ignoring = coverage(truth_of(*pictures, ignore=[1]), windows)
    assert (ignoring.all.objects, ignoring.ignored, ignoring.all.bpr_box) == (2, 1, 0.5)
    assert ignoring.idle_center == 0.75
    assert coverage(truth_of(*pictures), windows).all.bpr_box == pytest.approx(2 / 3)


def test_order_of_rows_does_not_matter() -> None:
    truth = truth_of([[0, 0, 4, 4], [8, 8, 16, 16]], [[0, 0, 4, 4]])
    windows = [[[8, 8, 16, 16]], [[0, 0, 8, 8]]]
    assert coverage(truth.select([2, 1, 0]), windows) == coverage(truth, windows)


def test_borders_and_boxes_without_area() -> None:
    truth = truth_of([[32, 24, 32, 24], [5, 5, 5, 9]])
    assert coverage(truth, [[[16, 12, 32, 24]]]).all.bpr_center == 0.5
    assert coverage(truth, [[[16, 12, 31, 24]]]).all.bpr_center == 0
    assert coverage(truth, [[[0, 0, 6, 8]]]).all.bpr_box == 0.5


def test_what_lies_beyond_the_picture_occupies_nothing() -> None:
    measured = coverage(truth_of([]), [[[-16, -12, 16, 12], [40, 0, 50, 10]]])
    assert measured.occupy_sum == measured.occupy_union == 0.25


def test_pictures_without_windows_count_as_seen_nowhere() -> None:
    truth = truth_of([[0, 0, 4, 4]], [[0, 0, 4, 4]])
    measured = coverage(truth, [[], [[0, 0, 32, 24]]])
    assert (measured.occupy_sum, measured.empty_rate, measured.all.bpr_box) == (0.5, 0.5, 0.5)
    assert (measured.windows, measured.windows_mean, measured.windows_95) == (1, 0.5, pytest.approx(0.95))


def test_nothing_at_all() -> None:
    empty = coverage(truth_of([], []), [[], []])
    assert empty.all.bpr_box is None
    assert empty.occupy_sum == 0
    assert empty.idle_center is None
    assert set(coverage(truth_of(), []).values().values()) == {None}


def test_memory_is_bounded(monkeypatch) -> None:
    rng = np.random.default_rng(1)
    corner = rng.integers(0, 200, (500, 2))
    truth = truth_of(np.concatenate([corner, corner + 9], axis=1), size=(256, 256))
    windows = [np.concatenate([corner[::7], corner[::7] + 30], axis=1)]
    whole = coverage(truth, windows)
    monkeypatch.setattr(sys.modules["finespot.metrics.coverage"], "_AT_ONCE", 300)
    assert coverage(truth, windows) == whole


def test_every_number_is_explained() -> None:
    measured = coverage(truth_of([[0, 0, 4, 4]]), [[[0, 0, 16, 12]]], share=0.75)
    console = Console(width=200)
    with console.capture() as captured:
        console.print(measured.table())
    text = captured.get()
    for name in DEFINITIONS:
        assert f"{name}: " in text
    assert "holds 0.75 or more of the box's area" in text
    assert "occupy with overlap 0.250" in text
    assert "1 images, 1 objects, 0 ignored objects not counted, 1 windows" in text
    plain = json.loads(json.dumps(measured.to_json(), allow_nan=False))
    assert plain["values"]["BPR box"] == 1
    assert plain["sizes"][-1] == {
        "low": 128,
        "high": None,
        "objects": 0,
        "BPR box": None,
        "BPR center": None,
        "missing rate": None,
    }
    assert set(plain["values"]) < set(plain["definitions"])
    assert plain["windows_per_image"] == {"mean": 1, "percentile_95": 1}


def test_sizes_can_be_given() -> None:
    unknown = replace(truth_of([[0, 0, 4, 4]]), sizes=None)
    with pytest.raises(FineSpotError, match="does not say how large its pictures are; give sizes"):
        coverage(unknown, [[]])
    assert coverage(unknown, [[[0, 0, 8, 8]]], sizes=[(8, 16)]).occupy_sum == 0.5


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"share": 0}, "share: expected a share above 0 to 1 but got 0"),
        ({"bins": (16, 8)}, "bins: expected rising limits"),
        ({"bins": (0, 8)}, "bins: expected rising limits"),
        ({"sizes": [(8, 8), (8, 8)]}, r"sizes: expected sizes of shape \(1, 2\)"),
        ({"sizes": [(0, 8)]}, "whole pixels of 1 or more"),
        ({"windows": []}, "windows: expected windows of 1 pictures but got 0"),
        ({"windows": [[[0, 0, 8]]]}, r"windows of picture '0': expected shape \(n, 4\)"),
        ({"windows": [[[0, 0, np.nan, 8]]]}, "windows of picture '0': expected finite"),
        ({"windows": [[[8, 0, 8, 8]]]}, "windows of picture '0': expected x1 < x2"),
        ({"cores": [[[8, 0, 8, 8]]]}, "cores of picture '0': expected x1 < x2"),
    ],
)
def test_wrong_use(wrong, message) -> None:
    given = {"windows": [[]], **wrong}
    with pytest.raises(FineSpotError, match=message):
        coverage(truth_of([]), given.pop("windows"), **given)
