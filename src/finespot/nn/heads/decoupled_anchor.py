"""The head of ESOD: that of YOLOv5 with class and box apart on every level, as in YOLOX.

After the released code of "ESOD: Efficient Small Object Detection on High-Resolution Images" (IEEE TIP 34, 2025), where
all networks end in it. A 1x1 stem, then one 3x3 convolution for the classes and one for box and objectness, all as wide
as the level; anchors, decoding and loss are YOLOv5's (see `anchor_based`). It can also compute single cells, as the
paper's SparseHead: the stem runs on the whole map, all else only where objects are likely.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from finespot.nn.heads.anchor_based import AnchorHead
from finespot.nn.heads.dense import Raw
from finespot.nn.heads.points import AnchorSizes
from finespot.nn.heads.single_cells import SingleCells, operations
from finespot.nn.layers.conv import Conv, named
from finespot.nn.windows.cells import cells_of_level
from finespot.registry import register
from finespot.structures import Features, Level, Targets


@register("head", "decoupled_anchor")
class DecoupledAnchorHead(AnchorHead):
    """`Features` of `levels` to raw predictions at A anchors a cell; see `AnchorHead`."""

    def __init__(self, levels: Sequence[Level], classes: int, *, anchors: Sequence[AnchorSizes] | None = None) -> None:
        super().__init__(levels, classes, anchors)

        def on_each(part: Callable[[Level], nn.Module]) -> nn.ModuleDict:
            return nn.ModuleDict({name: part(level) for name, level in zip(self.level_names, levels)})

        def step(level: Level) -> nn.Module:
            return Conv(level.channels, level.channels, 3)

        self.stems = on_each(lambda level: Conv(level.channels, level.channels))
        self.class_branches = on_each(lambda level: named(first=step(level), predict=self.predictions(level, classes)))
        self.box_branches = on_each(step)
        self.box_predictions = on_each(lambda level: self.predictions(level, 4))
        self.objectness = on_each(lambda level: self.predictions(level, 1))
        self.set_loss()
        self.shift_biases(
            self.objectness.values(), [cast(Any, branch).predict for branch in self.class_branches.values()]
        )

    def forward(self, features: Features, targets: Targets | None = None) -> Raw:
        boxes: list[Tensor] = []
        objectness: list[Tensor] = []
        scores: list[Tensor] = []
        on = self.on(features)
        for name, x in on:
            x = self.stems[name](x)
            scores.append(self.class_branches[name](x))
            located = self.box_branches[name](x)
            boxes.append(self.box_predictions[name](located))
            objectness.append(self.objectness[name](located))
        return self.raw_of([x for _, x in on], boxes, objectness, scores)

    def at_cells(self, features: Features, likely: Tensor) -> Raw:
        """The raw output of `forward`, to rounding, in the cells `likely` (B, 1, H, W), bool on a grid over the maps,
        or their like on coarser levels (see `windows.cells`); elsewhere scores are 0. "left_out" (B, levels) says how
        many cells did not run.
        """
        boxes: list[Tensor] = []
        objectness: list[Tensor] = []
        scores: list[Tensor] = []
        left_out: list[Tensor] = []
        on = self.on(features)
        for name, x in on:
            classes, box = cast(Any, self.class_branches[name]), cast(Conv, self.box_branches[name])
            cells = SingleCells(self.stems[name](x), cells_of_level(likely, (x.shape[2], x.shape[3])))
            scores.append(cells.map_of(classes.predict, cells.convolved(classes.first), -math.inf))
            located = cells.convolved(box)
            boxes.append(cells.map_of(cast(Any, self.box_predictions[name]), located, 0.0))
            objectness.append(cells.map_of(cast(Any, self.objectness[name]), located, -math.inf))
            left_out.append(cells.left_out)
        raw = self.raw_of([x for _, x in on], boxes, objectness, scores)
        return {**raw, "left_out": torch.stack(left_out, 1)}

    def cell_operations(self) -> list[float]:
        """1e9 operations of one cell behind the stem, of each level that is switched on."""
        parts = (self.class_branches, self.box_branches, self.box_predictions, self.objectness)
        names = [name for name, active in zip(self.level_names, self.active) if active]
        modules = [[one for part in parts for one in part[name].modules()] for name in names]
        return [operations([one for one in own if isinstance(one, nn.Conv2d)]) for own in modules]

    def class_rows(self) -> list[str]:
        """Names of the parameters whose first dimension is anchors times classes."""
        return [f"class_branches.{name}.predict.{part}" for name in self.level_names for part in ("weight", "bias")]
