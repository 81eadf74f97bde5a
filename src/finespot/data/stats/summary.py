"""The numbers of one split, or of all together."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from finespot.data.stats.columns import Columns, Floats, Ints, scales
from finespot.data.stats.crowding import overlapping, suppressed
from finespot.data.stats.grid import Patches, patches, tiles
from finespot.structures import Size, Tiling

PERCENTILES = (1, 5, 10, 25, 50, 75, 90, 95, 99, 99.9)
# Overlap with a neighbor from which on an object counts as crowded, and the threshold of suppression in prediction.
CROWDED_IOU, SUPPRESSION_IOU = 0.5, 0.7
# Detections that COCO's evaluation looks at, of a class in a picture.
COCO_LIMIT = 100
# Entries of the table of pictures by classes that are multiplied at once: bounds the memory.
_ENTRIES = 4_000_000


@dataclass(frozen=True)
class Bins:
    """Named ranges of the side sqrt(width * height) in pixels, each from its lower edge up to below the next one."""

    name: str
    edges: tuple[int, ...]
    names: tuple[str, ...]

    @property
    def ranges(self) -> tuple[str, ...]:
        """The ranges in pixels: <2, 2-8 ... 64+."""
        between = (f"{low}-{high}" for low, high in pairwise(self.edges))
        return (f"<{self.edges[0]}", *between, f"{self.edges[-1]}+")

    def count(self, side: Floats, labels: Ints, classes: int) -> Ints:
        """Objects by class and range: (classes, ranges)."""
        number = len(self.names)
        place = labels * number + np.searchsorted(self.edges, side, side="right")
        return np.bincount(place, minlength=classes * number).reshape(classes, number)


# The ranges of the AI-TOD paper; its evaluation has no lower end and counts 64 px and more as medium.
AI_TOD = Bins("AI-TOD", (2, 8, 16, 32, 64), ("tinier", "very tiny", "tiny", "small", "medium", "larger"))
COCO = Bins("COCO", (32, 96), ("small", "medium", "large"))


@dataclass(frozen=True)
class Spread:
    """Mean, extremes and percentiles (by linear interpolation) of a set of values."""

    mean: float
    least: float
    most: float
    percentiles: tuple[float, ...]

    @classmethod
    def of(cls, values: Floats | Ints) -> Spread:
        """Of one value at least."""
        percentiles = tuple(np.percentile(values, PERCENTILES).tolist())
        return cls(float(values.mean()), float(values.min()), float(values.max()), percentiles)

    @classmethod
    def of_any(cls, values: Floats | Ints) -> Spread | None:
        """None where there are no values."""
        return cls.of(values) if len(values) else None

    def at(self, percent: float) -> float:
        """The value at one of `PERCENTILES`."""
        return self.percentiles[PERCENTILES.index(percent)]


@dataclass(frozen=True)
class Sides:
    """The extent of objects at one scale.

    Attributes
    ----------
    wh, side:
        Of each object: (width, height), and sqrt(width * height).
    spread, longer:
        Of the sides, and of the longer one of width and height.
    ai_tod, coco:
        Counts by class and size range.
    """

    wh: Floats
    side: Floats
    spread: Spread | None
    longer: Spread | None
    ai_tod: Ints
    coco: Ints

    @classmethod
    def of(cls, wh: Floats, labels: Ints, classes: int) -> Sides:
        """From the objects' sizes and classes."""
        side = np.sqrt(wh.prod(axis=1))
        ai_tod, coco = (bins.count(side, labels, classes) for bins in (AI_TOD, COCO))
        return cls(wh, side, Spread.of_any(side), Spread.of_any(wh.max(axis=1)), ai_tod, coco)

    def below(self, pixels: float) -> float:
        """The share of objects with a side below so many pixels; 0 without objects."""
        return float((self.side < pixels).mean()) if len(self.side) else 0.0


