"""The way back: from what was found in tiles to the pictures that they were cut from.

`tiles.json`, beside the tiles, says for each tile which picture it comes from and where it lies there. Suppression
happens once over all tiles of a picture, as in sliced prediction; so detections should come unsuppressed, or were
suppressed in each tile at the same threshold. One difference cannot be helped: what reached over the border of its
tile was cut there.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from finespot import tiling
from finespot.data.dataset import Dataset, find_format, open_dataset
from finespot.data.formats.layout import Part
from finespot.data.tiles.tile import Tiled
from finespot.errors import FineSpotError, unknown
from finespot.structures import Classes, Placement, Size, Window
from finespot.writers import write_atomic

INDEX = "tiles.json"
FORMAT_VERSION = 1


class Source(msgspec.Struct, frozen=True):
    """A picture that was cut: its id in its own data set and its (height, width)."""

    id: int | str
    size: Size


class SplitTiles(msgspec.Struct, frozen=True):
    """The tiles of a split: for each name (file name without extension) its picture's row and its window there."""

    pictures: list[Source]
    tiles: dict[str, tuple[int, Window]]

    @classmethod
    def of(cls, dataset: Dataset, tiled: Tiled, written: Part) -> SplitTiles:
        """Of a split that was cut, from the names under which its tiles are written."""
        pictures = [Source(dataset.image_id(i), dataset.size(i)) for i in range(len(dataset))]
        origins = {tiled.dataset.image_id(i): origin for i, origin in enumerate(tiled.origins)}
        tiles = {}
        for i, name in enumerate(written.names):
            origin = origins[written.dataset.image_id(i)]
            tiles[os.path.splitext(name)[0]] = (origin.picture, origin.window)
        return cls(pictures, tiles)


class TileIndex(msgspec.Struct, frozen=True):
    """Where all tiles of a data set come from, by split."""

    source: str
    splits: dict[str, SplitTiles]
    format_version: int = FORMAT_VERSION

    def write(self, folder: Path) -> Path:
        """Write `tiles.json` into the data set's folder."""
        return write_atomic(folder / INDEX, msgspec.json.encode(self))


class Found(msgspec.Struct, frozen=True):
    """One COCO result record."""

    image_id: int | str
    category_id: int
    bbox: tuple[float, float, float, float]
    score: float


def read_index(place: Path) -> TileIndex:
    """The index of the tiles at `place`, a data set's folder or its YAML file.

    Raises
    ------
    FineSpotError
        There is none, or it cannot be read.
    """
    file = (place if place.is_dir() else place.parent) / INDEX
    index: TileIndex = _decode(file, TileIndex, f"the {INDEX} that `finespot data tile` writes")
    if index.format_version > FORMAT_VERSION:
        raise FineSpotError(f"expected format version {FORMAT_VERSION} but got {index.format_version}", where=file)
    return index


def read_found(file: Path) -> list[Found]:
    """The records of a COCO result file.

    Raises
    ------
    FineSpotError
        The file cannot be read, or a record is none.
    """
    records: list[Found] = _decode(file, list[Found], "a JSON list of COCO results")
    for number, one in enumerate(records, 1):
        if min(one.bbox[2:]) < 0:
            raise FineSpotError(
                f"expected sides of 0 or more but got {list(one.bbox)}", where=f"{file}: record {number}"
            )
    return records


def named(records: Sequence[Found], tiles: SplitTiles, data: str | os.PathLike[str], split: str) -> list[Found]:
    """The records with the tiles' names as image ids, which are looked up in the data set where they are others.

    Raises
    ------
    FineSpotError
        An image id is neither a tile's name nor an id of the data set.
    """
    if all(one.image_id in tiles.tiles for one in records):
        return list(records)
    dataset = open_dataset(data, split)
    names: dict[int | str, str] = {name: name for name in tiles.tiles}
    for i in range(len(dataset)):
        names[dataset.image_id(i)] = os.path.splitext(os.path.basename(dataset.path(i)))[0]
    for one in records:
        if one.image_id not in names:
            raise FineSpotError(f"no tile of the split '{split}' has the image id {one.image_id!r}", where=data)
    return [msgspec.structs.replace(one, image_id=names[one.image_id]) for one in records]


def merge_tiles(
    records: Sequence[Found], tiles: SplitTiles, *, iou: float = 0.7, max_det: int | None = None
) -> list[dict[str, Any]]:
    """Detections in tiles (image ids are their names) as COCO result records of the pictures, in the pictures' order.

    Boxes move into their picture and are merged as in sliced prediction (`finespot.tiling.merge`): at most `max_det`
    a picture stay.
    """
    ids = sorted({one.category_id for one in records})
    if not ids:
        return []
    classes = Classes(tuple(map(str, ids)), tuple(ids))
    by_tile: dict[int | str, list[Found]] = defaultdict(list)
    for one in records:
        by_tile[one.image_id].append(one)
    parts: dict[int, list[tiling.Part]] = defaultdict(list)
    for name, (picture, window) in tiles.tiles.items():
        if name in by_tile:
            corner = float(window[0]), float(window[1])
            placement = Placement((1.0, 1.0), (0.0, 0.0), tiles.pictures[picture].size, corner)
            labels = {one: label for label, one in enumerate(ids)}
            parts[picture].append(_part(by_tile[name], placement, window, labels))
    merged: list[dict[str, Any]] = []
    for picture in sorted(parts):
        source = tiles.pictures[picture]
        found = tiling.merge(parts[picture], size=source.size, classes=classes, iou=iou, max_det=max_det)
        merged += found.to_coco(source.id)
    return merged


def untile(
    found: Path, data: str | os.PathLike[str], split: str, *, iou: float = 0.7, max_det: int | None = None
) -> list[dict[str, Any]]:
    """A COCO result file of the tiles `data`, `split` as result records of the pictures that they were cut from.

    Raises
    ------
    FineSpotError
        A file cannot be read, the data set has no index or no such split, or an image id is unknown.
    """
    index = read_index(find_format(data)[1])
    if split not in index.splits:
        raise unknown("split", split, index.splits, where=data)
    tiles = index.splits[split]
    return merge_tiles(named(read_found(found), tiles, data, split), tiles, iou=iou, max_det=max_det)


def _part(records: Sequence[Found], placement: Placement, window: Window, labels: Mapping[int, int]) -> tiling.Part:
    boxes = np.array([one.bbox for one in records], np.float64)
    boxes[:, 2:] += boxes[:, :2]
    return tiling.Part(
        placement,
        boxes.astype(np.float32),
        np.array([one.score for one in records], np.float32),
        np.array([labels[one.category_id] for one in records], np.int64),
        window,
    )


def _decode(file: Path, kind: Any, what: str) -> Any:
    try:
        return msgspec.json.decode(file.read_bytes(), type=kind)
    except OSError as error:
        raise FineSpotError(f"expected {what} but it cannot be read ({error.strerror})", where=file) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise FineSpotError(f"expected {what} ({error})", where=file) from error
