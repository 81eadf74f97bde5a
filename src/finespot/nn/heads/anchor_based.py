"""The head of YOLOv5: anchor boxes in every cell, for each of them a box, an objectness and one logit per class.

After the released YOLOv5 (2020; there is no paper): one 1x1 convolution a level predicts everything. What differs: box,
objectness and classes have a convolution each (the same weights, so that rows of one are of one kind), levels can be
switched off, and branches are named after their level (`p3` is stride 8), so that networks with other levels can take
them over. The anchors of stride 4 are ours: half of those of stride 8. The originals have none there and search them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from finespot.errors import FineSpotError
from finespot.nn.heads import anchor_loss
from finespot.nn.heads.anchor_loss import AnchorLoss
from finespot.nn.heads.dense import DenseHead, Raw
from finespot.nn.heads.points import AnchorSizes, rows_of
from finespot.nn.layers.conv import Pointwise
from finespot.registry import register
from finespot.structures import Features, Level, Targets

# Width and height in input pixels, by stride.
ANCHORS: dict[int, AnchorSizes] = {
    4: ((5, 6.5), (8, 15), (16.5, 11.5)),
    8: ((10, 13), (16, 30), (33, 23)),
    16: ((30, 61), (62, 45), (59, 119)),
    32: ((116, 90), (156, 198), (373, 326)),
}
# Objectness starts at so many objects in a picture of this side; a class at so many objects among all classes.
_PRIOR_OBJECTS, _PRIOR_SIDE, _PRIOR_CLASS = 8, 640, 0.6


class AnchorHead(DenseHead):
    """What the heads with A anchors a cell share: N = A * sum of H * W points, raw output, decoding, loss.

    Raw: "boxes" (B, 4, N) x, y, w, h as `anchor_loss.decode` reads them; "objectness" (B, 1, N) logits; "scores"
    (B, classes, N) logits; "anchors" (1, N, 5) center x, center y, stride, width, height in input pixels. A score is
    the product of both sigmoids.

    Parameters
    ----------
    anchors:
        (width, height) pairs in input pixels of each level, as many on each; None: those of YOLOv5.

    Raises
    ------
    FineSpotError
        The anchors are something else, or there are none for the stride of a level.
    """

    def __init__(self, levels: Sequence[Level], classes: int, anchors: Sequence[AnchorSizes] | None = None) -> None:
        super().__init__(levels, classes)
        self.anchor_sizes = _checked(anchors, levels) if anchors is not None else default_anchors(levels)
        self.class_repeats = len(self.anchor_sizes[0])

    def predictions(self, level: Level, values: int) -> nn.Module:
        """The 1x1 convolution that predicts `values` for each anchor of a level's cells."""
        return Pointwise(level.channels, self.class_repeats * values, 1)

    def raw_of(
        self, maps: Sequence[Tensor], boxes: Sequence[Tensor], objectness: Sequence[Tensor], scores: Sequence[Tensor]
    ) -> Raw:
        """The raw output from what is predicted on each level that is switched on; `maps` are as large."""
        return {
            "boxes": rows_of(boxes, self.class_repeats),
            "objectness": rows_of(objectness, self.class_repeats),
            "scores": rows_of(scores, self.class_repeats),
            "anchors": self.anchors(maps),
        }

    def criterion_of(self, **choice: Any) -> AnchorLoss:
        """`AnchorLoss`."""
        return AnchorLoss(self.class_repeats, **choice)

    def decode(self, values: Tensor, anchors: Tensor) -> Tensor:
        """See `anchor_loss.decode`."""
        return anchor_loss.decode(values, anchors)

    @torch.no_grad()
    def shift_biases(self, objectness: Iterable[nn.Module], scores: Iterable[nn.Module]) -> None:
        """Start the predictions of the levels at how often objects are found: a few in a picture."""
        class_shift = math.log(_PRIOR_CLASS / (self.classes - 0.99999))
        for level, judge, classify in zip(self.inputs, objectness, scores):
            cast(Any, judge).bias.add_(math.log(_PRIOR_OBJECTS / (_PRIOR_SIDE / level.stride) ** 2))
            cast(Any, classify).bias.add_(class_shift)


@register("head", "anchor_based")
class AnchorBasedHead(AnchorHead):
    """`Features` of `levels` to raw predictions, each level by one layer; see `AnchorHead`."""

    def __init__(self, levels: Sequence[Level], classes: int, *, anchors: Sequence[AnchorSizes] | None = None) -> None:
        super().__init__(levels, classes, anchors)

        def on_each(values: int) -> nn.ModuleDict:
            return nn.ModuleDict(
                {name: self.predictions(level, values) for name, level in zip(self.level_names, levels)}
            )

        self.box_branches = on_each(4)
        self.objectness_branches = on_each(1)
        self.class_branches = on_each(classes)
        self.set_loss()
        self.shift_biases(self.objectness_branches.values(), self.class_branches.values())

    def forward(self, features: Features, targets: Targets | None = None) -> Raw:
        on = self.on(features)

        def each(branches: nn.ModuleDict) -> list[Tensor]:
            return [branches[name](x) for name, x in on]

        return self.raw_of(
            [x for _, x in on], each(self.box_branches), each(self.objectness_branches), each(self.class_branches)
        )

    def class_rows(self) -> list[str]:
        """Names of the parameters whose first dimension is anchors times classes."""
        return [f"class_branches.{name}.{part}" for name in self.level_names for part in ("weight", "bias")]


def default_anchors(levels: Sequence[Level]) -> list[AnchorSizes]:
    """The anchors of YOLOv5 for levels of stride 4 to 32."""
    strange = [level.stride for level in levels if level.stride not in ANCHORS]
    if strange:
        raise FineSpotError(
            f"there are no usual anchors for stride {strange[0]}",
            where="anchor-based head",
            hint="give the anchors of all levels, in pixels",
        )
    return [ANCHORS[level.stride] for level in levels]


def _checked(anchors: Sequence[AnchorSizes], levels: Sequence[Level]) -> list[AnchorSizes]:
    try:
        pairs = [tuple((float(w), float(h)) for w, h in sizes) for sizes in anchors]
    except (TypeError, ValueError):
        pairs = []
    counts = {len(sizes) for sizes in pairs}
    sound = all(0 < side < math.inf for sizes in pairs for pair in sizes for side in pair)
    if len(pairs) != len(levels) or len(counts) != 1 or 0 in counts or not sound:
        raise FineSpotError(
            f"expected (width, height) pairs in pixels for {len(levels)} levels, as many for each, but got {anchors}",
            where="anchors",
        )
    return list(pairs)
