"""AI-TOD and AI-TOD-v2 as cocoapi-aitod (commit 44a230a) prints them: COCO with finer sizes, and the LRP error.

The four oLRP rows (Oksuz et al., Localization Recall Precision, ECCV 2018) belong to the first threshold, whatever
it is. AP25 has no value, because 0.25 is not among the thresholds; the clean variant matches it apart. `ai-tod` has the
limits of the tool, `ai-tod-mmdet` those that the authors' detectors pass and papers print (AR at 100, 300, 1500).
"""

from __future__ import annotations

from dataclasses import replace

from finespot.metrics.protocols.rules import IOU_50_TO_95, AreaRange, Protocol, Row

_SIZES = {"vt": "verytiny", "t": "tiny", "s": "small", "m": "medium"}

AI_TOD = Protocol(
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
        *(Row(f"AP_{suffix}", "AP", area=area) for suffix, area in _SIZES.items()),
        Row("AR@maxDets0", "AR", place=0),
        Row("AR@maxDets1", "AR", place=1),
        Row("AR@maxDets2", "AR", place=2),
        *(Row(f"AR_{suffix}", "AR", area=area) for suffix, area in _SIZES.items()),
        Row("oLRP", "oLRP"),
        Row("oLRP_Loc", "oLRP_Loc"),
        Row("oLRP_FP", "oLRP_FP"),
        Row("oLRP_FN", "oLRP_FN"),
        Row("lrp_opt_thr", "oLRP_threshold"),
    ),
    id_zero_lost=True,
)

AI_TOD_MMDET = replace(AI_TOD.with_max_dets((100, 300, 1500)), name="ai-tod-mmdet")
