"""Anchors of about the target's size, at the target's cell and the two cells nearest to it.

The rule of the released YOLOv5 ("YOLOv5 by Ultralytics", 2020): no overlap, no competition. One target may have many
points and one point several targets, so rows of the `Assignment` repeat, once for each of its targets.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from finespot.assigners.assignment import Assignment, Predictions, assignment_of, real_targets
from finespot.assigners.groups import groups_of
from finespot.assigners.options import check_above
from finespot.errors import FineSpotError
from finespot.registry import register
from finespot.structures import Candidates, Targets


@register("assigner", "anchor_ratio")
@dataclass(frozen=True)
class AnchorRatio:
    """A target and an anchor match where neither side is `ratio` times the other one's or more.

    Points: the anchor's cell that holds the target's center, the one left of it or right of it and the one above or
    below, whichever the center is nearer to and the map has. Rows are ordered by point, then by target, and repeat
    where targets share a point. A target that no anchor matches has no points: see `Assignment.positives`.

    Raises
    ------
    FineSpotError
        The head has no anchors, or its points are no complete grids.
    """

    ratio: float = 4.0

    def __post_init__(self) -> None:
        check_above("ratio", self.ratio, 1)

    @torch.no_grad()
    def __call__(self, predictions: Predictions, targets: Targets, candidates: Candidates) -> Assignment:
        if candidates.sizes is None or not candidates.grids:
            raise FineSpotError(
                "'anchor_ratio' needs a head with anchors on every cell, and this head has none",
                where="assigner",
                hint="choose another assigner, or a network with anchors such as yolov5n",
            )
        real = real_targets(targets)
        boxes = targets.boxes[real]
        groups = groups_of(candidates)
        near, group = self._matches(boxes, candidates.sizes[groups.first])
        grids = torch.tensor(candidates.grids, device=boxes.device)[group]
        middle = ((boxes[:, :2] + boxes[:, 2:]) / 2)[near] / grids[:, :1]
        size = grids[:, 1:].flip(1)
        which, cell = _cells(middle, size)
        near, group = near[which], group[which]
        point = groups.first[group] + cell[:, 1] * size[which, 0] + cell[:, 0]
        rows = targets.image[real][near] * len(candidates) + point
        # A center outside the picture is put into the cell at the edge, where a neighbor may lie already.
        count = max(len(real), 1)
        pairs = torch.unique(rows * count + near)
        return assignment_of(targets, candidates, torch.div(pairs, count, rounding_mode="floor"), real[pairs % count])

    def _matches(self, boxes: Tensor, anchors: Tensor) -> tuple[Tensor, Tensor]:
        """All (box, anchor) of about one size."""
        relation = (boxes[:, None, 2:] - boxes[:, None, :2]) / anchors
        near, group = (torch.maximum(relation, 1 / relation).amax(2) < self.ratio).nonzero().unbind(1)
        return near, group


def _cells(middle: Tensor, size: Tensor) -> tuple[Tensor, Tensor]:
    """Cells (x, y) of centers (K, 2), in cells of maps of `size` (columns, rows), and which center each is of."""
    low = (middle % 1 < 0.5) & (middle > 1)
    high = ((size - middle) % 1 < 0.5) & (size - middle > 1)
    device = middle.device
    steps = torch.tensor([[0, 0], [-1, 0], [0, -1], [1, 0], [0, 1]], device=device)
    has = torch.cat((torch.ones(len(middle), 1, dtype=torch.bool, device=device), low, high), 1)
    which, step = has.nonzero().unbind(1)
    # The original moves the center by half a cell and cuts it off, so that x.5 reaches no neighbor.
    cell = (middle[which] + steps[step] * 0.5).floor().long()
    return which, torch.minimum(cell.clamp(min=0), size[which] - 1)
