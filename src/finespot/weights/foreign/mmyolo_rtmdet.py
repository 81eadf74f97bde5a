"""RTMDet files of mmyolo (`bbox_head.head_module.rtm_cls...`): never with exponents, the picture in the middle."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from torch import Tensor

from finespot import zoo
from finespot.structures import Architecture, Normalization
from finespot.weights.foreign.layout import Entry
from finespot.weights.foreign.rtmdet import Naming, with_exponents

FIT = "center"
NORMALIZATION: Normalization = zoo.RTMDET.normalization
NAMING = Naming(
    {
        "reduce_layers.2": "lateral.p5",
        "top_down_layers.0.0": "top_down.p4.block",
        "top_down_layers.0.1": "lateral.p4",
        "top_down_layers.1": "top_down.p3.block",
        "downsample_layers.0": "bottom_up.p4.down",
        "downsample_layers.1": "bottom_up.p5.down",
        "bottom_up_layers.0": "bottom_up.p4.block",
        "bottom_up_layers.1": "bottom_up.p5.block",
        "out_layers.0": "out.p3",
        "out_layers.1": "out.p4",
        "out_layers.2": "out.p5",
    },
    head="bbox_head.head_module",
)


def recognize(state: Mapping[str, Tensor]) -> Architecture | None:
    """Which RTMDet a state dict is, decoded without exponents; None where it is none of these.

    Raises
    ------
    FineSpotError
        The naming is this one, the network none of the table.
    """
    found = NAMING.architecture(state)
    return None if found is None else with_exponents(found, exp=False)


def entries(architecture: Architecture) -> Iterator[Entry]:
    """All tensors of the file, in its order.

    Raises
    ------
    FineSpotError
        The network has a P2 level or parts of its own, which no such file has.
    """
    return NAMING.entries(architecture)
