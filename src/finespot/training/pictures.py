"""What the network was shown: drawn training batches."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont

from finespot.structures import Annotations, Batch, Classes
from finespot.writers import grid, palette, write_atomic

MOST = 16
# Pictures of a smaller side are shown a whole number of times as large, so that boxes can be told apart.
_LEAST_PX = 320
_FONT_PX = 16

Pixels = NDArray[np.uint8]


def draw_batch(batch: Batch, classes: Classes, path: Path) -> Path:
    """The first pictures of a training batch, augmented as the network sees them, with their boxes and a legend."""
    images = batch.images[:MOST].permute(0, 2, 3, 1).contiguous().numpy()
    truth = truth_of(batch)[: len(images)]
    times = max(1, -(-_LEAST_PX // images.shape[1]))
    large = [picture.repeat(times, 0).repeat(times, 1) for picture in images]
    drawn = grid(large, [_enlarged(one, times) for one in truth], classes)
    stream = io.BytesIO()
    _above(drawn, _legend(truth, classes)).save(stream, "JPEG", quality=90, subsampling=0)
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


def _enlarged(truth: Annotations, times: int) -> Annotations:
    height, width = truth.size
    return Annotations(truth.boxes * times, truth.labels, (height * times, width * times), ignore=truth.ignore)


def _legend(truth: Sequence[Annotations], classes: Classes) -> list[tuple[str, tuple[int, int, int]]]:
    """Names and colors of the classes that occur as objects, and what dashed boxes are where there are any."""
    there = {int(label) for one in truth for label in one.labels[~one.ignore]}
    colors = palette(len(classes))
    found = [(classes[label], colors[label]) for label in sorted(there)]
    return found + ([("dashed: ignored", (200, 200, 200))] if any(one.ignore.any() for one in truth) else [])


def _above(drawn: Pixels, legend: Sequence[tuple[str, tuple[int, int, int]]]) -> Pillow.Image:
    """The picture over a strip with the legend, in as many lines as it takes."""
    font = ImageFont.load_default(_FONT_PX)
    line, x, y = _FONT_PX + 8, 6, drawn.shape[0] + 4
    places = []
    for name, color in legend:
        wide = 2 * _FONT_PX + round(font.getlength(name))
        if x > 6 and x + wide > drawn.shape[1]:
            x, y = 6, y + line
        places.append((x, y, name, color))
        x += wide
    page = Pillow.new("RGB", (drawn.shape[1], y + line if places else drawn.shape[0]), (32, 32, 32))
    page.paste(Pillow.fromarray(drawn))
    pen = ImageDraw.Draw(page)
    for x, y, name, color in places:
        pen.rectangle((x, y + 3, x + _FONT_PX - 4, y + _FONT_PX - 1), fill=color)
        pen.text((x + _FONT_PX + 2, y), name, fill=(255, 255, 255), font=font)
    return page
