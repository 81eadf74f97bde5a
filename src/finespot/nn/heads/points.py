"""The points of a dense head: where they lie, how maps become rows of points, what assigners are told of them.

Points are ordered level by level from fine to coarse; of a level anchor by anchor where a cell has several, then row
by row. Raw outputs carry them as "anchors" (1, N, 3): center x, center y, stride in input pixels, or (1, N, 5) with
width and height of the anchor box behind.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from finespot.structures import Candidates, Size

# Anchor boxes of one level: (width, height) pairs in input pixels.
AnchorSizes = Sequence[tuple[float, float]]
# Largest logarithm of a length in strides: far beyond any picture, and float32 stays finite.
LARGEST_LOG = 10.0


def make_anchors(
    sizes: Sequence[tuple[int, ...]],
    strides: Sequence[int],
    device: torch.device,
    offset: float = 0.5,
    anchors: Sequence[AnchorSizes] | None = None,
) -> Tensor:
    """The points (1, N, 3 or 5) of maps of `sizes` (rows, columns): cell i has its center at (i + offset) * stride."""
    levels = []
    for number, ((rows, columns), stride) in enumerate(zip(sizes, strides)):
        y = (torch.arange(rows, device=device, dtype=torch.float32) + offset) * stride
        x = (torch.arange(columns, device=device, dtype=torch.float32) + offset) * stride
        grid_y, grid_x = torch.meshgrid(y, x, indexing="ij")
        cells = torch.stack((grid_x, grid_y, torch.full_like(grid_x, float(stride))), -1).flatten(0, 1)
        if anchors is None:
            levels.append(cells)
            continue
        boxes = torch.tensor(anchors[number], device=device, dtype=torch.float32)
        pairs = torch.cat((cells.expand(len(boxes), -1, -1), boxes[:, None].expand(-1, len(cells), -1)), -1)
        levels.append(pairs.flatten(0, 1))
    return torch.cat(levels).unsqueeze(0)


def rows_of(maps: Sequence[Tensor], repeats: int = 1) -> Tensor:
    """Maps (B, C, h, w) to one (B, C, N), the C values of a point side by side in memory (as in channels-last).

    Maps of `repeats` anchors a cell are (B, repeats * C, h, w): all values of one anchor, then those of the next.
    """
    parts = [x.unflatten(1, (repeats, -1)) for x in maps]
    if torch.compiler.is_exporting():
        # Other runtimes keep maps channel by channel; there the plain form spares them the transpositions.
        return torch.cat([x.transpose(1, 2).flatten(2) for x in parts], 2)
    return torch.cat([x.permute(0, 1, 3, 4, 2).flatten(1, 3) for x in parts], 1).transpose(1, 2)


def candidates_of(anchors: Tensor, strides: Sequence[int], repeats: int = 1, offset: float = 0.5) -> Candidates:
    """What assigners are told of raw "anchors" (1, N, 3 or 5) on levels of `strides`, `repeats` anchors a cell.

    The last cells of a level may reach over the input's edge. Where a level's cells lie otherwise than a stride apart,
    the points count as having no order.
    """
    points = anchors[0].float()
    height, width = input_size(anchors, offset)
    grids = tuple((s, -(-height // s), -(-width // s)) for s in strides for _ in range(repeats))
    ends = torch.tensor([rows * columns for _, rows, columns in grids]).cumsum(0) - 1
    corners = [[(columns - 1 + offset) * s, (rows - 1 + offset) * s] for s, rows, columns in grids]
    regular = points[ends.to(points.device), :2].tolist() == corners
    sizes = points[:, 3:5] if points.shape[1] == 5 else None
    return Candidates(points[:, :2], points[:, 2], grids if regular else (), sizes, offset)


def away_from(points: Tensor, boxes: Tensor) -> Tensor:
    """Distances (P, 4) of points (P, 3 or 5) to left, top, right and bottom of boxes (P, 4), in the points' strides."""
    centers, stride = points[:, :2], points[:, 2:3]
    return torch.cat((centers - boxes[:, :2], boxes[:, 2:] - centers), 1) / stride


def input_size(anchors: Tensor, offset: float = 0.5) -> Size:
    """The network input's (height, width), from the bottom right cell of the finest level, which is whole."""
    finest = (anchors[0, :, 2] == anchors[0, 0, 2]).sum() - 1
    x, y, stride = anchors[0, finest, :3].tolist()
    return round(y + (1 - offset) * stride), round(x + (1 - offset) * stride)
