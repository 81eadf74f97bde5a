"""VisDrone-DET (VisDrone2018-DET-toolkit, commit 0054457) and UAVDT-DET (its Matlab program): the exact area, percent.

VisDrone: the first 500 rows of a file count, in file order over all classes; a class weighs as many times as there
are images with it; ignored objects are in the denominator of recall. `AP_macro` and its kin, which most programs in
Python print for AP, weigh all classes the same and are no numbers of the toolkit. UAVDT: all classes are one, one
threshold of 0.7, no limit, and the ignored areas of two sequences are not used, because the tool's list lacks them.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from finespot.metrics.protocols.rules import AreaRange, Protocol, Row

_ANY_SIZE = (AreaRange("all", 0, float("inf")),)
_VISDRONE_ROWS = (
    Row("AP", "AP"),
    Row("AP50", "AP", iou=0.5),
    Row("AP75", "AP", iou=0.75),
    *(Row(f"AR{{{place}}}", "AR", place=place) for place in range(4)),
)

VISDRONE = Protocol(
    name="visdrone",
    thresholds=tuple((0.5 + 0.05 * np.arange(10)).tolist()),
    areas=_ANY_SIZE,
    max_dets=(1, 10, 100, 500),
    rows=(
        *_VISDRONE_ROWS,
        *(replace(row, label=f"{row.label}_macro", class_mean="present") for row in _VISDRONE_ROWS),
    ),
    ignored=("crowd", "ignore"),
    iod="flagged",
    scope="rows",
    regions="half covered",
    integral="area",
    class_mean="pictures",
    recall_of="kept",
    unevaluated=("others",),
    percent=True,
)

UAVDT = Protocol(
    name="uavdt",
    thresholds=(0.7,),
    areas=_ANY_SIZE,
    max_dets=(),
    rows=(Row("AP_overall", "AP"), Row("final_recall", "AR", fraction=True)),
    pooled=True,
    ignored=(),
    iod="never",
    regions="inside",
    without_regions=("M0209", "M0801"),
    integral="area",
    percent=True,
)
