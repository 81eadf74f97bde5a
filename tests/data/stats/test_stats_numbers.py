"""Every number of the statistics against loops that know nothing of flat columns."""

from __future__ import annotations

import itertools
import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stats_factory import dataset, random_dataset, squares

from finespot.data import stats
from finespot.data.dataset import Dataset
from finespot.data.stats.columns import gather
from finespot.data.stats.grid import tiles
from finespot.data.stats.summary import AI_TOD, COCO, PERCENTILES, Spread, Summary
from finespot.errors import FineSpotError
from finespot.images import letterbox
from finespot.inference.prepare import Scaling, place
from finespot.structures import Annotations, Boxes, Tile, Tiling
from finespot.tiling import windows

SEEDS = st.integers(0, 10_000)
TILINGS = st.sampled_from([None, Tiling(None), Tiling(64, 0.0), Tiling(200, 0.25), Tiling(512, 0.5)])


def truths(datasets: list[Dataset]) -> list[Annotations]:
    """The objects of each picture."""
    found = [one.annotations(index) for one in datasets for index in range(len(one))]
    return [one.select(~one.ignore) for one in found]


def iou(a: list[float], b: list[float]) -> float:
    wide, high = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    shared = max(wide, 0) * max(high, 0)
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


def check_spread(spread: Spread | None, values: list[float], tolerance: float = 1e-9) -> None:
    if not values:
        assert spread is None
        return
    assert spread is not None
    ordered = sorted(values)
    assert spread.mean == pytest.approx(sum(values) / len(values), rel=tolerance)
    assert (spread.least, spread.most) == pytest.approx((ordered[0], ordered[-1]), rel=tolerance)
    for percent in PERCENTILES:
        place = (len(ordered) - 1) * percent / 100
        low = math.floor(place)
        high = min(low + 1, len(ordered) - 1)
        expected = ordered[low] + (ordered[high] - ordered[low]) * (place - low)
        assert spread.at(percent) == pytest.approx(expected, rel=tolerance, abs=1e-9)


def sides_of(boxes: Boxes) -> list[tuple[float, float]]:
    return [(float(x2) - float(x1), float(y2) - float(y1)) for x1, y1, x2, y2 in boxes]


@pytest.mark.slow
@given(SEEDS, SEEDS, TILINGS, st.sampled_from([320, 640]))
@settings(max_examples=40, deadline=None)
def test_all_numbers(first: int, second: int, tiling: Tiling | None, imgsz: int) -> None:
    datasets = [random_dataset(first), random_dataset(second, "val")]
    measured = stats.measure(datasets, imgsz, tiling)
    assert set(measured.splits) == {"train", "val"}
    for summary, own in ((measured.splits["train"], datasets[:1]), (measured.splits["val"], datasets[1:])):
        check_counts(summary, own)
        check_sides(summary, own, imgsz, tiling)
    check_counts(measured.whole, datasets)
    check_sides(measured.whole, datasets, imgsz, tiling)
    check_patches(measured.whole, datasets)
    check_crowding(measured.whole, datasets)
    check_inputs(measured.whole, datasets, tiling)


def check_counts(summary: Summary, datasets: list[Dataset]) -> None:
    objects = truths(datasets)
    all_rows = [one.annotations(index) for one in datasets for index in range(len(one))]
    labels = Counter(int(label) for one in objects for label in one.labels)
    ignored = Counter(int(label) for one in all_rows for label in one.labels[one.ignore])
    assert summary.objects.tolist() == [labels[k] for k in range(3)]
    assert summary.ignored.tolist() == [ignored[k] for k in range(3)]
    assert summary.regions == ignored[-1]
    assert (summary.pictures, summary.total) == (len(objects), sum(labels.values()))
    assert summary.empty == sum(not len(one) for one in objects)
    assert dict(summary.sizes) == Counter(one.size for one in objects)
    counts = [count for _, count in summary.sizes]
    assert counts == sorted(counts, reverse=True)
    check_spread(summary.per_picture, [len(one) for one in objects])
    in_picture = [count for one in objects for count in Counter(one.labels.tolist()).values()]
    check_spread(summary.per_class, in_picture)
    for a, b in itertools.product(range(3), repeat=2):
        assert summary.together[a, b] == sum({a, b} <= set(one.labels.tolist()) for one in objects)


