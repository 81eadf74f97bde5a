"""What the dense heads share: levels that can be switched off, their points, the choice of their loss, selection.

A dense head predicts at every cell of every level. Raw outputs: "scores" (B, classes, N) logits, "boxes" (B, K, N) as
the head encodes them, "anchors" (see `points`); branches are named after their level (`p3` is stride 8), so that
networks with other levels can take them over.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from finespot.assigners import Assigner
from finespot.errors import FineSpotError
from finespot.losses import BoxLoss
from finespot.nn.heads.criterion import Criterion
from finespot.nn.heads.points import AnchorSizes, make_anchors
from finespot.nn.heads.selection import Selected, select
from finespot.structures import Features, Level, LossTerms, Targets

Raw = dict[str, Tensor]
_CACHED_SIZES = 16


class DenseHead(nn.Module):
    """A head on `levels` for a number of classes.

    A subclass calls `set_loss()` last in its construction, gives `forward` (see `on`), `decode`, `criterion_of` and
    `class_rows`, and overrides `probabilities` where scores are more than the sigmoid of "scores".
    """

    suppress = True
    # Cell i has its point at (i + offset) * stride.
    offset: ClassVar[float] = 0.5
    # How often each of `class_rows` holds all classes, one time behind the other: anchors a cell, where one layer has
    # the classes of all of them.
    class_repeats: int = 1

    def __init__(self, levels: Sequence[Level], classes: int) -> None:
        super().__init__()
        if classes < 1 or not levels:
            raise FineSpotError(
                f"expected a class and a level or more but got {classes} and {len(levels)}", where="head"
            )
        self.inputs = tuple(levels)
        self.classes = classes
        self.level_names = _names(levels)
        self.active = (True,) * len(levels)
        # Anchor boxes of each level in input pixels, for heads that have them.
        self.anchor_sizes: Sequence[AnchorSizes] | None = None
        self._points: dict[Any, Tensor] = {}

    def on(self, features: Features) -> list[tuple[str, Tensor]]:
        """Name and map of the levels that are switched on, fine to coarse."""
        return [
            (name, x) for name, x, active in zip(self.level_names, features.maps, self.active, strict=True) if active
        ]

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

    def set_loss(
        self,
        assigner: str | Assigner | None = None,
        box_loss: str | BoxLoss | None = None,
        gains: Mapping[str, float] | None = None,
    ) -> None:
        """Choose assigner, box loss and gains; what is None stays the head's own. See `Criterion`."""
        self.criterion = self.criterion_of(assigner=assigner, box_loss=box_loss, gains=gains)

    def criterion_of(self, **choice: Any) -> Criterion:
        """The loss for a choice of assigner, box_loss and gains."""
        raise NotImplementedError

    def loss(self, raw: Raw, targets: Targets) -> LossTerms:
        """Weighted terms with counts; see the head's criterion."""
        terms: LossTerms = self.criterion(raw, targets, self.strides())
        return terms

    def decode(self, values: Tensor, anchors: Tensor) -> Tensor:
        """Boxes (..., 4) xyxy in input pixels, of raw box values (..., K) at anchors (..., 3 or 5)."""
        raise NotImplementedError

    def decode_boxes(self, raw: Raw) -> Tensor:
        """Boxes (B, N, 4), xyxy in input pixels, not clipped."""
        return self.decode(raw["boxes"].transpose(1, 2).float(), raw["anchors"])

    def probabilities(self, raw: Raw) -> Tensor | None:
        """Scores (B, classes, N) from 0 to 1, or None where they are the sigmoid of "scores"."""
        return None

    def select(self, raw: Raw, conf: float, max_candidates: int = 30_000, multi_label: bool = False) -> list[Selected]:
        """Boxes, scores and labels of score `conf` or more, per picture, by falling score (numpy).

        One label a point, its best, or with `multi_label` every label that passes.
        """

        def decode(picture: Tensor, point: Tensor) -> Tensor:
            return self.decode(raw["boxes"].transpose(1, 2)[picture, point].float(), raw["anchors"][0][point].float())

        found = self.probabilities(raw)
        values, logits = (raw["scores"], True) if found is None else (found, False)
        return select(values, conf, max_candidates, multi_label, decode, logits=logits)

    def class_rows(self) -> list[str]:
        """Names of the parameters whose first dimension is the classes."""
        raise NotImplementedError

    def anchors(self, maps: Sequence[Tensor]) -> Tensor:
        """The points (1, N, 3 or 5) of the maps of the levels that are switched on."""
        sizes = tuple(tuple(x.shape[2:]) for x in maps)
        device = maps[0].device
        boxes = self.anchor_sizes
        if boxes is not None:
            boxes = [one for one, active in zip(boxes, self.active) if active]

        def made() -> Tensor:
            return make_anchors(sizes, self.strides(), device, self.offset, boxes)

        if type(maps[0]) is not Tensor or torch.compiler.is_compiling() or torch.jit.is_tracing():  # type: ignore[attr-defined]
            return made()  # tensors of a trace must not outlive it
        return self._cached((sizes, self.active, device), made)

    def _cached(self, key: Any, made: Callable[[], Tensor]) -> Tensor:
        if key not in self._points:
            if len(self._points) >= _CACHED_SIZES:
                self._points.pop(next(iter(self._points)))
            with torch.inference_mode(False):  # autograd may not save tensors made in inference mode
                self._points[key] = made()
        return self._points[key]


def _names(levels: Sequence[Level]) -> tuple[str, ...]:
    """`p3` for stride 8, and so on, as the neck has them."""
    names = tuple(f"p{level.stride.bit_length() - 1}" for level in levels)
    if len(set(names)) < len(names):
        strides = ", ".join(str(level.stride) for level in levels)
        raise FineSpotError(f"expected each stride at least twice the one before it but got {strides}", where="head")
    return names
