"""The truth of a batch as windows see it.

An object belongs to the window whose core holds its center, and to no other, so it has as many positive points wherever
it lies, and is counted once. In the other windows that see a part of it, it is an ignore region of its class: what a
window finds there has its center outside the core and is dropped, so it need not learn to find it, and must not learn
that nothing is there. Points of the halo count as others do: an object at the border of its core has some of its
points there.
"""

from __future__ import annotations

import torch
from torch import Tensor

from finespot.structures import Size, Targets


def in_windows(targets: Targets, origins: Tensor, cores: Tensor, size: Size) -> Targets:
    """The truth in pixels of each window, a window a picture; boxes keep their size, also where they reach outside.

    Parameters
    ----------
    origins:
        (K, 3) int64: picture, x and y of each window, in input pixels.
    cores:
        (K, 4) xyxy in input pixels, right and bottom edge exclusive.
    size:
        (height, width) of the windows in pixels.
    """
    boxes = targets.boxes
    low = origins[:, 1:].to(boxes.dtype)
    high = low + torch.tensor([size[1], size[0]], dtype=boxes.dtype, device=boxes.device)
    here = origins[:, :1] == targets.image
    centers = (boxes[:, :2] + boxes[:, 2:]) / 2
    home = here & (centers >= cores[:, None, :2]).all(2) & (centers < cores[:, None, 2:]).all(2)
    seen = here & (boxes[:, 2:] > low[:, None]).all(2) & (boxes[:, :2] < high[:, None]).all(2)
    # A region that is to be ignored is so in every window; an object at home in a window is there wherever its box is.
    window, row = (seen | (home & ~targets.ignore)).nonzero().unbind(1)
    return Targets(
        boxes[row] - low[window].repeat(1, 2),
        targets.labels[row],
        window,
        targets.ignore[row] | ~home[window, row],
        len(origins),
    )
