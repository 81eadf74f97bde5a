"""Data sets in memory, without files."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from finespot.data import Dataset
from finespot.data.dataset import Rows
from finespot.structures import Classes, Size, Window

CLASSES = Classes(("person", "car"), (3, 8))
Box = tuple[float, float, float, float]
OBJECT = ((90.0, 10.0, 110.0, 20.0), 1, False)  # half of it on either side of x = 100


def made(
    pictures: Sequence[tuple[Size, Sequence[tuple[Box, int, bool]]]],
    windows: Sequence[Window | None] | None = None,
    groups: Sequence[str] | None = None,
) -> Dataset:
    """A data set in memory: (height, width) and (box, label, ignore) of each picture."""
    rows = [row for _, truth in pictures for row in truth]
    boxes = np.array([row[0] for row in rows], np.float32).reshape(-1, 4)
    return Dataset(
        name="made",
        split="train",
        classes=CLASSES,
        paths=[f"/pictures/{i}.png" for i in range(len(pictures))],
        sizes=[size for size, _ in pictures],
        image_ids=[f"p{i}" for i in range(len(pictures))],
        rows=Rows(
            starts=np.cumsum([0, *(len(truth) for _, truth in pictures)]),
            boxes=boxes,
            labels=np.array([row[1] for row in rows], np.int64),
            ignore=np.array([row[2] for row in rows], np.bool_),
            area=np.full(len(rows), 80.0),
            ids=np.arange(10, 10 + len(rows)),
            attributes={"occlusion": np.arange(len(rows))},
        ),
        groups=groups,
        windows=windows,
    )
