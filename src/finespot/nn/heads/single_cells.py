"""3x3 convolutions of single cells, in place of all of a map.

A cell and its eight neighbors side by side are a row; of rows a convolution is one product of matrices. The values are
the map's, to rounding.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from finespot.nn.layers.conv import Conv

# With a larger share of its cells a map runs as a whole. On a CPU a gathered cell cost as much as 1 to 1.7 cells of the
# whole map, the most where channels are few.
MOST = 0.6


class SingleCells:
    """The cells of a map (K, C, h, w) where `here` (K, h, w) is set; `left_out` (K,) is how many of each do not run.

    Attributes
    ----------
    whole:
        So many are set, of all K maps together, that these run as they are; results are of those set all the same.
    """

    def __init__(self, x: Tensor, here: Tensor) -> None:
        self.x, self.shape = x, here.shape
        self.place = here.flatten().nonzero().squeeze(1)
        self.whole = len(self.place) > MOST * here.numel()
        others = (~here).sum((1, 2))
        self.left_out = torch.zeros_like(others) if self.whole else others
        self._rows = None if self.whole else _surroundings(x, self.place)

    def convolved(self, conv: Conv) -> Tensor:
        """What a 3x3 `conv` (stride 1, one group) gives in these cells, (n, C)."""
        if self._rows is None:
            found: Tensor = conv(self.x).permute(0, 2, 3, 1).flatten(0, 2)[self.place]
            return found
        weight = conv.conv.weight
        # In channels-last memory, as a session keeps it, that is a view.
        flat = weight.permute(0, 2, 3, 1).reshape(len(weight), -1)
        values = F.linear(self._rows, flat, conv.conv.bias)
        return conv.after(values[:, :, None, None]).flatten(1)

    def map_of(self, predict: nn.Conv2d, values: Tensor, elsewhere: float) -> Tensor:
        """The map (K, c, h, w) of what a 1x1 convolution makes of `values` (n, C); `elsewhere` in all other cells."""
        found = F.linear(values, predict.weight.flatten(1), predict.bias)
        rows = found.new_full((self.shape.numel(), found.shape[1]), elsewhere)
        rows[self.place] = found
        return rows.view(*self.shape, found.shape[1]).permute(0, 3, 1, 2)


def _surroundings(x: Tensor, place: Tensor) -> Tensor:
    """Rows (n, 9 * C) of the cells `place`, (picture * h + row) * w + column, and about them; outside the map is 0."""
    height, width = x.shape[2:]
    padded = F.pad(x.permute(0, 2, 3, 1), (0, 0, 1, 1, 1, 1)).flatten(0, 2)
    picture, row, column = place // (height * width), place // width % height, place % width
    first = (picture * (height + 2) + row) * (width + 2) + column
    shifts = torch.arange(3, device=x.device)
    around = (shifts[:, None] * (width + 2) + shifts).flatten()
    return padded.index_select(0, (first[:, None] + around).flatten()).view(len(place), 9 * x.shape[1])


def operations(convolutions: list[nn.Conv2d]) -> float:
    """1e9 operations of a cell in convolutions of stride 1: a product and a sum for each weight."""
    return 2e-9 * sum(one.weight.numel() for one in convolutions)
