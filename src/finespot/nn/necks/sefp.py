"""Scale-aware enhanced feature pyramid: a map finer than all outputs enters by space to depth, large kernels mix it.

After LRS-DETR (2025): RT-DETR's pyramid with another attention at its coarsest level, and with one join more, where the
map of stride 4 gives its pixels to stride 8 without a level of its own. What differs: any number of levels from three
is taken, and on request (`finest`) the finest has a level of its own too, by one step more down and up.

    maps         C2       C3      C4      C5      C4, C5 each through a 1x1
    DPRA                                  p5      attention inside of windows
    top down     |                p4 <--- p5      1x1, doubled, joined, block
                 +------> p3 <--- p4              space to depth; joined, omni-kernel, block
                 p2* <--- p3                      * `finest` only
    bottom up    p2* ---> p3 ---> p4 ---> p5      3x3 /2, joined, block
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn

from finespot.errors import FineSpotError
from finespot.nn.layers.conv import YOLO_NORM, Conv
from finespot.nn.layers.dpra import DPRA
from finespot.nn.layers.omni_kernel import SMEModule
from finespot.nn.layers.repvgg import CSPRep
from finespot.nn.layers.space_to_depth import SPDConv
from finespot.nn.necks.pafpn import BottomUpStep, check_steps
from finespot.registry import register
from finespot.structures import Features, Level

_Block = partial(CSPRep, expansion=0.5, norm=YOLO_NORM)


class TopDown(nn.Module):
    """The coarser map through a 1x1, doubled (nearest), joined to the finer one, then a block; gives the 1x1's map and
    the block's.
    """

    def __init__(self, c_coarse: int, c_lateral: int, c_fine: int, c_out: int) -> None:
        super().__init__()
        self.lateral = Conv(c_coarse, c_lateral)
        self.up = nn.Upsample(scale_factor=2, mode="nearest")
        self.block = _Block(c_lateral + c_fine, c_out)

    def forward(self, coarse: Tensor, fine: Tensor) -> tuple[Tensor, Tensor]:
        beside = self.lateral(coarse)
        return beside, self.block(torch.cat((self.up(beside), fine), 1))


class Enhance(nn.Module):
    """As `TopDown`, with the map of half the stride joined to the others by space to depth, and an omni-kernel on the
    join.
    """

    def __init__(
        self, c_coarse: int, c_lateral: int, c_fine: int, c_finest: int, c_out: int, spectrum: str, keep_unused: bool
    ) -> None:
        super().__init__()
        self.lateral = Conv(c_coarse, c_lateral)
        self.up = nn.Upsample(scale_factor=2, mode="nearest")
        self.down = SPDConv(c_finest, c_lateral)
        joined = 2 * c_lateral + c_fine
        self.mix = SMEModule(joined, spectrum, keep_unused)
        self.block = _Block(joined, c_out)

    def forward(self, coarse: Tensor, fine: Tensor, finest: Tensor) -> tuple[Tensor, Tensor]:
        beside = self.lateral(coarse)
        joined = torch.cat((self.down(finest), self.up(beside), fine), 1)
        return beside, self.block(self.mix(joined))


@register("neck", "sefp")
class SEFP(nn.Module):
    """`Features` of `inputs` to `Features` of all strides but the finest (`finest`: of all), `width` channels each.

    `feedforward` is the hidden width of the attention layer, `spectrum` the form of the omni-kernel's transform ("fft"
    or "matrix"), `keep_unused` keeps the convolution of the released code that never runs. The parts of the level of
    stride 16 are `project.p4`, `top_down.p4`, `bottom_up.p4`; the step that joins three maps is `enhance`.
    """

    def __init__(
        self,
        inputs: Sequence[Level],
        width: int = 256,
        feedforward: int = 1024,
        finest: bool = False,
        spectrum: str = "fft",
        keep_unused: bool = False,
    ) -> None:
        super().__init__()
        check_steps("sefp", inputs, [width] * len(inputs))
        if len(inputs) < 3:
            raise FineSpotError(f"expected three levels or more but got {len(inputs)}", where="sefp neck")
        self.inputs = tuple(inputs)
        self.levels = tuple(Level(width, level.stride) for level in inputs[0 if finest else 1 :])
        lateral = width // 2
        names = [level.name for level in inputs]
        channels = [level.channels for level in inputs]
        self.project = nn.ModuleDict({level.name: Conv(level.channels, width, activation=None) for level in inputs[2:]})
        self.attention = DPRA(width, feedforward)
        self.top_down = nn.ModuleDict({name: TopDown(width, width, width, width) for name in names[-2:1:-1]})
        self.enhance = Enhance(width, lateral, channels[1], channels[0], width, spectrum, keep_unused)
        self.finest = TopDown(width, lateral, channels[0], width) if finest else None
        # What waits beside a step up is what the step down took from that level.
        beside = {name: width if i >= 3 else lateral for i, name in enumerate(names)}
        self.bottom_up = nn.ModuleDict(
            {name: BottomUpStep(width, beside[name], width, _Block) for name in names[1 if finest else 2 :]}
        )

    def forward(self, features: Features) -> Features:
        first, second, *rest = features.maps
        maps: list[Tensor] = [project(x) for project, x in zip(self.project.values(), rest, strict=True)]
        maps[-1] = self.attention(maps[-1])
        for i, step in zip(range(len(maps) - 2, -1, -1), self.top_down.values()):
            maps[i + 1], maps[i] = step(maps[i + 1], maps[i])
        maps[0], finer = self.enhance(maps[0], second, first)
        maps = [finer, *maps]
        if self.finest is not None:
            maps[0], finer = self.finest(maps[0], first)
            maps = [finer, *maps]
        for i, step in enumerate(self.bottom_up.values(), start=1):
            maps[i] = cast(Tensor, step(maps[i - 1], maps[i]))
        return replace(features, maps=maps, levels=self.levels)
