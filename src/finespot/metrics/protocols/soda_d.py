"""SODA-D as SODA-mmdetection (commit 51e4975) evaluates it: COCO on objects up to 1024 square pixels.

There is no range over all sizes: overall numbers are those of Small, and an object above 2000 square pixels is
ignored everywhere. AP counts 100 detections although 1000 are kept; the tool's table of classes counts 1000. The class
`ignore` is left out, so that detections on it are wrong. The flag `iscrowd` is not looked at, `ignore` is.
"""

from __future__ import annotations

from finespot.metrics.protocols.rules import IOU_50_TO_95, AreaRange, Protocol, Row

_SIZES = ("eS", "rS", "gS", "Normal")

SODA_D = Protocol(
    name="soda-d",
    thresholds=IOU_50_TO_95,
    areas=(
        AreaRange("Small", 0, 32**2),
        AreaRange("eS", 0, 12**2),
        AreaRange("rS", 12**2, 20**2),
        AreaRange("gS", 20**2, 32**2),
        AreaRange("Normal", 32**2, 2000),
    ),
    max_dets=(100, 300, 1000),
    rows=(
        Row("AP", "AP", area="Small", place=0),
        Row("AP_50", "AP", iou=0.5, area="Small", place=0),
        Row("AP_75", "AP", iou=0.75, area="Small", place=0),
        *(Row(f"AP_{size}", "AP", area=size, place=0) for size in _SIZES),
        *(Row(f"AR@{{{place}}}", "AR", area="Small", place=place) for place in range(3)),
        *(Row(f"AR_{size}@{{2}}", "AR", area=size, place=2) for size in _SIZES),
        Row("AP_table_maxDets{2}", "AP", area="Small", place=2),
    ),
    ignored=("ignore",),
    iod="never",
    regions="unused",
    unevaluated=("ignore",),
    id_zero_lost=True,
)
