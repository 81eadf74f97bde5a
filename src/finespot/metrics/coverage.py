"""What a choice of windows can find at all, and how much of the pictures it looks at.

For tiled and sparse inference, after ESOD (arXiv 2407.16424, section IV): the best possible recall (BPR) and the
occupied share, known before any detection is made. Differs from the released program: shares are of the picture
without padding, every picture counts (also one without windows), objects are counted whether or not anything was
found, and nothing depends on the batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from finespot.errors import FineSpotError
from finespot.metrics.tables import Truth

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

SIZE_BINS = (8.0, 16.0, 32.0, 64.0, 128.0)
# Objects times windows that are compared at once: bounds the memory of pictures with thousands of both.
_AT_ONCE = 1_000_000

# What each printed name means; `{share}` is filled in.
DEFINITIONS = {
    "BPR box": "share of the objects of which one single window holds {share} or more of the box's area",
    "BPR center": "share of the objects whose box center lies in a core (a window, where no cores are given)",
    "missing rate": "1 - BPR box",
    "occupy with overlap": "area of a picture's windows, overlaps counted each time, over its own; mean over pictures",
    "occupy without overlap": "area that a picture's windows cover together, over its own; mean over pictures",
    "empty rate": "1 - occupy without overlap",
    "idle by center": "share of a picture's windows that hold no box center; mean over pictures with windows",
    "idle by overlap": "share of a picture's windows that touch no box; mean over pictures with windows",
    "windows a picture": "mean, and the number that 95 % of the pictures do not exceed",
}


@dataclass(frozen=True)
class SizeBin:
    """The objects whose side (root of the area that the truth gives) is from `low` to below `high` pixels."""

    low: float
    high: float
    objects: int
    bpr_box: float | None
    bpr_center: float | None

    @property
    def missing_rate(self) -> float | None:
        """The share of objects that no window holds."""
        return None if self.bpr_box is None else 1 - self.bpr_box

    @property
    def label(self) -> str:
        """`8 to 16`, `below 8`, `128 and more`, `all`."""
        if self.high == np.inf:
            return f"{self.low:g} and more" if self.low else "all"
        return f"{self.low:g} to {self.high:g}" if self.low else f"below {self.high:g}"


@dataclass(frozen=True)
class Coverage:
    """The measures of `DEFINITIONS`, 0 to 1 (`occupy_sum` may exceed 1), None where there is nothing to average.

    `all` and `sizes` hold the recalls of all objects and of each size; `share` is what a window must hold of a box;
    `ignored` objects did not count. `occupy_sum` is with overlap, `occupy_union` without.
    """

    share: float
    images: int
    windows: int
    ignored: int
    all: SizeBin
    sizes: tuple[SizeBin, ...]
    occupy_sum: float | None
    occupy_union: float | None
    idle_center: float | None
    idle_overlap: float | None
    windows_mean: float | None
    windows_95: float | None

    @property
    def empty_rate(self) -> float | None:
        """The share of a picture that no window sees."""
        return None if self.occupy_union is None else 1 - self.occupy_union

    def definitions(self) -> dict[str, str]:
        """A sentence for each measure, by its printed name."""
        return {name: text.format(share=f"{self.share:g}") for name, text in DEFINITIONS.items()}

    def values(self) -> dict[str, float | None]:
        """The numbers over all objects and pictures, by their printed names."""
        return {
            "BPR box": self.all.bpr_box,
            "BPR center": self.all.bpr_center,
            "missing rate": self.all.missing_rate,
            "occupy with overlap": self.occupy_sum,
            "occupy without overlap": self.occupy_union,
            "empty rate": self.empty_rate,
            "idle by center": self.idle_center,
            "idle by overlap": self.idle_overlap,
        }

    def to_json(self) -> dict[str, Any]:
        """A dictionary of plain values for a file, with the definitions."""
        return {
            "images": self.images,
            "objects": self.all.objects,
            "ignored": self.ignored,
            "windows": self.windows,
            "share": self.share,
            "values": self.values(),
            "windows_per_image": {"mean": self.windows_mean, "percentile_95": self.windows_95},
            "sizes": [
                {
                    "low": one.low,
                    "high": None if one.high == np.inf else one.high,
                    "objects": one.objects,
                    "BPR box": one.bpr_box,
                    "BPR center": one.bpr_center,
                    "missing rate": one.missing_rate,
                }
                for one in self.sizes
            ],
            "definitions": self.definitions(),
        }

    def table(self) -> Any:
        """A `rich` table of the recalls by size, with the other measures, counts and definitions below it."""
        from rich.console import Group
        from rich.text import Text

        from finespot.writers.table import ResultTable

        shown = ("BPR box", "BPR center", "missing rate")
        table = ResultTable(("side in pixels",), ("objects", *shown), box=None, pad_edge=False)
        for one in (*self.sizes, self.all):
            numbers = (_number(one.bpr_box), _number(one.bpr_center), _number(one.missing_rate))
            table.row(one.label, str(one.objects), *numbers, style="bold" if one is self.all else None)
        others = [f"{name} {_number(value)}" for name, value in self.values().items() if name not in shown]
        lines = [
            "  ".join(others),
            f"windows a picture: mean {_number(self.windows_mean, 1)}, 95 % {_number(self.windows_95, 1)}",
            f"{self.images} images, {self.all.objects} objects, {self.ignored} ignored objects not counted, "
            f"{self.windows} windows",
            *(f"{name}: {text}" for name, text in self.definitions().items()),
        ]
        return Group(table, *(Text(line) for line in lines))


def coverage(
    truth: Truth,
    windows: Sequence[ArrayLike],
    *,
    sizes: ArrayLike | None = None,
    bins: Sequence[float] = SIZE_BINS,
    share: float = 0.5,
    cores: Sequence[ArrayLike] | None = None,
) -> Coverage:
    """Measure what the windows of each picture cover.

    Crowds and regions do not count; where a protocol ignores more, give it the rows that count
    (`truth.select(judged(...).counts)`). An object without area is held where its center is.

    Parameters
    ----------
    windows:
        For each picture of the truth, in its order, (W, 4) as (x1, y1, x2, y2) in picture pixels; W may be 0. They may
        overlap, and reach beyond the picture (what lies there occupies nothing).
    sizes:
        (P, 2), height and width of the pictures; those of the truth where left out.
    bins:
        Rising limits of object sides, in pixels; below the first and above the last are bins too.
    share:
        What one window must hold of a box for `bpr_box`, above 0 to 1.
    cores:
        Like `windows`: the parts of them whose detections are kept, where a window has a margin. Left and top edges
        belong to a core, right and bottom ones do not; one that ends at the picture's border has no end there.

    Raises
    ------
    FineSpotError
        No sizes are known, or windows, sizes, bins or share are not of this kind.
    """
    if not 0 < share <= 1:
        raise FineSpotError(f"expected a share above 0 to 1 but got {share}", where="share")
    edges = _edges(bins)
    shapes = _sizes(truth, sizes)
    seen = _windows(truth, windows, "windows")
    kept = seen if cores is None else _windows(truth, cores, "cores")
    rows = np.flatnonzero(~truth.crowd)
    rows = rows[np.argsort(truth.image[rows], kind="stable")]
    starts = np.searchsorted(truth.image[rows], np.arange(len(truth.image_ids) + 1))
    boxes = truth.boxes[rows].copy()
    boxes[:, 2:] += boxes[:, :2]
    held, centered = np.zeros(len(rows), bool), np.zeros(len(rows), bool)
    occupied, idle = np.zeros((len(seen), 2)), np.full((len(seen), 2), np.nan)
    for i, shape in enumerate(shapes):
        own = slice(starts[i], starts[i + 1])
        found = _picture(boxes[own], seen[i], _endless(kept[i], shape), share)
        held[own], centered[own] = found.held, found.centered
        if len(seen[i]):
            inside = np.clip(seen[i], 0, shape[[1, 0, 1, 0]])
            area = shape.prod()
            occupied[i] = _areas(inside).sum() / area, union_area(inside) / area
            idle[i] = 1 - found.with_center.mean(), 1 - found.touching.mean()
    counts = np.array([len(one) for one in seen])
    side = np.sqrt(truth.area[rows])
    bin_of = np.searchsorted(edges, side, side="right") - 1
    with_windows = idle[counts > 0]
    return Coverage(
        share=share,
        images=len(seen),
        windows=int(counts.sum()),
        ignored=int(truth.crowd.sum()) + len(truth.regions) + len(truth.others),
        all=_bin(0.0, np.inf, held, centered),
        sizes=tuple(
            _bin(low, high, held[bin_of == k], centered[bin_of == k])
            for k, (low, high) in enumerate(zip(edges[:-1].tolist(), edges[1:].tolist()))
        ),
        occupy_sum=_mean(occupied[:, 0]),
        occupy_union=_mean(occupied[:, 1]),
        idle_center=_mean(with_windows[:, 0]),
        idle_overlap=_mean(with_windows[:, 1]),
        windows_mean=_mean(counts),
        windows_95=float(np.percentile(counts, 95)) if len(counts) else None,
    )


def union_area(windows: Floats) -> float:
    """The area that windows (W, 4), xyxy, cover together; exact for whole pixels.

    Between two neighboring edges nothing changes: windows are counted on the grid of all their edges.
    """
    if not len(windows):
        return 0.0
    x, column = np.unique(windows[:, [0, 2]], return_inverse=True)
    y, row = np.unique(windows[:, [1, 3]], return_inverse=True)
    column, row = column.reshape(-1, 2), row.reshape(-1, 2)
    # Each window adds one from its first cell on and takes it back behind its last: two running sums give the counts.
    steps = np.zeros((len(y), len(x)), np.int32)
    for i, j, sign in ((0, 0, 1), (0, 1, -1), (1, 0, -1), (1, 1, 1)):
        np.add.at(steps, (row[:, i], column[:, j]), sign)
    covered = steps.cumsum(axis=0).cumsum(axis=1)[:-1, :-1] > 0
    return float(np.diff(y) @ covered @ np.diff(x))


@dataclass(frozen=True)
class _Picture:
    """What holds of each object (`held` by a window, `centered` in a core) and of each window of one picture."""

    held: Flags
    centered: Flags
    touching: Flags
    with_center: Flags


def _picture(boxes: Floats, windows: Floats, cores: Floats, share: float) -> _Picture:
    held, centered = np.zeros(len(boxes), bool), np.zeros(len(boxes), bool)
    touching, with_center = np.zeros(len(windows), bool), np.zeros(len(windows), bool)
    step = max(1, _AT_ONCE // max(len(windows), len(cores), 1))
    for start in range(0, len(boxes), step):
        part = slice(start, start + step)
        box = boxes[part]
        common = _shared(box, windows)
        np.logical_or(touching, (common > 0).any(axis=0), out=touching)
        inside = _holds(windows, box)
        np.logical_or(with_center, inside.any(axis=0), out=with_center)
        area = _areas(box)[:, None]
        held[part] = np.where(area > 0, common >= share * area, inside).any(axis=1)
        centered[part] = _holds(cores, box).any(axis=1)
    return _Picture(held, centered, touching, with_center)


def _shared(boxes: Floats, windows: Floats) -> Floats:
    """The area that each box (G) shares with each window (W): (G, W)."""
    low = np.maximum(boxes[:, None, :2], windows[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], windows[None, :, 2:])
    shared: Floats = np.maximum(high - low, 0).prod(axis=2)
    return shared


def _holds(windows: Floats, boxes: Floats) -> Flags:
    """Whether the center of each box (G) lies in each window (W), right and bottom edge exclusive: (G, W)."""
    x, y = ((boxes[:, [0, 1]] + boxes[:, [2, 3]]) / 2).T[:, :, None]
    x1, y1, x2, y2 = windows.T[:, None]
    holds: Flags = (x1 <= x) & (x < x2) & (y1 <= y) & (y < y2)
    return holds


def _endless(cores: Floats, shape: NDArray[np.int64]) -> Floats:
    """Cores that end at the picture's border without an end there, so that a center on the border is in one."""
    end = shape[::-1]
    low = np.where(cores[:, :2] <= 0, -np.inf, cores[:, :2])
    high = np.where(cores[:, 2:] >= end, np.inf, cores[:, 2:])
    return np.concatenate([low, high], axis=1)


