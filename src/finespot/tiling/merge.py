"""What was found in the windows of one picture, joined: moved back, clipped to the picture, suppressed once.

The only place where suppression happens: windows are never suppressed one by one, so an object that two windows
show is judged once, against all its boxes. A whole picture is the case of one window.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from finespot.boxes import clip, nms
from finespot.structures import Boxes, Classes, Detections, Labels, Placement, Size


@dataclass(frozen=True)
class Part:
    """What a head found in one window: boxes (n, 4) in pixels of the network input, scores (n,), labels (n,)."""

    placement: Placement
    boxes: Boxes
    scores: NDArray[np.float32]
    labels: Labels


def merge(
    parts: Sequence[Part],
    *,
    size: Size,
    classes: Classes,
    iou: float = 0.7,
    max_det: int | None = None,
    suppress: bool = True,
    source: str = "",
) -> Detections:
    """Join the parts of a picture of `size` (height, width) into detections by falling score.

    Boxes are moved into the picture and clipped to it; those without area left (found in the padding) go. Where
    `suppress` is set, a box falls when its IoU with a better one of its class exceeds `iou`. At most `max_det` stay.
    """
    found = [part for part in parts if len(part.boxes)]
    if not found:
        return Detections.empty(size, classes, source)
    boxes = np.concatenate([clip(part.placement.to_picture(part.boxes), size) for part in found])
    scores = _join([part.scores for part in found])
    labels = _join([part.labels for part in found])
    solid = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
    if not solid.all():
        boxes, scores, labels = boxes[solid], scores[solid], labels[solid]
    keep = nms(boxes, scores, labels, iou, max_det) if suppress else np.argsort(-scores, kind="stable")[:max_det]
    return Detections(boxes[keep], scores[keep], labels[keep], size, classes, source)


def _join(arrays: list[NDArray[Any]]) -> NDArray[Any]:
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
