"""A seeker on pictures: cells that part all of any picture, what is reached, and the threshold that reaches it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor, nn

from finespot import weights
from finespot.data import open_dataset
from finespot.errors import FineSpotError
from finespot.images import resize
from finespot.inference import (
    CellReach,
    Seeker,
    TileReach,
    calibrate_seeker,
    load_seeker,
    measure_reach,
    object_heat,
    reach_lines,
)
from finespot.inference.calibrate import highest_threshold
from finespot.nn.seeker import SeekerNet
from finespot.structures import Tiling
from finespot.weights import SeekerCalibration, SeekerCard


class Brightness(nn.Module):
    """In place of a network: the logit of a cell rises with its brightest pixel. It takes uint8, as networks do."""

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, pictures: Tensor) -> Tensor:
        return 10 * nn.functional.max_pool2d((pictures / 255).mean(1, keepdim=True), self.stride) - 5


def seeker(reduction: int = 4, stride: int = 8, found: SeekerCalibration | None = None, bright: bool = True) -> Seeker:
    torch.manual_seed(0)
    card = SeekerCard(reduction=reduction, stride=stride, width=4, calibration=found)
    made = Seeker(SeekerNet(stride=stride, width=4), card, threads=1)
    if bright:
        made._network = Brightness(stride)
    return made


CALIBRATION = SeekerCalibration(
    threshold=0.25, target=0.9, recall=0.95, margin=32, hot=0.1, objects=20, pictures=2, sizes=[], data="d", split="val"
)


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(st.integers(1, 300), st.integers(1, 300), st.sampled_from([1, 2, 4, 8]), st.sampled_from([4, 8]))
def test_any_picture_has_cells(height: int, width: int, reduction: int, stride: int) -> None:
    made = seeker(reduction, stride, bright=height % 2 == 0)
    heat = made.heat(np.zeros((height, width, 3), np.uint8))
    assert heat.dtype == np.float32
    assert heat.shape == made.grid((height, width))
    assert ((heat >= 0) & (heat <= 1)).all()
    cell = reduction * stride
    for side, count in zip((height, width), heat.shape):
        assert count >= 1
        assert count == 1 or abs(side / count - cell) <= cell / 2 / count + 1e-9


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(st.data())
def test_what_is_bright_is_hot_where_it_is(data: st.DataObject) -> None:
    height, width = data.draw(st.integers(40, 400)), data.draw(st.integers(40, 400))
    made = seeker(data.draw(st.sampled_from([1, 2, 4])))
    side = 2 * made.card.reduction
    y, x = data.draw(st.integers(0, height - side)), data.draw(st.integers(0, width - side))
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[y : y + side, x : x + side] = 255
    heat = made.heat(pixels)
    row, column = np.unravel_index(heat.argmax(), heat.shape)
    rows, columns = heat.shape
    # The middle of the spot is in the hottest cell, or no more than half a cell beside it.
    assert row - 0.5 <= (y + side / 2) * rows / height <= row + 1.5
    assert column - 0.5 <= (x + side / 2) * columns / width <= column + 1.5


def test_a_cell_is_an_equal_share_also_where_sides_do_not_fit() -> None:
    made = seeker(reduction=4)
    pixels = np.zeros((496, 368, 3), np.uint8)  # 15.5 and 11.5 cells of 32 px
    pixels[-8:, -8:] = 255
    heat = made.heat(pixels)
    assert heat.shape == (16, 12)
    assert heat.argmax() == heat.size - 1


def test_what_it_says_of_itself() -> None:
    plain, tuned = seeker(), seeker(found=CALIBRATION)
    assert (plain.threshold, plain.recall, plain.lost) == (0.5, None, None)
    assert (tuned.threshold, tuned.recall) == (0.25, 0.9)
    assert tuned.lost == pytest.approx(0.05)
    assert plain.parameters == sum(one.numel() for one in SeekerNet(width=4).parameters())


def test_a_file_gives_the_heat_of_its_network(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network, card = SeekerNet(width=4), SeekerCard(reduction=2, width=4)
    with torch.no_grad():
        network.predict.weight.mul_(100)  # type: ignore[operator, union-attr]
    path = weights.save_seeker(tmp_path / "s.safetensors", network, card, half=False)
    made = load_seeker(path, threads=1, precision="fp32")
    pixels = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)
    small = torch.from_numpy(resize(pixels, (32, 48))).permute(2, 0, 1)[None] / 255
    with torch.no_grad():
        expected = network.eval()(small.float()).sigmoid()[0, 0].numpy()
    np.testing.assert_allclose(made.heat(pixels), expected, atol=1e-4)
    assert np.ptp(expected) > 0.01
    assert made.threads == 1
    half = load_seeker(path, threads=1, precision="bf16")
    assert (made.precision, half.precision) == ("fp32", "bf16")
    np.testing.assert_allclose(half.heat(pixels), expected, atol=0.03)
    assert not np.array_equal(half.heat(pixels), made.heat(pixels))


@pytest.mark.slow
@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 1), np.uint8),
        np.zeros((4, 4, 3), np.float32),
        np.zeros((0, 4, 3), np.uint8),
    ],
)
def test_other_pixels_are_refused(pixels: NDArray[np.uint8]) -> None:
    with pytest.raises(FineSpotError, match="expected uint8 pixels"):
        seeker().heat(pixels)


def test_devices_and_threads_are_checked() -> None:
    network, card = SeekerNet(width=4), SeekerCard(reduction=2, width=4)
    with pytest.raises(FineSpotError, match="unknown device 'tpu'"):
        Seeker(network, card, device="tpu")
    with pytest.raises(FineSpotError, match="threads"):
        Seeker(network, card, threads=0)
    with pytest.raises(FineSpotError, match="unknown precision 'int4'"):
        Seeker(network, card, precision="int4")


@pytest.mark.parametrize("quick", [True, False])
def test_half_precision_where_the_processor_has_it(quick: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: quick, raising=False)
    made = Seeker(SeekerNet(width=4), SeekerCard(reduction=2, width=4), threads=1)
    assert made.precision == ("bf16" if quick else "fp32")


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_heat_of_objects_equals_a_slow_loop(data: st.DataObject) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 10**6)))
    rows, columns, height, width = (int(one) for one in rng.integers(1, 12, 4))
    height, width = height * 7, width * 5
    heat = rng.random((rows, columns)).astype(np.float32)
    corners = rng.random((int(rng.integers(0, 8)), 2, 2)) * [width, height]
    boxes = np.concatenate([corners.min(1), corners.max(1) + 0.25], 1).astype(np.float32)
    boxes = np.minimum(boxes, np.array([width, height] * 2, np.float32))
    margin = data.draw(st.sampled_from([0, 3, 1000]))
    found = object_heat(heat, boxes, (height, width), margin)
    assert found.shape == (len(boxes),)
    for box, value in zip(boxes.astype(np.float64) + np.array([-margin, -margin, margin, margin]), found):
        touched = []
        for row in range(rows):
            for column in range(columns):
                left, right = column * width / columns, (column + 1) * width / columns
                top, bottom = row * height / rows, (row + 1) * height / rows
                if box[0] < right and box[2] > left and box[1] < bottom and box[3] > top:
                    touched.append(heat[row, column])
        assert value == max(touched)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(1, 99), min_size=1, max_size=40),
    st.floats(0.05, 1.0),
)
def test_the_threshold_is_the_highest_that_reaches_enough(scores: list[int], recall: float) -> None:
    array = np.array(scores, np.float32) / 100
    threshold = highest_threshold(array, recall)
    reach = CellReach(array, np.ones(len(array)), [np.sort(array)])
    assert reach.recall(threshold) >= recall - 1e-9
    above = array[array > np.nextafter(np.float32(threshold), np.float32(1))]
    if len(above):
        assert (array >= above.min()).mean() < recall


def test_shares_and_sizes_equal_counts() -> None:
    rng = np.random.default_rng(3)
    scores, sides = rng.random(200).astype(np.float32), rng.uniform(1, 70, 200)
    sides[:4] = [8, 16, 32, 500]
    maps = [rng.random((5, 4)).astype(np.float32), rng.random((2, 3)).astype(np.float32)]
    reach = CellReach(scores, sides, [np.sort(one, axis=None) for one in maps])
    edge = float(np.sort(maps[0], axis=None)[7])
    assert reach.hot(edge) == pytest.approx(np.mean([(one >= np.float32(edge)).mean() for one in maps]))
    assert reach.recall(0.3) == (scores >= np.float32(0.3)).mean()
    rows = reach.by_size(0.3)
    assert [row.label for row in rows] == ["verytiny", "tiny", "small", "medium"]
    assert [(row.low, row.high) for row in rows] == [(0, 8), (8, 16), (16, 32), (32, None)]
    for row in rows:
        here = (sides >= row.low) & (sides < (row.high or np.inf))
        assert (row.objects, row.reached) == (here.sum(), (here & (scores >= np.float32(0.3))).sum())
    assert sum(row.objects for row in rows) == 200


def test_calibration_on_pictures(samples: Path) -> None:
    dataset = open_dataset(f"hit-uav:{samples}", "val")
    made = seeker(reduction=2)
    done: list[tuple[int, int]] = []
    some = calibrate_seeker(made, dataset, 0.8, progress=lambda one, all_: done.append((one, all_)))
    every = calibrate_seeker(made, dataset, 1.0)
    assert done == [(number, len(dataset)) for number in range(1, len(dataset) + 1)]
    assert some.threshold > every.threshold
    assert 0.8 <= some.recall < every.recall == 1.0
    assert some.hot < every.hot <= 1
    assert every.lost == 0
    assert (some.target, some.data, some.split, some.pictures) == (0.8, dataset.name, "val", len(dataset))
    assert some.objects == int((~dataset.rows.ignore).sum()) == sum(row.objects for row in some.sizes)
    reach = measure_reach(made, dataset)
    assert reach.recall(some.threshold) == some.recall
    assert f"{100 * some.lost:.1f} % lost" in reach_lines(some)[0]
    assert len(reach_lines(some)) == 5


@pytest.mark.parametrize("recall", [0.0, 1.01, float("nan")])
def test_recalls_out_of_range_are_refused(samples: Path, recall: float) -> None:
    with pytest.raises(FineSpotError, match="recall: expected a share above 0"):
        calibrate_seeker(seeker(), open_dataset(f"hit-uav:{samples}", "val"), recall)


def test_the_seeker_of_the_package_finds_the_samples(samples: Path) -> None:
    made = load_seeker("hit-uav-seeker", threads=1)
    assert weights.resolve("hit-uav-seeker").stat().st_size < 250_000
    assert made.parameters <= 100_000
    found = made.card.calibration
    assert found is not None
    assert found.recall >= found.target == 0.97
    assert found.tile == 256
    reach = measure_reach(made, open_dataset(f"hit-uav:{samples}", "val"), Tiling(256))
    assert isinstance(reach, TileReach)
    assert reach.recall(made.threshold) >= 0.9
    assert reach.hot(made.threshold) < 0.1
    assert reach.tiles(made.threshold) < 0.6
    assert "HIT-UAV" in made.card.data_licence
