"""What the comparisons of tiled prediction share: tiles, weights, and the AP of what came out."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import torch

from finespot import metrics, weights
from finespot.boxes.geometry import iou
from finespot.data import Dataset
from finespot.structures import Annotations, Classes, Detections, Flags

WEIGHTS = "hit-uav-n"
TILE, OVERLAP = 640, 0.2
# Detections of a picture at most: more than there are.
MOST = 10_000
# Objects that a class must have to be counted as a common one.
COMMON = 20
# Of a picture: x1, y1, x2, y2, score, label.
Rows = list[list[float]]


def as_rows(found: Detections) -> Rows:
    return [[*box, score, label] for box, score, label in zip(found.boxes, found.scores, found.labels)]


def detected(truth: Annotations, found: Detections) -> Flags:
    """Which objects (n,), without the ignore regions, a detection of their class overlaps by half or more."""
    own = ~truth.ignore
    boxes, labels = torch.as_tensor(truth.boxes[own]), truth.labels[own]
    near = iou(boxes[:, None], torch.as_tensor(found.boxes)[None]).numpy() >= 0.5
    flags: Flags = (near & (labels[:, None] == found.labels)).any(1)
    return flags


def average_precision(
    dataset: Dataset, found: Sequence[Rows], numbers: Sequence[int]
) -> dict[str, float | None] | None:
    """COCO's AP of what was found in the pictures `numbers`, with as many detections of a picture as there are; and
    "AP common" (see `common_precision`).

    None of a set whose classes the network knows by other names.
    """
    classes = weights.load(WEIGHTS)[1].classes
    if dataset.classes.names != classes.names:
        return None
    detections = []
    for rows, number in zip(found, numbers, strict=True):
        columns = list(zip(*rows)) if rows else [[]] * 6
        boxes = np.array(columns[:4], np.float32).T.reshape(-1, 4)
        detections.append(Detections(boxes, columns[4], columns[5], dataset.size(number), classes))
    truth = metrics.Truth.from_annotations([dataset.annotations(n) for n in numbers], classes, list(numbers))
    rule = replace(metrics.protocol("coco"), max_dets=(1, 100, MOST))
    report = metrics.evaluate(truth, metrics.Results.from_detections(detections, truth), rule)
    counts = np.bincount(truth.label[~truth.crowd], minlength=len(classes))
    return {"AP": report.values["AP"] or 0.0, "AP common": common_precision(report, classes, counts)}


def common_precision(report: metrics.Report, classes: Classes, counts: Iterable[int]) -> float | None:
    """The mean AP of the classes that have `COMMON` objects or more, as single objects decide of the others; None where
    no class has.
    """
    common = [report.per_class[name]["AP"] or 0.0 for name, count in zip(classes, counts) if count >= COMMON]
    return float(np.mean(common)) if common else None


def told(value: float | None) -> str:
    """A cell of a table: a dash where there is no value."""
    return "-" if value is None else f"{value:.4f}"
