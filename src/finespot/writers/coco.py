"""COCO result files: one JSON list of {image_id, category_id, bbox, score}.

Coordinates and scores are written as they are, not rounded: rounding to a tenth of a pixel moves the IoU of a 6 px
object by several percent.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from finespot.structures import Detections
from finespot.writers.atomic import GrowingFile, write_atomic
from finespot.writers.naming import Names


def coco_results(
    detections: Sequence[Detections], image_ids: Sequence[int | str] | None = None
) -> list[dict[str, Any]]:
    """The records of many pictures; `image_ids` are the data set's own (default: the stem of each source)."""
    ids: Sequence[int | str | None] = image_ids if image_ids is not None else [None] * len(detections)
    return [record for found, image_id in zip(detections, ids, strict=True) for record in found.to_coco(image_id)]


def write_coco(
    path: str | Path, detections: Sequence[Detections], image_ids: Sequence[int | str] | None = None
) -> Path:
    """Write the records of many pictures to one JSON file, in one step."""
    return write_atomic(path, msgspec.json.encode(coco_results(detections, image_ids)))


class CocoWriter:
    """Writes all pictures into `predictions.json`, which takes its name when closed; nothing is kept in memory."""

    needs_pixels = False

    def __init__(self, name: str = "predictions.json") -> None:
        self.name = name

    def open(self, folder: str | Path, names: Names | None = None) -> None:
        """Make the folder and begin the file, so that one that cannot be written is known before the work."""
        self._names = names or Names()
        self._file, self._between = GrowingFile(Path(folder) / self.name), b"["

    def write(self, detections: Detections, pixels: NDArray[np.uint8] | None = None) -> None:
        """Take one picture's detections."""
        for record in detections.to_coco(self._names.of(detections.source)):
            self._file.write(self._between + msgspec.json.encode(record))
            self._between = b","

    def close(self) -> Path:
        """Finish the file; returns its path."""
        return self._file.close(b"[]" if self._between == b"[" else b"]")
