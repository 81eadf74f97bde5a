"""Merging a picture too large to be held, row of windows by row of windows, with the result of merging it at once.

Boxes affect each other only where they overlap: a box that no later window can reach, and that no chain of
overlapping boxes joins to one that can be reached, will not change any more. Such boxes are merged and handed out; the
others wait. How far a window's boxes reach beyond its edges is bounded for that, and what reaches farther is cut there:
only then the result differs from that of `merge` of everything.

Operators that move boxes (`nmm`, `weighted`), that compare boxes which do not overlap (`nwd`), and those of your own
may join what only their results make neighbors: with them all boxes wait for the last row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from finespot.boxes import Cluster, Diou, Greedy, Ios, Matrix, Soft, Suppressor, clip
from finespot.boxes.suppression import BoxTable
from finespot.structures import Boxes, Classes, Detections, Flags, Size, Tile
from finespot.tiling.merge import Part, merge

_OVERLAPPING = (Cluster, Diou, Greedy, Ios, Matrix, Soft)


def rows_of(tiles: Sequence[Tile]) -> list[list[Tile]]:
    """The tiles of a grid, row by row from the top."""
    rows: dict[int, list[Tile]] = {}
    for tile in tiles:
        rows.setdefault(tile.window[1], []).append(tile)
    return [rows[top] for top in sorted(rows)]


@dataclass
class RowMerge:
    """Takes the parts of one row of windows after the other; gives the detections that are final by then.

    Parameters
    ----------
    size, classes, iou, suppress, nms, conf, source:
        As of `merge`.
    reach:
        How many pixels of the picture boxes may lie beyond the edges of their window.
    """

    size: Size
    classes: Classes
    nms: Suppressor
    iou: float
    suppress: bool
    conf: float
    reach: float
    source: str = ""
    _waiting: list[Part] = field(default_factory=list, init=False)

    @property
    def waiting(self) -> int:
        """Boxes that are not final yet."""
        return sum(len(part.boxes) for part in self._waiting)

    def add(self, parts: Sequence[Part], following: Tile | None) -> Detections:
        """Take a row, in the order of its windows; `following` is the first window of the next one, None at the end.

        What is final comes by falling score, as from `merge`.
        """
        self._waiting += [_bounded(part, self.reach) for part in parts if len(part.boxes)]
        if following is None:
            done, self._waiting = self._waiting, []
            return self._merged(done)
        if self.suppress and type(self.nms) not in _OVERLAPPING:
            return Detections.empty(self.size, self.classes, self.source)
        boxes = [clip(part.placement.to_picture(part.boxes), self.size) for part in self._waiting]
        if not boxes:
            return Detections.empty(self.size, self.classes, self.source)
        reachable = _reachable(np.concatenate(boxes), following.window[1] - self.reach)
        marks = np.split(reachable, np.cumsum([len(one) for one in boxes])[:-1])
        done = [_select(part, ~mark) for part, mark in zip(self._waiting, marks) if not mark.all()]
        self._waiting = [_select(part, mark) for part, mark in zip(self._waiting, marks) if mark.any()]
        return self._merged(done)

    def _merged(self, parts: list[Part]) -> Detections:
        return merge(
            parts,
            size=self.size,
            classes=self.classes,
            iou=self.iou,
            suppress=self.suppress,
            nms=self.nms,
            conf=self.conf,
            source=self.source,
        )


def _reachable(boxes: Boxes, line: float) -> Flags:
    """Which boxes end below the line, or overlap one that counts here, whatever their classes."""
    counts = np.asarray(boxes[:, 3] > line)
    new = np.flatnonzero(counts)
    if len(new) in (0, len(boxes)):
        return counts
    # An IoU above 0 is all that the operators see.
    table = BoxTable.build(boxes, np.zeros(len(boxes), np.int64), 0.0)
    while len(new):
        rest = np.flatnonzero(~counts)
        if not len(rest):
            break
        for _, other in table.across(new, rest):
            counts[other] = True
        new = rest[counts[rest]]
    return counts


def _bounded(part: Part, reach: float) -> Part:
    """A part whose boxes lie beyond their window by so many pixels of the picture at most."""
    assert part.window is not None
    around = np.array([part.window], np.float32) + np.array([-reach, -reach, reach, reach], np.float32)
    left, top, right, bottom = part.placement.to_input(around)[0]
    boxes = np.clip(part.boxes, (left, top, left, top), (right, bottom, right, bottom)).astype(np.float32)
    return replace(part, boxes=boxes)


def _select(part: Part, keep: Flags) -> Part:
    return replace(part, boxes=part.boxes[keep], scores=part.scores[keep], labels=part.labels[keep])
