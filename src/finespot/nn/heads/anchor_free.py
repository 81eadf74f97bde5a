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

from finespot.errors import FineSpotError
from finespot.nn.heads.dense_loss import DenseLoss
from finespot.nn.heads.selection import Selected, select
from finespot.nn.layers.conv import Conv, Pointwise, named
from finespot.registry import register
from finespot.structures import Features, Level, LossTerms, Targets

Raw = dict[str, Tensor]
_BOX_BIAS = 2.0
# Class biases start at the share of positives expected from five objects in a picture of this side.
_PRIOR_OBJECTS, _PRIOR_SIDE = 5, 640
_CACHED_SIZES = 16


@register("head", "anchor_free")
class AnchorFreeHead(nn.Module):
    """`Features` of `levels` to raw predictions at N = sum of H * W points, levels from fine to coarse, row by row.

    Raw: "boxes" (B, 4 * reg_max, N) distribution logits of left, top, right, bottom; "scores" (B, classes, N) logits;
    "anchors" (1, N, 3) center x, center y and stride in input pixels. `depthwise` chooses YOLO11's class branch.
    """

    suppress = True

    def __init__(self, levels: Sequence[Level], classes: int, *, depthwise: bool = True, reg_max: int = 16) -> None:
        super().__init__()
        if classes < 1 or not levels:
            raise FineSpotError(
                f"expected a class and a level or more but got {classes} and {len(levels)}", where="head"
            )
        self.inputs = tuple(levels)
        self.classes, self.reg_max = classes, reg_max
        finest = levels[0].channels
        box_width = max(16, finest // 4, 4 * reg_max)
        class_width = max(finest, min(classes, 100))
        self.level_names = _names(levels)
        named_levels = dict(zip(self.level_names, levels))
        self.box_branches = nn.ModuleDict(
            {name: _branch(level.channels, box_width, 4 * reg_max, False) for name, level in named_levels.items()}
        )
        self.class_branches = nn.ModuleDict(
            {name: _branch(level.channels, class_width, classes, depthwise) for name, level in named_levels.items()}
        )
        # A parameter, though never trained: published parameter counts and files hold it.
        self.bins = nn.Parameter(torch.arange(float(reg_max)), requires_grad=False)
        self.criterion = DenseLoss()
        self.active = (True,) * len(levels)
        self._points: dict[Any, Tensor] = {}
        self._set_biases()

    def forward(self, features: Features, targets: Targets | None = None) -> Raw:
        on = [i for i, active in enumerate(self.active) if active]
        maps = [features.maps[i] for i in on]
        return {
            "boxes": _rows([self.box_branches[self.level_names[i]](x) for i, x in zip(on, maps)]),
            "scores": _rows([self.class_branches[self.level_names[i]](x) for i, x in zip(on, maps)]),
            "anchors": self._anchors(maps, [self.inputs[i].stride for i in on]),
        }

    def loss(self, raw: Raw, targets: Targets) -> LossTerms:
        """Weighted box, cls and dfl terms with counts; see `DenseLoss`."""
        strides = [level.stride for level, active in zip(self.inputs, self.active) if active]
        return cast(LossTerms, self.criterion(raw, targets, self.bins, strides))

    def decode_boxes(self, raw: Raw) -> Tensor:
        """Boxes (B, N, 4), xyxy in input pixels, not clipped."""
        sides = raw["boxes"].transpose(1, 2).unflatten(2, (4, self.reg_max)).float()
        reach = (torch.softmax(sides, -1) @ self.bins.float()[:, None]).squeeze(-1) * raw["anchors"][..., 2:]
        centers = raw["anchors"][..., :2]
        return torch.cat((centers - reach[..., :2], centers + reach[..., 2:]), -1)

    def select(self, raw: Raw, conf: float, max_candidates: int = 30_000, multi_label: bool = False) -> list[Selected]:
        """Boxes, scores and labels of score `conf` or more, per picture, by falling score (numpy).

        One label a point, its best, or with `multi_label` every label that passes.
        """
        return select(raw, conf, max_candidates, multi_label)

    def set_active(self, active: Sequence[bool]) -> None:
        """Switch levels on or off (fine to coarse): points of a level that is off are not computed at all."""
        if len(active) != len(self.inputs) or not any(active):
            raise FineSpotError(
                f"expected {len(self.inputs)} flags, at least one of them on, but got {tuple(active)}",
                where="active levels",
            )
        self.active = tuple(bool(flag) for flag in active)

    def class_rows(self) -> list[str]:
        """Names of the parameters whose first dimension is the classes."""
        return [f"class_branches.{name}.predict.{part}" for name in self.level_names for part in ("weight", "bias")]

    def _set_biases(self) -> None:
        for level, box, scores in zip(self.inputs, self.box_branches.values(), self.class_branches.values()):
            prior = _PRIOR_OBJECTS / self.classes / (_PRIOR_SIDE / level.stride) ** 2
            nn.init.constant_(cast(Any, box).predict.bias, _BOX_BIAS)
            nn.init.constant_(cast(Any, scores).predict.bias, math.log(prior))

    def _anchors(self, maps: list[Tensor], strides: list[int]) -> Tensor:
        sizes = tuple(tuple(x.shape[2:]) for x in maps)
        device = maps[0].device
        if type(maps[0]) is not Tensor or torch.compiler.is_compiling() or torch.jit.is_tracing():  # type: ignore[attr-defined]
            return make_anchors(sizes, strides, device)  # tensors of a trace must not outlive it
        key = (sizes, self.active, device)
        if key not in self._points:
            if len(self._points) >= _CACHED_SIZES:
                self._points.pop(next(iter(self._points)))
            with torch.inference_mode(False):  # autograd may not save tensors made in inference mode
                self._points[key] = make_anchors(sizes, strides, device)
        return self._points[key]


def make_anchors(sizes: Sequence[tuple[int, ...]], strides: Sequence[int], device: torch.device) -> Tensor:
    """Centers and strides (1, N, 3) of all points of maps of `sizes` (rows, columns), in input pixels."""
    levels = []
    for (rows, columns), stride in zip(sizes, strides):
        y = (torch.arange(rows, device=device, dtype=torch.float32) + 0.5) * stride
        x = (torch.arange(columns, device=device, dtype=torch.float32) + 0.5) * stride
        grid_y, grid_x = torch.meshgrid(y, x, indexing="ij")
        levels.append(torch.stack((grid_x, grid_y, torch.full_like(grid_x, float(stride))), -1).flatten(0, 1))
    return torch.cat(levels).unsqueeze(0)


def _names(levels: Sequence[Level]) -> tuple[str, ...]:
    """`p3` for stride 8, and so on, as the neck has them."""
    names = tuple(f"p{level.stride.bit_length() - 1}" for level in levels)
    if len(set(names)) < len(names):
        strides = ", ".join(str(level.stride) for level in levels)
        raise FineSpotError(f"expected each stride at least twice the one before it but got {strides}", where="head")
    return names


def _branch(c_in: int, width: int, c_out: int, depthwise: bool) -> nn.Sequential:
    def step(c: int) -> nn.Module:
        if not depthwise:
            return Conv(c, width, 3)
        return named(spatial=Conv(c, c, 3, groups=c), mix=Conv(c, width))

    return named(first=step(c_in), second=step(width), predict=Pointwise(width, c_out, 1))


def _rows(maps: list[Tensor]) -> Tensor:
    """Maps (B, C, h, w) to one (B, C, N), the C values of a point side by side in memory (as in channels-last)."""
    if torch.compiler.is_exporting():
        # Other runtimes keep maps channel by channel; there the plain form spares them the transpositions.
        return torch.cat([x.flatten(2) for x in maps], 2)
    return torch.cat([x.permute(0, 2, 3, 1).flatten(1, 2) for x in maps], 1).transpose(1, 2)
