"""Evaluation protocols as data: which thresholds, sizes and limits, and which slice each printed number is.

`coco` is what pycocotools prints for boxes (version 2.0.11), `ai-tod` what the AI-TOD tool prints (commit 44a230a),
except its four rows of the LRP error. Both share one way of matching (`matching`) and of averaging (`accumulation`).
Oddities of the tools that are kept: thresholds and recall points come from `linspace` (0.9 is 0.8999999999999999),
an object on the edge of two size ranges counts in both, COCO's first number looks for a limit of exactly 100
detections, AI-TOD's AP25 has no value because 0.25 is not among its thresholds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from finespot.errors import FineSpotError
from finespot.registry import build, register

IOU_50_TO_95 = tuple(np.linspace(0.5, 0.95, 10).tolist())
RECALL_POINTS = np.linspace(0.0, 1.0, 101)


@dataclass(frozen=True)
class AreaRange:
    """Objects of `low` to `high` square pixels, both ends included."""

    label: str
    low: float
    high: float


@dataclass(frozen=True)
class Row:
    """One printed number: the mean AP or AR over classes, of one threshold (`iou`) or of all.

    The limit of detections is the one at `place` among the protocol's, or `exactly` this one (no value where the
    protocol lacks it). `{0}` in the label stands for the first limit, and so on.
    """

    label: str
    kind: Literal["AP", "AR"]
    iou: float | None = None
    area: str = "all"
    place: int = -1
    exactly: int | None = None


@dataclass(frozen=True)
class Protocol:
    """How detections are compared with the truth.

    `max_dets` are limits per picture and class, rising. `pooled` takes all classes for one.
    """

    name: str
    thresholds: tuple[float, ...]
    areas: tuple[AreaRange, ...]
    max_dets: tuple[int, ...]
    rows: tuple[Row, ...]
    pooled: bool = False

    def __post_init__(self) -> None:
        if not self.max_dets or any(limit < 1 for limit in self.max_dets):
            raise FineSpotError(f"expected limits of 1 or more but got {list(self.max_dets)}", where="max_dets")
        if not self.thresholds or not all(0 < value <= 1 for value in self.thresholds):
            raise FineSpotError(f"expected IoU thresholds above 0 to 1 but got {list(self.thresholds)}")
        object.__setattr__(self, "max_dets", tuple(sorted(self.max_dets)))
        labels = {area.label for area in self.areas}
        strange = sorted({row.area for row in self.rows} - labels)
        if strange:
            raise FineSpotError(f"expected rows of the areas {sorted(labels)} but got {strange}")
        if any(not -len(self.max_dets) <= row.place < len(self.max_dets) for row in self.rows):
            raise FineSpotError(f"'{self.name}' needs more limits than {list(self.max_dets)}", where="max_dets")

    def label(self, row: Row) -> str:
        """The printed name of a row."""
        return row.label.format(*self.max_dets)

    def limit(self, row: Row) -> int | None:
        """The limit of detections per picture and class of a row; None where the protocol lacks it."""
        if row.exactly is not None:
            return row.exactly if row.exactly in self.max_dets else None
        return self.max_dets[row.place]

    def covers(self, row: Row) -> bool:
        """Whether the thresholds and limits hold what a row averages; where not, it has no value."""
        return self.limit(row) is not None and (row.iou is None or row.iou in self.thresholds)

    def position(self, row: Row) -> int:
        """The position of a row's size range in `areas`."""
        return [area.label for area in self.areas].index(row.area)

    def with_max_dets(self, max_dets: Sequence[int]) -> Protocol:
        """The same with other limits, named so that its numbers are not taken for the ordinary ones."""
        changed = replace(self, max_dets=tuple(max_dets))
        if changed.max_dets == self.max_dets:
            return self
        return replace(changed, name=f"{self.name} maxDets {'/'.join(map(str, changed.max_dets))}")

    def class_agnostic(self) -> Protocol:
        """The same without regard to classes: all are one."""
        return self if self.pooled else replace(self, name=f"{self.name} class-agnostic", pooled=True)


def _size_rows(kind: Literal["AP", "AR"], sizes: dict[str, str]) -> tuple[Row, ...]:
    return tuple(Row(f"{kind}_{suffix}", kind, area=area) for suffix, area in sizes.items())


_COCO_SIZES = {"small": "small", "medium": "medium", "large": "large"}
_AI_TOD_SIZES = {"vt": "verytiny", "t": "tiny", "s": "small", "m": "medium"}

PROTOCOLS: dict[str, Protocol] = {
    "coco": Protocol(
        name="coco",
        thresholds=IOU_50_TO_95,
        areas=(
            AreaRange("all", 0, 1e10),
            AreaRange("small", 0, 32**2),
            AreaRange("medium", 32**2, 96**2),
            AreaRange("large", 96**2, 1e10),
        ),
        max_dets=(1, 10, 100),
        rows=(
            Row("AP", "AP", exactly=100),
            Row("AP50", "AP", iou=0.5, place=2),
            Row("AP75", "AP", iou=0.75, place=2),
            *_size_rows("AP", _COCO_SIZES),
            Row("AR@{0}", "AR", place=0),
            Row("AR@{1}", "AR", place=1),
            Row("AR@{2}", "AR", place=2),
            *_size_rows("AR", _COCO_SIZES),
        ),
    ),
    "ai-tod": Protocol(
        name="ai-tod",
        thresholds=IOU_50_TO_95,
        areas=(
            AreaRange("all", 0, 1e10),
            AreaRange("verytiny", 0, 8**2),
            AreaRange("tiny", 8**2, 16**2),
            AreaRange("small", 16**2, 32**2),
            AreaRange("medium", 32**2, 1e10),
        ),
        max_dets=(1, 100, 1500),
        rows=(
            Row("AP", "AP"),
            Row("AP25", "AP", iou=0.25),
            Row("AP50", "AP", iou=0.5),
            Row("AP75", "AP", iou=0.75),
            *_size_rows("AP", _AI_TOD_SIZES),
            Row("AR@maxDets0", "AR", place=0),
            Row("AR@maxDets1", "AR", place=1),
            Row("AR@maxDets2", "AR", place=2),
            *_size_rows("AR", _AI_TOD_SIZES),
        ),
    ),
}

for _name, _protocol in PROTOCOLS.items():
    register("protocol", _name)(lambda _protocol=_protocol: _protocol)


def protocol(name: str) -> Protocol:
    """The protocol called `name`, or the one that a user's own `module:function` returns."""
    made = build("protocol", name)
    if not isinstance(made, Protocol):
        raise FineSpotError(f"expected '{name}' to return a Protocol but got {type(made).__name__}")
    return made
