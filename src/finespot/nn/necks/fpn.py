"""Feature pyramid: every level to one width, the coarser added to the finer, coarser levels put on top.

After "Feature Pyramid Networks" (2017), with the extra levels of "Focal Loss for Dense Object Detection" (2017), which
the implementations make from different maps: see `EXTRA`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import cast

from torch import Tensor, nn
from torch.nn import functional as F

from finespot.errors import FineSpotError, unknown
from finespot.nn.layers.conv import TORCH_NORM, Conv
from finespot.registry import register
from finespot.structures import Features, Level

# What the first extra level is made from: the coarsest map of the neck, or of the backbone.
EXTRA = ("neck", "backbone")


@register("neck", "fpn")
class FPN(nn.Module):
    """`Features` of `inputs` to `Features` of `width` channels, of the same strides and of `count` coarser ones.

    Parameters
    ----------
    count:
        How many extra levels; each halves the map before it (rounding up) by a 3x3 convolution.
    extra:
        "neck" makes the first extra level from the neck's own coarsest map, "backbone" from the backbone's.
    extra_relu:
        Whether a ReLU stands before each extra level but the first.
    norm:
        Batch norm and no bias in place of a bias; there is no activation either way.
    """

    def __init__(
        self,
        inputs: Sequence[Level],
        width: int = 256,
        count: int = 2,
        extra: str = "neck",
        extra_relu: bool = True,
        norm: bool = False,
    ) -> None:
        super().__init__()
        strides = [level.stride for level in inputs]
        if not inputs or any(b <= a for a, b in pairwise(strides)):
            raise FineSpotError(f"expected strides that grow but got {strides}", where="fpn neck")
        if extra not in EXTRA:
            raise unknown("origin of the fpn's extra levels", extra, EXTRA)
        self.inputs = tuple(inputs)
        coarsest = inputs[-1]
        extras = [Level(width, coarsest.stride * 2 ** (i + 1)) for i in range(count)]
        self.levels = (*(Level(width, stride) for stride in strides), *extras)
        self.from_backbone, self.extra_relu = extra == "backbone", extra_relu

        def conv(c_in: int, kernel: int, stride: int = 1) -> nn.Module:
            if norm:
                return Conv(c_in, width, kernel, stride, activation=None, norm=TORCH_NORM)
            return nn.Conv2d(c_in, width, kernel, stride, kernel // 2)

        self.laterals = nn.ModuleDict({level.name: conv(level.channels, 1) for level in inputs})
        self.outputs = nn.ModuleDict({level.name: conv(width, 3) for level in inputs})
        self.extras = nn.ModuleDict()
        for i, level in enumerate(extras):
            c_in = coarsest.channels if i == 0 and self.from_backbone else width
            self.extras[level.name] = conv(c_in, 3, 2)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_uniform_(module.weight, a=1)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, features: Features) -> Features:
        mixed = [cast(Tensor, lateral(x)) for lateral, x in zip(self.laterals.values(), features.maps, strict=True)]
        for i in range(len(mixed) - 2, -1, -1):
            mixed[i] = mixed[i] + F.interpolate(mixed[i + 1], size=mixed[i].shape[2:], mode="nearest")
        maps = [cast(Tensor, output(x)) for output, x in zip(self.outputs.values(), mixed)]
        x = features.maps[-1] if self.from_backbone else maps[-1]
        for i, extra in enumerate(self.extras.values()):
            x = extra(F.relu(x) if i and self.extra_relu else x)
            maps.append(x)
        return replace(features, maps=maps, levels=self.levels)
