"""Path aggregation neck whose coarse maps are narrowed on the way down and joined again, narrowed, on the way up.

The form of YOLOv5, YOLOX and RTMDet ("PANet", 2018, with a block behind each join). What differs from `pafpn`: a 1x1
convolution gives each map the width of the next finer one before it is doubled, and it is this narrowed map that the
way up joins. Works on any number of levels; a P2 level is one more step each way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from torch import nn

from finespot.nn.layers.conv import YOLO_NORM, Conv, Norm
from finespot.nn.necks.pafpn import Block, BottomUpStep, TopDownStep, check_steps
from finespot.registry import register
from finespot.structures import Features, Level


@register("neck", "lateral_pafpn")
class LateralPAFPN(nn.Module):
    """`Features` of `inputs` to `Features` of the same strides with `widths` channels (fine to coarse).

    `block(c_in, c_out)` makes the block behind each join, `down(c_in, c_out)` what halves a map (None: a 3x3
    convolution). With `out_width` a 3x3 convolution brings every level to that width at last. The steps that make the
    level of stride 16 are `top_down.p4` and `bottom_up.p4`; `lateral.p4` narrows it between them.
    """

    def __init__(
        self,
        inputs: Sequence[Level],
        widths: Sequence[int],
        block: Block,
        down: Block | None = None,
        out_width: int | None = None,
        norm: Norm = YOLO_NORM,
    ) -> None:
        super().__init__()
        check_steps("lateral_pafpn", inputs, widths)

        def halve(c_in: int, c_out: int) -> nn.Module:
            return Conv(c_in, c_out, 3, 2, norm=norm)

        self.inputs = tuple(inputs)
        self.levels = tuple(Level(out_width or width, level.stride) for width, level in zip(widths, inputs))
        names = [level.name for level in inputs]
        self.lateral = nn.ModuleDict()
        self.top_down = nn.ModuleDict()
        coarser = inputs[-1].channels
        for i in range(len(inputs) - 1, 0, -1):
            finer = widths[i - 1]
            self.lateral[names[i]] = Conv(coarser, finer, norm=norm)
            self.top_down[names[i - 1]] = TopDownStep(finer, inputs[i - 1].channels, finer, block)
            coarser = finer
        self.bottom_up = nn.ModuleDict()
        for i in range(1, len(inputs)):
            finer = widths[i - 1]
            self.bottom_up[names[i]] = BottomUpStep(finer, finer, widths[i], block, down or halve)
        self.out = nn.ModuleDict()
        if out_width is not None:
            self.out.update({name: Conv(c, out_width, 3, norm=norm) for name, c in zip(names, widths)})

    def forward(self, features: Features) -> Features:
        maps = list(features.maps)
        x, narrowed = maps[-1], []
        for finer, lateral, step in zip(maps[-2::-1], self.lateral.values(), self.top_down.values()):
            narrowed.append(lateral(x))
            x = step(narrowed[-1], finer)
        mixed = [x]
        for beside, step in zip(reversed(narrowed), self.bottom_up.values()):
            mixed.append(step(mixed[-1], beside))
        if self.out:
            mixed = [convolve(x) for convolve, x in zip(self.out.values(), mixed)]
        return replace(features, maps=mixed, levels=self.levels)
