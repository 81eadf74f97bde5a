"""How well a seeker's map agrees with where objects are, before anything is chosen by it.

After the measures that the released program of ESOD (IEEE TIP 34, 2025) prints with `--hm-metric`, and the recall of
its section IV for single cells. Differs from it: every object and every picture counts once, whatever the batch, also
objects without a hot cell; cells in ignore regions, or outside of the part of a picture that is looked at, do not
count; the map is that of the picture, without padding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from finespot.errors import FineSpotError
from finespot.metrics.tables import Truth

# Sides in pixels of a picture of 1920 x 1080; an object's are those of its share of the picture's area.
SIZE_BINS = (16.0, 32.0, 64.0)
_PICTURE = 1920 * 1080

DEFINITIONS = {
    "mask precision": "share of a picture's hot cells that lie in an object's ellipse; mean over pictures with any",
    "mask recall": "share of the cells of ellipses in an object's box that are hot; mean over objects",
    "peak recall": "share of the objects whose center is in a hot local maximum (3 x 3) of the map, or next to one",
}


@dataclass(frozen=True)
class HeatBin:
    """Some of the objects: their number and mean recalls, None where there are none."""

    label: str
    objects: int
    mask_recall: float | None
    peak_recall: float | None


@dataclass(frozen=True)
class HeatQuality:
    """The measures of `DEFINITIONS`, 0 to 1, None where there is nothing to average.

    Cells of `threshold` or more are hot; `hot_images` of the `images` have any; `hot` of the cells that are looked at
    are, as a mean over pictures.
    """

    threshold: float
    images: int
    hot_images: int
    hot: float | None
    mask_precision: float | None
    all: HeatBin
    classes: tuple[HeatBin, ...]
    sizes: tuple[HeatBin, ...]

    def to_json(self) -> dict[str, Any]:
        """A dictionary of plain values for a file, with the definitions."""
        names = ("objects", "mask_recall", "peak_recall")

        def plain(one: HeatBin) -> dict[str, Any]:
            return {name.replace("_", " "): getattr(one, name) for name in names}

        return {
            "threshold": self.threshold,
            "images": self.images,
            "images with hot cells": self.hot_images,
            "hot": self.hot,
            "mask precision": self.mask_precision,
            "all": plain(self.all),
            "classes": {one.label: plain(one) for one in self.classes},
            "sizes": {one.label: plain(one) for one in self.sizes},
            "definitions": DEFINITIONS,
        }

    def table(self) -> Any:
        """A `rich` table of the recalls by size and class, with the rest and the definitions below it."""
        from rich.console import Group
        from rich.text import Text

        from finespot.writers.table import ResultTable

        table = ResultTable(
            ("side at 1920 x 1080, class",), ("objects", "mask recall", "peak recall"), box=None, pad_edge=False
        )
        for one in (*self.sizes, *self.classes, self.all):
            recalls = (_number(one.mask_recall), _number(one.peak_recall))
            table.row(one.label, str(one.objects), *recalls, style="bold" if one is self.all else None)
        lines = [
            f"mask precision {_number(self.mask_precision)}  hot cells {_number(self.hot)}",
            f"hot is {self.threshold:.3g} or more; {self.hot_images} of {self.images} pictures have hot cells",
            *(f"{name}: {text}" for name, text in DEFINITIONS.items()),
        ]
        return Group(table, *(Text(line) for line in lines))


def heat_quality(
    truth: Truth,
    maps: Sequence[ArrayLike],
    *,
    threshold: float = 0.5,
    sizes: ArrayLike | None = None,
    cells: Sequence[NDArray[np.bool_]] | None = None,
) -> HeatQuality:
    """Compare maps of heat with the ellipses of `assigners.heatmap`.

    Crowds and regions do not count, and neither do cells whose center they hold.

    Parameters
    ----------
    maps:
        For each picture of the truth, in its order, (rows, columns) from 0 to 1, all of the picture: each cell an equal
        share of it.
    threshold:
        From which on a cell is hot, 0 to 1. The released program takes 0.5.
    sizes:
        (P, 2), height and width of the pictures; those of the truth where left out.
    cells:
        For each map which of its cells count, of the same shape: those that touch the region in which the objects of
        the truth are (`finespot.tiling.touched_cells`). All where left out.

    Raises
    ------
    FineSpotError
        No sizes are known, there is not a map, and cells, for each picture, or the threshold is out of range.
    """
    if not 0 <= threshold <= 1:
        raise FineSpotError(f"expected 0 to 1 but got {threshold}", where="threshold")
    given = truth.sizes if sizes is None else np.asarray(sizes)
    count = len(truth.image_ids)
    if given is None:
        raise FineSpotError("the truth does not say how large its pictures are", hint="give sizes")
    if len(maps) != count or len(given) != count:
        raise FineSpotError(f"expected the maps and sizes of {count} pictures but got {len(maps)} and {len(given)}")
    if cells is not None and len(cells) != count:
        raise FineSpotError(f"expected the cells of {count} maps but got {len(cells)}", where="cells")
    boxes = truth.boxes.copy()
    boxes[:, 2:] += boxes[:, :2]
    around = np.concatenate([truth.regions.boxes, truth.others.boxes]).reshape(-1, 4)
    around[:, 2:] += around[:, :2]
    of_region = np.concatenate([truth.regions.image, truth.others.image])
    precision, hot_share = [], []
    kept, mask, peak, side = [], [], [], []
    for number, (one, size) in enumerate(zip(maps, given)):
        heat = np.asarray(one, np.float32)
        if heat.ndim != 2 or 0 in heat.shape:
            raise FineSpotError(f"expected a map (rows, columns) but got {heat.shape}", where=f"map {number}")
        looked = np.ones(heat.shape, bool) if cells is None else np.asarray(cells[number], bool)
        if looked.shape != heat.shape:
            raise FineSpotError(f"expected cells of {heat.shape} but got {looked.shape}", where=f"map {number}")
        scale = np.tile(heat.shape[::-1], 2) / np.tile(np.asarray(size)[::-1], 2)
        here = truth.image == number
        rows = np.flatnonzero(here & ~truth.crowd)
        regions = np.concatenate([boxes[here & truth.crowd], around[of_region == number]])
        found = _picture(heat, boxes[rows] * scale, regions * scale, threshold, looked)
        hot_share += [] if found.hot is None else [found.hot]
        precision += [] if found.precision is None else [found.precision]
        kept.append(rows)
        mask.append(found.mask)
        peak.append(found.peak)
        area = (boxes[rows, 2:] - boxes[rows, :2]).prod(axis=1) / np.prod(size)
        side.append(np.sqrt(area * _PICTURE))
    rows, recalled, reached, sides = (np.concatenate([np.zeros(0), *parts]) for parts in (kept, mask, peak, side))
    labels = truth.label[rows.astype(np.int64)]
    # As there, an upper limit belongs to its bin.
    bins = np.searchsorted(SIZE_BINS, sides, side="left")
    names = [f"below {SIZE_BINS[0]:g}", *(f"{a:g} to {b:g}" for a, b in pairwise(SIZE_BINS))]
    names.append(f"{SIZE_BINS[-1]:g} and more")

    def group(label: str, chosen: NDArray[np.bool_]) -> HeatBin:
        return HeatBin(label, int(chosen.sum()), _mean(recalled[chosen]), _mean(reached[chosen]))

    return HeatQuality(
        threshold=threshold,
        images=count,
        hot_images=len(precision),
        hot=_mean(np.array(hot_share)),
        mask_precision=_mean(np.array(precision)),
        all=group("all", np.ones(len(rows), bool)),
        classes=tuple(group(name, labels == label) for label, name in enumerate(truth.classes)),
        sizes=tuple(group(name, bins == number) for number, name in enumerate(names)),
    )


@dataclass(frozen=True)
class _Picture:
    """Of one picture: the share of its cells that is hot, the precision of these, and what holds of each object; None
    where it has no such cell.
    """

    hot: float | None
    precision: float | None
    mask: NDArray[np.float64]
    peak: NDArray[np.float64]


def _picture(
    heat: NDArray[np.float32],
    objects: NDArray[np.float64],
    regions: NDArray[np.float64],
    threshold: float,
    looked: NDArray[np.bool_],
) -> _Picture:
    """`objects` and `regions` (n, 4) xyxy in cells."""
    import torch
    from torch.nn import functional as F

    from finespot.assigners.heatmap import heat_map
    from finespot.structures import Targets

    count = len(objects) + len(regions)
    ignore = torch.arange(count) >= len(objects)
    both = torch.from_numpy(np.concatenate([objects, regions]).astype(np.float32))
    nothing = torch.zeros(count, dtype=torch.int64)
    drawn = heat_map(Targets(both, nothing, nothing, ignore, 1), (heat.shape[0], heat.shape[1]), 1)
    counting, inside = (drawn.weights[0, 0] > 0).numpy(), (drawn.values[0, 0] > 0).numpy() & looked
    # Below every threshold, and no neighbor that a maximum has to exceed.
    heat = np.where(looked, heat, np.float32(-1))
    hot = (heat >= threshold) & counting
    right = hot & inside
    values = torch.from_numpy(heat)[None, None]
    tops = (values == F.max_pool2d(values, 3, 1, 1)) & torch.from_numpy(hot)
    near = F.max_pool2d(tops.float(), 3, 1, 1)[0, 0].numpy() > 0
    rows, columns = heat.shape
    limit = np.array([columns, rows])
    low = np.clip(np.floor(objects[:, :2]), 0, limit - 1).astype(np.int64)
    high = np.maximum(np.clip(np.ceil(objects[:, 2:]), 0, limit).astype(np.int64), low + 1)
    # Sums over boxes from one table of running sums.
    found, wanted = (_boxed(map_of, low, high) for map_of in (right, inside))
    center = np.clip((objects[:, :2] + objects[:, 2:]) // 2, 0, limit - 1).astype(np.int64)
    return _Picture(
        hot=float(hot[looked].mean()) if looked.any() else None,
        precision=float(right.sum() / hot.sum()) if hot.any() else None,
        mask=found / np.maximum(wanted, 1),
        peak=near[center[:, 1], center[:, 0]].astype(np.float64),
    )


def _boxed(flags: NDArray[np.bool_], low: NDArray[np.int64], high: NDArray[np.int64]) -> NDArray[np.float64]:
    """How many cells are set in each box of cells, from `low` to below `high` (n, 2) as x and y."""
    sums = np.pad(flags.astype(np.float64).cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    (x1, y1), (x2, y2) = low.T, high.T
    counted: NDArray[np.float64] = sums[y2, x2] - sums[y1, x2] - sums[y2, x1] + sums[y1, x1]
    return counted


def _mean(values: NDArray[Any]) -> float | None:
    return float(values.mean()) if len(values) else None


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
