"""Evaluation protocols as data: which rules a data set's official tool follows, and which numbers it prints.

`PROTOCOLS` holds them by name; each is a value of `Protocol` (its fields say what can differ), in a file with the tools
of its kin.
"""

from __future__ import annotations

from finespot.errors import FineSpotError
from finespot.metrics.protocols.ai_tod import AI_TOD, AI_TOD_MMDET
from finespot.metrics.protocols.coco import COCO, UAVDT_COCO, UAVVASTE
from finespot.metrics.protocols.dota import dota_hbb
from finespot.metrics.protocols.drones import UAVDT, VISDRONE
from finespot.metrics.protocols.rules import IOU_50_TO_95, RECALL_POINTS, VOC_POINTS, AreaRange, Protocol, Row
from finespot.metrics.protocols.soda_d import SODA_D
from finespot.metrics.protocols.tinyperson import TINYPERSON, TINYPERSON_MR, tinyperson
from finespot.registry import build, register

__all__ = [
    "IOU_50_TO_95",
    "PROTOCOLS",
    "RECALL_POINTS",
    "VOC_POINTS",
    "AreaRange",
    "Protocol",
    "Row",
    "dota_hbb",
    "protocol",
    "tinyperson",
]

_ALL = (
    *(COCO, AI_TOD, AI_TOD_MMDET, VISDRONE, UAVDT, UAVDT_COCO, TINYPERSON, TINYPERSON_MR, SODA_D),
    *(dota_hbb("1.0"), dota_hbb("1.5"), UAVVASTE),
)
PROTOCOLS: dict[str, Protocol] = {one.name: one for one in _ALL}

for _name, _protocol in PROTOCOLS.items():
    register("protocol", _name)(lambda _protocol=_protocol: _protocol)


def protocol(name: str) -> Protocol:
    """The protocol called `name`, or the one that a user's own `module:function` returns."""
    made = build("protocol", name)
    if not isinstance(made, Protocol):
        raise FineSpotError(f"expected '{name}' to return a Protocol but got {type(made).__name__}")
    return made
