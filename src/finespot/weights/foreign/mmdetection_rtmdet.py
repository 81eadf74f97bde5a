"""RTMDet files of mmdetection (`bbox_head.rtm_cls...`).

Whether distances are exponents is written in a recipe, not in the file: tiny, s and m of today do without, l and x do
with. Older recipes of m had them; a file of m whose boxes make no sense wants the option `exp`.
"""

from __future__ import annotations

from finespot import zoo
from finespot.structures import Normalization
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
recognize, entries = NAMING.recognize, NAMING.entries
