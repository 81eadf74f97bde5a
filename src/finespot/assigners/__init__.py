"""Assigners: which points of a dense head, or which queries of a set, answer for which targets."""

from finespot.assigners.anchor_ratio import AnchorRatio
from finespot.assigners.assignment import (
    Assigner,
    Assignment,
    DensePredictions,
    Predictions,
    assignment_of,
    ignored_points,
    real_targets,
)
from finespot.assigners.atss import ATSS
from finespot.assigners.dynamic import Dynamic
from finespot.assigners.dynamic_soft import DynamicSoft
from finespot.assigners.hungarian import Hungarian, Matches
from finespot.assigners.inside import points_inside
from finespot.assigners.max_iou import MaxIoU
from finespot.assigners.nwd_ranked import NWDRanked
from finespot.assigners.rfla import RFLA
from finespot.assigners.simd import SimD
from finespot.assigners.simota import SimOTA
from finespot.assigners.task_aligned import TaskAligned

__all__ = [
    "ATSS",
    "RFLA",
    "AnchorRatio",
    "Assigner",
    "Assignment",
    "DensePredictions",
    "Dynamic",
    "DynamicSoft",
    "Hungarian",
    "Matches",
    "MaxIoU",
    "NWDRanked",
    "Predictions",
    "SimD",
    "SimOTA",
    "TaskAligned",
    "assignment_of",
    "ignored_points",
    "points_inside",
    "real_targets",
]
