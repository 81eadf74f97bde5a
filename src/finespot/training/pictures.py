"""What the network was shown: drawn training batches."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image as Pillow

from finespot.structures import Annotations, Batch, Classes
from finespot.writers import grid, write_atomic

MOST = 16


def draw_batch(batch: Batch, classes: Classes, path: Path) -> Path:
    """The first pictures of a training batch, augmented as the network sees them, with their boxes."""
    images = batch.images[:MOST].permute(0, 2, 3, 1).contiguous().numpy()
    stream = io.BytesIO()
    drawn = grid(list(images), truth_of(batch)[: len(images)], classes)
    Pillow.fromarray(drawn).save(stream, "JPEG", quality=90, subsampling=0)
    return write_atomic(path, stream.getvalue(), sync=False)


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
