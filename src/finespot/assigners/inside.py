"""Which points lie inside which boxes, as a list of pairs.

Few points lie inside any box, so a list is small where a table (boxes x points) is not: 300 boxes on the 34,000 points
of a P2 head make ten million entries but some ten thousand pairs. On complete grids the pairs are counted out per level
from the box's edges; for points without order (`Candidates.grids` empty) every box is compared with every point.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from finespot.assigners.groups import groups_of
from finespot.structures import Candidates

MARGIN = 1e-9
# The most pairs that are looked at together where memory is to be bounded.
_CHUNK = 500_000


def points_inside(boxes: Tensor, candidates: Candidates) -> tuple[Tensor, Tensor]:
    """All (box, point) with the point's center strictly inside the box, by box, then by point: two (K,) int64.

    `boxes` are (T, 4), or (T, G, 4) where each group of points (see `groups`) is tested with a box of its own.
    """
    group = groups_of(candidates).of_point if boxes.ndim == 3 else None
    box, point = _near(boxes, candidates) if candidates.grids else _all(boxes, candidates, group)
    centers = candidates.centers[point]
    edges = boxes[box] if group is None else boxes[box, group[point]]
    # The narrowest distance to an edge decides; a center on an edge is outside.
    inside = torch.cat((centers - edges[:, :2], edges[:, 2:] - centers), 1).amin(1) > MARGIN
    return box[inside], point[inside]


def pairs_inside(boxes: Tensor, candidates: Candidates) -> Iterator[tuple[Tensor, Tensor]]:
    """The pairs of `points_inside` in parts of bounded size, each with all pairs of its boxes."""
    if len(boxes) == 0:
        return
    wide = boxes[:, None] if boxes.ndim == 2 else boxes
    strides = candidates.strides[groups_of(candidates).first, None]
    cells = ((wide[..., 2:] - wide[..., :2]) / strides + 1).prod(2).sum(1).clamp(max=len(candidates))
    part = (cells.double().cumsum(0) / _CHUNK).long()
    begin = 0
    for count in part.unique_consecutive(return_counts=True)[1].tolist():
        box, point = points_inside(boxes[begin : begin + count], candidates)
        yield box + begin, point
        begin += count


def _near(boxes: Tensor, candidates: Candidates) -> tuple[Tensor, Tensor]:
    """Pairs on complete grids: the cells from the one at or before a box's edge to the one at or behind the other."""
    device = boxes.device
    grids = torch.tensor(candidates.grids, dtype=torch.int64, device=device)
    stride, size = grids[:, :1], grids[:, 1:].flip(1)
    counts = size.prod(1)
    start = counts.cumsum(0) - counts
    edges = boxes[:, None] if boxes.ndim == 2 else boxes
    # (T, L, 2) cell indices in x and y; center of cell i is (i + offset) * stride.
    first = (edges[..., :2] / stride - candidates.offset).floor().long().clamp(min=0)
    last = torch.minimum((edges[..., 2:] / stride - candidates.offset).ceil().long(), size - 1)
    sides = (last - first + 1).clamp(min=0)
    area = sides.prod(2).flatten()
    total = int(area.sum())
    run = torch.repeat_interleave(torch.arange(len(area), device=device), area, output_size=total)
    within = torch.arange(total, device=device) - (area.cumsum(0) - area)[run]
    width = sides[..., 0].flatten()[run]
    origin = (first[..., 1] * size[:, 0] + first[..., 0] + start).flatten()
    down = torch.div(within, width, rounding_mode="floor")
    level = run % len(grids)
    point = origin[run] + down * size[:, 0][level] + (within - down * width)
    return torch.div(run, len(grids), rounding_mode="floor"), point


def _all(boxes: Tensor, candidates: Candidates, group: Tensor | None) -> tuple[Tensor, Tensor]:
    """Pairs of points in any order, a share of the boxes at a time to bound the memory."""
    centers = candidates.centers
    share = max(_CHUNK // max(len(centers), 1), 1)
    found = []
    for begin in range(0, len(boxes), share):
        part = boxes[begin : begin + share]
        part = part[:, None] if group is None else part[:, group]
        near = ((centers > part[..., :2]) & (centers < part[..., 2:])).all(2).nonzero()
        near[:, 0] += begin
        found.append(near)
    pairs = torch.cat(found) if found else torch.zeros((0, 2), dtype=torch.int64, device=boxes.device)
    return pairs[:, 0], pairs[:, 1]
