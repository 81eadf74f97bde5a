"""What follows for losses, anchors, limits and suppression."""

from __future__ import annotations

import math

from finespot.data.stats.advice.line import Advice
from finespot.data.stats.anchors import PER_LEVEL, RATIO, YOLOV5
from finespot.data.stats.measure import Statistics
from finespot.data.stats.summary import COCO_LIMIT, CROWDED_IOU, SUPPRESSION_IOU

# The mean side of AI-TOD, for which the constant of NWD was published.
NWD_PUBLISHED = 12.8
# As in YOLOv5, which looks for own anchors below this recall.
LEAST_RECALL = 0.98
# Defaults of prediction, and of the RT-DETR family.
MAX_DET, QUERIES = 300, 300
# Places beyond the number of objects: false detections take some too.
DETECTION_ROOM, QUERY_ROOM = 1.5, 1.2
CROWDED_SHARE, SUPPRESSED_SHARE = 0.05, 0.002


def nwd(stats: Statistics) -> Advice | None:
    """The constant of the normalized Wasserstein distance: the mean side at the network."""
    spread = stats.learned.network.spread
    if spread is None:
        return None
    return Advice(
        "NWD",
        f"take the constant C = {spread.mean:.1f} px",
        f"C is the mean side at the network; the published {NWD_PUBLISHED:g} px is the one of AI-TOD",
    )


def anchors(stats: Statistics) -> Advice | None:
    """Own anchors, where the usual ones miss objects."""
    found = stats.anchors
    if found is None:
        return None
    low_w, low_h = YOLOV5.min(axis=0) / RATIO
    usual = f"those of YOLOv5 match {found.usual_recall:.2%} of the objects (no side off by a factor of {RATIO:g})"
    if found.usual_recall >= LEAST_RECALL:
        return Advice("anchors", "networks with anchors can keep the usual ones", usual)
    sizes = "  ".join(f"{w:g},{h:g}" for w, h in found.sizes)
    sampled = f", found on {found.sample} of them" if found.sample < stats.learned.total else ""
    return Advice(
        "anchors",
        f"networks with anchors need their own, {PER_LEVEL} a level from stride {found.finest} on: {sizes}",
        f"{usual}, these {found.recall:.2%}{sampled}; {found.too_small:.1%} are at most {low_w:g} px wide or {low_h:g} "
        "px high, too small for each of the usual ones",
    )


def max_det(stats: Statistics) -> Advice | None:
    """A higher limit of detections in a picture."""
    spread = stats.whole.per_picture
    wanted = _hundreds(DETECTION_ROOM * spread.at(99.9))
    if wanted <= MAX_DET:
        return None
    return Advice(
        "max-det",
        f"take --max-det {wanted}",
        f"99.9 % of the pictures hold up to {spread.at(99.9):.0f} objects, the fullest {spread.most:.0f}; the default "
        f"limit is {MAX_DET}, and false detections take places too",
    )


def protocol(stats: Statistics) -> Advice | None:
    """A protocol that looks at enough detections."""
    if not stats.whole.crowded_classes or stats.whole.per_class is None:
        return None
    return Advice(
        "evaluation",
        "evaluate with --protocol ai-tod (1500 detections) or a higher --max-det",
        f"COCO's evaluation looks at {COCO_LIMIT} detections of a class in a picture; {stats.whole.crowded_classes} "
        f"times there are more objects, up to {stats.whole.per_class.most:.0f}",
    )


def queries(stats: Statistics) -> Advice | None:
    """More queries for detectors that have a fixed number."""
    spread = stats.whole.per_input
    wanted = _hundreds(QUERY_ROOM * spread.at(99.9))
    if wanted <= QUERIES:
        return None
    inputs = "pictures" if stats.cut is None else "tiles"
    return Advice(
        "queries",
        f"give an RT-DETR {wanted} queries",
        f"each query finds one object; 99.9 % of the {inputs} hold up to {spread.at(99.9):.0f}, the usual number is "
        f"{QUERIES}",
    )


def crowding(stats: Statistics) -> Advice | None:
    """Objects that overlap so much that suppression deletes right detections."""
    whole = stats.whole
    if not whole.total:
        return None
    close, lost = whole.overlapping / whole.total, whole.suppressed / whole.total
    if close < CROWDED_SHARE and lost < SUPPRESSED_SHARE:
        return None
    return Advice(
        "crowding",
        "suppress less (a higher --iou), or take a detector without suppression; boxes that stand twice look the same: "
        "`finespot data check` lists those",
        f"{close:.1%} of the objects overlap another by an IoU above {CROWDED_IOU:g}, and suppression at "
        f"{SUPPRESSION_IOU:g} would delete {whole.suppressed} of the {whole.total} objects of the truth itself",
    )


def _hundreds(count: float) -> int:
    return math.ceil(count / 100 - 1e-9) * 100
