"""Coordinate attention: each value times a weight of its row and one of its column, channel by channel.

After "Coordinate Attention for Efficient Mobile Network Design" (2021), whose hidden values pass h-swish. The released
YOLO-SOD lets them pass the gate of h-swish alone, a hard sigmoid, which is kept under `published`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.fusion import fuse_conv_bn_eval

from finespot.nn.layers.conv import YOLO_NORM, Pointwise

LEAST_HIDDEN = 8


class CoordinateAttention(nn.Module):
    """(B, C, H, W) to the same shape, by way of max(C / reduction, 8) hidden values for each row and column.

    `published` is the released YOLO-SOD's: hard sigmoid in place of h-swish, and a batch norm that is never folded.
    """

    def __init__(self, channels: int, reduction: int = 32, *, published: bool = False) -> None:
        super().__init__()
        hidden = max(LEAST_HIDDEN, channels // reduction)
        self.published = published
        self.mix = Pointwise(channels, hidden, 1)
        self.bn: nn.Module = nn.BatchNorm2d(hidden, eps=YOLO_NORM.eps, momentum=YOLO_NORM.momentum)
        self.rows = Pointwise(hidden, channels, 1)
        self.columns = Pointwise(hidden, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        height, width = x.shape[2:]
        means = torch.cat((x.mean(3, keepdim=True), x.mean(2, keepdim=True).transpose(2, 3)), 2)
        hidden = self.bn(self.mix(means))
        hidden = F.hardsigmoid(hidden) if self.published else F.hardswish(hidden)
        of_row, of_column = hidden.split((height, width), 2)
        return x * torch.sigmoid(self.rows(of_row)) * torch.sigmoid(self.columns(of_column.transpose(2, 3)))

    @torch.no_grad()
    def fuse(self) -> None:
        """Fold batch norm into the convolution before it, in place, for inference; not in the published form."""
        if self.published or not isinstance(self.bn, nn.BatchNorm2d):
            return
        self.mix = fuse_conv_bn_eval(self.mix, self.bn).requires_grad_(False)
        self.bn = nn.Identity()
