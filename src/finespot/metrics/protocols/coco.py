"""COCO boxes as pycocotools 2.0.11 prints them, and two data sets that are reported in this form.

Oddities that are kept: thresholds and recall points come from `linspace` (0.9 is 0.8999999999999999), an object on the
edge of two size ranges counts in both, the first number looks for a limit of exactly 100 detections, annotation id 0
counts as never found.
"""

from __future__ import annotations

from dataclasses import replace

from finespot.metrics.protocols.rules import IOU_50_TO_95, AreaRange, Protocol, Row

SIZES = {"small": "small", "medium": "medium", "large": "large"}

COCO = Protocol(
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
        *(Row(f"AP_{suffix}", "AP", area=area) for suffix, area in SIZES.items()),
        Row("AR@{0}", "AR", place=0),
        Row("AR@{1}", "AR", place=1),
        Row("AR@{2}", "AR", place=2),
        *(Row(f"AR_{suffix}", "AR", area=area) for suffix, area in SIZES.items()),
    ),
    id_zero_lost=True,
)

# The data set has no program of its own; its annotation ids start at 0, so official numbers lose one object.
UAVVASTE = replace(
    COCO,
    name="uavvaste",
    notes=(
        "sizes are polygon areas, about half of the boxes'; a file written from boxes gives other small, medium, large",
    ),
)

# Papers on UAVDT print COCO numbers and seldom say which choices they made; these are the ones made here.
UAVDT_COCO = replace(
    COCO,
    name="uavdt-coco",
    regions="inside",
    notes=("chosen here: the classes of the truth (not merged into one), all images of the truth, limit 100",),
)
