"""DFENet, the backbone of LRS-DETR: C2f blocks on fine maps, blocks with attention on coarse ones.

After LRS-DETR (2025), which has one size. Attention costs as the square of the cells, so it starts at stride 16: 1,600
cells at an input of 640.

    stem       3x3 /2                    64
    stage2     3x3 /2, C2f              128
    stage3     3x3 /2, C2f              256
    stage4     3x3 /2, DEF block        384
    stage5     3x3 /2, DEF block of 3   384
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from finespot.nn.backbones.stages import Split, levels_at, run, split_stages
from finespot.nn.layers.conv import Conv, named
from finespot.nn.layers.csp import C2f
from finespot.nn.layers.def_block import DEFBlock
from finespot.registry import register
from finespot.structures import Features

_STEM, _WIDTHS = 64, (128, 256, 384, 384)


@register("backbone", "dfenet")
class DFENet(nn.Module):
    """Pictures (B, 3, H, W) in 0..1 to `Features` of the stages whose stride is in `strides`.

    `published` leaves the batch norms of the DEF modules unfolded, as the released code does.
    """

    def __init__(self, strides: Sequence[int] = (8, 16, 32), *, published: bool = False) -> None:
        super().__init__()
        self.levels = levels_at(strides, _WIDTHS, "dfenet")
        w2, w3, w4, w5 = _WIDTHS
        self.stem = Conv(3, _STEM, 3, 2)
        self.stage2 = named(down=Conv(_STEM, w2, 3, 2), block=C2f(w2, w2))
        self.stage3 = named(down=Conv(w2, w3, 3, 2), block=C2f(w3, w3))
        self.stage4 = named(down=Conv(w3, w4, 3, 2), block=DEFBlock(w4, w4, published=published))
        self.stage5 = named(down=Conv(w4, w5, 3, 2), block=DEFBlock(w5, w5, 3, published=published))

    def forward(self, images: Tensor) -> Features:
        return run(self.stem(images), self._stages().values(), self.levels)

    def split(self, stride: int) -> Split:
        """Cut behind the stage of `stride`, the finest that is given."""
        return split_stages(self.stem, self._stages(), self.levels, stride)

    def _stages(self) -> dict[str, nn.Module]:
        return {name: module for name, module in self.named_children() if name.startswith("stage")}
