"""Boxes that the edge of a window cut off, and which of them another window shows better.

An object at the edge of a window is found in part there and whole in the neighbor. Suppression keeps both, because a
part has little IoU with the whole. Which of the two is right needs no guess: the one whose window shows more of it.
(Common tiled prediction compares intersection with the smaller box everywhere instead, and so deletes small objects
that lie on larger ones; here only boxes at a cut can go.) What the picture as a whole shows is cut nowhere: with it,
the pieces of an object that is too large for any tile go too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from finespot.boxes.suppression import BoxTable, CenterSearch, Rows, nms
from finespot.structures import Boxes, Flags, Labels, Size, Window

# Measured with the weights `hit-uav-n` on 42 HIT-UAV pictures in tiles of 256 px at their own pixels: of 644 boxes of
# score 0.25 or more, 194 lay to 80 % or more in a larger one of their class (79 of 483 in whole pictures). The rule
# leaves 541 and 114, and the AP rises from 0.450 to 0.470. Boxes that a larger one from another window covers end up to
# 3 px of the network input before the cut or beyond it, few 4 to 10 px before it; from 2 to 12 px the AP is the same
# within 0.005.
EDGE_PX = 4
# From 0.5 to 0.9 the AP is the same within 0.005. Above a half, the center of what is covered lies in what covers.
COVERED = 0.7
# What ends no farther apart ends at the same place. The objects that this is for are about as large as an overlap, so
# half a pixel is less than a twentieth of them, and a box so much short of one passes at an IoU of 0.95.
SAME_PX = 0.5
_FIRST_ROUND = 256

Limits = NDArray[np.float32]


class Sight(NamedTuple):
    """How far outwards the objects of boxes are seen to the left, top, right and bottom, (n, 4) each.

    `limits` are infinite where the box ends inside its window, or the window where the picture does. Where the box may
    be cut off, they are the edges of the window that it reaches: -x1, -y1, x2, y2. `zones` are where the strips before
    these edges begin in which a box counts as cut off; minus infinity elsewhere.
    """

    limits: Limits
    zones: Limits

    @classmethod
    def of(cls, boxes: Boxes, window: Window, size: Size, scale: tuple[float, float]) -> Sight:
        """Of boxes that `window` shows: cut off is what reaches within EDGE_PX of an edge that is none of the picture.

        `boxes`, `window` and `size` (height, width) are in pixels of the picture; EDGE_PX is in those of the network
        input, of which there are `scale` (y, x) to one of the picture. What reaches over the edge counts too.
        """
        (height, width), (near_y, near_x) = size, (EDGE_PX / scale[0], EDGE_PX / scale[1])
        x1, y1, x2, y2 = window
        edges = np.array([-x1, -y1, x2, y2], np.float32)
        zones = edges - np.array([near_x, near_y, near_x, near_y], np.float32)
        inside = np.array([x1 > 0, y1 > 0, x2 < width, y2 < height])
        cut = (_outwards(boxes) >= zones) & inside
        infinite = np.float32(np.inf)
        return cls(np.where(cut, edges, infinite), np.where(cut, zones, -infinite))

    @classmethod
    def everything(cls, count: int) -> Sight:
        """Of boxes that nothing cuts off."""
        return cls(np.full((count, 4), np.inf, np.float32), np.full((count, 4), -np.inf, np.float32))

    def edge_px(self, rows: Rows) -> NDArray[np.float32]:
        """EDGE_PX in pixels of the picture, where these boxes were found; 0 for those that nothing cuts off."""
        limits = self.limits[rows]
        strips = np.subtract(limits, self.zones[rows], out=np.zeros_like(limits), where=np.isfinite(limits))
        return np.asarray(strips.max(1))

    @classmethod
    def join(cls, sights: Sequence[Sight]) -> Sight:
        """Of the boxes of several windows."""
        return cls(np.concatenate([one.limits for one in sights]), np.concatenate([one.zones for one in sights]))


def shown_better(
    boxes: Boxes, scores: NDArray[np.float32], labels: Labels, windows: NDArray[np.int64], sight: Sight
) -> Flags:
    """Which boxes are cut off and shown better by one from another of the (numbered) `windows`.

    A box shows another one better that is of its class, covers it, reaches to where it is cut off, and sees as far on
    all sides and farther on one. To cover is to share COVERED of the other box's area or more. The scores do not
    matter: who sees more of an object knows better where it ends. What sees farther in this sense is an order, so of
    all boxes of an object one stays at least.

    Of what is left, two boxes may be cut off on different sides, though one shows the whole object. That one reaches
    farther where it sees farther, and on all other sides both end at the same place, to SAME_PX. Here views are
    compared by their best boxes: of all that a network finds, some box is always a little larger.
    """
    shown = np.zeros(len(boxes), bool)
    cut = np.isfinite(sight.limits).any(1)
    if not cut.any():
        return shown
    # Boxes of IoU 0.5 or more have centers within half a side of the larger: the search that suppression makes for
    # that IoU finds every center in a box.
    table = BoxTable.build(boxes, labels, 0.5)
    reach = _outwards(boxes)

    def sees_farther(row: Rows, part: Rows) -> Flags:
        own, seen = sight.limits[row], sight.limits[part]
        return np.asarray((own >= seen).all(1) & (own > seen).any(1))

    def is_whole(row: Rows, part: Rows) -> Flags:
        farther = sight.limits[row] > sight.limits[part]
        more = reach[row] - reach[part]
        same = sight.edge_px(row)[:, None] * (SAME_PX / EDGE_PX)
        ends = farther | (np.abs(more) <= same)
        larger = table.area[row] > table.area[part]
        return np.asarray(ends.all(1) & (farther & (more > same)).any(1) & larger)

    def judge(judges: Rows, better: Callable[[Rows, Rows], Flags]) -> None:
        left = np.flatnonzero(cut & ~shown)
        judges = judges[np.argsort(-table.area[judges], kind="stable")]
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
                reaches = (reach[row] >= sight.zones[part]).all(1)
                shown[part[better(row, part) & reaches]] = True
            left = left[~shown[left]]
            done, size = done + size, 2 * size

    judge(np.arange(len(boxes)), sees_farther)
    left = np.flatnonzero(cut & ~shown)
    views = windows[left] * (labels.max() + 1) + labels[left]
    judge(left[nms(boxes[left], scores[left], views, 0.5)], is_whole)
    return shown


def _outwards(boxes: Boxes) -> Limits:
    return np.concatenate([-boxes[:, :2], boxes[:, 2:]], 1)


def _shared(table: BoxTable, first: NDArray[np.int64], second: NDArray[np.int64]) -> NDArray[np.float32]:
    x1, y1, x2, y2 = table.corners
    wide = np.minimum(x2[first], x2[second]) - np.maximum(x1[first], x1[second])
    high = np.minimum(y2[first], y2[second]) - np.maximum(y1[first], y1[second])
    area: NDArray[np.float32] = np.maximum(wide, 0) * np.maximum(high, 0)
    return area
