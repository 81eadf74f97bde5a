"""Cross-stage partial blocks of YOLOv8 and YOLO11: part of the channels goes through a chain, all is joined again.

After "CSPNet" (2019) and the released YOLOv8 / YOLO11 definitions; facts in their published layer tables. What
differs: the halves of the entry are two convolutions (`Fork`), not two slices of one.
"""

from __future__ import annotations

from functools import partial
from typing import cast

import torch
from torch import Tensor, nn

from finespot.nn.layers.conv import Conv, Fork
from finespot.nn.layers.cross_stage import CrossStage, ResidualPair


class Bottleneck(ResidualPair):
    """Two 3x3 convolutions over `expansion` * c channels; the input is added where `shortcut` is set."""

    def __init__(self, channels: int, shortcut: bool = True, expansion: float = 0.5) -> None:
        hidden = int(channels * expansion)
        super().__init__(Conv(channels, hidden, 3), Conv(hidden, channels, 3), shortcut)


class C3k(CrossStage):
    """The cross-stage block with `repeats` bottlenecks at full width."""

    def __init__(self, channels: int, repeats: int = 2, shortcut: bool = True) -> None:
        super().__init__(channels, channels, partial(Bottleneck, shortcut=shortcut, expansion=1.0), repeats)


class Collected(nn.Module):
    """Enter in two halves, send the second through the units one after another, join every stage of it."""

    def __init__(self, c_in: int, c_out: int, hidden: int, units: list[nn.Module]) -> None:
        super().__init__()
        self.entry = Fork(c_in, (hidden, hidden))
        self.units = nn.ModuleList(units)
        self.exit = Conv((2 + len(units)) * hidden, c_out)

    def forward(self, x: Tensor) -> Tensor:
        stages = list(self.entry(x))
        for unit in self.units:
            stages.append(unit(stages[-1]))
        return cast(Tensor, self.exit(torch.cat(stages, 1)))


class C2f(Collected):
    """The block of YOLOv8: `repeats` bottlenecks of c_out / 2 channels at full width."""

    def __init__(self, c_in: int, c_out: int, repeats: int = 1, shortcut: bool = False) -> None:
        hidden = c_out // 2
        super().__init__(c_in, c_out, hidden, [Bottleneck(hidden, shortcut, expansion=1.0) for _ in range(repeats)])


class C3k2(Collected):
    """The block of YOLO11: the C2f frame around narrow bottlenecks, or around `C3k` blocks where `nested` is set.

    `expansion` is the share of c_out that each half of the entry has.
    """

    def __init__(
        self,
        c_in: int,
        c_out: int,
        repeats: int = 1,
        nested: bool = False,
        expansion: float = 0.5,
        shortcut: bool = True,
    ) -> None:
        hidden = int(c_out * expansion)
        units: list[nn.Module] = [
            C3k(hidden, 2, shortcut) if nested else Bottleneck(hidden, shortcut) for _ in range(repeats)
        ]
        super().__init__(c_in, c_out, hidden, units)
