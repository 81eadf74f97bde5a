"""Path aggregation neck: features travel from coarse to fine and back.

After "Path Aggregation Network for Instance Segmentation" (2018) as the YOLO families since v5 use it: maps are
joined by concatenation, and a block that the family chooses follows each join. Works on any number of levels; a P2
level is one more step each way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn

from finespot.errors import FineSpotError
from finespot.nn.layers.conv import Conv
from finespot.registry import register
from finespot.structures import Features, Level

Block = Callable[[int, int], nn.Module]


def check_steps(neck: str, inputs: Sequence[Level], widths: Sequence[int]) -> None:
    """Raise FineSpotError unless there is a width for each level and every map is half of the one before it."""
    strides = [level.stride for level in inputs]
    if not inputs or len(widths) != len(inputs) or any(b != 2 * a for a, b in pairwise(strides)):
        raise FineSpotError(
            f"expected one width per level and each stride twice the one before it, "
            f"but got widths {list(widths)} for strides {strides}",
            where=f"{neck} neck",
        )


class TopDownStep(nn.Module):
    """The coarser map doubled (nearest), joined to the finer one, then a block."""

    def __init__(self, c_coarse: int, c_fine: int, c_out: int, block: Block) -> None:
        super().__init__()
        self.up = nn.Upsample(scale_factor=2, mode="nearest")
        self.block = block(c_coarse + c_fine, c_out)

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        return cast(Tensor, self.block(torch.cat((self.up(coarse), fine), 1)))


class BottomUpStep(nn.Module):
    """The finer map halved by a 3x3 convolution (or by what `down` makes), joined to the coarser one, then a block.

    `c_down` is its width when it is halved (None: as it was).
    """

    def __init__(
        self,
        c_fine: int,
        c_coarse: int,
        c_out: int,
        block: Block,
        down: Block | None = None,
        c_down: int | None = None,
    ) -> None:
        super().__init__()
        halved = c_fine if c_down is None else c_down
        self.down = Conv(c_fine, halved, 3, 2) if down is None else down(c_fine, halved)
        self.block = block(halved + c_coarse, c_out)

    def forward(self, fine: Tensor, coarse: Tensor) -> Tensor:
        return cast(Tensor, self.block(torch.cat((self.down(fine), coarse), 1)))


@register("neck", "pafpn")
class PAFPN(nn.Module):
    """`Features` of `inputs` to `Features` of the same strides with `widths` channels (fine to coarse).

    `block(c_in, c_out)` makes the block behind each join, `last_block` the one of the coarsest level (None: the same),
    `down(c_in, c_out)` what halves a map (None: a 3x3 convolution). The step that makes the level of stride 16 is
    `top_down.p4`, and so on.
    """

    def __init__(
        self,
        inputs: Sequence[Level],
        widths: Sequence[int],
        block: Block,
        last_block: Block | None = None,
        down: Block | None = None,
    ) -> None:
        super().__init__()
        check_steps("pafpn", inputs, widths)
        self.inputs = tuple(inputs)
        self.levels = tuple(Level(width, level.stride) for width, level in zip(widths, inputs))
        names = [level.name for level in inputs]
        coarsest = len(inputs) - 1
        self.top_down = nn.ModuleDict()
        below = inputs[coarsest].channels
        for i in range(coarsest - 1, -1, -1):
            self.top_down[names[i]] = TopDownStep(below, inputs[i].channels, widths[i], block)
            below = widths[i]
        self.bottom_up = nn.ModuleDict()
        for i in range(1, len(inputs)):
            beside = inputs[i].channels if i == coarsest else widths[i]
            made = last_block if i == coarsest and last_block is not None else block
            self.bottom_up[names[i]] = BottomUpStep(widths[i - 1], beside, widths[i], made, down)

    def forward(self, features: Features) -> Features:
        finer = list(features.maps)
        for i, step in zip(range(len(finer) - 2, -1, -1), self.top_down.values()):
            finer[i] = step(finer[i + 1], finer[i])
        for i, step in enumerate(self.bottom_up.values(), start=1):
            finer[i] = step(finer[i - 1], finer[i])
        return replace(features, maps=finer, levels=self.levels)
