"""Which errors cost most, and at which object size: TIDE, in total and by size.

`tide` gives the numbers of release 1.0.1 of the authors' program (see `tide_errors` and `tide_repair`), in percent. It
adds what that program lacks: the same by object size. There every object, every error and every right detection
belongs to exactly one bin: by the side sqrt(area) of the object that it found or that its error is about, and by that
of the detection itself for errors on background.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from finespot.errors import FineSpotError
from finespot.metrics.tables import Results, Truth
from finespot.metrics.tide_errors import KINDS, Fates, Scene, explain, take, visit
from finespot.metrics.tide_repair import Repair, class_precision, mean_precision

Rows = NDArray[np.int64]

# Written out, as in the program: 0.9 and not what a sum of steps gives.
THRESHOLDS = (0.5, 0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
_MEANING = {
    "Cls": "wrong class",
    "Loc": "badly placed",
    "Both": "wrong class and badly placed",
    "Dupe": "second on the same object",
    "Bkg": "nothing there",
    "Miss": "not found at all",
    "FalsePos": "all false detections",
    "FalseNeg": "all objects not found",
}


@dataclass(frozen=True)
class SizeErrors:
    """The errors of objects with a side of `low` or more and below `high` pixels; see `tide` for the numbers."""

    low: float
    high: float
    objects: int
    ap: float | None
    counts: dict[str, int]
    dap: dict[str, float | None]

    @property
    def label(self) -> str:
        """`8-16 px`, `32+ px` for the last."""
        return f"{self.low:g}+ px" if np.isinf(self.high) else f"{self.low:g}-{self.high:g} px"


@dataclass(frozen=True)
class ErrorAnalysis:
    """What each kind of error costs, in percent of AP; None where there is neither object nor detection.

    By kind of error are `counts` and `dap`, the AP gained if all errors of that kind alone were mended: Cls (wrong
    class), Loc (badly placed), Both, Dupe (second on the same object), Bkg (nothing there), Miss. `progressive` mends
    one kind after the other. `special` holds FalsePos and FalseNeg. `ap_per_class` lacks classes with neither object
    nor detection; `not_found` counts the objects of each class without a detection, those of other errors included.
    """

    pos: float
    bg: float
    max_dets: int
    ap: float | None
    ap_per_class: dict[str, float]
    ap_per_threshold: dict[float, float | None]
    dap: dict[str, float | None]
    progressive: dict[str, float | None]
    special: dict[str, float | None]
    counts: dict[str, int]
    not_found: dict[str, int]
    images: int
    objects: int
    regions: int
    detections: int
    sizes: tuple[SizeErrors, ...] = ()

    @property
    def ap_50_95(self) -> float | None:
        """The mean over the overlaps .50, .55, ... .95."""
        values = [value for value in self.ap_per_threshold.values() if value is not None]
        return float(np.mean(values)) if values else None

    def to_json(self) -> dict[str, Any]:
        """A dictionary of plain values."""
        return {
            "protocol": "tide",
            "pos_threshold": self.pos,
            "background_threshold": self.bg,
            "max_dets": self.max_dets,
            "images": self.images,
            "objects": self.objects,
            "ignore_regions": self.regions,
            "detections": self.detections,
            "ap": self.ap,
            "ap_50_95": self.ap_50_95,
            "ap_per_threshold": {f"{100 * overlap:.0f}": value for overlap, value in self.ap_per_threshold.items()},
            "ap_per_class": dict(self.ap_per_class),
            "main": dict(self.dap),
            "main_progressive": dict(self.progressive),
            "special": dict(self.special),
            "counts": dict(self.counts),
            "false_negatives_per_class": dict(self.not_found),
            "sizes": [
                {
                    "low": one.low,
                    "high": None if np.isinf(one.high) else one.high,
                    "objects": one.objects,
                    "ap": one.ap,
                    "main": dict(one.dap),
                    "counts": dict(one.counts),
                }
                for one in self.sizes
            ],
        }

    def table(self) -> Any:
        """`rich` tables of the errors, in total and by size, with the settings below them."""
        from rich.console import Group
        from rich.text import Text

        from finespot.writers.table import ResultTable

        total = ResultTable(("error", ""), ("count", "dAP", "in turn"), box=None, pad_edge=False)
        for name in KINDS:
            gains = _number(self.dap[name]), _number(self.progressive[name])
            total.row(name, _MEANING[name], str(self.counts[name]), *gains)
        for name, value in self.special.items():
            total.row(name, _MEANING[name], "", _number(value), "")
        parts: list[Any] = [total]
        if self.sizes:
            labels = tuple(one.label for one in self.sizes)
            by_size = ResultTable(("dAP (count) by size",), labels, box=None, pad_edge=False)
            by_size.row("objects", *(str(one.objects) for one in self.sizes))
            by_size.row("AP", *(_number(one.ap) for one in self.sizes))
            for name in KINDS:
                by_size.row(name, *(f"{_number(one.dap[name])} ({one.counts[name]})" for one in self.sizes))
            parts += [Text(""), by_size, Text("")]
        return Group(*parts, *(Text(line) for line in self._lines()))

    def _lines(self) -> list[str]:
        return [
            f"AP{100 * self.pos:.0f} {_number(self.ap)}  AP50-95 {_number(self.ap_50_95)}  (percent, as TIDE averages)",
            f"tide: {self.images} images, {self.objects} objects, {self.regions} ignore regions, "
            f"{self.detections} detections",
            f"at most {self.max_dets} detections per image; found from an overlap of {self.pos:g}, "
            f"background up to {self.bg:g}",
            "dAP: AP gained if all errors of a kind were mended; in turn: each after those above it",
        ]


def tide(
    truth: Truth,
    results: Results,
    *,
    pos: float = 0.5,
    bg: float = 0.1,
    max_dets: int = 100,
    sizes: Sequence[float] = (),
) -> ErrorAnalysis:
    """Count the errors of each kind and say what each kind costs.

    Crowds are ignore regions of their class, `truth.regions` such of any class; one as large as its picture (where
    `truth.sizes` are known) takes in every detection there. Other marks of the truth have no effect. Detections of
    equal score are taken by the order of the pictures in the truth, and in the file within one.

    By size, the classes and the matching stay those of the whole; an error, a right detection or an object of another
    bin counts neither as right nor as wrong there, like objects outside an area range of COCO. A bin's AP is the
    mean over classes with an object in it (as COCO's, while TIDE's total counts 0 for a class with detections alone),
    and its dAP mends the errors of the bin. What differs from COCO's ranges: the bins do not share their edges (a
    side of 16 belongs to 16 and more), detections are matched once and not for every range, and a false positive that
    is about an object belongs to the bin of that object, whatever its own size. The counts of all bins add up to the
    total.

    Parameters
    ----------
    pos:
        The overlap at which an object is found, above 0 and below 1.
    bg:
        The overlap up to which a detection has nothing to do with an object, above 0 to `pos`.
    max_dets:
        Detections of each picture that count, over all classes.
    sizes:
        Rising sides in pixels between bins: (8, 16, 32) gives 0-8, 8-16, 16-32 and 32+ px.

    Raises
    ------
    FineSpotError
        A setting is out of its range.
    """
    _check(pos, bg, max_dets, sizes)
    classes, names = len(truth.classes), truth.classes.names
    scene = visit(truth, results, max_dets, min(bg, *THRESHOLDS))
    partner = take(scene, (pos, *THRESHOLDS))
    fates = explain(scene, partner[:, 0], pos, bg)
    repair = Repair(fates, classes)
    per_class = repair.base()
    lost = np.bincount(fates.object_label[~fates.found], minlength=classes)
    return ErrorAnalysis(
        pos=pos,
        bg=bg,
        max_dets=max_dets,
        ap=mean_precision(per_class),
        ap_per_class={name: float(value) for name, value in zip(names, per_class) if not np.isnan(value)},
        ap_per_threshold=_per_threshold(scene, partner[:, 1:], repair.objects()),
        dap=repair.costs(),
        progressive=repair.progressive(),
        special=repair.special(),
        counts=fates.counts(),
        not_found=dict(zip(names, lost.tolist())),
        images=len(truth.image_ids),
        objects=len(scene.objects),
        regions=truth.count_regions(),
        detections=len(scene.results),
        sizes=_by_size(fates, classes, sizes) if sizes else (),
    )


def _check(pos: float, bg: float, max_dets: int, sizes: Sequence[float]) -> None:
    if not 0 < pos < 1:
        raise FineSpotError(f"expected an overlap above 0 and below 1 but got {pos}", where="pos")
    if not 0 < bg <= pos:
        raise FineSpotError(f"expected an overlap above 0 to pos ({pos}) but got {bg}", where="bg")
    if max_dets < 1:
        raise FineSpotError(f"expected a limit of 1 or more but got {max_dets}", where="max_dets")
    if any(not low < high for low, high in pairwise((0.0, *sizes, float("inf")))):
        raise FineSpotError(f"expected rising sides above 0 pixels but got {list(sizes)}", where="sizes")


def _per_threshold(scene: Scene, partner: Rows, objects: Rows) -> dict[float, float | None]:
    order = np.argsort(-scene.results.scores, kind="stable")
    label, right, shared = scene.results.label[order], partner[order] >= 0, scene.shared[order]
    values = {}
    for t, overlap in enumerate(THRESHOLDS):
        counts = right[:, t] | (shared <= overlap)
        values[overlap] = mean_precision(class_precision(label[counts], right[counts, t], objects))
    return values


def _by_size(fates: Fates, classes: int, sizes: Sequence[float]) -> tuple[SizeErrors, ...]:
    edges = np.square(np.asarray(sizes, float))
    object_bin = np.searchsorted(edges, fates.object_area, side="right")
    own_bin = np.searchsorted(edges, fates.area, side="right")
    detection_bin = own_bin.copy()
    related = fates.about >= 0
    detection_bin[related] = object_bin[fates.about[related]]
    parts = []
    for k, (low, high) in enumerate(pairwise((0.0, *map(float, sizes), float("inf")))):
        part = fates.within(detection_bin == k, object_bin == k)
        repair = Repair(part, classes, only_present=True)
        parts.append(
            SizeErrors(
                low=low,
                high=high,
                objects=len(part.object_label),
                ap=mean_precision(repair.base()),
                counts=part.counts(),
                dap=repair.costs(),
            )
        )
    return tuple(parts)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
