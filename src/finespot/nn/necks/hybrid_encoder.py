"""RT-DETR's hybrid encoder: attention inside the coarsest map only, convolutions between the levels.

After "DETRs Beat YOLOs on Real-time Object Detection" (2023, section 4.2): AIFI is one transformer layer on the
coarsest map, CCFF a path aggregation with RepVGG blocks. What differs: position codes are computed by row and column,
so that rectangles have them too (the released code fills its table column by column, which is right for squares only),
and any number of levels is taken; a P2 level is one more step each way.

    maps         C3      C4      C5      each through a 1x1
    AIFI                         p5      attention of its cells to each other
    top down     p3 <--- p4 <--- p5      1x1, doubled, joined, block
    bottom up    p3 ---> p4 ---> p5      3x3 /2, joined, block
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import cast

import torch
from torch import Tensor, nn

from finespot.nn.layers.conv import TORCH_NORM, Conv
from finespot.nn.layers.repvgg import CSPRep
from finespot.nn.layers.transformer import EncoderLayer, wave_positions
from finespot.nn.necks.pafpn import check_steps
from finespot.registry import register
from finespot.structures import Features, Level


class AIFI(nn.Module):
    """A transformer layer over the cells of one map: (B, C, H, W) to the same shape."""

    def __init__(self, width: int, feedforward: int) -> None:
        super().__init__()
        self.layer = EncoderLayer(width, feedforward)

    def forward(self, x: Tensor) -> Tensor:
        _, width, rows, columns = x.shape
        position = wave_positions(rows, columns, width, x.device).to(x.dtype)
        tokens: Tensor = self.layer(x.flatten(2).transpose(1, 2), position)
        return cast(Tensor, tokens.transpose(1, 2).unflatten(2, (rows, columns)))


class TopDown(nn.Module):
    """The coarser map through a 1x1, doubled (nearest), joined to the finer one, then a block; gives both maps."""

    def __init__(self, width: int, expansion: float) -> None:
        super().__init__()
        self.lateral = Conv(width, width, norm=TORCH_NORM)
        self.up = nn.Upsample(scale_factor=2, mode="nearest")
        self.block = CSPRep(2 * width, width, expansion=expansion)

    def forward(self, coarse: Tensor, fine: Tensor) -> tuple[Tensor, Tensor]:
        beside = self.lateral(coarse)
        return beside, self.block(torch.cat((self.up(beside), fine), 1))


class BottomUp(nn.Module):
    """The finer map halved by a 3x3 convolution, joined to the coarser one, then a block."""

    def __init__(self, width: int, expansion: float) -> None:
        super().__init__()
        self.down = Conv(width, width, 3, 2, norm=TORCH_NORM)
        self.block = CSPRep(2 * width, width, expansion=expansion)

    def forward(self, fine: Tensor, coarse: Tensor) -> Tensor:
        return cast(Tensor, self.block(torch.cat((self.down(fine), coarse), 1)))


@register("neck", "hybrid_encoder")
class HybridEncoder(nn.Module):
    """`Features` of `inputs` to `Features` of the same strides with `width` channels each.

    `feedforward` is the hidden width of the transformer layer, `expansion` that of the blocks between levels. The parts
    of the level of stride 16 are `project.p4`, `top_down.p4`, `bottom_up.p4`.
    """

    def __init__(
        self, inputs: Sequence[Level], width: int = 256, feedforward: int = 1024, expansion: float = 1.0
    ) -> None:
        super().__init__()
        check_steps("hybrid_encoder", inputs, [width] * len(inputs))
        self.inputs = tuple(inputs)
        self.levels = tuple(Level(width, level.stride) for level in inputs)
        names = [level.name for level in inputs]
        self.project = nn.ModuleDict(
            {level.name: Conv(level.channels, width, activation=None, norm=TORCH_NORM) for level in inputs}
        )
        self.attention = AIFI(width, feedforward)
        self.top_down = nn.ModuleDict({name: TopDown(width, expansion) for name in names[-2::-1]})
        self.bottom_up = nn.ModuleDict({name: BottomUp(width, expansion) for name in names[1:]})

    def forward(self, features: Features) -> Features:
        maps: list[Tensor] = [project(x) for project, x in zip(self.project.values(), features.maps, strict=True)]
        maps[-1] = self.attention(maps[-1])
        for i, step in zip(range(len(maps) - 2, -1, -1), self.top_down.values()):
            maps[i + 1], maps[i] = step(maps[i + 1], maps[i])
        for i, step in enumerate(self.bottom_up.values(), start=1):
            maps[i] = step(maps[i - 1], maps[i])
        return replace(features, maps=maps, levels=self.levels)
