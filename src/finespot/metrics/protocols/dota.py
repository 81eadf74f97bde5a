"""DOTA task 2 (horizontal boxes) as the DOTA_devkit (commit 9938855) evaluates it: VOC 2007 on pixels.

A detection asks for the best object of its class, taken or not, with an IoU above (not at) the threshold of boxes whose
sides are counted as pixels. The mean runs over all names of classes. Version 1.0 honors `difficult`, 1.5 does not.
"""

from __future__ import annotations

from typing import Literal

from finespot.errors import FineSpotError
from finespot.metrics.protocols.rules import AreaRange, Integral, Protocol, Row

_INTEGRALS: dict[Integral, str] = {"11 points": "", "area": " exact area", "101 points": " 101 points"}

# As the program names the two that it has.
_LABELS: dict[Integral, str] = {"11 points": "map_voc07", "area": "map_all_points", "101 points": "map_101_points"}


def dota_hbb(version: Literal["1.0", "1.5"] = "1.0", *, iou: float = 0.5, integral: Integral = "11 points") -> Protocol:
    """DOTA with horizontal boxes.

    Parameters
    ----------
    version:
        Which program: 1.0 ignores difficult objects, 1.5 counts them.
    iou:
        The overlap that a detection must exceed.
    integral:
        The tool offers 11 points (its default) and the exact area.
    """
    if version not in ("1.0", "1.5"):
        raise FineSpotError(f"expected version 1.0 or 1.5 but got {version}", where="dota-hbb")
    name = "dota-hbb" + ("" if version == "1.0" else "-1.5") + ("" if iou == 0.5 else f" IoU {iou:g}")
    return Protocol(
        name=name + _INTEGRALS[integral],
        thresholds=(iou,),
        areas=(AreaRange("all", 0, float("inf")),),
        max_dets=(),
        rows=(Row(_LABELS[integral], "AP"), Row("final_recall", "AR")),
        ignored=("difficult",) if version == "1.0" else (),
        iod="never",
        candidate="any",
        strict=True,
        pixel=1,
        regions="unused",
        integral=integral,
        class_mean="names",
    )
