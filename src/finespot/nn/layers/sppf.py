"""Spatial pyramid pooling, fast form (YOLOv5 release 6): three 5x5 max pools in a row stand for 5, 9 and 13.

Bit by bit what pools of those sides give, so YOLOX and RTMDet, made with these, use it too.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from finespot.nn.layers.conv import YOLO_NORM, Conv, Norm


class SPPF(nn.Module):
    """1x1 to c_in / 2, three chained max pools of side `kernel` and stride 1, all four joined by a 1x1."""

    def __init__(self, c_in: int, c_out: int, kernel: int = 5, norm: Norm = YOLO_NORM) -> None:
        super().__init__()
        hidden = c_in // 2
        self.entry = Conv(c_in, hidden, norm=norm)
        self.exit = Conv(4 * hidden, c_out, norm=norm)
        self.pool = nn.MaxPool2d(kernel, 1, kernel // 2)

    def forward(self, x: Tensor) -> Tensor:
        stages = [self.entry(x)]
        for _ in range(3):
            stages.append(self.pool(stages[-1]))
        return cast(Tensor, self.exit(torch.cat(stages, 1)))