def check_sides(summary: Summary, datasets: list[Dataset], imgsz: int, tiling: Tiling | None) -> None:
    objects = truths(datasets)
    source = [wh for one in objects for wh in sides_of(one.boxes)]
    check_spread(summary.source.spread, [math.sqrt(w * h) for w, h in source])
    check_spread(summary.source.longer, [max(wh) for wh in source])
    check_spread(summary.aspect, [w / h for w, h in source])
    placed = []
    for one in objects:
        # What prediction does to the picture, or to its first tile.
        height, width = one.size
        tile = windows(one.size, tiling)[0]
        _, placement = place(np.zeros((height, width, 3), np.uint8), tile, Scaling(imgsz, 32, tiling))
        if tile == Tile((0, 0, width, height)) and (tiling is None or tiling.size is None):
            _, trained = letterbox(np.zeros((height, width, 3), np.uint8), (imgsz, imgsz))
            assert trained.scale == placement.scale
        scale_y, scale_x = placement.scale
        placed += [(w * scale_x, h * scale_y) for w, h in sides_of(one.boxes)]
    assert summary.network.wh == pytest.approx(np.array(placed).reshape(-1, 2))
    check_spread(summary.network.spread, [math.sqrt(w * h) for w, h in placed])
    labels = [int(label) for one in objects for label in one.labels]
    for sides, extents in ((summary.source, source), (summary.network, placed)):
        for bins, counted in ((AI_TOD, sides.ai_tod), (COCO, sides.coco)):
            expected = np.zeros((3, len(bins.names)), int)
            for (w, h), label in zip(extents, labels):
                side = math.sqrt(w * h)
                expected[label, sum(side >= edge for edge in bins.edges)] += 1
            assert np.array_equal(counted, expected)
        below = sum(math.sqrt(w * h) < 16 for w, h in extents)
        assert sides.below(16) == pytest.approx(below / max(len(extents), 1))


def check_patches(summary: Summary, datasets: list[Dataset]) -> None:
    objects = truths(datasets)
    position = np.zeros((8, 8))
    for number, one in enumerate(objects):
        height, width = one.size
        untouched = no_center = 0
        for row, column in itertools.product(range(8), repeat=2):
            top, left, low, right = (
                row * height / 8,
                column * width / 8,
                (row + 1) * height / 8,
                (column + 1) * width / 8,
            )
            boxes = one.boxes.astype(float).tolist()
            touched = any(x1 < right and x2 > left and y1 < low and y2 > top for x1, y1, x2, y2 in boxes)
            held = any(left <= (x1 + x2) / 2 < right and top <= (y1 + y2) / 2 < low for x1, y1, x2, y2 in boxes)
            untouched += not touched
            no_center += not held
            position[row, column] += not touched
        assert summary.patches.untouched[number] == pytest.approx(untouched / 64)
        assert summary.patches.without_center[number] == pytest.approx(no_center / 64)
        area = sum(w * h for w, h in sides_of(one.boxes))
        assert summary.patches.boxes[number] == pytest.approx(area / (height * width))
    assert summary.patches.position == pytest.approx(position / len(objects))


def check_crowding(summary: Summary, datasets: list[Dataset]) -> None:
    close = lost = 0
    for one in truths(datasets):
        boxes = one.boxes.astype(float).tolist()
        kept: list[int] = []
        for i, box in enumerate(boxes):
            close += any(iou(box, other) > 0.5 for j, other in enumerate(boxes) if j != i)
            if any(one.labels[j] == one.labels[i] and iou(boxes[j], box) > 0.7 for j in kept):
                lost += 1
            else:
                kept.append(i)
    assert (summary.overlapping, summary.suppressed) == (close, lost)


def check_inputs(summary: Summary, datasets: list[Dataset], tiling: Tiling | None) -> None:
    counts, cut = [], 0
    for one in truths(datasets):
        cuts = [tile.window for tile in windows(one.size, tiling)]
        boxes = one.boxes.astype(float).tolist()
        for left, top, right, low in cuts:
            counts.append(sum(left <= (x1 + x2) / 2 < right and top <= (y1 + y2) / 2 < low for x1, y1, x2, y2 in boxes))
        for x1, y1, x2, y2 in boxes:
            cut += not any(t[0] <= x1 and t[1] <= y1 and x2 <= t[2] and y2 <= t[3] for t in cuts)
    check_spread(summary.per_input, counts)
    assert (summary.inputs, summary.empty_inputs, summary.cut) == (len(counts), counts.count(0), cut)


def test_rows_are_those_of_the_annotations() -> None:
    one = random_dataset(4)
    for index in range(len(one)):
        part = slice(int(one.rows.starts[index]), int(one.rows.starts[index + 1]))
        assert np.array_equal(one.rows.boxes[part], one.annotations(index).boxes)


