"""Pictures and objects of all splits as flat columns, so that a million objects need no loop.

Boxes are taken as they are kept, single precision, and everything is computed from them in double precision.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from finespot.data.dataset import Dataset
from finespot.errors import FineSpotError
from finespot.structures import Classes, Tiling

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Columns:
    """Pictures with their objects; what is ignored stands apart.

    Attributes
    ----------
    split, sizes:
        Of each picture: the position of its split, its (height, width).
    picture, labels, boxes:
        Of each object, ascending by picture: the picture's position, the class, the corners.
    ignored_picture, ignored_labels:
        The same of ignore regions (label -1) and ignored objects.
    """

    split: Ints
    sizes: Ints
    picture: Ints
    labels: Ints
    boxes: Floats
    ignored_picture: Ints
    ignored_labels: Ints

    def part(self, split: int) -> Columns:
        """Only the pictures of one split."""
        keep = self.split == split
        number = np.cumsum(keep) - 1
        objects, ignored = keep[self.picture], keep[self.ignored_picture]
        return Columns(
            split=self.split[keep],
            sizes=self.sizes[keep],
            picture=number[self.picture[objects]],
            labels=self.labels[objects],
            boxes=self.boxes[objects],
            ignored_picture=number[self.ignored_picture[ignored]],
            ignored_labels=self.ignored_labels[ignored],
        )

    @property
    def wh(self) -> Floats:
        """(width, height) of each object in pixels of its picture."""
        return self.boxes[:, 2:] - self.boxes[:, :2]

    @property
    def counts(self) -> Ints:
        """Objects of each picture."""
        return np.bincount(self.picture, minlength=len(self.split))


def gather(datasets: Sequence[Dataset]) -> tuple[Classes, Columns]:
    """The columns of several splits, one below the other, and their common classes.

    Raises
    ------
    FineSpotError
        The splits have different classes, or one has no picture.
    """
    classes = datasets[0].classes
    for one in datasets[1:]:
        if one.classes.names != classes.names:
            raise FineSpotError(
                f"expected the classes of split '{datasets[0].split}' ({', '.join(classes)}) "
                f"but got {', '.join(one.classes)}",
                where=f"split '{one.split}'",
                hint="give --splits with one of them",
            )
    for one in datasets:
        if not len(one):
            raise FineSpotError("expected pictures but got none", where=f"split '{one.split}'")
    pictures = [np.repeat(np.arange(len(one)), np.diff(one.rows.starts)) for one in datasets]
    offsets = np.cumsum([0, *(len(one) for one in datasets[:-1])])
    picture = np.concatenate([own + offset for own, offset in zip(pictures, offsets)])
    labels = np.concatenate([one.rows.labels for one in datasets])
    ignore = np.concatenate([one.rows.ignore for one in datasets])
    boxes = np.concatenate([one.rows.boxes for one in datasets]).astype(np.float64)
    sizes = [one.size(index) for one in datasets for index in range(len(one))]
    return classes, Columns(
        split=np.repeat(np.arange(len(datasets)), [len(one) for one in datasets]),
        sizes=np.array(sizes, np.int64),
        picture=picture[~ignore],
        labels=labels[~ignore],
        boxes=boxes[~ignore],
        ignored_picture=picture[ignore],
        ignored_labels=labels[ignore],
    )


def scales(sizes: Ints, imgsz: int, tiling: Tiling | None) -> Floats:
    """Network pixels per picture pixel, (vertical, horizontal), of pictures of `sizes` (height, width).

    As pictures are placed for training and prediction: the long side of the picture (or the side of a tile) becomes
    `imgsz`, the other one is rounded to whole pixels.
    """
    if tiling is None or tiling.size is None:
        window, factor = sizes, imgsz / sizes.max(axis=1, keepdims=True)
    else:
        window, factor = np.minimum(sizes, tiling.size), np.full((1, 1), imgsz / tiling.size)
    return np.asarray(np.maximum(1, np.rint(window * factor)) / window)
