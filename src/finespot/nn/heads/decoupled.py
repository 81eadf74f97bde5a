"""The head of YOLOX (2021, section 2.1): class and box apart on every level, and an objectness beside the box.

A 1x1 stem brings each level to one width; two 3x3 convolutions lead to the class logits, two others to box and
objectness. What differs from the original: branches are named after their level (`p3` is stride 8), so that networks
with other levels can take them over, and levels can be switched off.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

from torch import Tensor, nn

from finespot.nn.heads import yolox_loss
from finespot.nn.heads.dense import PRIOR, DenseHead, Raw
from finespot.nn.heads.points import rows_of
from finespot.nn.heads.yolox_loss import YOLOXLoss
from finespot.nn.layers.conv import Conv, Pointwise, named
from finespot.nn.layers.separable import separable
from finespot.registry import register
from finespot.structures import Features, Level, Targets


@register("head", "decoupled")
class DecoupledHead(DenseHead):
    """`Features` of `levels` to raw predictions at N = sum of H * W points, levels from fine to coarse, row by row.

    Raw: "boxes" (B, 4, N) x, y, w, h as `yolox_loss.decode` reads them; "objectness" (B, 1, N) logits; "scores"
    (B, classes, N) logits; "anchors" (1, N, 3) center x, center y and stride in input pixels. A score is the product
    of both sigmoids. The branches of a level have `width` channels (None: those of the finest level), or as many as
    the level where that is less; `depthwise` makes their 3x3 convolutions separable.
    """

    def __init__(
        self, levels: Sequence[Level], classes: int, *, width: int | None = None, depthwise: bool = False
    ) -> None:
        super().__init__(levels, classes)
        full = levels[0].channels if width is None else width

        def on_each(part: Callable[[int], nn.Module]) -> nn.ModuleDict:
            return nn.ModuleDict({name: part(min(x.channels, full)) for name, x in zip(self.level_names, levels)})

        def step(c: int) -> nn.Module:
            return separable(c, c, 3) if depthwise else Conv(c, c, 3)

        self.stems = nn.ModuleDict(
            {name: Conv(x.channels, min(x.channels, full)) for name, x in zip(self.level_names, levels)}
        )
        self.class_branches = on_each(lambda c: named(first=step(c), second=step(c), predict=Pointwise(c, classes, 1)))
        self.box_branches = on_each(lambda c: named(first=step(c), second=step(c)))
        self.box_predictions = on_each(lambda c: Pointwise(c, 4, 1))
        self.objectness = on_each(lambda c: Pointwise(c, 1, 1))
        self.set_loss()
        for classify, judge in zip(self.class_branches.values(), self.objectness.values()):
            nn.init.constant_(cast(Any, classify).predict.bias, PRIOR)
            nn.init.constant_(cast(Any, judge).bias, PRIOR)

    def forward(self, features: Features, targets: Targets | None = None) -> Raw:
        scores, boxes, objectness = [], [], []
        on = self.on(features)
        for name, x in on:
            x = self.stems[name](x)
            scores.append(self.class_branches[name](x))
            located = self.box_branches[name](x)
            boxes.append(self.box_predictions[name](located))
            objectness.append(self.objectness[name](located))
        return {
            "boxes": rows_of(boxes),
            "objectness": rows_of(objectness),
            "scores": rows_of(scores),
            "anchors": self.anchors([x for _, x in on]),
        }

    def criterion_of(self, **choice: Any) -> YOLOXLoss:
        """`YOLOXLoss`."""
        return YOLOXLoss(**choice)

    def decode(self, values: Tensor, anchors: Tensor) -> Tensor:
        """See `yolox_loss.decode`."""
        return yolox_loss.decode(values, anchors)

    def class_rows(self) -> list[str]:
        """Names of the parameters whose first dimension is the classes."""
        return [f"class_branches.{name}.predict.{part}" for name in self.level_names for part in ("weight", "bias")]
