"""What the network was shown and what it found: drawn batches and predictions beside the truth."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from finespot.data import Dataset
from finespot.images import to_rgb8
from finespot.structures import Annotations, Batch, Classes, Detections
from finespot.writers import grid, side_by_side, write_atomic

MOST = 16


def draw_batch(batch: Batch, classes: Classes, path: Path) -> Path:
    """The first pictures of a training batch, augmented as the network sees them, with their boxes."""
    images = batch.images[:MOST].permute(0, 2, 3, 1).contiguous().numpy()
    return _save(grid(list(images), truth_of(batch)[: len(images)], classes), path)


def truth_of(batch: Batch) -> list[Annotations]:
    """The truth of each picture of a batch."""
    assert batch.targets is not None
    height, width = batch.images.shape[2:]
    boxes, labels = batch.targets.boxes.numpy(), batch.targets.labels.numpy()
    ignore, owner = batch.targets.ignore.numpy(), batch.targets.image.numpy()
    return [
        Annotations(boxes[owner == i], labels[owner == i], (height, width), ignore=ignore[owner == i])
        for i in range(len(batch))
    ]


def draw_predictions(
    dataset: Dataset, detections: Sequence[Detections], folder: Path, conf: float, count: int = 8
) -> list[Path]:
    """The first pictures of a split, twice each: truth, and detections of score `conf` or more."""
    paths = []
    for index, found in enumerate(detections[:count]):
        image = dataset.image(index)
        pixels: NDArray[np.uint8] = to_rgb8(image.read(None), image.bit_depth)
        drawn = side_by_side(pixels, dataset.annotations(index), found.filter(conf=conf), dataset.classes)
        paths.append(_save(drawn, folder / f"{Path(dataset.path(index)).stem}.jpg"))
    return paths


def _save(pixels: NDArray[np.uint8], path: Path) -> Path:
    stream = io.BytesIO()
    Pillow.fromarray(pixels).save(stream, "JPEG", quality=90, subsampling=0)
    return write_atomic(path, stream.getvalue(), sync=False)
