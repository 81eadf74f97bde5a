"""Boxes: conversions between forms, suppression of doubles, overlaps.

`overlap`, `penalized`, `gaussian` and `geometry` work on torch tensors and are imported by their own names, so that
this package stays light.
"""

from finespot.boxes.choice import Kept, Suppressor, suppressor
from finespot.boxes.convert import clip, cxcywh_to_xyxy, xywh_to_xyxy, xyxy_to_cxcywh, xyxy_to_xywh
from finespot.boxes.decay import Matrix, Soft
from finespot.boxes.fusion import Weighted
from finespot.boxes.greedy import Cluster, Diou, Greedy, Ios, Nwd
from finespot.boxes.suppression import nms
from finespot.boxes.union import Nmm

__all__ = [
    "Cluster",
    "Diou",
    "Greedy",
    "Ios",
    "Kept",
    "Matrix",
    "Nmm",
    "Nwd",
    "Soft",
    "Suppressor",
    "Weighted",
    "clip",
    "cxcywh_to_xyxy",
    "nms",
    "suppressor",
    "xywh_to_xyxy",
    "xyxy_to_cxcywh",
    "xyxy_to_xywh",
]
