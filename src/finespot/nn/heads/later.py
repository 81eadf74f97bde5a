"""Boxes only where something is found.

Of the points of a picture, few pass the threshold of a score, and only those need a box; but the convolutions that lead
to box values run everywhere, and are the most expensive part of a head (17 % of the time of yolo11n at 640). So a head
may keep the maps that its box branch reads, and run the branch on the surroundings of chosen points when these are
known: 5 x 5 cells for two 3x3 convolutions. The values are the same, to rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import local
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# Points that run together. Always as many, so that shapes do not change from call to call, for each new one costs
# oneDNN a set-up, and a point's last bits do not depend on how many others there are.
_SHARE = 16
# A point costs as much as five cells of the whole map, in small pieces twice that; above one cell in so many, the map.
_SPARSE = 12

_THREAD = local()


class ConvBranch(NamedTuple):
    """3x3 convolutions (stride 1, padding 1), each with what follows it, then a 1x1 prediction."""

    steps: Sequence[tuple[nn.Conv2d, Callable[[Tensor], Tensor]]]
    predict: nn.Conv2d

    def whole(self, x: Tensor) -> Tensor:
        """Of a map (B, C, H, W), the values (B, K, H, W)."""
        for conv, after in self.steps:
            x = after(conv(x))
        return cast(Tensor, self.predict(x))

    def at(self, x: Tensor, picture: Tensor, row: Tensor, column: Tensor) -> Tensor:
        """Of a map (B, C, H, W), the values (n, K) at points (n,) each."""
        cells = x.permute(0, 2, 3, 1)
        found = []
        for start in range(0, len(picture), _SHARE):
            share = torch.arange(start, start + _SHARE).clamp(max=len(picture) - 1)
            found.append(self._share(cells, picture[share], row[share], column[share]))
        return torch.cat(found)[: len(picture)]

    def _share(self, cells: Tensor, picture: Tensor, row: Tensor, column: Tensor) -> Tensor:
        height, width = cells.shape[1:3]
        reach = len(self.steps)
        around = torch.arange(-reach, reach + 1)
        rows, columns = row[:, None] + around, column[:, None] + around
        inside = ((rows >= 0) & (rows < height))[:, None, :, None] & ((columns >= 0) & (columns < width))[:, None, None]
        rows, columns = rows.clamp(0, height - 1), columns.clamp(0, width - 1)
        patches = cells[picture[:, None, None], rows[:, :, None], columns[:, None]].permute(0, 3, 1, 2)
        for conv, after in self.steps:
            # What lies outside of the map is 0 to every convolution, as its padding is.
            patches = patches * inside
            patches = after(F.conv2d(patches, conv.weight, conv.bias))
            inside = inside[:, :, 1:-1, 1:-1]
        return cast(Tensor, self.predict(patches)).flatten(1)

    def values(self, x: Tensor, picture: Tensor, place: Tensor) -> Tensor:
        """Of a map (B, C, H, W), the values (n, K) at cells `place` (n,), row * W + column, of pictures (n,).

        A picture with many of them runs as a whole.
        """
        x = x.to(self.predict.weight.dtype)
        cells, width = x.shape[2] * x.shape[3], x.shape[3]
        found = x.new_empty((len(picture), self.predict.out_channels))
        many = torch.bincount(picture, minlength=len(x)) * _SPARSE > cells
        few = (~many)[picture].nonzero().squeeze(1)
        if len(few):
            found[few] = self.at(x, picture[few], place[few] // width, place[few] % width)
        for number in many.nonzero().flatten().tolist():
            here = (picture == number).nonzero().squeeze(1)
            found[here] = self.whole(x[number : number + 1])[0].flatten(1).T[place[here]]
        return found


@contextmanager
def boxes_later() -> Iterator[None]:
    """Heads that can leave boxes out of their raw output, in this thread, for the time of the context."""
    before, _THREAD.later = waiting(), True
    try:
        yield
    finally:
        _THREAD.later = before


def waiting() -> bool:
    """Whether boxes are to come later."""
    return getattr(_THREAD, "later", False)
