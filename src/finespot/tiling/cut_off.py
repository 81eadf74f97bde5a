"""Boxes that the edge of a window cut off, and which of them another window shows better.

An object at the edge of a window is found in part there and whole in the neighbor. Suppression keeps both, because a
part has little IoU with the whole. Which of the two is right needs no guess: the one whose window shows more of it.
(Common tiled prediction compares intersection with the smaller box everywhere instead, and so deletes small objects
that lie on larger ones; here only boxes at a cut can go.) What the picture as a whole shows is cut nowhere: with it,
the pieces of an object that is too large for any tile go too.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from finespot.boxes.suppression import BoxTable, CenterSearch
from finespot.structures import Boxes, Flags, Labels, Size, Window

# Measured with the weights `hit-uav-n` on 42 HIT-UAV pictures in tiles of 256 px at their own pixels: of 644 boxes of
# score 0.25 or more, 194 lay to 80 % or more in a larger one of their class (79 of 483 in whole pictures). The rule
# leaves 541 and 114, and the AP rises from 0.450 to 0.470. Boxes that a larger one from another window covers end up to
# 3 px of the network input before the cut or beyond it, few 4 to 10 px before it; from 2 to 12 px the AP is the same
# within 0.005.
EDGE_PX = 4
# From 0.5 to 0.9 the AP is the same within 0.005. Above a half, the center of what is covered lies in what covers.
COVERED = 0.7
_FIRST_ROUND = 256

Limits = NDArray[np.float32]


def limits(boxes: Boxes, window: Window, size: Size, scale: tuple[float, float]) -> Limits:
    """How far outwards `window` shows the object of each box to the left, top, right and bottom, (n, 4).

    Infinitely far where the box ends inside the window or the window where the picture does. Where the box may be cut
    off, as it reaches within EDGE_PX of another edge or over it, as far as that edge: -x1, -y1, x2, y2.

    `boxes`, `window` and `size` (height, width) are in pixels of the picture; EDGE_PX is in those of the network
    input, of which there are `scale` (y, x) to one of the picture.
    """
    (height, width), (near_y, near_x) = size, (EDGE_PX / scale[0], EDGE_PX / scale[1])
    x1, y1, x2, y2 = window
    found = np.full((len(boxes), 4), np.inf, np.float32)
    if x1 > 0:
        found[boxes[:, 0] <= x1 + near_x, 0] = -x1
    if y1 > 0:
        found[boxes[:, 1] <= y1 + near_y, 1] = -y1
    if x2 < width:
        found[boxes[:, 2] >= x2 - near_x, 2] = x2
    if y2 < height:
        found[boxes[:, 3] >= y2 - near_y, 3] = y2
    return found


def shown_better(boxes: Boxes, labels: Labels, windows: NDArray[np.int64], limits: Limits) -> Flags:
    """Which boxes are cut off and shown better by one from another of the (numbered) `windows`.

    A box shows another one better that is of its class, covers it, and sees as far on all sides (`limits`) and farther
    on one. To cover is to share COVERED of the other box's area or more. The scores do not matter: who sees more of an
    object knows better where it ends. What sees farther in this sense is an order, so of all boxes of an object one
    stays at least.
    """
    shown = np.zeros(len(boxes), bool)
    left = np.flatnonzero(np.isfinite(limits).any(1))
    if not len(left):
        return shown
    # Boxes of IoU 0.5 or more have centers within half a side of the larger: the search that suppression makes for
    # that IoU finds every center in a box.
    table = BoxTable.build(boxes, labels, 0.5)
    judges = np.argsort(-table.area, kind="stable")
    # In rounds, each twice the last, the largest first: where boxes pile up, few of them cover all that is cut.
    done, size = 0, _FIRST_ROUND
    while done < len(judges) and len(left):
        search = CenterSearch.build(table, left)
        for row, position in search.around(judges[done : done + size]).chunks():
            part = search.rows[position]
            other = windows[row] != windows[part]
            row, part = row[other], part[other]
            covers = _shared(table, row, part) >= COVERED * table.area[part]
            row, part = row[covers], part[covers]
            own, seen = limits[row], limits[part]
            shown[part[(own >= seen).all(1) & (own > seen).any(1)]] = True
        left = left[~shown[left]]
        done, size = done + size, 2 * size
    return shown


def _shared(table: BoxTable, first: NDArray[np.int64], second: NDArray[np.int64]) -> NDArray[np.float32]:
    x1, y1, x2, y2 = table.corners
    wide = np.minimum(x2[first], x2[second]) - np.maximum(x1[first], x1[second])
    high = np.minimum(y2[first], y2[second]) - np.maximum(y1[first], y1[second])
    area: NDArray[np.float32] = np.maximum(wide, 0) * np.maximum(high, 0)
    return area
