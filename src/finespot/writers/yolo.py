"""YOLO label files of predictions: a text file a picture, a line a box: class, center x, center y, w, h, score.

Coordinates are shares of the picture's sides with six decimals (0.004 px of a 4000 px picture).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from finespot.boxes import xyxy_to_cxcywh
from finespot.structures import Detections
from finespot.writers.atomic import make_folder, write_atomic
from finespot.writers.naming import Names


def yolo_lines(detections: Detections, scores: bool = True) -> str:
    """The text of one picture's label file; without `scores` it is a label file for training."""
    height, width = detections.size
    shares = xyxy_to_cxcywh(detections.boxes.astype(np.float64)) / np.array([width, height, width, height])
    rows = [
        " ".join([str(label), *(f"{value:.6f}" for value in row), *([f"{score:.6f}"] if scores else [])])
        for label, row, score in zip(detections.labels.tolist(), shares.tolist(), detections.scores.tolist())
    ]
    return "".join(f"{row}\n" for row in rows)


class YoloWriter:
    """`labels/<picture>.txt`, empty for a picture in which nothing was found."""

    needs_pixels = False

    def __init__(self, scores: bool = True) -> None:
        self.scores = scores

    def open(self, folder: str | Path, names: Names | None = None) -> None:
        """Make the folder `labels`."""
        self._folder = make_folder(Path(folder) / "labels")
        self._names = names or Names()

    def write(self, detections: Detections, pixels: NDArray[np.uint8] | None = None) -> None:
        """Write one picture's label file."""
        name = self._names.of(detections.source)
        write_atomic(self._folder / f"{name}.txt", yolo_lines(detections, self.scores), sync=False)

    def close(self) -> Path:
        """The folder of the label files."""
        return self._folder
