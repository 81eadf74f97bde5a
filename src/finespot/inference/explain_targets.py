"""What a heat map explains: the scores or the boxes of detections, as values of the network's raw output.

Scores are taken before the sigmoid, whose slope is next to nothing where the network is sure: a sure detection counts
as much as a doubtful one. Sides of boxes are measured in the box's own size, so that an object of 8 pixels counts as
much as one of 80.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from finespot.boxes import clip
from finespot.boxes.overlap import pairwise_iou
from finespot.inference.explain_graph import Raw
from finespot.structures import Detections, Labels, Placement

TARGETS = ("class", "box", "both")
# A detection is that of the best score among the points whose boxes are as near to its own as this (IoU).
_SAME = 0.02
# Points whose boxes share less with a detection (IoU) are not where it comes from: in another tile, it may be cut off.
_LEAST = 0.5


def points_of(head: Any, raw: Raw, placement: Placement, detections: Detections) -> Labels:
    """The point (or query) of the one picture in `raw` that each detection comes from; -1 where there is none.

    The boxes of all points are moved into the picture and clipped like those of detections (`tiling.merge`), so that
    what suppression left unchanged is found exactly. Rules that mean boxes or lower scores move them a little; then
    the nearest box decides.
    """
    points = np.full(len(detections), -1, np.int64)
    if not len(detections):
        return points
    with torch.no_grad():
        scores = _scores(raw)
        boxes = clip(placement.to_picture(head.decode_boxes(raw)[0].cpu().numpy()), detections.size)
    for label in np.unique(detections.labels):
        rows = np.flatnonzero(detections.labels == label)
        of_class = scores[label].cpu().numpy()
        # Half the score: halves of numbers differ, and so do means of scores.
        near = np.flatnonzero(of_class >= 0.5 * detections.scores[rows].min())
        if not len(near):
            continue
        shared = pairwise_iou(torch.from_numpy(detections.boxes[rows]), torch.from_numpy(boxes[near])).numpy()
        best = shared.max(1, keepdims=True)
        chosen = np.where(shared >= best - _SAME, of_class[near][None], -1).argmax(1)
        points[rows] = np.where(best[:, 0] >= _LEAST, near[chosen], -1)
    return points


def class_value(raw: Raw, label: int, points: NDArray[np.int64]) -> Tensor:
    """The sum of a class's logits at points; the objectness's too, where scores are products."""
    index = torch.from_numpy(points).to(raw["scores"].device)
    total = raw["scores"][0, label, index].float().sum()
    return total + raw["objectness"][0, 0, index].float().sum() if "objectness" in raw else total


def box_values(head: Any, raw: Raw, points: NDArray[np.int64]) -> list[Tensor]:
    """The sums of left, top, right and bottom sides at points, each in widths or heights of its box."""
    boxes: Tensor = head.decode_boxes(raw)[0, torch.from_numpy(points).to(raw["scores"].device)]
    extent = (boxes[:, 2:] - boxes[:, :2]).detach().clamp(min=1).repeat(1, 2)
    return list((boxes / extent).sum(0).unbind())


def _scores(raw: Raw) -> Tensor:
    """(classes, N) from 0 to 1."""
    scores = torch.sigmoid(raw["scores"][0].float())
    return scores * torch.sigmoid(raw["objectness"][0].float()) if "objectness" in raw else scores
