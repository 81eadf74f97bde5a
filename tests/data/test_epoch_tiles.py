"""Tiles while training: cut anew in every epoch, the same whatever workers and cache, as many in each."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from data_factory import MakeYolo
from loader_factory import EVERYTHING, assert_equal, loader

from finespot.data import Augment, Dataset, TileSettings, TrainLoader, open_dataset
from finespot.data import pictures as pictures_module
from finespot.data.pictures import Pictures
from finespot.data.tiles import epochs as epochs_module
from finespot.data.tiles import tile_dataset
from finespot.errors import FineSpotError
from finespot.structures import Tiling


@pytest.fixture
def large(make_yolo: MakeYolo) -> Dataset:
    """Four pictures of 200 x 330 pixels with an object of 20 x 10 px in the middle of all but the last."""
    return open_dataset(make_yolo({**dict.fromkeys("abc", "1 0.5 0.5 0.06 0.05"), "d": ""}, size=(200, 330)), "train")


def tiled(dataset: Dataset, **options: object) -> TrainLoader:
    tile = {"size": 96, "overlap": 0.25, "keep_empty": 0.5, **options.pop("tile", {})}  # type: ignore[dict-item]
    return loader(dataset, **{"imgsz": 96, "tile": TileSettings(**tile), **options})


def windows(loader: TrainLoader, epoch: int) -> list[tuple[int, ...]]:
    tiles = loader._maker.tiles
    assert tiles is not None
    plan = tiles._plan(epoch).windows
    return [(int(picture), *corners) for picture, corners in zip(plan.pictures, plan.corners.tolist())]


def test_tiles_of_an_epoch(large: Dataset) -> None:
    one = tiled(large)
    # The grid has 3 x 5 windows a picture; in three pictures the object lies whole in some of them.
    full = one._maker.tiles.full  # type: ignore[union-attr]
    assert one._count == full + round(0.5 * (60 - full))
    for epoch in range(3):
        batches = list(one.epoch(epoch, Augment()))
        assert len(batches) == len(one)
        assert sum(map(len, batches)) == one._count
        plan = windows(one, epoch)
        assert [index for batch in batches for index in batch.indices] == [index for index, *_ in plan]
        assert sum(shows(large, *row) for row in plan) >= full - 3


def shows(dataset: Dataset, index: int, *window: int) -> bool:
    """Whether a window shows 0.4 of an object."""
    x1, y1, x2, y2 = window
    boxes = np.clip(dataset.columns(index)[0], (x1, y1, x1, y1), (x2, y2, x2, y2))
    return bool(((boxes[:, 2:] - boxes[:, :2]).prod(1) >= 0.4 * 19.8 * 10 - 1e-3).any())


def test_tiles_lie_elsewhere_in_each_epoch_and_for_each_seed(large: Dataset) -> None:
    assert windows(tiled(large), 1) == windows(tiled(large), 1)
    for other in (windows(tiled(large), 2), windows(tiled(large, seed=1), 1)):
        assert set(other) != set(windows(tiled(large), 1))


@pytest.mark.parametrize(
    ("tile", "fewer"),
    [({"keep_empty": 0.0}, True), ({"overlap": 0.0}, True), ({"min_visible": 1.0}, True), ({"keep_empty": 1.0}, False)],
)
def test_tile_settings_have_effects(large: Dataset, tile: dict[str, float], fewer: bool) -> None:
    before, after = tiled(large)._count, tiled(large, tile=tile)._count
    assert after < before if fewer else after > before


def test_pixels_and_truth_of_tiles(large: Dataset) -> None:
    one = tiled(large, batch=1)
    for number, (batch, (index, *window)) in enumerate(zip(one.epoch(3, Augment.off()), windows(one, 3))):
        x1, y1, x2, y2 = window
        pixels = large.image(index).read((x1, y1, x2, y2))
        assert np.array_equal(batch.images[0, :1].permute(1, 2, 0).numpy(), pixels), number
        boxes = np.clip(large.columns(index)[0] - (x1, y1, x1, y1), 0, 96)
        boxes = boxes[(boxes[:, 2:] > boxes[:, :2]).all(1)]
        assert batch.targets is not None
        np.testing.assert_allclose(batch.targets.boxes.numpy(), boxes, atol=1e-4)
        assert batch.targets.ignore.tolist() == [not shows(large, index, *window)] * len(boxes)


@pytest.mark.slow
def test_same_tiles_with_workers_and_caches(large: Dataset, tmp_path: Path) -> None:
    for epoch, augment in ((0, EVERYTHING), (1, EVERYTHING.closed())):
        expected = list(tiled(large).epoch(epoch, augment))
        assert_equal(expected, list(tiled(large, workers=2).epoch(epoch, augment)))
        assert_equal(expected, list(tiled(large, cache="ram").epoch(epoch, augment)))
        for workers in (0, 2):
            cached = tiled(large, cache="disk", cache_folder=tmp_path, workers=workers)
            assert_equal(expected, list(cached.epoch(epoch, augment)))


@pytest.mark.slow
def test_tiles_do_not_depend_on_earlier_epochs(large: Dataset) -> None:
    """As a resumed run needs it."""
    through = tiled(large)
    batches = [list(through.epoch(epoch, EVERYTHING)) for epoch in range(3)]
    assert_equal(batches[2], list(tiled(large).epoch(2, EVERYTHING)))
    assert_equal(batches[1], list(through.epoch(1, EVERYTHING)))


@pytest.mark.parametrize("pool", [1, 1 << 30], ids=["a pool a file", "one pool"])
@pytest.mark.parametrize("world", [1, 2])
def test_files_are_decoded_once_an_epoch(
    large: Dataset, monkeypatch: pytest.MonkeyPatch, decoded: list[str], pool: int, world: int
) -> None:
    monkeypatch.setattr(epochs_module, "POOL_BYTES", pool)
    monkeypatch.setattr(pictures_module, "_RECENT_BYTES", 2 * 200 * 330)
    if pool > 1:
        monkeypatch.setattr(pictures_module, "_RECENT_BYTES", 4 * 200 * 330)
    list(tiled(large, world=world).epoch(0, EVERYTHING))
    assert sorted(decoded) == ["a.png", "b.png", "c.png", "d.png"]


def test_mosaics_of_tiles_are_made_of_one_pool(large: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(epochs_module, "POOL_BYTES", 1)
    tiles = tiled(large)._maker.tiles
    assert tiles is not None
    for tile in range(len(tiles)):
        pool, place = tiles.pool(0, tile)
        data = tiles.pool_dataset(0, pool)
        assert {data.path(i) for i in range(len(data))} == {large.path(tiles.picture(0, tile))}
        assert data.window(place) == windows(tiled(large), 0)[tile][1:]


def test_ranks_share_tiles(large: Dataset) -> None:
    count = tiled(large)._count
    loaders = [tiled(large, rank=rank, world=3, batch=2) for rank in range(3)]
    shares = [[index for request in one.requests(4, Augment()) for index in request.indices] for one in loaders]
    assert {len(share) for share in shares} == {-(-count // 3)}
    assert {index for share in shares for index in share} == set(range(count))
    assert all(len(one) == len(one.requests(4, Augment())) for one in loaders)


def test_pictures_smaller_than_a_tile_keep_their_scale(make_yolo: MakeYolo) -> None:
    dataset = open_dataset(make_yolo({"a": "0 0.5 0.5 0.5 0.5"}, size=(50, 60)), "train")
    for cache in (None, "ram"):
        batch = next(tiled(dataset, cache=cache).epoch(0, Augment.off()))
        shown = batch.images[0, 0].numpy()
        assert np.array_equal(shown[23:73, :60], dataset.image(0).read(None)[..., 0])
        assert (shown[23:73, 60:] == 114).all()
        assert batch.targets is not None
        assert batch.targets.boxes.tolist() == [[15, 23 + 12.5, 45, 23 + 37.5]]


def test_tiles_larger_than_the_input_are_reduced_like_pictures(make_yolo: MakeYolo) -> None:
    dataset = open_dataset(make_yolo({"a": "0 0.5 0.5 0.5 0.5"}, size=(300, 600)), "train")
    one = loader(dataset, imgsz=32, tile=TileSettings(size=300, overlap=0.5))
    assert one.notes == ["tile: 3 tiles of 300 px an epoch, 3 of them with objects, scaled by 0.107 to imgsz 32"]
    tiles = one._maker.tiles
    assert tiles is not None
    pictures = one._maker.pictures.of(tiles.pool_dataset(0, 0))
    assert pictures[0].factor == 4
    assert pictures[0].pixels.shape == (75, 75, 1)


def test_windows_of_one_file_are_decoded_together(make_yolo: MakeYolo, decoded: list[str]) -> None:
    """Without tiles, too: TinyPerson lists windows of its pictures."""
    corners = tile_dataset(open_dataset(make_yolo({"a": ""}, size=(200, 330)), "train"), Tiling(96, 0.25)).dataset
    batches = list(loader(corners, imgsz=96).epoch(0, EVERYTHING))
    assert decoded == ["a.png"]
    assert_equal(batches, list(loader(corners, imgsz=96, cache="ram").epoch(0, EVERYTHING)))
    assert Pictures(corners, 96).nbytes() == 200 * 330


def test_tiles_that_show_nothing_are_refused(make_yolo: MakeYolo) -> None:
    dataset = open_dataset(make_yolo({"a": ""}), "train")
    with pytest.raises(FineSpotError, match="tile: no tile shows an object, and none of the others is taken"):
        tiled(dataset, tile={"keep_empty": 0.0})
    assert len(tiled(dataset, tile={"keep_empty": 1.0})) > 0
    assert len(loader(dataset, tile=TileSettings())) == len(loader(dataset)), "no size, no tiles"
