"""What the dense heads share: levels that can be switched off, their points, selection.

A dense head predicts at every cell of every level. Raw outputs: "scores" (B, classes, N) logits, "boxes" (B, K, N) as
the head encodes them, "anchors" (see `points`), and "objectness" (B, 1, N) logits where a score is the product of its
sigmoid and that of the class. Inside `later.boxes_later`, a head that can gives "map p3" (B, C, h, w) and so on in
place of "boxes": what its box branches read, for `select` to run them where something is found. Branches are named
after their level (`p3` is stride 8), so that networks with other levels can take them over.

Where a network runs on windows, these rows are windows instead of pictures, in coordinates of their own, and the raw
output says of what: "origins" (K, 3), picture, x and y in input pixels; "cores" (K, 4), what each answers for, xyxy in
input pixels; "picks" (B, ...), a row a picture. Loss, decoding and selection here speak of pictures all the same.
Where a head computes single cells (`at_cells`), "left_out" (B or K, levels) is how many others there were.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from finespot.errors import FineSpotError
from finespot.nn.heads.head import Head
from finespot.nn.heads.kept import Kept
from finespot.nn.heads.later import ConvBranch
from finespot.nn.heads.points import AnchorSizes, input_size, make_anchors
from finespot.nn.heads.selection import Selected, select
from finespot.nn.windows.regroup import by_picture
from finespot.nn.windows.targets import in_windows
from finespot.structures import Features, Level, LossTerms, Targets

Raw = dict[str, Tensor]
# What class branches and objectness say at first in most heads: one point in a hundred.
PRIOR = -math.log(99)
_MAP = "map "
_LEAST = 1e-12


class DenseHead(Head):
    """A head on `levels` for a number of classes.

    A subclass calls `set_loss()` in its construction and gives `forward` (see `on`), `decode`, `criterion_of` and
    `class_rows`.
    """

    # Cell i has its point at (i + offset) * stride.
    offset: ClassVar[float] = 0.5

    def __init__(self, levels: Sequence[Level], classes: int) -> None:
        super().__init__(levels, classes)
        self.active = (True,) * len(levels)
        # Anchor boxes of each level in input pixels, for heads that have them.
        self.anchor_sizes: Sequence[AnchorSizes] | None = None
        self._points: Kept[Tensor] = Kept()

    def on(self, features: Features) -> list[tuple[str, Tensor]]:
        """Name and map of the levels that are switched on, fine to coarse."""
        return [
            (name, x) for name, x, active in zip(self.level_names, features.maps, self.active, strict=True) if active
        ]

    def maps_for_later(self, on: Sequence[tuple[str, Tensor]]) -> Raw:
        """Raw output in place of "boxes": the maps of the levels, by name, for `box_steps` to read."""
        return {_MAP + name: x for name, x in on}

    def box_steps(self, name: str) -> ConvBranch:
        """What leads from the map of the level `name` to box values; of heads that can leave boxes for later."""
        raise NotImplementedError

    def strides(self) -> list[int]:
        """Strides of the levels that are switched on."""
        return [level.stride for level, active in zip(self.inputs, self.active) if active]

    def set_active(self, active: Sequence[bool]) -> None:
        """Switch levels on or off (fine to coarse): points of a level that is off are not computed at all."""
        if len(active) != len(self.inputs) or not any(active):
            raise FineSpotError(
                f"expected {len(self.inputs)} flags, at least one of them on, but got {tuple(active)}",
                where="active levels",
            )
        self.active = tuple(bool(flag) for flag in active)

    def loss(self, raw: Raw, targets: Targets) -> LossTerms:
        """Weighted terms with counts; see the head's criterion."""
        if "origins" in raw:
            size = input_size(raw["anchors"], self.offset)
            targets = in_windows(targets, raw["origins"], raw["cores"], size)
        terms: LossTerms = self.criterion(raw, targets, self.strides())
        return terms

    def decode(self, values: Tensor, anchors: Tensor) -> Tensor:
        """Boxes (..., 4) xyxy in input pixels, of raw box values (..., K) at anchors (..., 3 or 5)."""
        raise NotImplementedError

    def decode_boxes(self, raw: Raw) -> Tensor:
        """Boxes (B, N, 4), or (K, N, 4) of windows, xyxy in input pixels, not clipped."""
        boxes = self.decode(raw["boxes"].transpose(1, 2).float(), raw["anchors"])
        return boxes + raw["origins"][:, None, 1:].repeat(1, 1, 2) if "origins" in raw else boxes

    def select(self, raw: Raw, conf: float, max_candidates: int = 30_000, multi_label: bool = False) -> list[Selected]:
        """Boxes, scores and labels of score `conf` or more, per picture, by falling score (numpy).

        One label a point, its best, or with `multi_label` every label that passes. Of what windows found, that is kept
        whose center lies in the core of its window.
        """
        if "origins" not in raw:
            return self._select(raw, conf, max_candidates, multi_label)
        origins, cores, pictures = raw["origins"], raw["cores"], len(raw["picks"])
        found = self._select(raw, conf, max_candidates, multi_label) if len(origins) else []
        return by_picture(found, origins, cores, pictures, max_candidates)

    def _select(self, raw: Raw, conf: float, max_candidates: int, multi_label: bool) -> list[Selected]:
        def decode(picture: Tensor, point: Tensor) -> Tensor:
            later = "boxes" not in raw
            values = self._values(raw, picture, point) if later else raw["boxes"].transpose(1, 2)[picture, point]
            return self.decode(values.float(), raw["anchors"][0][point].float())

        if "objectness" not in raw:
            return select(raw["scores"], conf, max_candidates, multi_label, decode)
        if "left_out" in raw:
            # A cell that was left out has no box, whatever is asked for.
            conf = max(conf, _LEAST)
        # No score exceeds the objectness, so points that this rules out in every picture are dropped first.
        judged = torch.sigmoid(raw["objectness"].float())
        likely = (judged >= conf).amax((0, 1)).nonzero().squeeze(1)
        scores = torch.sigmoid(raw["scores"].transpose(1, 2)[:, likely].transpose(1, 2).float()) * judged[..., likely]

        def decode_likely(picture: Tensor, place: Tensor) -> Tensor:
            return decode(picture, likely[place])

        return select(scores, conf, max_candidates, multi_label, decode_likely, logits=False)

    def _values(self, raw: Raw, picture: Tensor, point: Tensor) -> Tensor:
        """Box values (n, K) of points (n,) of pictures, where the raw output holds maps."""
        branches = {name: self.box_steps(name) for name in self.level_names if _MAP + name in raw}
        channels = next(iter(branches.values())).predict.out_channels
        found = raw["scores"].new_empty((len(point), channels), dtype=torch.float32)
        first = 0
        for name, branch in branches.items():
            x = raw[_MAP + name]
            cells = x.shape[2] * x.shape[3]
            here = ((point >= first) & (point < first + cells)).nonzero().squeeze(1)
            found[here] = branch.values(x, picture[here], point[here] - first).float()
            first += cells
        return found

    def anchors(self, maps: Sequence[Tensor]) -> Tensor:
        """The points (1, N, 3 or 5) of the maps of the levels that are switched on."""
        sizes = tuple(tuple(x.shape[2:]) for x in maps)
        device = maps[0].device
        boxes = self.anchor_sizes
        if boxes is not None:
            boxes = [one for one, active in zip(boxes, self.active) if active]

        def made() -> Tensor:
            return make_anchors(sizes, self.strides(), device, self.offset, boxes)

        return self._points.get_or_make((sizes, self.active, device), maps[0], made)