@dataclass(frozen=True)
class Summary:
    """What pictures hold.

    Attributes
    ----------
    columns:
        The pictures and objects themselves.
    objects, ignored, regions:
        Objects and ignored objects by class, and the number of ignore regions without a class.
    sizes:
        (height, width) with the number of such pictures, most frequent first.
    source, network:
        Extent of the objects in pixels of their picture and of the network input.
    aspect:
        Width over height.
    per_picture, per_class:
        Objects in a picture, and objects of one class in a picture that has some.
    crowded_classes:
        (picture, class) pairs with more objects than the `COCO_LIMIT` detections that COCO's evaluation looks at.
    per_input, inputs, cut:
        Objects in a network input (by their centers), the number of inputs, and the objects that none holds whole.
        Inputs are the pictures, or the tiles where pictures are cut.
    empty_inputs:
        Inputs without an object's center.
    together:
        (classes, classes): pictures that hold both; on the diagonal, those that hold the class.
    overlapping, suppressed:
        Objects whose IoU with another of their picture is above `CROWDED_IOU`, and objects that suppression within
        each class at `SUPPRESSION_IOU` would delete from the truth itself.
    """

    columns: Columns
    objects: Ints
    ignored: Ints
    regions: int
    sizes: tuple[tuple[Size, int], ...]
    source: Sides
    network: Sides
    aspect: Spread | None
    per_picture: Spread
    per_class: Spread | None
    crowded_classes: int
    per_input: Spread
    inputs: int
    empty_inputs: int
    cut: int
    patches: Patches
    together: Ints
    overlapping: int
    suppressed: int

    @property
    def pictures(self) -> int:
        """How many there are."""
        return len(self.columns.split)

    @property
    def total(self) -> int:
        """Objects of all classes."""
        return len(self.columns.labels)

    @property
    def empty(self) -> int:
        """Pictures without objects."""
        return int((self.columns.counts == 0).sum())


def summarize(columns: Columns, classes: int, imgsz: int, tiling: Tiling | None) -> Summary:
    """All numbers of these pictures (one at least)."""
    by_class, in_picture = _presence(columns, classes)
    wh = columns.wh
    scale = scales(columns.sizes, imgsz, tiling)[columns.picture]
    known = columns.ignored_labels[columns.ignored_labels >= 0]
    per_input, cut = columns.counts, 0
    if tiling is not None and tiling.size is not None:
        cutting = tiles(columns, tiling)
        per_input, cut = cutting.counts, int((~cutting.whole).sum())
    return Summary(
        columns=columns,
        objects=np.bincount(columns.labels, minlength=classes),
        ignored=np.bincount(known, minlength=classes),
        regions=len(columns.ignored_labels) - len(known),
        sizes=_sizes(columns.sizes),
        source=Sides.of(wh, columns.labels, classes),
        network=Sides.of(wh * scale[:, ::-1], columns.labels, classes),
        aspect=Spread.of_any(wh[:, 0] / wh[:, 1]),
        per_picture=Spread.of(columns.counts),
        per_class=Spread.of_any(in_picture),
        crowded_classes=int((in_picture > COCO_LIMIT).sum()),
        per_input=Spread.of(per_input),
        inputs=len(per_input),
        empty_inputs=int((per_input == 0).sum()),
        cut=cut,
        patches=patches(columns),
        together=by_class,
        overlapping=int(overlapping(columns, CROWDED_IOU).sum()),
        suppressed=suppressed(columns, classes, SUPPRESSION_IOU),
    )


def _sizes(sizes: Ints) -> tuple[tuple[Size, int], ...]:
    found, counts = np.unique(sizes, axis=0, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    return tuple(((int(h), int(w)), int(n)) for (h, w), n in zip(found[order], counts[order]))


def _presence(columns: Columns, classes: int) -> tuple[Ints, Ints]:
    """In how many pictures each two classes occur together, and the objects of each (picture, class) that occurs."""
    pairs, counts = np.unique(columns.picture * classes + columns.labels, return_counts=True)
    picture, label = np.divmod(pairs, classes)
    together = np.zeros((classes, classes), np.int64)
    step = max(1, _ENTRIES // classes)
    edges = np.searchsorted(picture, np.arange(0, len(columns.split) + step, step))
    for number, (first, end) in enumerate(pairwise(edges.tolist())):
        held = np.zeros((min(step, len(columns.split) - number * step), classes), np.float32)
        held[picture[first:end] - number * step, label[first:end]] = 1
        together += (held.T @ held).astype(np.int64)
    return together, counts
