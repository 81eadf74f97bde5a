"""A backbone of one stem and four stages, each halving the map: the form of YOLOv5 to YOLO11.

The stages are built by the family's file, which knows their blocks; here they are run and their maps collected.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from torch import Tensor, nn

from finespot.errors import FineSpotError
from finespot.registry import register
from finespot.structures import Features, Level

STRIDES = (4, 8, 16, 32)


@register("backbone", "csp")
class CSPBackbone(nn.Module):
    """Pictures (B, 3, H, W) in 0..1 to `Features` of the stages whose stride is in `strides`.

    `stages` holds stage2 to stage5 (strides 4, 8, 16, 32), `widths` their channels.
    """

    def __init__(
        self,
        stem: nn.Module,
        stages: Sequence[nn.Module],
        widths: Sequence[int],
        strides: Sequence[int] = (8, 16, 32),
    ) -> None:
        super().__init__()
        unknown = set(strides) - set(STRIDES)
        if unknown or len(stages) != len(STRIDES) or len(widths) != len(STRIDES):
            raise FineSpotError(
                f"expected 4 stages, 4 widths and strides out of {STRIDES} "
                f"but got {len(stages)}, {len(widths)} and {tuple(strides)}",
                where="csp backbone",
            )
        self.stem = stem
        self.stage2, self.stage3, self.stage4, self.stage5 = stages
        self.levels = tuple(Level(c, s) for c, s in zip(widths, STRIDES) if s in strides)

    def forward(self, images: Tensor) -> Features:
        x = self.stem(images)
        maps = []
        wanted = {level.stride for level in self.levels}
        for stride, stage in zip(STRIDES, (self.stage2, self.stage3, self.stage4, self.stage5)):
            x = stage(x)
            if stride in wanted:
                maps.append(cast(Tensor, x))
        return Features(maps, self.levels)
