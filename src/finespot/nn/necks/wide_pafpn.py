"""Path aggregation neck whose maps on the way down may have another width than those on the way up.

The neck of YOLO11-ASS without HS-FPN (2025): a P2 level with a block of its own, and a P3 map that leaves twice as
wide as it came down. What differs from `pafpn`: those widths, and what halves a map brings it to the width of the map
that it joins.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from torch import nn

from finespot.errors import FineSpotError
from finespot.nn.necks.pafpn import Block, BottomUpStep, TopDownStep, check_steps
from finespot.registry import register
from finespot.structures import Features, Level


@register("neck", "wide_pafpn")
class WidePAFPN(nn.Module):
    """`Features` of `inputs` to `Features` of the same strides with `widths` channels (fine to coarse).

    The steps that make the level of stride 16 are `top_down.p4` and `bottom_up.p4`.

    Parameters
    ----------
    inner:
        Channels of the maps on the way down, the coarsest level excepted; the finest is the output and has its width.
        None: `widths`.
    block, first_block, last_block:
        `block(c_in, c_out)` makes what follows each join, `first_block` that of the finest level and `last_block` that
        of the coarsest (None: the same).
    down:
        `down(c_in, c_out)` makes what halves a map (None: a 3x3 convolution). It brings a map to the width of the one
        that it joins, and leaves it as wide as it is before the coarsest level.
    """

    def __init__(
        self,
        inputs: Sequence[Level],
        widths: Sequence[int],
        block: Block,
        inner: Sequence[int] | None = None,
        first_block: Block | None = None,
        last_block: Block | None = None,
        down: Block | None = None,
    ) -> None:
        super().__init__()
        check_steps("wide_pafpn", inputs, widths)
        beside = list(widths[:-1] if inner is None else inner)
        if len(beside) != len(inputs) - 1 or (beside and beside[0] != widths[0]):
            raise FineSpotError(
                f"expected {len(inputs) - 1} inner widths, the first of them {widths[0]}, but got {beside}",
                where="wide_pafpn neck",
            )
        self.inputs = tuple(inputs)
        self.levels = tuple(Level(width, level.stride) for width, level in zip(widths, inputs))
        names = [level.name for level in inputs]
        coarsest = len(inputs) - 1
        self.top_down = nn.ModuleDict()
        below = inputs[coarsest].channels
        for i in range(coarsest - 1, -1, -1):
            made = first_block if i == 0 and first_block is not None else block
            self.top_down[names[i]] = TopDownStep(below, inputs[i].channels, beside[i], made)
            below = beside[i]
        self.bottom_up = nn.ModuleDict()
        for i in range(1, coarsest):
            self.bottom_up[names[i]] = BottomUpStep(widths[i - 1], beside[i], widths[i], block, down, beside[i])
        if coarsest:
            self.bottom_up[names[coarsest]] = BottomUpStep(
                widths[coarsest - 1], inputs[coarsest].channels, widths[coarsest], last_block or block, down
            )

    def forward(self, features: Features) -> Features:
        maps = list(features.maps)
        for i, step in zip(range(len(maps) - 2, -1, -1), self.top_down.values()):
            maps[i] = step(maps[i + 1], maps[i])
        for i, step in enumerate(self.bottom_up.values(), start=1):
            maps[i] = step(maps[i - 1], maps[i])
        return replace(features, maps=maps, levels=self.levels)