@pytest.mark.parametrize(
    ("side", "ai_tod", "coco"),
    [(1.99, 0, 0), (2, 1, 0), (8, 2, 0), (16, 3, 0), (31.99, 3, 0), (32, 4, 1), (64, 5, 1), (95.99, 5, 1), (96, 5, 2)],
)
def test_a_range_holds_its_lower_edge(side: float, ai_tod: int, coco: int) -> None:
    found = stats.measure([squares(side, 1)]).whole.source
    assert (found.ai_tod.argmax(), found.coco.argmax()) == (ai_tod, coco)


def test_ranges_are_named() -> None:
    assert AI_TOD.ranges == ("<2", "2-8", "8-16", "16-32", "32-64", "64+")
    assert COCO.ranges == ("<32", "32-96", "96+")


def test_no_objects_at_all() -> None:
    measured = stats.measure([dataset([((100, 200), []), ((50, 50), [((0, 0, 9, 9), -1, True)])])], 64)
    whole = measured.whole
    assert (whole.total, whole.empty, whole.regions, whole.overlapping, whole.suppressed) == (0, 2, 1, 0, 0)
    assert whole.source.spread is None
    assert measured.anchors is None
    assert whole.patches.untouched.tolist() == whole.patches.without_center.tolist() == [1.0, 1.0]


def test_many_objects_in_one_picture_and_none_in_its_neighbors() -> None:
    """Boxes at one place in different pictures do not overlap."""
    boxes = [((x, y, x + 4, y + 4), 0, False) for x in range(0, 200, 4) for y in range(0, 240, 4)]
    measured = stats.measure([dataset([((300, 300), boxes), ((300, 300), []), ((300, 300), boxes)])])
    assert measured.whole.per_picture.most == 3000
    assert (measured.whole.overlapping, measured.whole.suppressed, measured.whole.empty) == (0, 0, 1)
    assert measured.whole.crowded_classes == 2


@pytest.mark.parametrize(("start", "close"), [(49, 2), (51, 0)])
def test_a_neighbor_that_lies_inside(start: float, close: int) -> None:
    pair = [((0, 0, 100, 10), 0, False), ((start, 0, 100, 10), 1, False)]
    assert stats.measure([dataset([((100, 100), pair)])]).whole.overlapping == close


def test_a_center_on_the_edge_of_tiles_is_in_the_second() -> None:
    """So is one on the edge of patches."""
    one = dataset([((40, 80), [((35, 0, 45, 9), 0, False)])])
    found = stats.measure([one], 64, Tiling(40, 0.0)).whole
    assert (found.inputs, found.empty_inputs, found.per_input.most, found.cut) == (2, 1, 1, 1)
    assert tiles(found.columns, Tiling(40, 0.0)).counts.tolist() == [0, 1]
    assert found.patches.without_center.tolist() == [63 / 64]
    assert found.patches.untouched.tolist() == [60 / 64]


def test_a_part_counts_its_own_pictures() -> None:
    one, other = random_dataset(1), random_dataset(2, "val")
    _, columns = gather([one, other])
    part, (_, alone) = columns.part(1), gather([other])
    for name in ("sizes", "picture", "labels", "boxes", "ignored_picture", "ignored_labels"):
        assert np.array_equal(getattr(part, name), getattr(alone, name)), name


def test_learning_is_about_the_training_split() -> None:
    train, val = squares(20, 5), squares(40, 9, split="val")
    measured = stats.measure([val, train])
    assert measured.learned is measured.splits["train"]
    assert measured.whole.total == 14
    for without in ([val], [dataset([((9, 9), [])], 1), val]):
        measured = stats.measure(without)
        assert measured.learned is measured.whole
    assert stats.measure([val]).splits["val"].total == 9


def test_classes_are_counted_in_blocks_of_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    one = random_dataset(11)
    before = stats.measure([one]).whole.together
    monkeypatch.setattr("finespot.data.stats.summary._ENTRIES", 6)
    assert np.array_equal(stats.measure([one]).whole.together, before)


def test_pairs_are_looked_at_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    one = random_dataset(11)
    before = stats.measure([one]).whole.overlapping
    monkeypatch.setattr("finespot.data.stats.crowding._CHUNK", 3)
    assert stats.measure([one]).whole.overlapping == before > 0


@pytest.mark.parametrize(
    ("datasets", "imgsz", "said"),
    [
        ([squares(9, 1)], 650, "expected a multiple of the stride 32 but got 650; try 640"),
        ([squares(9, 1)], 0, "try 32"),
        ([], 640, "at least one split"),
        ([squares(9, 1), squares(9, 1, classes=2, split="val")], 640, "split 'val': expected the classes of split"),
        ([dataset([], 1)], 640, "split 'train': expected pictures but got none"),
    ],
)
def test_refused(datasets: list[Dataset], imgsz: int, said: str) -> None:
    with pytest.raises(FineSpotError, match=said):
        stats.measure(datasets, imgsz)
