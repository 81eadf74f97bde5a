"""ResNet with bottleneck blocks, the plain form that torchvision and mmdetection publish weights of.

After "Deep Residual Learning for Image Recognition" (2015), with the stride on the 3x3 convolution as every released
implementation since has it. Batch norm is trained; published detectors were trained with it frozen, one of them with
eps 0.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from finespot.errors import FineSpotError, unknown
from finespot.nn.backbones.stages import STRIDES, Split, levels_at, run, split_stages
from finespot.nn.layers.conv import TORCH_NORM, Conv, Norm
from finespot.registry import register
from finespot.structures import Features

# Depth of the network -> blocks of its four stages.
BLOCKS = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
STEM_WIDTH = 64
EXPANSION = 4


class Bottleneck(nn.Module):
    """1x1 to `width`, 3x3 with the stride, 1x1 to 4 * width; the input, projected where shapes differ, is added."""

    def __init__(self, c_in: int, width: int, stride: int, norm: Norm) -> None:
        super().__init__()
        c_out = EXPANSION * width
        self.reduce = Conv(c_in, width, activation="relu", norm=norm)
        self.spatial = Conv(width, width, 3, stride, activation="relu", norm=norm)
        self.expand = Conv(width, c_out, activation=None, norm=norm)
        same = stride == 1 and c_in == c_out
        self.shortcut: nn.Module = nn.Identity() if same else Conv(c_in, c_out, 1, stride, activation=None, norm=norm)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.expand(self.spatial(self.reduce(x))) + self.shortcut(x))


@register("backbone", "resnet")
class ResNet(nn.Module):
    """Pictures (B, 3, H, W) to `Features` of the stages whose stride is in `strides`.

    `depth` is 50, 101 or 152; `norm_eps` the eps of batch norm. The stage of stride 4 is `stage2`, and so on.
    """

    def __init__(self, depth: int = 50, strides: Sequence[int] = (8, 16, 32), norm_eps: float = TORCH_NORM.eps) -> None:
        super().__init__()
        if depth not in BLOCKS:
            raise unknown("depth of the resnet", str(depth), map(str, BLOCKS))
        if isinstance(norm_eps, bool) or not isinstance(norm_eps, int | float) or not 0 <= norm_eps < 1:
            raise FineSpotError(f"expected a number from 0 to below 1 but got {norm_eps}", where="norm_eps")
        widths = [STEM_WIDTH * stride // STRIDES[0] for stride in STRIDES]
        self.levels = levels_at(strides, [EXPANSION * width for width in widths], "resnet")
        norm = Norm(norm_eps, TORCH_NORM.momentum)
        self.stem = Conv(3, STEM_WIDTH, 7, 2, activation="relu", norm=norm)
        self.pool = nn.MaxPool2d(3, 2, 1)
        c_in = STEM_WIDTH
        for number, (stride, width, blocks) in enumerate(zip(STRIDES, widths, BLOCKS[depth]), start=2):
            if stride > max(strides):
                break
            stage = nn.Sequential()
            for i in range(blocks):
                stage.append(Bottleneck(c_in, width, 2 if i == 0 and number > 2 else 1, norm))
                c_in = EXPANSION * width
            self.add_module(f"stage{number}", stage)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> Features:
        return run(self.pool(self.stem(images)), self._stages().values(), self.levels)

    def split(self, stride: int) -> Split:
        """Cut behind the stage of `stride`, the finest that is given."""
        return split_stages(lambda images: self.pool(self.stem(images)), self._stages(), self.levels, stride)

    def _stages(self) -> dict[str, nn.Module]:
        return {name: module for name, module in self.named_children() if name.startswith("stage")}
