"""Windows of a map as one batch: a single indexed copy, exact, with gradients, on any device."""

from __future__ import annotations

import torch
from torch import Tensor

from finespot.structures import Size


def gather(x: Tensor, picture: Tensor, origins: Tensor, size: Size) -> Tensor:
    """Windows (K, C, h, w) of `size` (h, w), channels-last, of a map (B, C, H, W) that holds them all.

    `picture` (K,) and `origins` (K, 2), the x and y of their first cells, say where.
    """
    channels, rows, columns = x.shape[1:]
    down = torch.arange(size[0], device=x.device)[:, None] * columns
    across = torch.arange(size[1], device=x.device)
    start = (picture * rows + origins[:, 1]) * columns + origins[:, 0]
    cells = start[:, None, None] + down + across
    # A row a cell: in channels-last memory its values lie side by side.
    flat = x.permute(0, 2, 3, 1).flatten(0, 2)
    windows = flat.index_select(0, cells.flatten()).view(len(picture), *size, channels)
    return windows.permute(0, 3, 1, 2)
