"""What a protocol is: plain data that say how detections are compared with the truth and what is averaged.

Every field stands for a point in which the official tools differ; where a field is not set, a protocol does what
pycocotools does. The matching (`matching`), what becomes of a detection (`outcome`) and the averages (`accumulation`)
are the same code for all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from finespot.errors import FineSpotError

IOU_50_TO_95 = tuple(np.linspace(0.5, 0.95, 10).tolist())
RECALL_POINTS = np.linspace(0.0, 1.0, 101)
VOC_POINTS = np.arange(0, 1.1, 0.1)

Kind = Literal["AP", "AR", "MR", "oLRP", "oLRP_Loc", "oLRP_FP", "oLRP_FN", "oLRP_threshold"]
ClassMean = Literal["present", "pictures", "names"]
Integral = Literal["101 points", "11 points", "area"]


@dataclass(frozen=True)
class AreaRange:
    """Objects of `low` to `high`, both ends included: square pixels, or sides where the protocol measures sides."""

    label: str
    low: float
    high: float


@dataclass(frozen=True)
class Row:
    """One printed number: a mean over classes, of one threshold (`iou`) or of all.

    `kind` is the average precision (AP), the recall (AR), the miss rate (MR), one of the parts of the LRP error, or the
    score threshold that it finds best (by class only). The limit of detections is the one at `place` among the
    protocol's, or `exactly` this one (no value where the protocol lacks it). `{0}` in the label stands for the first
    limit, and so on. `class_mean` replaces the protocol's; a `fraction` is not in percent where the protocol is.
    """

    label: str
    kind: Kind
    iou: float | None = None
    area: str = "all"
    place: int = -1
    exactly: int | None = None
    class_mean: ClassMean | None = None
    fraction: bool = False


@dataclass(frozen=True)
class Protocol:
    """How detections are compared with the truth.

    Attributes
    ----------
    thresholds:
        IoU thresholds that the rows without one of their own average over.
    areas:
        Size ranges; curves are drawn for the first. In a range, truths of other sizes are ignored.
    max_dets:
        Limits of detections, rising; none at all: no limit (UAVDT, DOTA).
    rows:
        The printed numbers.
    pooled:
        All classes are taken for one (UAVDT; `useCats = 0` of pycocotools).
    ignored:
        The flags that make a truth ignored: `crowd` (COCO's `iscrowd`) or names of the truth's marks: `ignore`
        (SODA-D, TinyPerson, VisDrone), `uncertain` (TinyPerson), `difficult` (DOTA).
    iod:
        Ignored truths whose overlap is intersection over detection and which can be taken again and again: crowds
        (COCO), all that are flagged (VisDrone), all that are flagged or of another size (TinyPerson's miss rate), none
        (SODA-D, DOTA).
    candidate:
        A detection takes the best truth that is free, or asks for the best one whether it is taken or not (DOTA).
    strict:
        The overlap must exceed the threshold (DOTA); otherwise it may be equal.
    pixel:
        What is added to widths and heights: 1 where edges are counted as pixels (DOTA).
    scope:
        What a limit counts: the best detections of one class in a picture (COCO), the first rows of a picture's file
        over all classes, matched anew for each limit (VisDrone), or the best of a picture over all classes.
    regions:
        What regions without a class do: they are a crowd of each class (COCO); truths and detections half covered by
        them are deleted (VisDrone); detections strictly inside one are deleted (UAVDT); nothing.
    without_regions:
        Sequences (what stands before the slash of an image id) whose regions are not used (two that UAVDT's tool lacks
        in its list).
    integral:
        Average precision from 101 recall points (COCO), from 11 (VOC 2007, DOTA), or as the exact area (VisDrone).
    class_mean:
        Mean over the classes that have truths (COCO), over classes weighted by the pictures that hold them (VisDrone),
        or over all names, those without truth as 0 (DOTA).
    recall_of:
        Recall is a share of the truths that are not ignored, or of all that were kept (VisDrone).
    leftovers:
        A detection that found no truth is ignored where an ignored truth covers it by the threshold or more
        (TinyPerson), or by more than half (TinyPerson's miss rate).
    true_iod:
        That cover is measured; otherwise derived from the stored overlap, which is wrong where that is not an IoU.
    measure:
        What a size range bounds: the area of the file, or its square root (TinyPerson's miss rate).
    detection_slack:
        Detections are not looked at where their size is outside the range widened by this factor (TinyPerson's miss
        rate); otherwise those that found nothing and are outside the range are ignored (COCO).
    unevaluated:
        Names of classes that are left out (`others` in VisDrone, `ignore` in SODA-D).
    id_zero_lost:
        A detection that took the truth of annotation id 0 counts as one that took none (pycocotools and its kin).
    wrap_index:
        The miss rate at a number of false positives that even the first detection exceeds is read from the last entry
        (TinyPerson); otherwise nothing is found there.
    extra_thresholds:
        Thresholds for single rows that take no part in means over thresholds.
    percent:
        Precisions and recalls are printed in percent.
    notes:
        What a reader must know beside the above, one line each.
    """

    name: str
    thresholds: tuple[float, ...]
    areas: tuple[AreaRange, ...]
    max_dets: tuple[int, ...]
    rows: tuple[Row, ...]
    pooled: bool = False
    ignored: tuple[str, ...] = ("crowd",)
    iod: Literal["crowds", "flagged", "ignored", "never"] = "crowds"
    candidate: Literal["free", "any"] = "free"
    strict: bool = False
    pixel: Literal[0, 1] = 0
    scope: Literal["class", "picture", "rows"] = "class"
    regions: Literal["crowds", "half covered", "inside", "unused"] = "crowds"
    without_regions: tuple[str, ...] = ()
    integral: Integral = "101 points"
    class_mean: ClassMean = "present"
    recall_of: Literal["counted", "kept"] = "counted"
    leftovers: Literal["none", "threshold", "half"] = "none"
    true_iod: bool = False
    measure: Literal["area", "side"] = "area"
    detection_slack: float | None = None
    unevaluated: tuple[str, ...] = ()
    id_zero_lost: bool = False
    wrap_index: bool = False
    extra_thresholds: tuple[float, ...] = ()
    percent: bool = False
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if any(limit < 1 for limit in self.max_dets):
            raise FineSpotError(f"expected limits of 1 or more but got {list(self.max_dets)}", where="max_dets")
        if not self.thresholds or not all(0 < value <= 1 for value in self.lanes):
            raise FineSpotError(f"expected IoU thresholds above 0 to 1 but got {list(self.lanes)}")
        if not self.areas:
            raise FineSpotError("expected a size range or more but got none", where="areas")
        object.__setattr__(self, "max_dets", tuple(sorted(self.max_dets)))
        labels = {area.label for area in self.areas}
        strange = sorted({row.area for row in self.rows} - labels)
        if strange:
            raise FineSpotError(f"expected rows of the areas {sorted(labels)} but got {strange}")
        needed = max((row.place + 1 if row.place >= 0 else -row.place for row in self.rows), default=1)
        if needed > len(self.limits):
            raise FineSpotError(
                f"expected {needed} limits, as '{self.name}' has, but got {list(self.max_dets)}", where="max-dets"
            )

    @property
    def lanes(self) -> tuple[float, ...]:
        """All thresholds that are matched: those of the means, then the extra ones."""
        return (*self.thresholds, *self.extra_thresholds)

    @property
    def limits(self) -> tuple[int | None, ...]:
        """The limits of detections, rising; one None where there is none."""
        return self.max_dets or (None,)

    @property
    def largest(self) -> int | None:
        """The largest limit of detections, None where there is none."""
        return self.limits[-1]

    @property
    def unit(self) -> str:
        """`percent` or `fraction`."""
        return "percent" if self.percent else "fraction"

    def label(self, row: Row) -> str:
        """The printed name of a row."""
        return row.label.format(*self.max_dets)

    def limit(self, row: Row) -> int | None:
        """The limit of detections of a row; None where there is none, or where the protocol lacks it (`covers`)."""
        if row.exactly is not None:
            return row.exactly if row.exactly in self.max_dets else None
        return self.limits[row.place]

    def covers(self, row: Row) -> bool:
        """Whether the thresholds and limits hold what a row averages; where not, it has no value."""
        return self.limit(row) in self.limits and (row.iou is None or row.iou in self.lanes)

    def position(self, row: Row) -> int:
        """The position of a row's size range in `areas`."""
        return [area.label for area in self.areas].index(row.area)

    def with_max_dets(self, max_dets: Sequence[int]) -> Protocol:
        """The same with other limits, named so that its numbers are not taken for the ordinary ones."""
        changed = replace(self, max_dets=tuple(max_dets))
        if changed.max_dets == self.max_dets:
            return self
        limits = "/".join(map(str, changed.max_dets)) or "none"
        return replace(changed, name=f"{self.name} maxDets {limits}")

    def class_agnostic(self) -> Protocol:
        """The same without regard to classes: all are one."""
        return self if self.pooled else replace(self, name=f"{self.name} class-agnostic", pooled=True)

    def with_sizes(self, sides: Sequence[float]) -> Protocol:
        """The same with size ranges of one's own in place of its size rows.

        `sides` are bounds in pixels (square roots of areas), rising: [8, 16] gives the ranges 0-8, 8-16 and 16+ and
        rows such as AP_0-8. An object on a bound counts in both ranges.
        """
        bounds = [float(side) for side in sides]
        if not bounds or bounds[0] <= 0 or bounds != sorted(set(bounds)):
            raise FineSpotError(f"expected rising sides above 0 but got {list(sides)}", where="sizes")
        whole = self.areas[0]
        names = [f"{low:g}-{high:g}" for low, high in zip([0, *bounds], bounds)] + [f"{bounds[-1]:g}+"]
        power = 1 if self.measure == "side" else 2
        edges = [0, *(bound**power for bound in bounds), float("inf")]
        areas = tuple(AreaRange(name, low, high) for name, low, high in zip(names, edges, edges[1:]))
        general = tuple(row for row in self.rows if row.area == whole.label)
        sized = dict.fromkeys((row.kind, row.iou, row.place) for row in self.rows if row.area != whole.label)
        rows = [
            Row(f"{kind}{'' if iou is None else f'{100 * iou:g}'}_{area.label}", kind, iou, area.label, place)
            for kind, iou, place in sized or {("AP", None, -1): None, ("AR", None, -1): None}
            for area in areas
        ]
        name = f"{self.name} sizes {'/'.join(f'{bound:g}' for bound in bounds)}"
        return replace(self, name=name, areas=(whole, *areas), rows=(*general, *rows))

    def clean(self) -> Protocol:
        """The same without the oddities of its tool; itself, where it has none.

        Annotation id 0 counts like any other; a limit over all classes keeps the best detections and not the first
        rows; regions are used in all sequences; recall is a share of the truths that count; all classes with truths
        weigh the same; the first number needs no limit of exactly 100; thresholds that a row asks for are matched,
        aside from the means; the cover of leftovers is measured; the miss rate is read where it belongs.
        """
        asked = {row.iou for row in self.rows if row.iou is not None} - set(self.lanes)
        changed = replace(
            self,
            id_zero_lost=False,
            scope="picture" if self.scope == "rows" else self.scope,
            without_regions=(),
            recall_of="counted",
            class_mean="present",
            # What has a mean of its own is that of `present`, which all rows have now.
            rows=tuple(replace(row, exactly=None) for row in self.rows if row.class_mean is None),
            extra_thresholds=(*self.extra_thresholds, *sorted(asked)),
            true_iod=self.leftovers != "none",
            wrap_index=False,
        )
        return self if changed == self else replace(changed, name=f"{self.name} (clean)")

    def describe(self) -> list[str]:
        """The rules in words, one line each."""
        from finespot.metrics.protocols.wording import describe

        return describe(self)
