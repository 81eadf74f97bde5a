"""Each switch of augmentation has its effect, and only that."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest
from data_factory import MakeYolo

from finespot.data import Augment, open_dataset
from finespot.data.augment.compose import Composer
from finespot.data.augment.copy_paste import MAX_PASTES, paste_small
from finespot.data.augment.mixup import blend
from finespot.data.augment.parts import Part, Truth
from finespot.data.augment.warp import scaling
from finespot.data.pictures import Picture, Pictures
from finespot.errors import FineSpotError
from finespot.structures import Placement, Sample

ROOT = Path(__file__).parents[2] / "samples" / "hit-uav"
OFF = Augment.off()


@pytest.fixture(scope="module")
def pictures() -> Pictures:
    return Pictures(open_dataset(f"hit-uav:{ROOT}", "train"), 128)


def compose(pictures: Pictures, augment: Augment, seed: int = 0, index: int = 1) -> tuple[Sample, Placement]:
    out = np.zeros((128, 128, 3), np.uint8)
    return Composer(pictures, augment, 128).compose(index, np.random.default_rng(seed), out)


@pytest.mark.parametrize(
    "change",
    [
        {"degrees": 30},
        {"translate": 0.2},
        {"scale": 0.5},
        {"shear": 20},
        {"perspective": 0.001},
        {"flip_lr": 1},
        {"flip_ud": 1},
        {"mixup": 1},
        {"mosaic": 1},
        {"copy_paste": 1},
    ],
    ids=lambda change: next(iter(change)),
)
def test_geometry_switches_change_pixels_and_boxes(pictures: Pictures, change: dict[str, float]) -> None:
    plain, _ = compose(pictures, OFF)
    sample, _ = compose(pictures, msgspec.structs.replace(OFF, **change))
    assert not np.array_equal(plain.pixels, sample.pixels)
    assert plain.annotations.boxes.shape != sample.annotations.boxes.shape or not np.allclose(
        plain.annotations.boxes, sample.annotations.boxes
    )
    again, _ = compose(pictures, msgspec.structs.replace(OFF, **change))
    np.testing.assert_array_equal(again.pixels, sample.pixels)


def test_value_changes_pixels_but_not_boxes(pictures: Pictures) -> None:
    plain, _ = compose(pictures, OFF)
    bright, _ = compose(pictures, msgspec.structs.replace(OFF, hsv_v=0.4))
    assert not np.array_equal(plain.pixels, bright.pixels)
    np.testing.assert_array_equal(plain.annotations.boxes, bright.annotations.boxes)


def test_off_is_a_letterbox_that_says_where_the_picture_lies(pictures: Pictures) -> None:
    sample, placement = compose(pictures, OFF)
    truth = pictures.dataset.annotations(1)
    np.testing.assert_allclose(placement.to_input(truth.boxes), sample.annotations.boxes, atol=1e-3)
    assert (placement.scale, placement.offset) == ((102 / 512, 0.2), (13.0, 0.0))
    assert (sample.pixels[:13] == 114).all()


def test_flips_mirror_exactly(pictures: Pictures) -> None:
    plain, _ = compose(pictures, OFF)
    for change, axis in (({"flip_lr": 1.0}, 1), ({"flip_ud": 1.0}, 0)):
        flipped, _ = compose(pictures, msgspec.structs.replace(OFF, **change))
        np.testing.assert_array_equal(np.flip(flipped.pixels, axis), plain.pixels)
        low, high = (0, 2) if axis == 1 else (1, 3)
        np.testing.assert_allclose(
            128 - flipped.annotations.boxes[:, [high, low]], plain.annotations.boxes[:, [low, high]], atol=1e-4
        )


def test_mosaic_brings_four_pictures(pictures: Pictures) -> None:
    counts = [
        len(compose(pictures, msgspec.structs.replace(OFF, mosaic=1.0), seed)[0].annotations) for seed in range(12)
    ]
    assert max(counts) > len(compose(pictures, OFF)[0].annotations)


def test_closed_joins_no_pictures() -> None:
    closed = Augment(mixup=0.5, copy_paste=0.5, degrees=3).closed()
    assert (closed.mosaic, closed.mixup, closed.copy_paste, closed.degrees) == (0, 0, 0, 3)


def test_colored_and_gray_pictures_mix(make_yolo: MakeYolo, tmp_path: Path) -> None:
    import PIL.Image

    file = make_yolo({"a": "0 0.5 0.5 0.1 0.1", "b": "1 0.5 0.5 0.1 0.1"})
    PIL.Image.new("RGB", (200, 100), (250, 10, 10)).save(tmp_path / "images/train/a.png")
    mixed = Pictures(open_dataset(file, "train"), 128)
    for augment in (Augment(mixup=1), Augment(mosaic=0, mixup=1, copy_paste=1), Augment(degrees=5, copy_paste=1)):
        for seed in range(4):
            sample, _ = compose(mixed, augment, seed, index=seed % 2)
            assert sample.pixels.shape == (128, 128, 3)


def test_blend_weighs() -> None:
    first, second = np.full((2, 2, 1), 100, np.uint8), np.full((2, 2, 3), 200, np.uint8)
    assert blend(first, second, 0.25).tolist() == np.full((2, 2, 3), 175).tolist()


def donor(boxes: list[list[float]], ignore: list[bool] | None = None) -> Part:
    pixels = np.full((100, 100, 1), 10, np.uint8)
    for x1, y1, x2, y2 in np.array(boxes, int).reshape(-1, 4):
        pixels[y1:y2, x1:x2] = 240
    flags = np.zeros(len(boxes), bool) if ignore is None else np.array(ignore)
    truth = Truth(np.array(boxes, np.float64).reshape(-1, 4), np.arange(len(boxes)), flags)
    return Part(Picture(pixels, 1), (100, 100), truth, np.eye(3))


NOTHING = Truth(np.zeros((0, 4)), np.zeros(0, np.int64), np.zeros(0, bool))


@pytest.mark.parametrize("scale", [0.7, 1.0, 1.6])
def test_pasted_objects_are_where_their_boxes_say(scale: float) -> None:
    canvas = np.full((200, 200, 1), 60, np.uint8)
    for seed in range(5):
        pasted = paste_small(canvas, NOTHING, donor([[30, 40, 42, 50]]), scale, np.random.default_rng(seed))
        assert 1 <= pasted.pasted <= MAX_PASTES
        assert (canvas == 60).all(), "the canvas given stays"
        inside = np.zeros((200, 200), bool)
        for x1, y1, x2, y2 in pasted.truth.boxes:
            assert x2 - x1 == pytest.approx(12 * scale)
            inside[int(y1) : int(np.ceil(y2)), int(x1) : int(np.ceil(x2))] = True
            assert (pasted.canvas[int(y1) + 2 : int(y2) - 2, int(x1) + 2 : int(x2) - 2] > 200).all()
        assert pasted.canvas[..., 0][~inside].max() < 150
        assert pasted.truth.labels.tolist() == [0] * pasted.pasted


def test_pasted_objects_touch_nothing() -> None:
    taken = Truth(np.array([[0, 0, 100, 200.0]]), np.array([-1]), np.array([True]))
    canvas = np.zeros((200, 200, 1), np.uint8)
    for seed in range(20):
        boxes = paste_small(canvas, taken, donor([[30, 40, 42, 50]]), 2, np.random.default_rng(seed)).truth.boxes[1:]
        assert (boxes[:, 0] >= 100).all()
        for row, box in enumerate(boxes):
            others = np.delete(boxes, row, axis=0)
            apart = (others[:, :2] >= box[2:]).any(axis=1) | (others[:, 2:] <= box[:2]).any(axis=1)
            assert apart.all()


@pytest.mark.parametrize(
    ("boxes", "ignore"),
    [
        ([[30, 30, 70, 70]], None),
        ([[0, 30, 8, 38]], None),
        ([[30, 30, 40, 40], [38, 30, 48, 40]], None),
        ([[30, 30, 40, 40]], [True]),
        ([], None),
    ],
    ids=["large", "cut", "overlapping", "ignore", "none"],
)
def test_what_is_never_pasted(boxes: list[list[float]], ignore: list[bool] | None) -> None:
    canvas = np.zeros((50, 50, 1), np.uint8)
    pasted = paste_small(canvas, NOTHING, donor(boxes, ignore), 1, np.random.default_rng(0))
    assert pasted.pasted == 0
    assert pasted.canvas is canvas


def test_full_canvas_takes_nothing() -> None:
    full = Truth(np.array([[0, 0, 50, 50.0]]), np.array([0]), np.array([False]))
    pasted = paste_small(np.zeros((50, 50, 1), np.uint8), full, donor([[30, 30, 40, 40]]), 1, np.random.default_rng(0))
    assert pasted.pasted == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mosaic": 1.5}, "augment.mosaic: expected a value from 0 to 1 but got 1.5"),
        ({"scale": 1.0}, "augment.scale: expected a value from 0 to 0.95"),
        ({"hsv_h": -0.1}, "augment.hsv_h"),
        ({"degrees": float("nan")}, "augment.degrees: expected a number"),
        ({"flip_lr": True}, "augment.flip_lr: expected a number"),
        ({"flip_ud": "yes"}, "augment.flip_ud: expected a number"),
    ],
)
def test_values_out_of_range(change: dict[str, object], message: str) -> None:
    with pytest.raises(FineSpotError, match=message):
        Augment(**change)  # type: ignore[arg-type]


def test_unknown_keys_are_refused() -> None:
    with pytest.raises(msgspec.ValidationError, match="mosiac"):
        msgspec.convert({"mosiac": 1.0}, Augment)


def test_upright_matrix() -> None:
    assert scaling(2, 3, 4, 5).tolist() == [[2, 0, 4], [0, 3, 5], [0, 0, 1]]
