"""Task-aligned assignment with a floor for tiny boxes: none of them is left without points that count.

`task_aligned` starves a tiny object in two ways: it loses its cells to a larger object around it, and its cells do not
overlap yet, so that their weight is 0. Here, after the points are dealt out (without widening), each tiny object is
given cells of the finest level around its center until it has `floor` of them, and no weight is below `q_min`.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import torch
from torch import Tensor

from finespot.assigners.assignment import Assignment, Predictions, assignment_of, boxes_at, real_targets
from finespot.assigners.inside import points_inside
from finespot.assigners.nearest import center_distance
from finespot.assigners.options import check_above, check_choice, check_count, check_number
from finespot.assigners.task_aligned import check_task_alignment, scaled, taken
from finespot.boxes.gaussian import nwd, safit
from finespot.boxes.overlap import iou_family
from finespot.errors import FineSpotError
from finespot.registry import register
from finespot.structures import Candidates, Targets

# Cells are given from the square of this half side about a target's center, in finest strides.
_REACH = 1.5
_SIMILARITIES = {"nwd": nwd, "safit": safit}


@register("assigner", "dynamic")
@dataclass(frozen=True)
class Dynamic:
    """`task_aligned` without widening, then cells for tiny targets: those with a side below the finest stride.

    In turns, the smallest first, each tiny target that has less than the turn's number takes the nearest cell of the
    finest level within 1.5 strides of its center (x and y), until after `floor` turns. It takes no cell from another
    tiny target, and none from a target that has only one; a larger target that got nothing takes one cell by the same
    rule. So a target goes without only where every such cell is another tiny target's or its owner's last. `floor` 0
    gives no cells and leaves weights as they are.

    `overlap` is what tiny targets are compared by: ciou, or nwd or safit, which are above 0 for boxes that lie apart;
    `constant` is that of nwd and safit in pixels (None: 12.8 and 32).
    """

    topk: int = 10
    alpha: float = 0.5
    beta: float = 6.0
    floor: int = 3
    q_min: float = 0.1
    overlap: str = "ciou"
    constant: float | None = None

    def __post_init__(self) -> None:
        check_task_alignment(self.topk, self.alpha, self.beta)
        check_count("floor", self.floor, 0)
        check_number("q_min", self.q_min, 0, 1)
        check_choice("overlap", self.overlap, ("ciou", *_SIMILARITIES))
        if self.constant is not None:
            check_above("constant", self.constant)
            if self.overlap == "ciou":
                raise FineSpotError("expected no constant for overlap=ciou", where="constant", hint="overlap=nwd")

    @torch.no_grad()
    def __call__(self, predictions: Predictions, targets: Targets, candidates: Candidates) -> Assignment:
        real = real_targets(targets)
        boxes = targets.boxes[real]
        finest = float(candidates.strides.min()) if len(candidates) else 0.0
        tiny = (boxes[:, 2:] - boxes[:, :2]).amin(1) < finest
        near, point = points_inside(boxes, candidates)
        rows = targets.image[real][near] * len(candidates) + point
        overlap, metric = self._fit(predictions, targets, real[near], tiny[near], rows)
        distance = center_distance(boxes[near], candidates.centers[point])
        kept = taken(near, rows, metric, overlap, distance, self.topk)
        near, rows, overlap, metric = near[kept], rows[kept], overlap[kept], metric[kept]
        if self.floor:
            rows, near = self._floored(targets, real, tiny, candidates, rows, near)
            overlap, metric = self._fit(predictions, targets, real[near], tiny[near], rows)
        chosen = real[near]
        weights = scaled(metric, overlap, chosen, len(targets.boxes))
        return assignment_of(targets, candidates, rows, chosen, weights.clamp(min=self.q_min if self.floor else 0))

    def _fit(
        self, predictions: Predictions, targets: Targets, chosen: Tensor, tiny: Tensor, rows: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Overlap and metric of pairs."""
        found, aim = boxes_at(predictions, rows), targets.boxes[chosen]
        overlap = iou_family(found, aim, "ciou").clamp_(min=0)
        if self.overlap in _SIMILARITIES:
            similarity = _SIMILARITIES[self.overlap]
            constant = {} if self.constant is None else {"constant": float(self.constant)}
            overlap = torch.where(tiny, similarity(found, aim, **constant), overlap)
        score = predictions.scores(rows, targets.labels[chosen])
        return overlap, score.pow(self.alpha) * overlap.pow(self.beta)

    def _floored(
        self, targets: Targets, real: Tensor, tiny: Tensor, candidates: Candidates, rows: Tensor, near: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Rows and their targets (numbers among `real`) after the poor were given cells."""
        owner = dict(zip(rows.tolist(), near.tolist()))
        owned = Counter(owner.values())
        is_tiny = tiny.tolist()
        # A cell once passed over stays out of reach, so each target goes through its ring once.
        rings = {target: iter(cells) for target, cells in self._rings(targets, real, tiny, candidates, owned).items()}
        for turn in range(1, self.floor + 1):
            for target, cells in rings.items():
                if owned[target] >= turn or (turn > 1 and not is_tiny[target]):
                    continue
                for cell in cells:
                    holder = owner.get(cell)
                    if holder is None or not (holder == target or is_tiny[holder] or owned[holder] == 1):
                        if holder is not None:
                            owned[holder] -= 1
                        owner[cell] = target
                        owned[target] += 1
                        break
        dealt = torch.tensor(sorted(owner.items()), dtype=torch.int64, device=rows.device).reshape(-1, 2)
        return dealt[:, 0], dealt[:, 1]

    def _rings(
        self, targets: Targets, real: Tensor, tiny: Tensor, candidates: Candidates, owned: Counter[int]
    ) -> dict[int, list[int]]:
        """The rows around each target below its floor, nearest first; smallest target first."""
        has = torch.tensor([owned[i] for i in range(len(real))], device=real.device)
        poor = (has < torch.where(tiny, self.floor, 1)).nonzero().squeeze(1)
        sides = targets.boxes[real[poor], 2:] - targets.boxes[real[poor], :2]
        poor = poor[sides.prod(1).argsort(stable=True)]
        boxes = targets.boxes[real[poor]]
        middle = (boxes[:, :2] + boxes[:, 2:]) / 2
        stride = candidates.strides.min()
        place, point = points_inside(torch.cat((middle - _REACH * stride, middle + _REACH * stride), 1), candidates)
        fine = candidates.strides[point] == stride
        place, point = place[fine], point[fine]
        nearer = center_distance(boxes[place], candidates.centers[point]).argsort(stable=True)
        rows = targets.image[real[poor]][place] * len(candidates) + point
        rings: dict[int, list[int]] = {target: [] for target in poor.tolist()}
        for target, row in zip(poor[place[nearer]].tolist(), rows[nearer].tolist()):
            rings[target].append(row)
        return rings
