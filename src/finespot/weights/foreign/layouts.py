"""The namings of other toolkits that FineSpot reads and writes, each with what its weights expect of a picture."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from torch import Tensor

from finespot.structures import Architecture, Normalization
from finespot.weights.foreign import (
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


def _yolox_side(architecture: Architecture) -> int:
    return 416 if architecture.size in ("nano", "tiny") else 640


# In the order in which they are tried; the first for a family is the one that its weights are written in.
LAYOUTS = (
    Layout("ultralytics", yolo.FAMILIES, yolo.recognize, yolo.entries),
    Layout("yolov5", yolov5.FAMILIES, yolov5.recognize, yolov5.entries, constants=yolov5.constants),
    Layout(
        "yolox",
        ("yolox",),
        yolox.recognize,
        yolox.entries,
        normalization=yolox.NORMALIZATION,
        fit=yolox.FIT,
        imgsz=_yolox_side,
    ),
    Layout(
        "mmdetection-rtmdet",
        ("rtmdet",),
        mmdetection_rtmdet.recognize,
        mmdetection_rtmdet.entries,
        normalization=mmdetection_rtmdet.NORMALIZATION,
        fit=mmdetection_rtmdet.FIT,
    ),
    Layout(
        "mmyolo-rtmdet",
        ("rtmdet",),
        mmyolo_rtmdet.recognize,
        mmyolo_rtmdet.entries,
        normalization=mmyolo_rtmdet.NORMALIZATION,
        fit=mmyolo_rtmdet.FIT,
    ),
    Layout("rtdetr", ("rtdetr",), rtdetr.recognize, rtdetr.entries, fit=rtdetr.FIT, prepare=rtdetr.renamed),
    Layout(
        "transformers-rtdetr",
        ("rtdetr",),
        rtdetr_transformers.recognize,
        rtdetr_transformers.entries,
        fit=rtdetr_transformers.FIT,
    ),
    Layout(
        "transformers4-rtdetr",
        ("rtdetr",),
        rtdetr_transformers.recognize_older,
        rtdetr_transformers.older_entries,
        fit=rtdetr_transformers.FIT,
    ),
    Layout(
        "torchvision-retinanet",
        ("retinanet",),
        torchvision_retinanet.recognize,
        torchvision_retinanet.entries,
        normalization=torchvision_retinanet.NORMALIZATION,
        fit=torchvision_retinanet.FIT,
        imgsz=lambda architecture: 1344,
        prepare=torchvision_retinanet.renamed,
    ),
    Layout(
        "mmdetection-retinanet",
        ("retinanet",),
        mmdetection_retinanet.recognize,
        mmdetection_retinanet.entries,
        normalization=mmdetection_retinanet.NORMALIZATION,
        fit=mmdetection_retinanet.FIT,
        imgsz=lambda architecture: 1344,
    ),
    Layout(
        "gpvit",
        ("gpvit",),
        gpvit.recognize,
        gpvit.entries,
        normalization=gpvit.NORMALIZATION,
        fit=gpvit.FIT,
        imgsz=lambda architecture: 1344,
    ),
)
