"""ResNet in the "vd" form of PaddlePaddle, the backbone of RT-DETR R18 to R101.

After "Bag of Tricks for Image Classification with CNNs" (2018, section 4, ResNet-D): a stem of three 3x3 convolutions,
the stride on a block's 3x3, and shortcuts that halve the map by averaging instead of by leaving out. As in RT-DETR the
first block of every stage has a projection, that of stride 4 too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from torch import Tensor, nn

from finespot.errors import FineSpotError
from finespot.nn.backbones.stages import STRIDES, Split, levels_at, run, split_stages
from finespot.nn.layers.conv import TORCH_NORM, Conv, named
from finespot.registry import register
from finespot.structures import Features

WIDTHS = (64, 128, 256, 512)
# Channels that come out of a bottleneck for each that works inside.
_WIDENING = 4


@register("backbone", "resnet_vd")
class ResNetVD(nn.Module):
    """Pictures (B, 3, H, W) in 0..1 to `Features` of the stages whose stride is in `strides`.

    `depths` are the blocks of the stages of strides 4, 8, 16, 32: 64, 128, 256, 512 channels, four times as many with
    `bottleneck` blocks.
    """

    def __init__(
        self,
        depths: Sequence[int] = (3, 4, 6, 3),
        bottleneck: bool = True,
        strides: Sequence[int] = (8, 16, 32),
    ) -> None:
        super().__init__()
        if len(depths) != len(STRIDES):
            raise FineSpotError(f"expected {len(STRIDES)} depths but got {tuple(depths)}", where="resnet_vd backbone")
        block = BottleneckBlock if bottleneck else BasicBlock
        self.levels = levels_at(strides, [block.widening * width for width in WIDTHS], "resnet_vd")
        self.stem = named(
            first=_conv(3, 32, 3, 2), second=_conv(32, 32, 3), third=_conv(32, WIDTHS[0], 3), pool=nn.MaxPool2d(3, 2, 1)
        )
        self.stages = nn.ModuleList()
        c_in = WIDTHS[0]
        for width, depth, stride in zip(WIDTHS, depths, (1, 2, 2, 2)):
            stage = nn.Sequential()
            for i in range(depth):
                stage.append(block(c_in, width, stride if i == 0 else 1, project=i == 0))
                c_in = block.widening * width
            self.stages.append(stage)

    def forward(self, images: Tensor) -> Features:
        return run(self.stem(images), self.stages, self.levels)

    def split(self, stride: int) -> Split:
        """Cut behind the stage of `stride`, the finest that is given."""
        return split_stages(self.stem, dict(self.stages.named_children()), self.levels, stride)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside the shortcut: (B, c_in, H, W) to (B, width, H / stride, W / stride)."""

    widening = 1

    def __init__(self, c_in: int, width: int, stride: int, project: bool) -> None:
        super().__init__()
        self.body = named(first=_conv(c_in, width, 3, stride), second=_conv(width, width, 3, active=False))
        self.shortcut = _shortcut(c_in, width, stride, project)
        self.act = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.act(self.body(x) + self.shortcut(x)))


class BottleneckBlock(nn.Module):
    """1x1, 3x3 and a widening 1x1 beside the shortcut: (B, c_in, H, W) to (B, 4 width, H / stride, W / stride)."""

    widening = _WIDENING

    def __init__(self, c_in: int, width: int, stride: int, project: bool) -> None:
        super().__init__()
        c_out = self.widening * width
        self.body = named(
            first=_conv(c_in, width), second=_conv(width, width, 3, stride), third=_conv(width, c_out, active=False)
        )
        self.shortcut = _shortcut(c_in, c_out, stride, project)
        self.act = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.act(self.body(x) + self.shortcut(x)))


def _conv(c_in: int, c_out: int, kernel: int = 1, stride: int = 1, active: bool = True) -> Conv:
    return Conv(c_in, c_out, kernel, stride, activation="relu" if active else None, norm=TORCH_NORM)


def _shortcut(c_in: int, c_out: int, stride: int, project: bool) -> nn.Module:
    if not project:
        return nn.Identity()
    parts: dict[str, nn.Module] = {"pool": nn.AvgPool2d(2, 2, ceil_mode=True)} if stride == 2 else {}
    return named(**parts, project=_conv(c_in, c_out, active=False))
