"""The namings of other toolkits that FineSpot reads and writes, each with what its weights expect of a picture."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from finespot.structures import Architecture, Normalization
from finespot.weights.foreign import (
    esod,
    gpvit,
    mmdetection_retinanet,
    mmdetection_rtmdet,
    mmyolo_rtmdet,
    rtdetr,
    rtdetr_transformers,
    torchvision_retinanet,
    yolo,
    yolov5,
    yolox,
)
from finespot.weights.foreign.layout import Entry


@dataclass(frozen=True)
class Layout:
    """A naming of the tensors of some families.

    Attributes
    ----------
    families:
        Which of ours it can name.
    recognize:
        The network that a state dict belongs to, from keys and shapes; None where the naming is another.
    entries:
        All tensors of the file in its order.
    normalization, fit, imgsz:
        What the weights learnt with (`fit` as in `Card`).
    constants:
        Tensors that the file has beside the weights, made from the architecture, for writing it.
    prepare:
        Changes a state dict before all else (other releases of the same naming).
    """

    name: str
    families: tuple[str, ...]
    recognize: Callable[[Mapping[str, Tensor]], Architecture | None]
    entries: Callable[[Architecture], Iterable[Entry]]
    normalization: Normalization = field(default_factory=Normalization)
    fit: str = "center"
    imgsz: Callable[[Architecture], int] = lambda architecture: 640
    constants: Callable[[Architecture], dict[str, Tensor]] = lambda architecture: {}
    prepare: Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]] = lambda state: state


def _of(name: str, family: str, module: Any, side: int = 640, **more: Any) -> Layout:
    """The layout that a module of one family describes by its functions and constants."""
    own = {
        "recognize": module.recognize,
        "entries": module.entries,
        "normalization": module.NORMALIZATION,
        "fit": module.FIT,
        "imgsz": lambda architecture: side,
    }
    return Layout(name, (family,), **{**own, **more})


def _yolox_side(architecture: Architecture) -> int:
    return 416 if architecture.size in ("nano", "tiny") else 640


# The longer side that detectors of 1333 x 800 px get, as a multiple of their stride.
_LARGE = 1344
_OLDER: dict[str, Any] = {
    "recognize": rtdetr_transformers.recognize_older,
    "entries": rtdetr_transformers.older_entries,
}
# In the order in which they are tried; the first for a family is the one that its weights are written in.
LAYOUTS = (
    Layout("ultralytics", yolo.FAMILIES, yolo.recognize, yolo.entries),
    Layout("yolov5", ("yolov5",), yolov5.recognize, yolov5.entries, constants=yolov5.constants),
    Layout("esod", ("esod",), esod.recognize, esod.entries, constants=esod.constants, imgsz=lambda architecture: 1536),
    _of("yolox", "yolox", yolox, imgsz=_yolox_side),
    _of("mmdetection-rtmdet", "rtmdet", mmdetection_rtmdet),
    _of("mmyolo-rtmdet", "rtmdet", mmyolo_rtmdet),
    _of("rtdetr", "rtdetr", rtdetr, prepare=rtdetr.renamed),
    _of("transformers-rtdetr", "rtdetr", rtdetr_transformers),
    _of("transformers4-rtdetr", "rtdetr", rtdetr_transformers, **_OLDER),
    _of("torchvision-retinanet", "retinanet", torchvision_retinanet, _LARGE, prepare=torchvision_retinanet.renamed),
    _of("mmdetection-retinanet", "retinanet", mmdetection_retinanet, _LARGE),
    _of("gpvit", "gpvit", gpvit, _LARGE),
)
