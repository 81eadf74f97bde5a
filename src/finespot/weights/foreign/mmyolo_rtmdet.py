"""RTMDet files of mmyolo (`bbox_head.head_module.rtm_cls...`): never with exponents, the picture in the middle."""

from __future__ import annotations

from finespot import zoo
from finespot.structures import Normalization
from finespot.weights.foreign.rtmdet import Naming

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
    exp=False,
)
recognize, entries = NAMING.recognize, NAMING.entries
