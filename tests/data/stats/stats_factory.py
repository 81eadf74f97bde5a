"""Data sets without picture files, from lists of boxes or at random."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from finespot.data.dataset import Dataset, Rows
from finespot.structures import Classes

Box = tuple[float, float, float, float]
Truth = tuple[Box, int, bool]


def dataset(
    pictures: Sequence[tuple[tuple[int, int], Sequence[Truth]]], classes: int = 3, split: str = "train"
) -> Dataset:
    """From ((height, width), [(box, label, ignored), ...]) of each picture."""
    rows = [row for _, own in pictures for row in own]
    boxes = np.array([box for box, _, _ in rows], np.float32).reshape(-1, 4)
    return Dataset(
        name="made",
        split=split,
        classes=Classes(tuple(f"class{k}" for k in range(classes))),
        paths=[f"{number}.png" for number in range(len(pictures))],
        sizes=[size for size, _ in pictures],
        image_ids=list(range(len(pictures))),
        rows=Rows(
            starts=np.cumsum([0, *(len(own) for _, own in pictures)]),
            boxes=boxes,
            labels=np.array([label for _, label, _ in rows], np.int64),
            ignore=np.array([ignored for _, _, ignored in rows], np.bool_),
            area=(boxes[:, 2:] - boxes[:, :2]).prod(axis=1).astype(np.float64),
            ids=np.arange(1, len(rows) + 1),
        ),
    )


def random_dataset(seed: int, split: str = "train", classes: int = 3) -> Dataset:
    """Few pictures of few sizes, with empty ones, crowds, ignore regions and ignored objects."""
    rng = np.random.default_rng(seed)
    sizes = [(int(h), int(w)) for h, w in rng.integers(40, 900, (3, 2))]
    pictures = []
    for _ in range(int(rng.integers(1, 7))):
        height, width = sizes[rng.integers(3)]
        truth: list[Truth] = []
        for _ in range(int(rng.integers(0, 25))):
            corner, sides = rng.uniform(0, (width - 8, height - 8)), np.exp(rng.uniform(0, 4.5, 2))
            if truth and rng.random() < 0.4:  # near another and about as large, so that they overlap
                x1, y1, x2, y2 = truth[-1][0]
                sides = (x2 - x1, y2 - y1) * np.exp(rng.normal(0, 0.1, 2))
                corner = np.clip((x1, y1) + sides * rng.normal(0, 0.1, 2), 0, (width - 8, height - 8))
            end = np.minimum(corner + sides, (width, height))
            ignored = bool(rng.random() < 0.2)
            label = int(rng.integers(-1 if ignored else 0, classes))
            truth.append(((*corner.tolist(), *end.tolist()), label, ignored))
        pictures.append(((height, width), truth))
    return dataset(pictures, classes, split)


def squares(
    side: float,
    count: int,
    *,
    size: tuple[int, int] = (640, 640),
    pictures: int = 1,
    label: int = 0,
    classes: int = 1,
    split: str = "train",
) -> Dataset:
    """`pictures` equal ones with `count` squares each, side by side in rows, one pixel apart where they fit."""
    step = min(side + 1, 2 * side)
    in_row = max(1, int((size[1] - side) // step) + 1)
    own = []
    for number in range(count):
        x, y = (number % in_row) * step, min((number // in_row) * step, size[0] - side)
        own.append(((x, y, x + side, y + side), label, False))
    return dataset([(size, own)] * pictures, classes, split)
