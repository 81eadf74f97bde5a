"""RTMDet files of mmdetection (`bbox_head.rtm_cls...`).

Whether distances are exponents is written in a recipe, not in the file: tiny, s and m of today do without, l and x do
with. Older recipes of m had them; a file of m whose boxes make no sense wants the option `exp`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from torch import Tensor

from finespot import zoo
from finespot.structures import Architecture, Normalization
from finespot.weights.foreign.layout import Entry
from finespot.weights.foreign.rtmdet import Naming

# The picture lies in the top left corner of the input.
FIT = "corner"
NORMALIZATION: Normalization = zoo.RTMDET.normalization
NAMING = Naming(
    {
        "reduce_layers.0": "lateral.p5",
        "reduce_layers.1": "lateral.p4",
        "top_down_blocks.0": "top_down.p4.block",
        "top_down_blocks.1": "top_down.p3.block",
        "downsamples.0": "bottom_up.p4.down",
        "downsamples.1": "bottom_up.p5.down",
        "bottom_up_blocks.0": "bottom_up.p4.block",
        "bottom_up_blocks.1": "bottom_up.p5.block",
        "out_convs.0": "out.p3",
        "out_convs.1": "out.p4",
        "out_convs.2": "out.p5",
    },
    head="bbox_head",
)


def recognize(state: Mapping[str, Tensor]) -> Architecture | None:
    """Which RTMDet a state dict is, decoded as mmdetection's recipe of its size does; None where it is none of these.

    Raises
    ------
    FineSpotError
        The naming is this one, the network none of the table.
    """
    return NAMING.architecture(state)


def entries(architecture: Architecture) -> Iterator[Entry]:
    """All tensors of the file, in its order.

    Raises
    ------
    FineSpotError
        The network has a P2 level or parts of its own, which no such file has.
    """
    return NAMING.entries(architecture)
