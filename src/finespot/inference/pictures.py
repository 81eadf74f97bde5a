"""Pictures that belong to a validation: truth beside what was found, curves, the confusion matrix."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image as Pillow

from finespot import metrics
from finespot.assigners.heatmap import heat_map
from finespot.inference.prepare import read_rgb
from finespot.inference.validate import Validation
from finespot.inference.windows import enlarged
from finespot.structures import Annotations, Classes, Detections, Size, Targets
from finespot.writers import Names, heat_picture, make_folder, side_by_side, window_picture, write_atomic

if TYPE_CHECKING:
    from finespot.data import Dataset


def draw_predictions(
    dataset: Dataset, detections: Sequence[Detections], folder: str | Path, conf: float, count: int = 8
) -> list[Path]:
    """`count` pictures from all over a split, twice each: the truth, and detections of score `conf` or more.

    They lie evenly in the order of the split, because neighbors (frames of one flight) show much the same.
    """
    place, names, paths = make_folder(folder), Names(), []
    for index in _spread(len(detections), count):
        pixels = read_rgb(dataset.image(index))
        found = detections[index].filter(conf=conf)
        drawn = side_by_side(pixels, dataset.annotations(index), found, dataset.classes)
        paths.append(_write(drawn, place / f"{names.of(dataset.path(index))}.jpg"))
    return paths


def draw_looks(dataset: Dataset, validation: Validation, folder: str | Path, conf: float, count: int = 8) -> list[Path]:
    """The same pictures as of `draw_predictions`, twice each: the heat of the truth, which a seeker is to learn, and
    that of the seeker with the windows that were looked at and the detections in them; none without a seeker.
    """
    if len(validation.views) != len(dataset):
        return []
    paths, names = [], Names()
    for index in _spread(len(dataset), count):
        view = validation.views[index]
        if view.heat is None:
            continue
        pixels, size = read_rgb(dataset.image(index)), view.size
        nothing = Detections.empty(size, dataset.classes, dataset.path(index))
        wanted = enlarged(_wanted(dataset.annotations(index), (view.heat.shape[0], view.heat.shape[1])), size)
        found = validation.detections[index].filter(conf=conf)
        panels = (
            heat_picture(pixels, wanted, nothing, "heat of the truth", peak=1.0),
            window_picture(pixels, enlarged(view.heat, size), view.windows, found),
        )
        high = max(len(panel) for panel in panels)
        filled = [np.pad(one, ((0, high - len(one)), (0, 0), (0, 0)), constant_values=255) for one in panels]
        name = f"{names.of(dataset.path(index))}.jpg"
        paths.append(_write(np.concatenate(filled, 1), make_folder(folder) / name))
    return paths


def _spread(pictures: int, count: int) -> list[int]:
    places: list[int] = np.linspace(0, pictures - 1, min(count, pictures)).round().astype(int).tolist()
    return places


def _wanted(truth: Annotations, shape: Size) -> NDArray[np.float32]:
    """The map of (rows, columns) cells that a seeker is to learn for a picture; nothing where objects are ignored."""
    scale = np.tile(shape[::-1], 2) / np.tile(truth.size[::-1], 2)
    boxes = torch.from_numpy((truth.boxes * scale).astype(np.float32))
    nothing = torch.zeros(len(boxes), dtype=torch.int64)
    drawn = heat_map(Targets(boxes, nothing, nothing, torch.from_numpy(truth.ignore), 1), shape, 1)
    values: NDArray[np.float32] = drawn.values[0, 0].numpy()
    return values


def _write(drawn: NDArray[np.uint8], path: Path) -> Path:
    stream = io.BytesIO()
    Pillow.fromarray(drawn).save(stream, "JPEG", quality=92, subsampling=0)
    return write_atomic(path, stream.getvalue(), sync=False)


def draw_report(validation: Validation, classes: Classes, folder: str | Path, conf: float) -> list[Path]:
    """`pr_curves.png` and `confusion.png` (of detections of score `conf` or more)."""
    from finespot.metrics.plots import confusion, pr_curves

    place = make_folder(folder)
    matrix = metrics.confusion_matrix(validation.truth, validation.results, conf=conf)
    pr_curves(validation.report, place / "pr_curves.png")
    confusion(matrix, classes, place / "confusion.png", conf=conf)
    return [place / "pr_curves.png", place / "confusion.png"]
