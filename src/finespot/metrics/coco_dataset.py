"""COCO data sets: `COCO` answers the questions of pycocotools' class of that name.

Written after the documented behavior of pycocotools 2.0.11, for boxes only. What differs: nothing is printed, results
without any detection are allowed, and what cannot be read is one `FineSpotError`. Of a file, columns are read at once
and records only for those who ask for them; from then on the records count, since they may have been changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from finespot.errors import FineSpotError
from finespot.metrics.coco_columns import (
    Columns,
    Record,
    array_records,
    found_columns,
    results_columns,
    results_file,
    truth_columns,
    truth_file,
)
from finespot.metrics.reading.coco import decode
from finespot.metrics.tables import ImageId


class HasDataset(Protocol):
    """What the evaluation needs of a data set: `COCO` here, or pycocotools' own."""

    dataset: Any


class COCO:
    """The pictures, categories and annotations of a COCO file.

    Parameters
    ----------
    annotation_file:
        A path, or the dictionary itself. None starts an empty data set: set `dataset`, then call `createIndex()`.

    Raises
    ------
    FineSpotError
        The file cannot be read, or holds no dictionary.
    """

    def __init__(self, annotation_file: str | Path | Record | None = None) -> None:
        self._dataset: Record | None = annotation_file if isinstance(annotation_file, dict) else {}
        self._make: Callable[[], Record] = dict
        self._heads: dict[str, list[Record]] = {}
        self._columns: Columns | None = None
        if isinstance(annotation_file, (str, Path)):
            self._open(Path(annotation_file))

    def _open(self, path: Path) -> None:
        data = _bytes(path)
        read = truth_file(data)
        if read is None:
            # Perhaps captions, to be looked at only.
            found = decode(path, Any, "a COCO dictionary")
            if not isinstance(found, dict):
                raise FineSpotError(f"expected a COCO dictionary but got a {type(found).__name__}", where=path)
            self._dataset = found
            return
        images, categories, columns = read
        heads = {"images": images, "categories": categories}
        self._wait(lambda: {**msgspec.json.decode(data), **heads}, heads, columns)

    def _wait(self, make: Callable[[], Record], heads: dict[str, list[Record]], columns: Columns) -> None:
        """Go on with columns until somebody asks for the records."""
        self._dataset, self._make, self._heads, self._columns = None, make, heads, columns

    @property
    def dataset(self) -> Record:
        """The whole file as a dictionary, to be read or changed."""
        if self._dataset is None:
            self.dataset = self._make()
        assert self._dataset is not None
        return self._dataset

    @dataset.setter
    def dataset(self, value: Record) -> None:
        self._dataset, self._columns, self._make = value, None, dict

    @property
    def columns(self) -> Columns | None:
        """The annotations as they were read, while nobody has asked for records."""
        return self._columns

    def listed(self, kind: str) -> list[Record]:
        """The records of `images`, `categories` or `annotations`."""
        if self._dataset is None and kind in self._heads:
            return self._heads[kind]
        records: list[Record] = self.dataset.get(kind, [])
        return records

    def createIndex(self) -> None:  # noqa: N802
        """Forget the index, so that it is made anew after a change of `dataset`."""
        for name in ("anns", "imgs", "cats", "imgToAnns", "catToImgs"):
            self.__dict__.pop(name, None)

    @cached_property
    def anns(self) -> dict[int, Record]:
        """Annotations by id."""
        return {one["id"]: one for one in self.listed("annotations")}

    @cached_property
    def imgs(self) -> dict[ImageId, Record]:
        """Pictures by id."""
        return {one["id"]: one for one in self.listed("images")}

    @cached_property
    def cats(self) -> dict[int, Record]:
        """Categories by id."""
        return {one["id"]: one for one in self.listed("categories")}

    @cached_property
    def imgToAnns(self) -> dict[ImageId, list[Record]]:  # noqa: N802
        """Annotations of each picture that has some, in file order."""
        found: dict[ImageId, list[Record]] = {}
        for one in self.listed("annotations"):
            found.setdefault(one["image_id"], []).append(one)
        return found

    @cached_property
    def catToImgs(self) -> dict[int, list[ImageId]]:  # noqa: N802
        """For each category that has annotations, the picture of each of them."""
        found: dict[int, list[ImageId]] = {}
        for one in self.listed("annotations"):
            found.setdefault(one["category_id"], []).append(one["image_id"])
        return found

    def getAnnIds(  # noqa: N802
        self, imgIds: Any = (), catIds: Any = (), areaRng: Sequence[float] = (), iscrowd: bool | None = None
    ) -> list[int]:
        """Ids of the annotations in these pictures, of these categories, with an area between two bounds."""
        pictures, categories = _listed(imgIds), _listed(catIds)
        records: Iterable[Record] = self.listed("annotations")
        if pictures:
            records = chain.from_iterable(self.imgToAnns.get(key, []) for key in pictures)
        return [
            one["id"]
            for one in records
            if (not categories or one["category_id"] in categories)
            and (not len(areaRng) or areaRng[0] < one["area"] < areaRng[1])
            and (iscrowd is None or one["iscrowd"] == iscrowd)
        ]

    def getCatIds(self, catNms: Any = (), supNms: Any = (), catIds: Any = ()) -> list[int]:  # noqa: N802
        """Ids of the categories of these names, supercategories and ids, in file order."""
        names, parents, ids = _listed(catNms), _listed(supNms), _listed(catIds)
        return [
            one["id"]
            for one in self.listed("categories")
            if (not names or one["name"] in names)
            and (not parents or one["supercategory"] in parents)
            and (not ids or one["id"] in ids)
        ]

    def getImgIds(self, imgIds: Any = (), catIds: Any = ()) -> list[ImageId]:  # noqa: N802
        """Ids of the pictures, of these ids, that hold every one of these categories."""
        chosen = set(_listed(imgIds)) or set(self.imgs)
        for category in _listed(catIds):
            chosen &= set(self.catToImgs.get(category, []))
        order = {key: place for place, key in enumerate(self.imgs)}
        return sorted(chosen, key=lambda key: order.get(key, len(order)))

    def loadAnns(self, ids: Any = ()) -> list[Record]:  # noqa: N802
        """Annotations by id."""
        return [self.anns[key] for key in _listed(ids)]

    def loadCats(self, ids: Any = ()) -> list[Record]:  # noqa: N802
        """Categories by id."""
        return [self.cats[key] for key in _listed(ids)]

    def loadImgs(self, ids: Any = ()) -> list[Record]:  # noqa: N802
        """Pictures by id."""
        return [self.imgs[key] for key in _listed(ids)]

    def loadRes(self, resFile: str | Path | Sequence[Record] | NDArray[Any]) -> COCO:  # noqa: N802
        """Detections as a data set of the same pictures and categories.

        From a file, a list of records, or an array (N, 7) of picture id, x, y, w, h, score, category id. Records get
        `id` (1, 2, 3, ...), `area` and `iscrowd`; unlike in pycocotools, those of the caller are left as they are.

        Raises
        ------
        FineSpotError
            Not a list of records, or one without a box, or of a picture that the truth does not have.
        """
        heads = {kind: self.listed(kind) for kind in ("images", "categories")}
        made, where = COCO(), "results" if not isinstance(resFile, (str, Path)) else str(resFile)
        data = _bytes(Path(resFile)) if isinstance(resFile, (str, Path)) else b""
        columns = results_file(data) if data else None
        if columns is not None:
            whole = columns
            made._wait(lambda: {**heads, "annotations": _completed(msgspec.json.decode(data), whole)}, heads, whole)
        else:
            records: Any = resFile
            if isinstance(resFile, (str, Path)):
                records = decode(Path(resFile), Any, "a list of records")
            if isinstance(records, np.ndarray):
                records = array_records(records)
            if not isinstance(records, (list, tuple)):
                raise FineSpotError(f"expected a list of records but got a {type(records).__name__}", where=where)
            columns = found_columns(records, where)
            made.dataset = {**heads, "annotations": _completed(records, columns)}
        for number, key in enumerate(columns.image):
            if key not in self.imgs:
                raise FineSpotError(f"record {number}: image_id {key!r} is no picture of the truth", where=where)
        return made


