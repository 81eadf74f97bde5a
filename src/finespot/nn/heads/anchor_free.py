"""The anchor-free head of YOLOv8 and YOLO11: per point four side distributions and one logit per class.

Box branch and class branch are apart on every level (decoupled, YOLOX 2021); sides are distributions over 16 bins
("Generalized Focal Loss", 2020). YOLO11 differs from YOLOv8 in a depth-wise class branch. What differs from the
originals: levels can be switched off, branches are named after their level (`p3` is stride 8) so that networks with
other levels can take them over, and points are laid out so that the values of one point are neighbors in memory (the
tensors still read (B, channels, N)).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from finespot.nn.heads import dense_loss
from finespot.nn.heads.dense import DenseHead, Raw
from finespot.nn.heads.dense_loss import DenseLoss
from finespot.nn.heads.later import ConvBranch, waiting
from finespot.nn.heads.points import rows_of
from finespot.nn.layers.conv import Conv, Pointwise, named
from finespot.registry import register
from finespot.structures import Features, Level, Targets

# What box branches say at first, for every bin: the released YOLOv8 began with 1.0, and has 2.0 since 2024.
BOX_BIAS = 2.0
# Class biases start at the share of positives expected from five objects in a picture of this side.
_PRIOR_OBJECTS, _PRIOR_SIDE = 5, 640


@register("head", "anchor_free")
class AnchorFreeHead(DenseHead):
    """`Features` of `levels` to raw predictions at N = sum of H * W points, levels from fine to coarse, row by row.

    Raw: "boxes" (B, 4 * reg_max, N) distribution logits of left, top, right, bottom; "scores" (B, classes, N) logits;
    "anchors" (1, N, 3) center x, center y and stride in input pixels. `depthwise` chooses YOLO11's class branch;
    `box_bias` is what the box branch's last bias is at first, `box_loss` the head's own box loss (None: that of
    `DenseLoss`).
    """

    def __init__(
        self,
        levels: Sequence[Level],
        classes: int,
        *,
        depthwise: bool = True,
        reg_max: int = 16,
        box_bias: float = BOX_BIAS,
        box_loss: str | None = None,
    ) -> None:
        super().__init__(levels, classes)
        self.reg_max, self.own_box_loss = reg_max, box_loss
        finest = levels[0].channels
        box_width = max(16, finest // 4, 4 * reg_max)
        class_width = max(finest, min(classes, 100))
        named_levels = dict(zip(self.level_names, levels))
        self.box_branches = nn.ModuleDict(
            {name: _branch(level.channels, box_width, 4 * reg_max, False) for name, level in named_levels.items()}
        )
        self.class_branches = nn.ModuleDict(
            {name: _branch(level.channels, class_width, classes, depthwise) for name, level in named_levels.items()}
        )
        # A parameter, though never trained: published parameter counts and files hold it.
        self.bins = nn.Parameter(torch.arange(float(reg_max)), requires_grad=False)
        self.set_loss()
        self._set_biases(box_bias)

    def forward(self, features: Features, targets: Targets | None = None) -> Raw:
        on = self.on(features)
        if waiting():
            boxes = self.maps_for_later(on)
        else:
            boxes = {"boxes": rows_of([self.box_branches[name](x) for name, x in on])}
        return {
            **boxes,
            "scores": rows_of([self.class_branches[name](x) for name, x in on]),
            "anchors": self.anchors([x for _, x in on]),
        }

    def box_steps(self, name: str) -> ConvBranch:
        """See `DenseHead`."""
        branch = cast(Any, self.box_branches[name])
        return ConvBranch([(step.conv, step.after) for step in (branch.first, branch.second)], branch.predict)

    def criterion_of(self, **choice: Any) -> DenseLoss:
        """`DenseLoss`, with the head's own box loss where none is chosen."""
        return DenseLoss(**{**choice, "box_loss": choice.get("box_loss") or self.own_box_loss})

    def decode(self, values: Tensor, anchors: Tensor) -> Tensor:
        """See `dense_loss.decode`."""
        return dense_loss.decode(values, anchors, self.bins.float())

    def class_rows(self) -> list[str]:
        """Names of the parameters whose first dimension is the classes."""
        return [f"class_branches.{name}.predict.{part}" for name in self.level_names for part in ("weight", "bias")]

    def _set_biases(self, box_bias: float) -> None:
        for level, box, scores in zip(self.inputs, self.box_branches.values(), self.class_branches.values()):
            prior = _PRIOR_OBJECTS / self.classes / (_PRIOR_SIDE / level.stride) ** 2
            nn.init.constant_(cast(Any, box).predict.bias, box_bias)
            nn.init.constant_(cast(Any, scores).predict.bias, math.log(prior))


def _branch(c_in: int, width: int, c_out: int, depthwise: bool) -> nn.Sequential:
    def step(c: int) -> nn.Module:
        if not depthwise:
            return Conv(c, width, 3)
        return named(spatial=Conv(c, c, 3, groups=c), mix=Conv(c, width))

    return named(first=step(c_in), second=step(width), predict=Pointwise(width, c_out, 1))
