"""The RetinaNet head: on every level the same two towers, nine anchor boxes a cell, one logit per class.

After "Focal Loss for Dense Object Detection" (2017). Anchors are three sizes a third of an octave apart, each with
height : width 1:2, 1:1 and 2:1, ratio by ratio, about the cell's top left corner. Two released forms differ in
details, which are options here: torchvision rounds the anchors to whole pixels and spreads the cells of a level evenly
over the picture; mmdetection does neither. What differs from both: of each level all points are kept, not the best
thousand, and points are ordered anchor by anchor (see `points`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from finespot.errors import FineSpotError
from finespot.nn.heads.deltas import boxes_of
from finespot.nn.heads.dense import PRIOR, DenseHead, Raw
from finespot.nn.heads.points import rows_of
from finespot.nn.heads.retina_anchors import ANCHORS, anchors_of
from finespot.nn.heads.retina_loss import RetinaLoss
from finespot.nn.layers.conv import named
from finespot.registry import register
from finespot.structures import Features, Level, Targets

DEPTH = 4
GROUPS = 32


@register("head", "retina")
class RetinaHead(DenseHead):
    """`Features` of `levels`, all of one width, to raw predictions at nine anchors a cell, N = 9 * sum of h * w.

    Raw: "scores" (B, classes, N) logits, "boxes" (B, 4, N) deltas (see `deltas`), "anchors" (1, N, 5) center x, center
    y, stride, width, height in input pixels. Levels of any sides, as convolutions of stride 2 leave them.

    Parameters
    ----------
    group_norm:
        Group norm and no bias in the towers (torchvision's second version) in place of a bias.
    anchor_scale:
        Side of the smallest anchor of a level, in strides.
    rounded:
        Anchors of whole pixels, as torchvision rounds them.
    spread:
        Cell i of n lies at i * (side of the picture // n), as torchvision has it; else at i * stride. They differ on
        pictures whose sides are no multiples of a coarse stride.
    box_loss:
        The head's own box loss: a name, or None for the absolute difference of the deltas.
    """

    offset = 0.0
    class_repeats = ANCHORS

    def __init__(
        self,
        levels: Sequence[Level],
        classes: int,
        *,
        group_norm: bool = False,
        anchor_scale: float = 4.0,
        rounded: bool = True,
        spread: bool = True,
        box_loss: str | None = None,
    ) -> None:
        super().__init__(levels, classes)
        width = levels[0].channels
        if any(level.channels != width for level in levels):
            raise FineSpotError(
                f"expected levels of one width but got {', '.join(str(level.channels) for level in levels)}",
                where="retina head",
                hint="put a neck before it that gives one, such as fpn",
            )
        if not anchor_scale > 0:
            raise FineSpotError(f"expected an anchor_scale above 0 but got {anchor_scale}", where="retina head")
        self.spread, self.own_box_loss = spread, box_loss
        self.anchor_sizes = [anchors_of(level.stride, anchor_scale, rounded) for level in levels]
        count = self.class_repeats
        self.class_tower = _tower(width, group_norm)
        self.classify = nn.Conv2d(width, count * classes, 3, padding=1)
        self.box_tower = _tower(width, group_norm)
        self.regress = nn.Conv2d(width, count * 4, 3, padding=1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.normal_(module.weight, std=0.01)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        nn.init.constant_(self.classify.bias, PRIOR)  # type: ignore[arg-type]
        self.set_loss()

    def forward(self, features: Features, targets: Targets | None = None) -> Raw:
        maps = [x for _, x in self.on(features)]
        return {
            "boxes": rows_of([self.regress(self.box_tower(x)) for x in maps], self.class_repeats),
            "scores": rows_of([self.classify(self.class_tower(x)) for x in maps], self.class_repeats),
            "anchors": self._spread(self.anchors(maps), maps, features),
        }

    def _spread(self, points: Tensor, maps: Sequence[Tensor], features: Features) -> Tensor:
        """The points (1, N, 5) of `maps`, those of the levels that are on, where `spread` wants them."""
        strides = self.strides()
        # The finest map, on or off, is whole: it has the sides of the picture over its stride.
        sides = [side * self.inputs[0].stride for side in features.maps[0].shape[2:]]
        if not self.spread or all(side % strides[-1] == 0 for side in sides):
            return points
        levels = []
        for x, stride in zip(maps, strides):
            rows, columns = x.shape[2:]
            step = torch.tensor((sides[1] // columns, sides[0] // rows), device=points.device) / stride
            levels.append(step.expand(self.class_repeats * rows * columns, 2))
        return torch.cat((points[..., :2] * torch.cat(levels), points[..., 2:]), -1)

    def criterion_of(self, **choice: Any) -> RetinaLoss:
        """`RetinaLoss`, with the head's own box loss where none is chosen."""
        return RetinaLoss(**{**choice, "box_loss": choice.get("box_loss") or self.own_box_loss})

    def decode(self, values: Tensor, anchors: Tensor) -> Tensor:
        """Deltas of the anchor boxes."""
        return boxes_of(values, anchors)

    def class_rows(self) -> list[str]:
        """Names of the parameters whose first dimension is anchors times classes."""
        return ["classify.weight", "classify.bias"]


def _tower(width: int, group_norm: bool) -> nn.Sequential:
    def step() -> nn.Module:
        conv = nn.Conv2d(width, width, 3, padding=1, bias=not group_norm)
        if group_norm:
            return named(conv=conv, norm=nn.GroupNorm(GROUPS, width), act=nn.ReLU(inplace=True))
        return named(conv=conv, act=nn.ReLU(inplace=True))

    return nn.Sequential(*(step() for _ in range(DEPTH)))