def records_of(data: HasDataset, kind: str, where: str) -> Sequence[Record]:
    """The `images`, `categories` or `annotations` of `COCO` or of pycocotools' own.

    Raises
    ------
    FineSpotError
        No data set, or one without them.
    """
    if isinstance(data, COCO):
        return data.listed(kind)
    dataset = getattr(data, "dataset", None)
    if not isinstance(dataset, Mapping) or kind not in dataset:
        raise FineSpotError(
            f"expected a data set with {kind} but got {type(data).__name__}",
            where=where,
            hint="COCO(path) makes the truth, and its loadRes(path) the results",
        )
    records: Sequence[Record] = dataset[kind]
    return records


def columns_of(data: HasDataset, where: str) -> Columns:
    """The annotations of the `truth` or of the `results`. Raises as `records_of`, or where a record is wrong."""
    if isinstance(data, COCO) and data.columns is not None and (where == "truth" or data.columns.scores is not None):
        return data.columns
    records = records_of(data, "annotations", where)
    return truth_columns(records) if where == "truth" else results_columns(records)


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise FineSpotError(f"cannot be read ({error.strerror})", where=path) from error


def _completed(records: Sequence[Record], columns: Columns) -> list[Record]:
    return [
        {**one, "area": area, "id": number, "iscrowd": 0}
        for number, (one, area) in enumerate(zip(records, columns.area.tolist()), start=1)
    ]


def _listed(keys: Any) -> list[Any]:
    """One key or several, as a list."""
    return [keys] if isinstance(keys, str) or not hasattr(keys, "__iter__") else list(keys)
