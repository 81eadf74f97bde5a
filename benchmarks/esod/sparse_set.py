"""Large pictures that are mostly background, put together from small ones: what ESOD is trained and scored on here.

Cells of 128 or 256 px at the pictures' own scale, cut from HIT-UAV: of each picture a few are cut about an object, the
others where no object is. The picture begins anywhere in its first cell, so that cells do not lie on the grid of the
windows. What a cell shows of an object is an object where that is enough of it, else a region to be ignored.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from finespot.data import Dataset, open_dataset
from finespot.structures import Window

# The share of an object that must be seen of it; of less than the least, nothing is noted.
VISIBLE, LEAST = 0.4, 0.05


@dataclass(frozen=True)
class Sparse:
    """Pictures of `side` px of which `busy` cells of `cell` px hold objects; the same seed gives the same pictures."""

    side: int
    cell: int
    busy: int
    seed: int

    def open(self, source: str, folder: Path, counts: dict[str, int]) -> dict[str, Dataset]:
        """Splits of so many pictures, made of those of `source`; what `folder` holds is taken as it is."""
        for number, (split, count) in enumerate(counts.items()):
            if not (folder / "annotations" / f"{split}.json").is_file():
                random = np.random.default_rng((self.seed, number))
                self.write(open_dataset(source, split), folder, split, count, random)
        return {split: open_dataset(f"coco:{folder}", split) for split in counts}

    def write(self, frames: Dataset, folder: Path, split: str, count: int, random: np.random.Generator) -> None:
        """One split in the COCO layout."""
        pictures = folder / "images" / split
        pictures.mkdir(parents=True, exist_ok=True)
        (folder / "annotations").mkdir(exist_ok=True)
        parts = _Parts(frames, self.cell, random)
        images, rows = [], []
        for number in range(count):
            pixels, boxes = self.compose(parts)
            name = f"{number:05d}.png"
            Pillow.fromarray(pixels).save(pictures / name)
            images.append({"id": number + 1, "file_name": name, "height": self.side, "width": self.side})
            for x1, y1, x2, y2, label, part in boxes.tolist():
                row = {"id": len(rows) + 1, "image_id": number + 1, "category_id": int(label), "iscrowd": int(part)}
                rows.append({**row, "bbox": [x1, y1, x2 - x1, y2 - y1], "area": (x2 - x1) * (y2 - y1)})
        classes = [{"id": label, "name": name} for label, name in enumerate(frames.classes)]
        whole = {"images": images, "annotations": rows, "categories": classes}
        (folder / "annotations" / f"{split}.json").write_text(json.dumps(whole))

    def compose(self, parts: _Parts) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
        """Pixels and rows (N, 6): xyxy, label, whether it is only a part of an object."""
        random, cell, across = parts.random, self.cell, -(-self.side // self.cell) + 1
        begin = random.integers(0, cell, 2)
        canvas = np.zeros((across * cell, across * cell, 3), np.uint8)
        # Cells that the picture shows whole, or it would show fewer.
        inner = [(row, column) for row in range(1, across - 1) for column in range(1, across - 1)]
        full = {inner[i] for i in random.choice(len(inner), self.busy, replace=False)}
        found = []
        for place in np.ndindex(across, across):
            pixels, rows = parts.about_an_object() if place in full else parts.background()
            y, x = (one * cell for one in place)
            canvas[y : y + cell, x : x + cell] = pixels
            found.append(rows + np.array([x - begin[1], y - begin[0]] * 2 + [0, 0]))
        top, left = begin
        return canvas[top : top + self.side, left : left + self.side], np.concatenate(found)


class _Parts:
    """Cells cut at random from the pictures of a data set that hold no region to be ignored."""

    def __init__(self, frames: Dataset, cell: int, random: np.random.Generator) -> None:
        self.frames, self.cell, self.random = frames, cell, random
        truths = [frames.annotations(i) for i in range(len(frames))]
        self.truths = {i: one for i, one in enumerate(truths) if not one.ignore.any()}
        self.every = list(self.truths)
        self.holding = [i for i in self.every if len(self.truths[i])]

    def about_an_object(self) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
        number = self.holding[self.random.integers(len(self.holding))]
        boxes = self.truths[number].boxes
        x1, y1, x2, y2 = boxes[self.random.integers(len(boxes))]
        # The object lies anywhere in the cell, whole where it can.
        corner = [self.random.uniform(*sorted((high - self.cell, low))) for low, high in ((x1, x2), (y1, y2))]
        return self._cut(number, corner[0], corner[1])

    def background(self) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
        while True:
            number = self.every[self.random.integers(len(self.every))]
            height, width = self.truths[number].size
            x, y = self.random.integers(width - self.cell + 1), self.random.integers(height - self.cell + 1)
            boxes = self.truths[number].boxes
            if not ((boxes[:, :2] < [x + self.cell, y + self.cell]) & (boxes[:, 2:] > [x, y])).all(1).any():
                return self._cut(number, x, y)

    def _cut(self, number: int, x: float, y: float) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
        truth = self.truths[number]
        left, top = (int(np.clip(at, 0, side - self.cell)) for at, side in ((x, truth.size[1]), (y, truth.size[0])))
        window: Window = (left, top, left + self.cell, top + self.cell)
        boxes = truth.boxes.astype(np.float64)
        shown = np.clip(boxes - np.tile(window[:2], 2), 0, self.cell)
        area, whole = ((one[:, 2:] - one[:, :2]).prod(1) for one in (shown, boxes))
        share = area / whole
        rows = np.column_stack((shown, truth.labels, share < VISIBLE))[share > LEAST]
        return np.asarray(self.frames.image(number).read(window), np.uint8), rows
