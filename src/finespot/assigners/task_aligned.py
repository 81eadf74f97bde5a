"""Task-aligned assignment: a target takes the points that both classify and locate it best.

After "TOOD: Task-aligned One-stage Object Detection" (2021, section 3.3) with the constants of the released YOLOv8 and
its newer rule for small objects: a side shorter than the head's second stride is widened to it before points are
tested, so that a 4-pixel object has candidates. What differs: pairs of target and point are kept as a list (see
`inside`), and points of metric zero are never positive.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from finespot.assigners.assignment import Assignment, Predictions, ignored_points
from finespot.assigners.inside import points_inside, widened
from finespot.boxes.overlap import iou_family
from finespot.registry import register
from finespot.structures import Candidates, Targets

# Released YOLOv8 adds it to a target's best metric; it damps targets that nothing fits yet (metrics near 1e-9).
EPS = 1e-9


@register("assigner", "task_aligned")
@dataclass(frozen=True)
class TaskAligned:
    """Metric = score^alpha * CIoU^beta; each target takes its `topk` best points over all levels.

    A point wanted by several targets answers for the one it overlaps most, of all those that it lies inside (also one
    that did not want it). Its weight is its metric, scaled so that the best point of a target has the target's best
    CIoU.
    """

    topk: int = 10
    alpha: float = 0.5
    beta: float = 6.0

    @torch.no_grad()
    def __call__(self, predictions: Predictions, targets: Targets, candidates: Candidates) -> Assignment:
        real = (~targets.ignore).nonzero().squeeze(1)
        boxes = targets.boxes[real]
        near, point = points_inside(widened(boxes, least_side(candidates)), candidates)
        rows = targets.image[real][near] * len(candidates) + point
        overlap = iou_family(_decoded(predictions, rows), boxes[near], "ciou").clamp_(min=0)
        score = predictions.scores(rows, targets.labels[real][near])
        metric = score.pow(self.alpha) * overlap.pow(self.beta)

        kept = _settled(rows, _best_of_each(near, metric, self.topk), overlap)
        near, rows, overlap, metric = near[kept], rows[kept], overlap[kept], metric[kept]

        count = len(targets.boxes)
        chosen = real[near]
        best_overlap = overlap.new_zeros(count).scatter_reduce_(0, chosen, overlap, "amax")
        best_metric = metric.new_zeros(count).scatter_reduce_(0, chosen, metric, "amax")
        weights = metric * (best_overlap / (best_metric + EPS))[chosen]
        ignored_rows, ignored_labels = ignored_points(targets, candidates, rows)
        return Assignment(rows, chosen, weights, torch.bincount(chosen, minlength=count), ignored_rows, ignored_labels)


def least_side(candidates: Candidates) -> float:
    """The shortest side that a target is tested with: the second stride, or the only one."""
    strides = [grid[0] for grid in candidates.grids] or candidates.strides.unique().tolist()
    return float(sorted(strides)[:2][-1]) if strides else 0.0


def _decoded(predictions: Predictions, rows: Tensor) -> Tensor:
    """Boxes at rows that occur several times, each decoded once."""
    if len(rows) == 0:
        return predictions.boxes(rows)
    seen = torch.zeros(int(rows.max()) + 1, dtype=torch.bool, device=rows.device)
    seen[rows] = True
    return predictions.boxes(seen.nonzero().squeeze(1))[(seen.cumsum(0) - 1)[rows]]


def _settled(rows: Tensor, wanted: Tensor, overlap: Tensor) -> Tensor:
    """Indices of the pairs that hold, one a row, by row: the wanted pair, or the best overlap of a contested row."""
    wishes = torch.zeros_like(rows)
    wishes.scatter_add_(0, wanted, torch.ones_like(wanted))
    of_row = torch.zeros(int(rows.max()) + 1 if len(rows) else 0, dtype=torch.int64, device=rows.device)
    of_row.scatter_add_(0, rows, wishes)
    contested = of_row[rows] > 1
    closest = torch.zeros_like(contested)
    closest[_best_of_each(rows, overlap, 1)] = True
    held = torch.where(contested, closest, wishes > 0).nonzero().squeeze(1)
    return held[rows[held].argsort()]


def _best_of_each(group: Tensor, value: Tensor, count: int) -> Tensor:
    """Indices of the `count` greatest values above 0 of each group, by group, then by falling value.

    Equal values keep their order. One sort does it: the bits of a non-negative float32 order as integers do.
    """
    above = (value > 0).nonzero().squeeze(1)
    group, value = group[above], value[above]
    falling = 0x7FFFFFFF - value.contiguous().view(torch.int32).long()
    key, order = torch.sort((group << 31) + falling, stable=True)
    group = key >> 31
    fresh = torch.ones_like(group, dtype=torch.bool)
    fresh[1:] = group[1:] != group[:-1]
    place = torch.arange(len(group), device=group.device)
    rank = place - torch.where(fresh, place, 0).cummax(0).values if len(group) else place
    return above[order[rank < count]]
