"""A backbone of one stem and four stages, each halving the map: the form of YOLOv5 to YOLO11.

The stages are built by the family's file, which knows their blocks; here they are run and their maps collected.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from finespot.errors import FineSpotError
from finespot.nn.backbones.stages import STRIDES, Split, levels_at, run, split_stages
from finespot.registry import register
from finespot.structures import Features


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
        self.levels = levels_at(strides, widths, "csp")
        if len(stages) != len(STRIDES):
            raise FineSpotError(f"expected {len(STRIDES)} stages but got {len(stages)}", where="csp backbone")
        self.stem = stem
        self.stage2, self.stage3, self.stage4, self.stage5 = stages

    def forward(self, images: Tensor) -> Features:
        return run(self.stem(images), self._stages().values(), self.levels)

    def split(self, stride: int) -> Split:
        """Cut behind the stage of `stride`, the finest that is given."""
        return split_stages(self.stem, self._stages(), self.levels, stride)

    def _stages(self) -> dict[str, nn.Module]:
        return {name: module for name, module in self.named_children() if name.startswith("stage")}
