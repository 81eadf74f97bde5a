"""What a tiling says beyond its windows: the whole view, the operator, the scale of objects; and what is in memory."""

from __future__ import annotations

import gc
import tracemalloc
import weakref
from dataclasses import replace

import msgspec
import numpy as np
import pytest
import torch

from finespot import images, weights
from finespot.errors import FineSpotError
from finespot.inference import Entry, Model, Settings, pipeline, walk
from finespot.inference.prepare import Scaling, place, scale_notes
from finespot.runtimes import Session
from finespot.structures import Classes, Image, Tile, Tiling
from finespot.weights import Card, ObjectScale

CONF = 0.3
TILES = Tiling(256, 0.2)


@pytest.fixture(scope="module")
def pixels(samples):
    picture = images.open_image(samples / "images" / "val" / "1_70_70_0_07716.jpg")
    return images.to_rgb8(picture.read(None), 8)


class Still:
    """A session that finds nothing, or the middle of each window twice; counts what lives when it runs."""

    stride, classes, threads, device = 32, Classes(("thing",)), 1, torch.device("cpu")

    def __init__(self, suppress=True, find=False, watch=lambda: None) -> None:
        self.head, self.suppress, self.find, self.watch = self, suppress, find, watch
        self.shapes: list[tuple[int, ...]] = []

    def look(self, windows):
        self.shapes.append(tuple(windows.shape))
        self.watch()
        return windows

    def wait(self) -> None:
        pass

    def select(self, raw, conf, multi_label):
        high, wide = raw.shape[2:]
        box = 2 * [[wide / 4, high / 4, 3 * wide / 4, 3 * high / 4]] if self.find else []
        boxes = np.array(box, np.float32).reshape(-1, 4)
        one = boxes, np.full(len(boxes), 0.5, np.float32), np.zeros(len(boxes), np.int64)
        return [one] * len(raw)


def entry(name, make) -> Entry:
    shape = make().shape
    return Entry(name, lambda: Image(shape[:2], 3, 8, name, lambda window: make()))


def test_the_whole_view_has_a_scale_of_its_own() -> None:
    canvas = np.zeros((300, 900, 3), np.uint8)
    rule = Scaling(96, 32, Tiling(192, 0.0, whole=True))
    tile, placement = place(canvas, Tile((0, 0, 192, 192)), rule)
    assert (tile.shape[:2], placement.scale) == ((96, 96), (0.5, 0.5))
    whole, placement = place(canvas, Tile((0, 0, 900, 300), whole=True), rule)
    assert whole.shape[:2] == (32, 96)
    assert placement.scale == pytest.approx((32 / 300, 96 / 900))


@pytest.mark.slow
def test_the_whole_view_adds_a_window_and_its_detections(model, pixels) -> None:
    plain = next(model.predict(pixels, conf=CONF, tiling=TILES))
    count = model.timing.windows
    seen = next(model.predict(pixels, conf=CONF, tiling=replace(TILES, whole=True)))
    assert model.timing.windows == count + 1
    assert seen.boxes.tolist() != plain.boxes.tolist()


@pytest.mark.slow
def test_operator_and_metric_decide_what_is_left(model, pixels) -> None:
    def boxes(merge=None, metric=None, **options) -> list[list[float]]:
        tiling = replace(TILES, merge=merge, metric=metric)
        return next(model.predict(pixels, conf=CONF, iou=0.5, tiling=tiling, **options)).boxes.tolist()

    asked = [("greedy", None), ("greedy", "ios"), ("nmm", None), ("nmm", "ios"), ("nmm(transitive=true)", None),
             ("greedy(agnostic=true)", None), ("weighted", None), ("soft(method=linear)", "ios")]  # fmt: skip
    found = [boxes(*one) for one in asked]
    assert found[0] == boxes()
    assert all(one not in found[:place] for place, one in enumerate(found))
    assert boxes(nms="nwd") != found[0]
    assert boxes("greedy", nms="nwd") == found[0]
    assert model.notes[-1] == "nms nwd is left out: tiles are merged by greedy"
    boxes("soft")
    assert model.notes[-1] == "iou 0.5 is left out: soft takes no threshold"
    with pytest.raises(FineSpotError, match="merge-metric: has no effect on 'diou'"):
        boxes("diou", "ios")
    with pytest.raises(FineSpotError, match="unknown nms 'nmmm'"):
        boxes("nmmm")


@pytest.mark.slow
def test_a_weight_file_says_how_tiles_are_merged(detector, card, session, pixels) -> None:
    tiling = replace(TILES, overlap=64, whole=True, merge="nmm", metric="ios")
    read = Card.from_json(msgspec.structs.replace(card, tiling=tiling).to_json())
    assert read.tiling == tiling
    own = next(Model(Session(detector, card=read, threads=1)).predict(pixels, conf=CONF))
    given = next(Model(session).predict(pixels, conf=CONF, tiling=tiling))
    np.testing.assert_array_equal(own.boxes, given.boxes)
    assert own.boxes.tolist() != next(Model(session).predict(pixels, conf=CONF, tiling=TILES)).boxes.tolist()


def test_a_head_that_finds_no_doubles_is_merged_only_where_tiles_repeat() -> None:
    def found(suppress: bool, tiling: Tiling | None) -> int:
        settings = Settings(Scaling(64, 32, tiling), iou=0.3)
        one = [entry("a", lambda: np.zeros((64, 128, 3), np.uint8))]
        return len(next(walk(Still(suppress, find=True), one, settings)).detections)

    # Each window reports its middle twice.
    assert [found(True, None), found(False, None)] == [1, 2]
    # Five tiles, 16 px apart, whose middles share a third.
    assert [found(True, Tiling(64, 48)), found(False, Tiling(64, 48))] == [3, 3]


