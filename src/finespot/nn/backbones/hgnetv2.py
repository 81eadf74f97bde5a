"""HGNetV2, PaddlePaddle's backbone for GPUs, in the sizes L and X that RT-DETR takes.

There is no paper; the layer table is that of the released RT-DETR models (parameter counts agree to the unit). A block
keeps the output of each of its six layers and mixes all of them with its input; where the map is coarse, a layer is a
1x1 and a depth-wise convolution ("light").
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from finespot.nn.backbones.stages import Split, levels_at, run, split_stages
from finespot.nn.layers.conv import TORCH_NORM, Conv, named
from finespot.registry import register
from finespot.structures import Features

_STEM = 32
_LAYERS = 6


@dataclass(frozen=True)
class HGStage:
    """One stage: channels in, inside and out, number of blocks; `light` layers and their kernel."""

    c_in: int
    middle: int
    c_out: int
    blocks: int
    light: bool
    kernel: int


HGNETV2_L = (
    HGStage(48, 48, 128, 1, False, 3),
    HGStage(128, 96, 512, 1, False, 3),
    HGStage(512, 192, 1024, 3, True, 5),
    HGStage(1024, 384, 2048, 1, True, 5),
)
HGNETV2_X = (
    HGStage(64, 64, 128, 1, False, 3),
    HGStage(128, 128, 512, 2, False, 3),
    HGStage(512, 256, 1024, 5, True, 5),
    HGStage(1024, 512, 2048, 2, True, 5),
)


@register("backbone", "hgnetv2")
class HGNetV2(nn.Module):
    """Pictures (B, 3, H, W) in 0..1 to `Features` of the stages (strides 4, 8, 16, 32) whose stride is in `strides`."""

    def __init__(self, stages: Sequence[HGStage] = HGNETV2_L, strides: Sequence[int] = (8, 16, 32)) -> None:
        super().__init__()
        self.levels = levels_at(strides, [one.c_out for one in stages], "hgnetv2")
        self.stem = HGStem(stages[0].c_in)
        self.stages = nn.ModuleList([_stage(one, halve=number > 0) for number, one in enumerate(stages)])

    def forward(self, images: Tensor) -> Features:
        return run(self.stem(images), self.stages, self.levels)

    def split(self, stride: int) -> Split:
        """Cut behind the stage of `stride`, the finest that is given."""
        return split_stages(self.stem, dict(self.stages.named_children()), self.levels, stride)


class HGStem(nn.Module):
    """(B, 3, H, W) to (B, c_out, H / 4, W / 4): two 2x2 convolutions beside a 2x2 maximum, between two halvings."""

    def __init__(self, c_out: int) -> None:
        super().__init__()
        self.down1 = _conv(3, _STEM, 3, 2)
        self.narrow = _conv(_STEM, _STEM // 2, 2, padding=0)
        self.widen = _conv(_STEM // 2, _STEM, 2, padding=0)
        self.pool = nn.MaxPool2d(2, 1)
        self.down2 = _conv(2 * _STEM, _STEM, 3, 2)
        self.mix = _conv(_STEM, c_out)

    def forward(self, images: Tensor) -> Tensor:
        x = _right_and_bottom(self.down1(images))
        convolved = self.widen(_right_and_bottom(self.narrow(x)))
        return cast(Tensor, self.mix(self.down2(torch.cat((self.pool(x), convolved), 1))))


class HGBlock(nn.Module):
    """Six layers in a chain; input and all six outputs are joined, squeezed to c_out / 2 and widened to c_out."""

    def __init__(self, c_in: int, stage: HGStage, residual: bool) -> None:
        super().__init__()
        make = _light if stage.light else _conv
        widths = [c_in] + [stage.middle] * (_LAYERS - 1)
        self.chain = nn.ModuleList([make(width, stage.middle, stage.kernel) for width in widths])
        self.squeeze = _conv(c_in + _LAYERS * stage.middle, stage.c_out // 2)
        self.excite = _conv(stage.c_out // 2, stage.c_out)
        self.residual = residual

    def forward(self, x: Tensor) -> Tensor:
        outputs = [x]
        for layer in self.chain:
            outputs.append(layer(outputs[-1]))
        mixed = self.excite(self.squeeze(torch.cat(outputs, 1)))
        return cast(Tensor, mixed + x if self.residual else mixed)


def _stage(stage: HGStage, halve: bool) -> nn.Sequential:
    blocks = nn.Sequential(
        *(HGBlock(stage.c_in if i == 0 else stage.c_out, stage, residual=i > 0) for i in range(stage.blocks))
    )
    if not halve:
        return named(blocks=blocks)
    down = Conv(stage.c_in, stage.c_in, 3, 2, groups=stage.c_in, activation=None, norm=TORCH_NORM)
    return named(down=down, blocks=blocks)


def _light(c_in: int, c_out: int, kernel: int) -> nn.Sequential:
    mix = Conv(c_in, c_out, activation=None, norm=TORCH_NORM)
    return named(mix=mix, spatial=Conv(c_out, c_out, kernel, groups=c_out, activation="relu", norm=TORCH_NORM))


def _conv(c_in: int, c_out: int, kernel: int = 1, stride: int = 1, padding: int | None = None) -> Conv:
    return Conv(c_in, c_out, kernel, stride, activation="relu", norm=TORCH_NORM, padding=padding)


def _right_and_bottom(x: Tensor) -> Tensor:
    """One row and one column of zeros more, so that a 2x2 kernel keeps the size."""
    return F.pad(x, (0, 1, 0, 1))
