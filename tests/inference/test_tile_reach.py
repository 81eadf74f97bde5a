"""What tiles that a seeker chooses show of objects, and the threshold with which they show nearly all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from test_seeker_heat import Brightness

from finespot.data import open_dataset
from finespot.errors import FineSpotError
from finespot.inference import Seeker, TileReach, calibrate_seeker, measure_reach
from finespot.inference.reach import shown
from finespot.nn.seeker import SeekerNet
from finespot.structures import Tile, Tiling
from finespot.tiling import cover, grid
from finespot.weights import SeekerCard

SIDE = 320
# Two bright spots that share a tile of 96 px, one apart, one pale, and one that nothing shows.
SPOTS = [(20, 20, 255), (60, 24, 120), (280, 280, 200), (30, 290, 140), (200, 60, 0)]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import json

    folder = tmp_path_factory.mktemp("spots")
    pixels = np.zeros((SIDE, SIDE, 3), np.uint8)
    boxes = []
    for number, (x, y, value) in enumerate(SPOTS, start=1):
        pixels[y - 4 : y + 4, x - 4 : x + 4] = value
        boxes.append({"id": number, "image_id": 1, "category_id": 1, "bbox": [x - 4, y - 4, 8, 8], "area": 64})
    (folder / "annotations").mkdir()
    (folder / "images" / "val").mkdir(parents=True)
    Image.fromarray(pixels).save(folder / "images" / "val" / "a.png")
    truth = {
        "images": [{"id": 1, "file_name": "a.png", "width": SIDE, "height": SIDE}],
        "annotations": [{**box, "iscrowd": 0} for box in boxes],
        "categories": [{"id": 1, "name": "spot"}],
    }
    (folder / "annotations" / "val.json").write_text(json.dumps(truth))
    return folder


def bright_seeker() -> Seeker:
    made = Seeker(SeekerNet(stride=4, width=4), SeekerCard(reduction=2, stride=4, width=4), threads=1)
    made._network = Brightness(4)
    return made


def test_what_shares_a_tile_is_reached_with_it(data: Path) -> None:
    dataset, tiling = open_dataset(f"coco:{data}", "val"), Tiling(96, 32)
    by_tiles = calibrate_seeker(bright_seeker(), dataset, 0.6, tiling=tiling)
    by_cells = calibrate_seeker(bright_seeker(), dataset, 0.6)
    # Three of five: the pale spot beside the bright one need not be hot itself.
    assert by_tiles.recall == by_cells.recall == 0.6
    assert by_tiles.threshold > by_cells.threshold
    assert (by_tiles.tile, by_tiles.overlap, by_tiles.margin) == (96, 32, None)
    assert by_tiles.tiles == 2 / len(grid((SIDE, SIDE), tiling))
    assert (by_cells.tile, by_cells.tiles, by_cells.margin) == (None, None, 32)
    assert by_tiles.hot < by_cells.hot


def test_all_objects_cost_all_tiles(data: Path) -> None:
    dataset, tiling = open_dataset(f"coco:{data}", "val"), Tiling(96, 32)
    every = calibrate_seeker(bright_seeker(), dataset, 1.0, tiling=tiling)
    assert (every.recall, every.tiles) == (1.0, 1.0)
    assert [(row.objects, row.reached) for row in every.sizes] == [(0, 0), (5, 5), (0, 0), (0, 0)]


@pytest.mark.parametrize("recall", [0.2, 0.4, 0.6, 0.8])
def test_no_higher_level_would_do(data: Path, recall: float) -> None:
    dataset, tiling = open_dataset(f"coco:{data}", "val"), Tiling(96, 32)
    reach = measure_reach(bright_seeker(), dataset, tiling)
    assert isinstance(reach, TileReach)
    threshold = reach.threshold(recall)
    assert reach.recall(threshold) >= recall
    above = [level for level in np.unique(reach.scores) if level > np.nextafter(np.float32(threshold), np.float32(1))]
    assert all(reach.recall(float(level) - 1e-6) < recall for level in above)


def test_reached_is_what_the_chosen_tiles_show(data: Path) -> None:
    dataset, tiling = open_dataset(f"coco:{data}", "val"), Tiling(96, 32)
    reach = measure_reach(bright_seeker(), dataset, tiling)
    assert isinstance(reach, TileReach)
    for threshold in (0.05, 0.3, 0.9):
        tiles = cover(reach.maps[0], threshold, tiling, (SIDE, SIDE))
        whole = [
            any(
                t.window[0] <= x - 4 and t.window[1] <= y - 4 and t.window[2] >= x + 4 and t.window[3] >= y + 4
                for t in tiles
            )
            for x, y, _ in SPOTS
        ]
        assert reach.reached(threshold).tolist() == whole
        assert reach.tiles(threshold) == len(tiles) / len(grid((SIDE, SIDE), tiling))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**6))
def test_shown_equals_a_slow_loop(seed: int) -> None:
    rng = np.random.default_rng(seed)
    corners = rng.integers(0, 60, (int(rng.integers(0, 6)), 2, 2))
    boxes = np.concatenate([corners.min(1), corners.max(1) + 1], 1).astype(np.float32)
    starts = rng.integers(0, 40, (int(rng.integers(0, 5)), 2)).tolist()
    tiles = [Tile((x, y, x + 20, y + 20)) for x, y in starts]
    for box, value in zip(boxes, shown(boxes, tiles), strict=True):
        most = 0.0
        for x1, y1, x2, y2 in (tile.window for tile in tiles):
            width, height = min(box[2], x2) - max(box[0], x1), min(box[3], y2) - max(box[1], y1)
            most = max(most, max(width, 0) * max(height, 0) / ((box[2] - box[0]) * (box[3] - box[1])))
        assert value == pytest.approx(most)


def test_nothing_is_cut(data: Path) -> None:
    with pytest.raises(FineSpotError, match="slice: chooses tiles, but nothing is cut"):
        calibrate_seeker(bright_seeker(), open_dataset(f"coco:{data}", "val"), tiling=Tiling(None))
