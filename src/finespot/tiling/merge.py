"""What was found in the windows of one picture, joined: moved back, clipped to the picture, merged once.

The only place where suppression happens: windows are never suppressed one by one, so an object that two windows
show is judged once, against all its boxes. A whole picture is the case of one window.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from finespot.boxes import Greedy, Suppressor, clip
from finespot.structures import Boxes, Classes, Detections, Labels, Placement, Size, Window
from finespot.tiling.cut_off import Sight, shown_better

_GREEDY = Greedy()


@dataclass(frozen=True)
class Part:
    """What a head found in one window: boxes (n, 4) in pixels of the network input, scores (n,), labels (n,).

    `window` is where it lies in the picture; without one no edge of it counts as a cut.
    """

    placement: Placement
    boxes: Boxes
    scores: NDArray[np.float32]
    labels: Labels
    window: Window | None = None

    def of_classes(self, labels: Sequence[int]) -> Part:
        """What of it is of these classes."""
        keep = np.isin(self.labels, labels)
        return replace(self, boxes=self.boxes[keep], scores=self.scores[keep], labels=self.labels[keep])


def merge(
    parts: Sequence[Part],
    *,
    size: Size,
    classes: Classes,
    iou: float = 0.7,
    max_det: int | None = None,
    suppress: bool = True,
    nms: Suppressor = _GREEDY,
    conf: float = -math.inf,
    source: str = "",
) -> Detections:
    """Join the parts of a picture of `size` (height, width) into detections by falling score.

    Boxes are moved into the picture and clipped to it; those without area left (found in the padding) go. Where
    `suppress` is set, first a box falls that may be cut off at an edge of its window inside the picture and that a box
    of its class from another window that shows more of it covers for the most part (`cut_off`, exactly); then `nms`
    joins what it takes for doubles at the threshold `iou` (by default, what has a greater IoU with a better one of its
    class falls) or lowers scores below `conf`. Where `nms` is `agnostic`, both take all boxes for boxes of one class.
    At most `max_det` stay.
    """
    found = [part for part in parts if len(part.boxes)]
    if not found:
        return Detections.empty(size, classes, source)
    moved = [clip(part.placement.to_picture(part.boxes), size) for part in found]
    boxes = np.concatenate(moved)
    scores = _join([part.scores for part in found])
    labels = _join([part.labels for part in found])
    good = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
    if suppress and len(found) > 1:
        seen = Sight.join([_sight(part, own, size) for part, own in zip(found, moved)])
        number = np.repeat(np.arange(len(found)), [len(own) for own in moved])
        kinds = np.zeros_like(labels) if getattr(nms, "agnostic", False) else labels
        good &= ~shown_better(boxes, scores, kinds, number, seen)
    if not good.all():
        boxes, scores, labels = boxes[good], scores[good], labels[good]
    if suppress:
        boxes, scores, labels = nms(boxes, scores, labels, threshold=iou, max_det=max_det)
        # The head has applied `conf` already; suppression may have lowered scores since.
        keep = np.flatnonzero(scores >= np.float32(conf))
    else:
        keep = np.argsort(-scores, kind="stable")[:max_det]
    return Detections(boxes[keep], scores[keep], labels[keep], size, classes, source)


def _sight(part: Part, boxes: Boxes, size: Size) -> Sight:
    if part.window is None:
        return Sight.everything(len(boxes))
    return Sight.of(boxes, part.window, size, part.placement.scale)


def _join(arrays: list[NDArray[Any]]) -> NDArray[Any]:
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
