"""Annotations of COCO data sets as columns: from a file at once, or from the records of a dictionary.

The tables of the evaluation (`truth_table`, `results_table`) are made of the columns and of the pictures and categories
that are asked for. Records are taken as pycocotools takes them: `area` from the record, a flag `ignore` without effect.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from finespot.errors import FineSpotError
from finespot.metrics.tables import Flags, Floats, ImageId, Results, Rows, Truth
from finespot.structures import Classes

Record = dict[str, Any]


class _Object(msgspec.Struct, gc=False):
    id: int
    image_id: ImageId
    category_id: int
    bbox: tuple[float, float, float, float]
    area: float
    iscrowd: int | bool = 0


class _TruthFile(msgspec.Struct, gc=False):
    images: list[Record]
    categories: list[Record]
    annotations: list[_Object]


class _Found(msgspec.Struct, gc=False):
    image_id: ImageId
    category_id: int
    bbox: tuple[float, float, float, float]
    score: float


@dataclass(frozen=True)
class Columns:
    """Annotations, one row each. Results have `scores`, truth has None."""

    image: list[Any]
    category: list[Any]
    boxes: Floats
    area: Floats
    ids: Rows
    crowd: Flags
    scores: Floats | None


def truth_file(data: bytes) -> tuple[list[Record], list[Record], Columns] | None:
    """Pictures, categories and annotations of a file; None where it is not plainly a truth of boxes."""
    try:
        file = msgspec.json.decode(data, type=_TruthFile)
        records = file.annotations
        columns = Columns(
            image=[one.image_id for one in records],
            category=[one.category_id for one in records],
            boxes=_flat([one.bbox for one in records]),
            area=np.array([one.area for one in records], np.float64),
            ids=np.array([one.id for one in records], np.int64),
            crowd=np.array([bool(one.iscrowd) for one in records], np.bool_),
            scores=None,
        )
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, OverflowError):
        return None
    return file.images, file.categories, columns


def results_file(data: bytes) -> Columns | None:
    """The detections of a file; None where it is not plainly a list of them."""
    try:
        records = msgspec.json.decode(data, type=list[_Found])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    scores = np.array([one.score for one in records], np.float64)
    images, categories = [one.image_id for one in records], [one.category_id for one in records]
    return _numbered(images, categories, _flat([one.bbox for one in records]), scores)


def truth_columns(records: Sequence[Record]) -> Columns:
    """The annotations of a dictionary.

    Raises
    ------
    FineSpotError
        A record lacks a value, or has one of another kind.
    """
    return Columns(
        image=_column(records, "image_id", "truth"),
        category=_column(records, "category_id", "truth"),
        boxes=_boxes(records, "truth"),
        area=_numbers(records, "area", "truth", np.float64),
        ids=_numbers(records, "id", "truth", np.int64),
        crowd=np.array([bool(one.get("iscrowd", False)) for one in records], np.bool_),
        scores=None,
    )


def found_columns(records: Sequence[Record], where: object) -> Columns:
    """Detections that are not numbered yet. Raises as `truth_columns`."""
    images, categories = (_column(records, key, where) for key in ("image_id", "category_id"))
    return _numbered(images, categories, _boxes(records, where), _numbers(records, "score", where, np.float64))


def results_columns(records: Sequence[Record]) -> Columns:
    """The detections of a dictionary, with the ids that they have. Raises as `truth_columns`."""
    columns = found_columns(records, "results")
    area = _numbers(records, "area", "results", np.float64)
    other: Flags = area != columns.area
    _refuse(other, "results", lambda k: f"expected the area of the box, {columns.area[k]}, but got {area[k]}")
    return Columns(**{**vars(columns), "ids": _numbers(records, "id", "results", np.int64)})


def truth_table(columns: Columns, image_ids: Sequence[ImageId], category_ids: Sequence[int]) -> Truth:
    """The objects of these pictures and categories, labels being places in `category_ids`.

    Raises
    ------
    FineSpotError
        An impossible value, or an id that occurs twice.
    """
    if len(np.unique(columns.ids)) != len(columns.ids):
        raise FineSpotError("expected annotations of different ids but got one of them twice", where="truth")
    _check(columns.boxes, "truth")
    _refuse(~np.isfinite(columns.area), "truth", lambda k: "expected a finite area")
    image, label = _places(columns.image, image_ids), _places(columns.category, category_ids)
    keep = np.flatnonzero((image >= 0) & (label >= 0))
    return Truth(
        image_ids=tuple(image_ids),
        classes=Classes(tuple(str(key) for key in category_ids), tuple(category_ids)),
        image=image[keep],
        label=label[keep],
        boxes=columns.boxes[keep],
        area=columns.area[keep],
        crowd=columns.crowd[keep],
        ids=columns.ids[keep],
    )


def results_table(columns: Columns, image_ids: Sequence[ImageId], category_ids: Sequence[int]) -> tuple[Results, Rows]:
    """The detections in these pictures and of these categories, with the id of each row.

    Raises
    ------
    FineSpotError
        An impossible value.
    """
    scores = np.zeros(0) if columns.scores is None else columns.scores
    _check(columns.boxes, "results")
    _refuse(~np.isfinite(scores), "results", lambda k: "expected a finite score")
    image, label = _places(columns.image, image_ids), _places(columns.category, category_ids)
    keep = np.flatnonzero((image >= 0) & (label >= 0))
    return Results(image[keep], label[keep], columns.boxes[keep], scores[keep]), columns.ids[keep]


def array_records(rows: NDArray[Any]) -> list[Record]:
    """The detections of an array (N, 7) of picture id, x, y, w, h, score, category id."""
    if rows.ndim != 2 or rows.shape[1] != 7:
        raise FineSpotError(f"expected an array (N, 7) but got {rows.shape}", where="results")
    return [
        {"image_id": int(row[0]), "bbox": row[1:5], "score": row[5], "category_id": int(row[6])}
        for row in rows.tolist()
    ]


def _numbered(images: list[Any], categories: list[Any], boxes: Floats, scores: Floats) -> Columns:
    """Columns of detections with the ids 1, 2, 3, ... and the areas of their boxes."""
    return Columns(
        image=images,
        category=categories,
        boxes=boxes,
        area=boxes[:, 2] * boxes[:, 3],
        ids=np.arange(1, len(boxes) + 1),
        crowd=np.zeros(len(boxes), bool),
        scores=scores,
    )


def _places(keys: list[Any], wanted: Sequence[Any]) -> Rows:
    """The place of each key among those that are wanted; -1 for others."""
    place = {key: k for k, key in enumerate(wanted)}
    return np.array([place.get(key, -1) for key in keys], np.int64)


def _column(records: Sequence[Any], key: str, where: object) -> list[Any]:
    try:
        return [one[key] for one in records]
    except (KeyError, TypeError, IndexError) as error:
        number = next(k for k, one in enumerate(records) if not isinstance(one, Mapping) or key not in one)
        raise FineSpotError(f"record {number}: expected a record with '{key}'", where=where) from error


def _numbers(records: Sequence[Record], key: str, where: object, kind: Any) -> Any:
    values = _column(records, key, where)
    try:
        table = np.array(values, kind)
    except (TypeError, ValueError, OverflowError) as error:
        raise FineSpotError(f"expected one number of each record as '{key}' ({error})", where=where) from error
    if table.shape != (len(records),):
        raise FineSpotError(f"expected one number of each record as '{key}'", where=where)
    return table


def _boxes(records: Sequence[Record], where: object) -> Floats:
    rows = _column(records, "bbox", where)
    try:
        if any(len(row) != 4 for row in rows):
            raise ValueError("not four numbers")
        return _flat(rows)
    except (TypeError, ValueError) as error:
        raise FineSpotError(f"expected boxes [x, y, width, height] as 'bbox' ({error})", where=where) from error


def _flat(rows: Sequence[Any]) -> Floats:
    return np.fromiter(chain.from_iterable(rows), np.float64, count=4 * len(rows)).reshape(-1, 4)


def _check(boxes: Floats, where: object) -> None:
    endless: Flags = np.asarray(~np.isfinite(boxes).all(axis=1))
    _refuse(endless, where, lambda k: "expected a finite bbox")
    negative: Flags = boxes[:, 2:].min(axis=1, initial=0.0) < 0
    _refuse(negative, where, lambda k: f"a bbox of negative size, {boxes[k].tolist()}")


def _refuse(wrong: Flags, where: object, say: Callable[[int], str]) -> None:
    """Raise for the first wrong record."""
    if wrong.any():
        number = int(np.argmax(wrong))
        raise FineSpotError(f"record {number}: {say(number)}", where=where)
