"""The way back from tiles: what was found in them comes to the pictures once, as a sliced prediction would say it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from data_factory import save_picture
from memory_factory import CLASSES, OBJECT, made

import finespot
from finespot.data import Dataset, open_dataset
from finespot.data.formats.layout import Part
from finespot.data.tiles import Border, SplitTiles, TileIndex, merge_tiles, read_index, tile_dataset, untile
from finespot.data.tiles.back import Found
from finespot.data.tiles.tile import Tiled
from finespot.errors import FineSpotError
from finespot.images import open_image, to_rgb8
from finespot.structures import Tiling

SAMPLES = Path(__file__).parents[2] / "samples" / "hit-uav"


def index_of(data: Dataset, tiled: Tiled) -> SplitTiles:
    names = tuple(f"{tiled.dataset.image_id(i)}.png" for i in range(len(tiled.dataset)))
    return SplitTiles.of(data, tiled, Part("train", tiled.dataset, names))


def test_what_is_found_whole_comes_back_once() -> None:
    """A detector that finds exactly the truth of each tile."""
    rng = np.random.default_rng(0)
    corners = np.stack(np.meshgrid(np.arange(5, 360, 30), np.arange(5, 210, 30)), -1).reshape(-1, 2)
    boxes = np.concatenate([corners, corners + rng.uniform(4, 18, corners.shape)], 1)
    data = made(
        [((240, 400), [(tuple(box), int(label), False) for box, label in zip(boxes, rng.integers(0, 2, len(boxes)))])]
    )
    tiled = tile_dataset(data, Tiling(96, 0.2), border=Border(1.0, "drop"))
    records = []
    for i in range(len(tiled.dataset)):
        truth = tiled.dataset.annotations(i)
        for (x1, y1, x2, y2), label in zip(truth.boxes.astype(float).tolist(), truth.labels):
            records.append(
                Found(tiled.dataset.image_id(i), CLASSES.original_ids[label], (x1, y1, x2 - x1, y2 - y1), 0.5)
            )
    assert len(records) > len(boxes)
    merged = merge_tiles(records, index_of(data, tiled))
    assert {one["image_id"] for one in merged} == {"p0"}
    got = sorted((*one["bbox"], one["category_id"]) for one in merged)
    truth = data.annotations(0)
    wanted = sorted(
        (x1, y1, x2 - x1, y2 - y1, CLASSES.original_ids[label])
        for (x1, y1, x2, y2), label in zip(truth.boxes.astype(float).tolist(), truth.labels)
    )
    np.testing.assert_allclose(got, wanted, atol=1e-3)


def test_options_of_merging_have_effects() -> None:
    data = made([((100, 180), [OBJECT])])
    index = index_of(data, tile_dataset(data, Tiling(100, 0.2)))
    records = [
        Found("p0__0_0", 3, (85.0, 10.0, 10.0, 10.0), 0.5),
        Found("p0__80_0", 3, (5.0, 10.0, 10.0, 8.0), 0.7),
        Found("p0__80_0", 8, (5.0, 10.0, 10.0, 8.0), 0.6),
    ]
    assert [(one["score"], one["category_id"]) for one in merge_tiles(records, index)] == [
        (pytest.approx(0.7), 3),
        (pytest.approx(0.6), 8),
    ]
    assert len(merge_tiles(records, index, iou=0.9)) == 3
    assert len(merge_tiles(records, index, max_det=1)) == 1
    assert merge_tiles([], index) == []


@pytest.mark.slow
def test_merged_tiles_are_a_sliced_prediction() -> None:
    """The same network on the tiles one by one, unsuppressed, and on the picture cut while predicting.

    Boxes that reach over the border of their tile are cut in the first way: they are left out of the comparison.
    """
    model, tiling = finespot.load("hit-uav-n"), Tiling(320, 0.25)
    data = open_dataset(f"hit-uav:{SAMPLES}", "val")
    tiled = tile_dataset(data, tiling)
    compared = 0
    for picture in range(len(data)):
        pixels = to_rgb8(open_image(data.path(picture)).read(None))
        records = []
        for i in [i for i, origin in enumerate(tiled.origins) if origin.picture == picture]:
            x1, y1, x2, y2 = tiled.dataset.window(i) or (0, 0, 0, 0)
            tile = pixels[y1:y2, x1:x2].copy()
            found = next(iter(model.predict(tile, conf=0.2, iou=1.0, max_det=9999, imgsz=320)))
            records += [msgspec.convert(one, Found) for one in found.to_coco(tiled.dataset.image_id(i))]
        merged = merge_tiles(records, index_of(data, tiled))
        sliced = next(iter(model.predict(data.path(picture), conf=0.2, iou=0.7, tiling=tiling, imgsz=320)))
        assert abs(len(merged) - len(sliced)) <= 2
        rows = inner(merged, tiled)
        assert rows == inner(sliced.to_coco(data.image_id(picture)), tiled)
        compared += len(rows)
    assert compared > 20


def inner(records: list[dict[str, Any]], tiled: Tiled) -> list[tuple[float, ...]]:
    """Records as rounded rows, without those that touch the border of any tile."""
    lines = {(axis, side) for i in range(len(tiled.dataset)) for axis, side in enumerate(tiled.dataset.window(i) or ())}
    rows = []
    for one in records:
        x, y, w, h = one["bbox"]
        edges = [(axis % 2, line) for axis, line in lines]
        touches = any(
            min(abs(line - low), abs(line - high)) < 1.5 or low < line < high
            for axis, line in edges
            for low, high in [((x, x + w), (y, y + h))[axis]]
        )
        if not touches:
            rows.append((one["category_id"], round(one["score"], 3), *(round(value, 1) for value in (x, y, w, h))))
    return sorted(rows)


def write_coco_tiles(root: Path) -> Path:
    """Two pictures of 100 x 180 in one tile set, with the index, as `data tile` leaves them."""
    data = made([((100, 180), [OBJECT])])
    tiled = tile_dataset(data, Tiling(100, 0.2))
    images = [{"id": 7 + i, "file_name": f"p0_{80 * i}_0.png", "width": 100, "height": 100} for i in range(2)]
    (root / "annotations").mkdir(parents=True)
    categories = [{"id": 3, "name": "person"}, {"id": 8, "name": "car"}]
    (root / "annotations" / "val.json").write_text(
        json.dumps({"images": images, "annotations": [], "categories": categories})
    )
    for image in images:
        save_picture(root / "images" / "val" / str(image["file_name"]), (100, 100))
    part = Part("val", tiled.dataset, tuple(str(image["file_name"]) for image in images))
    TileIndex("coco:source", {"val": SplitTiles.of(data, tiled, part)}).write(root)
    return root


@pytest.mark.parametrize("ids", [("p0_0_0", "p0_80_0"), (7, 8)], ids=["names", "numbers"])
def test_a_result_file_of_tiles_comes_back(tmp_path: Path, ids: tuple[int | str, int | str]) -> None:
    root = write_coco_tiles(tmp_path / "tiles")
    found = tmp_path / "found.json"
    records = [
        {"image_id": ids[0], "category_id": 3, "bbox": [85, 10, 10, 10], "score": 0.5},
        {"image_id": ids[1], "category_id": 3, "bbox": [5, 10, 10, 10], "score": 0.75},
    ]
    found.write_text(json.dumps(records))
    assert untile(found, f"coco:{root}", "val") == [
        {"image_id": "p0", "category_id": 3, "bbox": [85, 10, 10, 10], "score": 0.75}
    ]
    assert read_index(root).source == "coco:source"


@pytest.mark.parametrize(
    ("content", "split", "message"),
    [
        ("[", "val", r"found\.json: expected a JSON list of COCO results"),
        ('[{"image_id": 7}]', "val", "expected a JSON list of COCO results .*category_id"),
        (
            '[{"image_id": 9, "category_id": 3, "bbox": [1, 1, 1, 1], "score": 1}]',
            "val",
            "no tile of the split 'val' has the image id 9",
        ),
        (
            '[{"image_id": 7, "category_id": 3, "bbox": [1, 1, -1, 1], "score": 1}]',
            "val",
            "record 1: expected sides of 0 or more",
        ),
        ("[]", "test", "unknown split 'test'; did you mean val"),
    ],
)
def test_results_that_cannot_be_brought_back(tmp_path: Path, content: str, split: str, message: str) -> None:
    root = write_coco_tiles(tmp_path / "tiles")
    (tmp_path / "found.json").write_text(content)
    with pytest.raises(FineSpotError, match=message):
        untile(tmp_path / "found.json", f"coco:{root}", split)


def test_an_index_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(FineSpotError, match=r"tiles\.json: expected the tiles\.json that .* it cannot be read"):
        read_index(tmp_path)
    (tmp_path / "tiles.json").write_text('{"source": "x", "splits": {}, "format_version": 9}')
    with pytest.raises(FineSpotError, match="expected format version 1 but got 9"):
        read_index(tmp_path)
