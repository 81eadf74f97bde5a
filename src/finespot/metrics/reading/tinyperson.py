"""Detections in windows of TinyPerson's pictures, joined as TinyBenchmark joins them (its corner files).

A record of a corner file is a window, `corner` [x1, y1, x2, y2] of a picture. Boxes are moved by the corner in double,
rounded to single precision, and those of all windows of a picture, in the order of the corner file, go once through
suppression: without regard to classes, with widths that count a pixel more, of an overlap of 0.5 or more. What stays
keeps this order, not that of the scores.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from finespot.errors import FineSpotError
from finespot.metrics.reading.coco import decode, read_results
from finespot.metrics.reading.pictures import place_of, places
from finespot.metrics.tables import ImageId, Results, Truth

Rows = NDArray[np.int64]
Single = NDArray[np.float32]

OVERLAP = 0.5


class _Cut(msgspec.Struct, gc=False):
    id: ImageId
    file_name: str
    corner: tuple[float, float, float, float]


class _Old(msgspec.Struct, gc=False):
    id: ImageId
    file_name: str


class _CornerFile(msgspec.Struct, gc=False):
    images: list[_Cut]
    old_images: list[_Old] = []


def read_windows(path: Path, corners: Path, truth: Truth) -> Results:
    """COCO results of windows as detections of the truth's pictures.

    Pictures are found by the id that the corner file's `old_images` give to the file of a window, else by its name.

    Raises
    ------
    FineSpotError
        A file cannot be read, a record is wrong or names no window, or a window's picture is none of the truth's.
    """
    file: _CornerFile = decode(corners, _CornerFile, "a corner file: images with id, file_name and corner")
    windows = {one.id: index for index, one in enumerate(file.images)}
    if len(windows) < len(file.images):
        raise FineSpotError("expected windows of different ids but one occurs twice", where=corners)
    corner = np.array([one.corner for one in file.images], np.float64).reshape(-1, 4)
    if not np.isfinite(corner).all():
        raise FineSpotError("expected finite corners", where=corners)
    found = read_results(path, windows, truth.classes.original_ids)
    window = found.image
    # Pooled in the order of the corner file, each window's detections in file order.
    order = np.argsort(window, kind="stable")
    picture = _pictures(file, corners, truth)[window[order]]
    moved = found.boxes[order]
    start = corner[window[order], :2]
    boxes = np.concatenate([moved[:, :2] + start, moved[:, :2] + moved[:, 2:] + start], axis=1).astype(np.float32)
    keep = np.zeros(len(order), bool)
    by_picture = np.argsort(picture, kind="stable")
    for rows in np.split(by_picture, np.flatnonzero(np.diff(picture[by_picture])) + 1):
        keep[rows] = merge(boxes[rows], found.scores[order][rows].astype(np.float32))
    kept = boxes[keep]
    return Results(
        image=picture[keep],
        label=found.label[order][keep],
        boxes=np.concatenate([kept[:, :2], kept[:, 2:] - kept[:, :2]], axis=1).astype(np.float64),
        scores=found.scores[order][keep],
        notes=(*found.notes, f"{len(order)} detections of {len(windows)} windows joined to {int(keep.sum())}"),
    )


def merge(boxes: Single, scores: Single) -> NDArray[np.bool_]:
    """Which boxes (x1, y1, x2, y2) stay, all in single precision; of equal scores the first goes first."""
    order = np.argsort(-scores, kind="stable")
    one = np.float32(1)
    area = (boxes[:, 2] - boxes[:, 0] + one) * (boxes[:, 3] - boxes[:, 1] + one)
    keep = np.ones(len(boxes), bool)
    for position, row in enumerate(order):
        if not keep[row]:
            continue
        rest = order[position + 1 :]
        rest = rest[keep[rest]]
        low, high = np.maximum(boxes[row, :2], boxes[rest, :2]), np.minimum(boxes[row, 2:], boxes[rest, 2:])
        shared = np.maximum(high - low + one, np.float32(0)).prod(axis=1)
        keep[rest[shared / (area[row] + area[rest] - shared) >= np.float32(OVERLAP)]] = False
    return keep


def _pictures(file: _CornerFile, corners: Path, truth: Truth) -> Rows:
    """The position of each window's picture in the truth."""
    old = {one.file_name: one.id for one in file.old_images}
    known: dict[Any, int] = places(truth)
    found: list[int] = []
    for number, one in enumerate(file.images):
        key = old.get(one.file_name)
        where = f"{corners}: record {number} of images"
        found.append(known[key] if key in known else place_of(_stem(one.file_name), known, where))
    return np.array(found, np.int64)


def _stem(name: str) -> str:
    return PurePosixPath(name.replace("\\", "/")).stem


def needs_corners(path: Path) -> FineSpotError:
    """What to say where detections of windows come without their corner file."""
    return FineSpotError(
        "expected the corner file of the windows but got none",
        where=path,
        hint="give --corners FILE; detections of whole pictures are read as coco:PATH",
    )
