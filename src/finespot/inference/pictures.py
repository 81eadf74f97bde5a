"""Pictures that belong to a validation: truth beside what was found, curves, the confusion matrix."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image as Pillow

from finespot import metrics
from finespot.inference.prepare import read_rgb
from finespot.inference.validate import Validation
from finespot.structures import Classes, Detections
from finespot.writers import Names, make_folder, side_by_side, write_atomic

if TYPE_CHECKING:
    from finespot.data import Dataset


def draw_predictions(
    dataset: Dataset, detections: Sequence[Detections], folder: str | Path, conf: float, count: int = 8
) -> list[Path]:
    """`count` pictures from all over a split, twice each: the truth, and detections of score `conf` or more.

    They lie evenly in the order of the split, because neighbors (frames of one flight) show much the same.
    """
    place, names, paths = make_folder(folder), Names(), []
    spread = np.linspace(0, len(detections) - 1, min(count, len(detections))).round()
    for index in spread.astype(int).tolist():
        pixels = read_rgb(dataset.image(index))
        found = detections[index].filter(conf=conf)
        drawn = side_by_side(pixels, dataset.annotations(index), found, dataset.classes)
        stream = io.BytesIO()
        Pillow.fromarray(drawn).save(stream, "JPEG", quality=92, subsampling=0)
        paths.append(write_atomic(place / f"{names.of(dataset.path(index))}.jpg", stream.getvalue(), sync=False))
    return paths


def draw_report(validation: Validation, classes: Classes, folder: str | Path, conf: float) -> list[Path]:
    """`pr_curves.png` and `confusion.png` (of detections of score `conf` or more)."""
    from finespot.metrics.plots import confusion, pr_curves

    place = make_folder(folder)
    matrix = metrics.confusion_matrix(validation.truth, validation.results, conf=conf)
    pr_curves(validation.report, place / "pr_curves.png")
    confusion(matrix, classes, place / "confusion.png", conf=conf)
    return [place / "pr_curves.png", place / "confusion.png"]
