"""Boxes that the edge of a window cut off, and which of them another window shows whole.

An object at the edge of a window is found in part there and whole in the neighbor. Suppression keeps both, because a
part has little IoU with the whole. Which of the two is right needs no guess: the one that was not cut, or at fewer of
the same sides. (Common tiled prediction compares intersection with the smaller box everywhere instead, and so deletes
small objects that lie on larger ones; here only boxes at a cut can go.) What the picture as a whole shows is cut
nowhere: with it, the pieces of an object that is too large for any tile go too.
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
# Sides at which a box may be cut, to be added.
LEFT, TOP, RIGHT, BOTTOM = 1, 2, 4, 8
Sides = NDArray[np.uint8]
_COUNT = np.array([side.bit_count() for side in range(16)])


def cut_sides(boxes: Boxes, window: Window, size: Size, scale: tuple[float, float]) -> Sides:
    """At which sides boxes may be cut off: where they reach, within EDGE_PX, an edge of `window` that is none of the
    picture.

    `boxes`, `window` and `size` (height, width) are in pixels of the picture; EDGE_PX is in those of the network
    input, of which there are `scale` (y, x) to one of the picture. What reaches over the edge counts too.
    """
    (height, width), (near_y, near_x) = size, (EDGE_PX / scale[0], EDGE_PX / scale[1])
    x1, y1, x2, y2 = window
    cut = np.zeros(len(boxes), np.uint8)
    if x1 > 0:
        cut[boxes[:, 0] <= x1 + near_x] |= LEFT
    if y1 > 0:
        cut[boxes[:, 1] <= y1 + near_y] |= TOP
    if x2 < width:
        cut[boxes[:, 2] >= x2 - near_x] |= RIGHT
    if y2 < height:
        cut[boxes[:, 3] >= y2 - near_y] |= BOTTOM
    return cut


def shown_whole(boxes: Boxes, labels: Labels, windows: NDArray[np.int64], cut: Sides) -> Flags:
    """Which boxes are cut off and shown better by one from another of the (numbered) `windows`.

    A box shows another one better that is of its class, covers it, is cut at fewer sides, all of them among those
    where the other one is cut, and is not shown better itself. To cover is to share COVERED of the other box's area or
    more. The scores do not matter: who sees more of an object knows better where it ends.
    """
    shown = np.zeros(len(boxes), bool)
    if not cut.any():
        return shown
    # Boxes of IoU 0.5 or more have centers within half a side of the larger: the search that suppression makes for
    # that IoU finds every center in a box.
    table = BoxTable.build(boxes, labels, 0.5)
    sides = _COUNT[cut]
    for count in range(1, int(sides.max()) + 1):
        whole, left = np.flatnonzero((sides < count) & ~shown), np.flatnonzero(sides == count)
        whole = whole[np.argsort(-table.area[whole], kind="stable")]
        # In rounds, each twice the last, the largest first: where boxes pile up, few of them cover all that is cut.
        done, size = 0, _FIRST_ROUND
        while done < len(whole) and len(left):
            search = CenterSearch.build(table, left)
            for row, position in search.around(whole[done : done + size]).chunks():
                part = search.rows[position]
                better = (windows[row] != windows[part]) & (cut[row] & ~cut[part] == 0)
                row, part = row[better], part[better]
                shown[part[_shared(table, row, part) >= COVERED * table.area[part]]] = True
            left = left[~shown[left]]
            done, size = done + size, 2 * size
    return shown


def _shared(table: BoxTable, first: NDArray[np.int64], second: NDArray[np.int64]) -> NDArray[np.float32]:
    x1, y1, x2, y2 = table.corners
    wide = np.minimum(x2[first], x2[second]) - np.maximum(x1[first], x1[second])
    high = np.minimum(y2[first], y2[second]) - np.maximum(y1[first], y1[second])
    area: NDArray[np.float32] = np.maximum(wide, 0) * np.maximum(high, 0)
    return area
