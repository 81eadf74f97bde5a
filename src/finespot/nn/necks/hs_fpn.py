"""High-level screening feature pyramid (HS-FPN): coarse maps say which channels of the finer ones count.

After "Accurate Leukocyte Detection Based on Deformable-DETR and Multi-Level Feature Fusion for Aiding Diagnosis of
Blood Diseases" (MFDS-DETR, 2024) and its released code, in the narrow form of YOLO11-ASS. Each level is weighed by its
own channels and brought to one width; going down, the doubled coarser map weighs the finer one's channels once more
and is added to it; a block follows. There is no way up.

    coarse   x -> gate -> 1x1 ----------------------- block -> out
                           |
                     transposed 3x3, twice the size
                           |---- weights ---.
    fine     x -> gate -> 1x1 ------------- * --- + -- block -> out
                           |----------------------|
                     transposed 3x3 ...

In the paper's code what goes down is a chain of doubled maps that starts at the coarsest level, so that levels do not
hand on what they fused; `cascade` sends the fused maps down, as a usual pyramid does. Maps whose sizes do not meet are
resized, as there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import cast

from torch import Tensor, nn
from torch.nn import functional as F

from finespot.nn.layers.channel_gate import ChannelGate
from finespot.nn.layers.conv import Conv, Pointwise
from finespot.nn.necks.pafpn import Block, check_steps
from finespot.registry import register
from finespot.structures import Features, Level

# Channels for each hidden value of a gate.
_REDUCTION = 4


class Entry(nn.Module):
    """A map weighed by its channels and brought to `width`: (B, C, H, W) to (B, width, H, W)."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.gate = _gate(channels)
        self.lateral = Pointwise(channels, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.lateral(self.gate(x) * x))


class ScreeningStep(nn.Module):
    """The coarser map doubled; the finer one with its channels weighed by that, and that added."""

    def __init__(self, channels: int, width: int, block: Block) -> None:
        super().__init__()
        self.up = nn.ConvTranspose2d(width, width, 3, 2, 1, 1)
        self.entry = Entry(channels, width)
        self.choose = _gate(width)
        self.block = block(width, width)

    def forward(self, coarse: Tensor, fine: Tensor) -> tuple[Tensor, Tensor]:
        """The doubled map, and the level's output."""
        above, beside = self.up(coarse), self.entry(fine)
        if above.shape[2:] != beside.shape[2:]:
            above = F.interpolate(above, size=beside.shape[2:], mode="bilinear", align_corners=False)
        return above, self.block(self.choose(above) * beside + above)


@register("neck", "hs_fpn")
class HSFPN(nn.Module):
    """`Features` of `inputs` to `Features` of the same strides with `width` channels each.

    The steps that make the level of stride 16 are in `steps.p4`; `entry` and `block` are those of the coarsest level.

    Parameters
    ----------
    block:
        `block(c_in, c_out)` makes what follows each level; None is a 3x3 convolution.
    top_block:
        Whether a block follows the coarsest level too, as in the paper's code; YOLO11-ASS left it out, so that its
        head reads a bare 1x1 convolution there.
    cascade:
        Send the outputs down instead of the doubled maps.
    """

    def __init__(
        self,
        inputs: Sequence[Level],
        width: int = 256,
        block: Block | None = None,
        top_block: bool = True,
        cascade: bool = False,
    ) -> None:
        super().__init__()
        check_steps("hs_fpn", inputs, [width] * len(inputs))
        made = block or _convolution
        self.inputs = tuple(inputs)
        self.levels = tuple(Level(width, level.stride) for level in inputs)
        self.cascade = cascade
        self.entry = Entry(inputs[-1].channels, width)
        self.block = made(width, width) if top_block else nn.Identity()
        self.steps = nn.ModuleDict(
            {level.name: ScreeningStep(level.channels, width, made) for level in reversed(inputs[:-1])}
        )

    def forward(self, features: Features) -> Features:
        coarse = self.entry(features.maps[-1])
        maps = [cast(Tensor, self.block(coarse))]
        for fine, step in zip(features.maps[-2::-1], self.steps.values()):
            coarse, out = step(maps[0] if self.cascade else coarse, fine)
            maps.insert(0, out)
        return replace(features, maps=maps, levels=self.levels)


def _gate(channels: int) -> ChannelGate:
    """As the paper's code has it, down to where its weights start."""
    made = ChannelGate(channels, max(channels // _REDUCTION, 1))
    for weight in made.parameters():
        nn.init.xavier_uniform_(weight)
    return made


def _convolution(c_in: int, c_out: int) -> nn.Module:
    return Conv(c_in, c_out, 3)
