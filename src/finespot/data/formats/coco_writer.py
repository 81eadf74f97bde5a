"""COCO JSON of a split: ids as they were where COCO can keep them, numbers not rounded.

An ignored object has `iscrowd` and `ignore`, so that every evaluation program honors it. An ignore region without a
class, for which COCO has no place, stands once for each class, its rows joined by `region_id` and marked `dontcare`;
readers of these keys get one region back, others an ignored box for every class.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from finespot.data.dataset import Dataset
from finespot.data.formats.coco_records import OWN_KEYS
from finespot.data.formats.layout import Part
from finespot.structures import Annotations

_LARGEST = 2**62


def coco_content(part: Part) -> dict[str, Any]:
    """What the file of a split holds."""
    dataset = part.dataset
    image_ids = _image_ids(dataset)
    sizes = [dataset.size(index) for index in range(len(dataset))]
    return {
        "info": {"description": f"{dataset.name} {part.split}"},
        "licenses": [],
        "images": [
            {"id": number, "file_name": name, "width": width, "height": height}
            for number, name, (height, width) in zip(image_ids, part.names, sizes, strict=True)
        ],
        "categories": [
            {"id": number, "name": name} for number, name in zip(dataset.classes.original_ids, dataset.classes)
        ],
        "annotations": list(_annotations(dataset, image_ids)),
    }


def _image_ids(dataset: Dataset) -> list[int]:
    """The pictures' own ids where they are different integers, else numbers from 1."""
    ids = [dataset.image_id(index) for index in range(len(dataset))]
    if len(set(ids)) == len(ids) and all(isinstance(one, int) for one in ids):
        return [int(one) for one in ids]
    return list(range(1, len(ids) + 1))


def _annotations(dataset: Dataset, image_ids: Sequence[int]) -> Iterator[dict[str, Any]]:
    """The records of all pictures.

    Ids stay where they are different and above 0 (the official program takes what it matched to the id 0 for not
    found), else all are numbered from 1. The second and further rows of a region have ids behind these.
    """
    truths = [dataset.annotations(index) for index in range(len(dataset))]
    ids = np.concatenate([np.zeros(0, np.int64), *(truth.ids for truth in truths)])
    rows = len(ids) + sum(int((truth.labels < 0).sum()) for truth in truths) * len(dataset.classes)
    if len(np.unique(ids)) < len(ids) or ids.min(initial=1) < 1 or int(ids.max(initial=0)) + rows > _LARGEST:
        ids = np.arange(1, len(ids) + 1)
    row_ids, spare = iter(ids.tolist()), itertools.count(int(ids.max(initial=0)) + 1)
    categories = dataset.classes.original_ids
    names = _attribute_names(truths)
    region = 0
    for image_id, truth in zip(image_ids, truths):
        for record, label in zip(_records(truth, image_id, names), truth.labels.tolist()):
            number = next(row_ids)
            if label >= 0:
                yield {"id": number, "category_id": categories[label], **record}
                continue
            region += 1
            for one, category in zip((number, *itertools.islice(spare, len(categories) - 1)), categories):
                yield {"id": one, "category_id": category, **record, "dontcare": 1, "region_id": region}


def _records(truth: Annotations, image_id: int, names: Sequence[str]) -> Iterator[dict[str, Any]]:
    """What of each annotation does not depend on its class."""
    columns = [truth.attributes[name].tolist() if name in truth.attributes else [0] * len(truth) for name in names]
    boxes = truth.boxes.astype(np.float64).tolist()
    for row, ((x1, y1, x2, y2), area, ignore) in enumerate(zip(boxes, truth.area.tolist(), truth.ignore.tolist())):
        yield {
            "image_id": image_id,
            "bbox": [x1, y1, x2 - x1, y2 - y1],
            "area": area,
            "iscrowd": int(ignore),
            "ignore": int(ignore),
            **{name: column[row] for name, column in zip(names, columns)},
        }


def _attribute_names(truths: Sequence[Annotations]) -> list[str]:
    """The attributes to write as keys: `crowd` only where `iscrowd` does not say it."""
    names = {name for truth in truths for name in truth.attributes} - OWN_KEYS
    if all(np.array_equal(truth.attributes.get("crowd", truth.ignore), truth.ignore) for truth in truths):
        names.discard("crowd")
    return sorted(names)
