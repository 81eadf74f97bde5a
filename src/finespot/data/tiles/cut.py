"""Cut truth into tiles: what shows of each box in each window, and the data set whose pictures are the windows.

An object belongs to every tile that shows `min_visible` of its box or more, cut to the tile. Where a tile shows less
of it, the visible part becomes an ignore region of its class there, because it is neither a fair target nor
background (`cut="ignore"`), or is left out (`cut="drop"`). Ignore regions stay however little of them shows. Differs
from common cutters, which give an object only to the tile that holds its center or corner, and lose it in the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from finespot.data.builder import EDGE_TOLERANCE_PX
from finespot.data.dataset import Dataset, Rows
from finespot.errors import FineSpotError, unknown
from finespot.structures import Boxes, Flags, Size, Window

CUTS = ("ignore", "drop")
LEAST_VISIBLE = 0.01
# Pairs of window and box compared at once.
_PAIRS = 1 << 17


@dataclass(frozen=True)
class Border:
    """What becomes of objects at the border of a tile.

    Attributes
    ----------
    min_visible:
        The share of its box that a tile must show of an object, 0.01 to 1.
    cut:
        What becomes of the others there: `ignore` or `drop`.
    """

    min_visible: float = 0.4
    cut: str = "ignore"

    def __post_init__(self) -> None:
        if not LEAST_VISIBLE <= self.min_visible <= 1:
            raise FineSpotError(
                f"expected a share from {LEAST_VISIBLE} to 1 but got {self.min_visible}", where="min_visible"
            )
        if self.cut not in CUTS:
            raise unknown("treatment of cut objects", self.cut, CUTS, where="cut")


@dataclass(frozen=True)
class Windows:
    """Windows of a data set's pictures: `pictures` (n,) are indices, `corners` (n, 4) x1, y1, x2, y2 in their pixels.

    `full` (n,) says which show an object.
    """

    pictures: NDArray[np.int64]
    corners: NDArray[np.int64]
    full: Flags

    def __len__(self) -> int:
        return len(self.pictures)

    def select(self, rows: NDArray[np.int64]) -> Windows:
        """The named windows, in that order."""
        return Windows(self.pictures[rows], self.corners[rows], self.full[rows])


class Piece(NamedTuple):
    """The truth that one window shows: rows of its picture's, their boxes in the window's pixels, what is ignored.

    `share` is how much of each box shows, `lost` the number of objects left out or made ignore regions here.
    """

    picture: int
    window: Window
    rows: NDArray[np.int64]
    boxes: Boxes
    ignore: Flags
    share: NDArray[np.float64]
    lost: int


def survey(dataset: Dataset, cut: Callable[[int], Sequence[Window]], min_visible: float) -> Windows:
    """All windows that `cut` makes of the pictures (by index), and which of them show an object."""
    pictures = [np.zeros(0, np.int64)]
    corners = [np.zeros((0, 4), np.int64)]
    full: list[bool] = []
    for index in range(len(dataset)):
        boxes, _, ignore = dataset.columns(index)
        found = np.array(cut(index), np.int64).reshape(-1, 4)
        full += [bool((share >= min_visible).any()) for share in shares(boxes[~ignore], found)]
        pictures.append(np.full(len(found), index, np.int64))
        corners.append(found)
    return Windows(np.concatenate(pictures), np.concatenate(corners), np.array(full, np.bool_))


def shares(boxes: Boxes, windows: NDArray[np.int64]) -> Iterator[NDArray[np.float64]]:
    """For each window (x1, y1, x2, y2) the share of each box that it shows."""
    boxes = boxes.astype(np.float64)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    step = max(1, _PAIRS // max(1, len(boxes)))
    for start in range(0, len(windows), step):
        some = windows[start : start + step, None]
        sides = np.minimum(boxes[:, 2:], some[..., 2:]) - np.maximum(boxes[:, :2], some[..., :2])
        yield from np.maximum(sides, 0).prod(axis=-1) / areas


def pieces(dataset: Dataset, windows: Windows, border: Border) -> Iterator[Piece]:
    """The truth of each window; quickest where windows of one picture follow each other."""
    starts = np.flatnonzero(np.diff(windows.pictures, prepend=-1))
    for start, end in zip(starts, [*starts[1:], len(windows)]):
        index = int(windows.pictures[start])
        boxes, _, ignore = dataset.columns(index)
        corners = windows.corners[start:end]
        for window, share in zip(corners.tolist(), shares(boxes, corners)):
            yield _piece(index, tuple(window), boxes, ignore, share, border)


def _piece(
    index: int, window: Window, boxes: Boxes, ignore: Flags, share: NDArray[np.float64], border: Border
) -> Piece:
    rows = np.flatnonzero(share)
    share, ignored = share[rows], ignore[rows]
    x1, y1, x2, y2 = window
    moved = boxes[rows].astype(np.float64) - np.array([x1, y1, x1, y1])
    inside = np.clip(moved, 0, np.array([x2 - x1, y2 - y1] * 2)).astype(np.float32)
    target = ~ignored & (share >= border.min_visible)
    cut = ~ignored & ~target
    # A strip thinner than what files round away is not worth a region.
    thick = (inside[:, 2:] - inside[:, :2]).min(axis=1, initial=np.inf) >= EDGE_TOLERANCE_PX
    keep = target | (thick & (ignored | (border.cut == "ignore")))
    return Piece(
        index, window, rows[keep], inside[keep], ~target[keep], share[keep], int(np.count_nonzero(cut & thick))
    )


def cut_dataset(
    dataset: Dataset,
    parts: Sequence[Piece],
    image_ids: Sequence[int | str],
    *,
    notes: Sequence[str] = (),
    least_side: int = 0,
) -> Dataset:
    """The pieces as the pictures of a data set: windows of the same files, with the same classes and groups.

    Annotations get new ids, because one object may be in several tiles; a given area shrinks with the visible share.
    A window whose longer side is below `least_side` says so much instead, for who fills up the rest.
    """
    source, shown = dataset.rows, rows_of(dataset, parts)
    rows = Rows(
        starts=np.cumsum([0, *(len(part.rows) for part in parts)], dtype=np.int64),
        boxes=np.concatenate([np.zeros((0, 4), np.float32), *(part.boxes for part in parts)]),
        labels=source.labels[shown],
        ignore=np.concatenate([np.zeros(0, np.bool_), *(part.ignore for part in parts)]),
        area=source.area[shown] * np.concatenate([np.zeros(0), *(part.share for part in parts)]),
        ids=np.arange(1, len(shown) + 1),
        attributes={name: column[shown] for name, column in source.attributes.items()},
    )
    return Dataset(
        name=dataset.name,
        split=dataset.split,
        classes=dataset.classes,
        paths=[dataset.path(part.picture) for part in parts],
        sizes=[_size(part.window, least_side) for part in parts],
        image_ids=image_ids,
        rows=rows,
        notes=notes,
        groups=[dataset.group(part.picture) for part in parts],
        windows=[_in_file(dataset, part) for part in parts],
    )


def rows_of(dataset: Dataset, parts: Sequence[Piece]) -> NDArray[np.int64]:
    """For each annotation of the pieces its row among all of the data set."""
    starts = dataset.rows.starts
    return np.concatenate([np.zeros(0, np.int64), *(starts[part.picture] + part.rows for part in parts)])


def _size(window: Window, least_side: int) -> Size:
    """(height, width) of a window, its longer side at least `least_side`."""
    height, width = window[3] - window[1], window[2] - window[0]
    if height > width:
        return max(height, least_side), width
    return height, max(width, least_side)


def _in_file(dataset: Dataset, part: Piece) -> Window | None:
    """A piece's window in pixels of the file, of which its picture may be a window itself; None for all of the file."""
    picture = dataset.window(part.picture)
    height, width = dataset.size(part.picture)
    if part.window == (0, 0, width, height):
        return picture
    x, y = (0, 0) if picture is None else picture[:2]
    return part.window[0] + x, part.window[1] + y, part.window[2] + x, part.window[3] + y