def _areas(boxes: Floats) -> Floats:
    areas: Floats = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    return areas


def _bin(low: float, high: float, held: Flags, centered: Flags) -> SizeBin:
    return SizeBin(low, high, len(held), _mean(held), _mean(centered))


def _mean(values: NDArray[Any]) -> float | None:
    return float(values.mean()) if len(values) else None


def _edges(bins: Sequence[float]) -> Floats:
    edges = np.array([0, *bins, np.inf], np.float64)
    if np.isnan(edges).any() or (np.diff(edges) <= 0).any():
        raise FineSpotError(f"expected rising limits above 0 but got {list(bins)}", where="bins")
    return edges


def _sizes(truth: Truth, sizes: ArrayLike | None) -> NDArray[np.int64]:
    given = truth.sizes if sizes is None else np.asarray(sizes)
    count = len(truth.image_ids)
    if given is None:
        raise FineSpotError("the truth does not say how large its pictures are", hint="give sizes")
    if given.size != 2 * count or (count and given.shape != (count, 2)):
        raise FineSpotError(f"expected sizes of shape ({count}, 2) but got {given.shape}", where="sizes")
    shapes = given.astype(np.int64).reshape(-1, 2)
    if (shapes != given.reshape(-1, 2)).any() or (shapes < 1).any():
        raise FineSpotError("expected heights and widths in whole pixels of 1 or more", where="sizes")
    return shapes


def _windows(truth: Truth, given: Sequence[ArrayLike], name: str) -> list[Floats]:
    if len(given) != len(truth.image_ids):
        raise FineSpotError(f"expected {name} of {len(truth.image_ids)} pictures but got {len(given)}", where=name)
    checked = []
    for key, one in zip(truth.image_ids, given):
        array = np.asarray(one, np.float64)
        if array.size == 0:
            array = array.reshape(0, 4)
        where = f"{name} of picture '{key}'"
        if array.ndim != 2 or array.shape[1] != 4:
            raise FineSpotError(f"expected shape (n, 4) but got {array.shape}", where=where)
        if not np.isfinite(array).all():
            raise FineSpotError("expected finite coordinates but got NaN or infinity", where=where)
        if (array[:, 2:] <= array[:, :2]).any():
            raise FineSpotError("expected x1 < x2 and y1 < y2", where=where)
        checked.append(array)
    return checked


def _number(value: float | None, digits: int = 3) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