def test_whole_views_share_batches_too() -> None:
    """Ten pictures of six tiles and a view each, which has another shape: the tiles still fill their batches."""
    still = Still()
    entries = [entry(str(k), lambda: np.zeros((100, 200, 3), np.uint8)) for k in range(10)]
    outcomes = list(walk(still, entries, Settings(Scaling(64, 32, Tiling(64, 0.0, whole=True)), batch=8)))
    assert [one.detections.source for one in outcomes] == [str(k) for k in range(10)]
    tiles = [shape[0] for shape in still.shapes if shape[2:] == (64, 64)]
    assert sum(tiles) == 10 * 8
    assert tiles == [8] * 10
    views = [shape[0] for shape in still.shapes if shape[2:] == (32, 64)]
    assert sum(views) == 10
    assert len(views) <= 3


def test_parts_are_kept_where_asked_for() -> None:
    one = [entry("a", lambda: np.zeros((64, 128, 3), np.uint8))]
    rule = Scaling(64, 32, Tiling(64, 0.0))
    assert next(walk(Still(), one, Settings(rule))).parts == ()
    assert [part.window for part in next(walk(Still(), one, Settings(rule, keep_parts=True))).parts] == [
        (0, 0, 64, 64),
        (64, 0, 128, 64),
    ]


@pytest.mark.slow
def test_what_lives_is_one_picture_and_a_bounded_number_of_windows(monkeypatch) -> None:
    pictures: list[weakref.ref] = []
    alive: list[weakref.ref] = []
    most = {"windows": 0, "pictures": 0}

    def make() -> np.ndarray:
        array = np.zeros((640, 640, 3), np.uint8)
        gc.collect()
        pictures[:] = [one for one in pictures if one() is not None]
        pictures.append(weakref.ref(array))
        most["pictures"] = max(most["pictures"], len(pictures))
        return array

    def placed(*arguments):
        window, placement = place(*arguments)
        alive.append(weakref.ref(window))
        return window, placement

    def count() -> None:
        most["windows"] = max(most["windows"], sum(one() is not None for one in alive))

    size = 64 * 64 * 3
    monkeypatch.setattr(pipeline, "place", placed)
    monkeypatch.setattr(pipeline, "_READ_AHEAD_BYTES", 5 * size)
    entries = [Entry(str(k), lambda: Image((640, 640), 3, 8, "", lambda window: make())) for k in range(4)]
    list(walk(Still(watch=count), entries, Settings(Scaling(64, 32, Tiling(64, 0.0)), batch=4)))
    assert len(alive) == 400
    # Read ahead, one in the reader's hand, two batches, of which one runs.
    assert most["windows"] <= 5 + 1 + 2 * 4 + 1
    assert most["pictures"] == 1


@pytest.mark.slow
def test_peak_memory_of_a_large_picture() -> None:
    side = 10_000
    entries = [Entry("a", lambda: Image((side, side), 3, 8, "", lambda window: np.zeros((side, side, 3), np.uint8)))]
    tracemalloc.start()
    try:
        list(walk(Still(), entries, Settings(Scaling(640, 32, Tiling(640, 0.2)), batch=8)))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    batches = 4 * 8 * 640 * 640 * 3
    assert side * side * 3 < peak < side * side * 3 + pipeline._READ_AHEAD_BYTES + batches


@pytest.mark.parametrize(
    ("tiling", "imgsz", "words"),
    [
        (
            Tiling(320),
            640,
            "objects appear 2.0 times larger than there (there half of them have a side of 12 px or less)",
        ),
        (Tiling(320), 640, "tiles of 640 px show them alike"),
        (Tiling(640), 320, "2.0 times smaller"),
        (Tiling(640), 640, None),
        (Tiling(512), 640, None),
        (None, 640, None),
        (Tiling(None), 640, None),
    ],
)
def test_another_scale_than_in_training_is_said(card, tiling, imgsz, words) -> None:
    known = msgspec.structs.replace(card, imgsz=640, objects=ObjectScale(side=12.0, factor=1.0))
    tiled = msgspec.structs.replace(card, imgsz=640, tiling=Tiling(640))
    for one in (known, tiled):
        notes = scale_notes(Scaling(imgsz, 32, tiling), one)
        assert len(notes) == (words is not None)
        if words is not None and (one is known or "12 px" not in words):
            assert words in notes[0]
    assert scale_notes(Scaling(imgsz, 32, tiling), card) == []


def test_the_bundled_weights_know_their_scale() -> None:
    known = weights.read_card("hit-uav-n")
    (note,) = scale_notes(Scaling(640, 32, Tiling(256)), known)
    assert "objects appear 2.5 times larger than there" in note
    assert scale_notes(Scaling(640, 32, Tiling(640)), known) == []


@pytest.mark.slow
def test_the_scale_is_said_in_prediction(detector, card, pixels) -> None:
    known = msgspec.structs.replace(card, objects=ObjectScale(side=12.0, factor=0.25))
    model = Model(Session(detector, card=known, threads=1))
    model.predict(pixels, tiling=Tiling(160))
    assert "4.0 times larger" in model.notes[-1]
    assert model.info()["objects"] == {"side": 12.0, "factor": 0.25}
