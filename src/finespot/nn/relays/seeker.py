"""The seeker of ESOD: a map of where objects are, of no class, read from the first stages of a detector.

After "ESOD: Efficient Small Object Detection on High-Resolution Images" (IEEE TIP 34, 2025), section on ObjSeeker, and
its released code.

    level of stride 8 -> depthwise 13x13, norm, SiLU -> 1x1 -> logits of one channel

The levels go on to the neck as they are, so in this dense form detection neither reads the map nor teaches it: the two
share the stages before, and nothing else. Its own loss is in `seeker_loss`. What differs: the map starts at 0.05
everywhere, whatever the number of classes (the original takes the bias from the detector's class count: 0.06 for ten
classes, 0.98 for one); and the truth is drawn from the boxes on the fly (see `assigners.heatmap`). The forms "deep" and
"coarse" are ours, for stages that learned before the seeker came: what one layer reads off them leaves more of a
picture hot. Windows are far larger than a cell, so "coarse" does at twice the stride what "deep" does, in a fifth of
the time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from finespot.assigners.heatmap import heat_map
from finespot.errors import FineSpotError, unknown
from finespot.nn.layers.conv import Conv, Pointwise
from finespot.nn.layers.separable import separable
from finespot.nn.layers.sppf import SPPF
from finespot.nn.relays.seeker_loss import GAIN, loss_named
from finespot.registry import register
from finespot.structures import Features, Level, LossTerms, Targets

HEAT = "heat"
_KERNEL, _NEAR = 13, 7
_PRIOR = math.log(0.05 / 0.95)


def _depthwise(channels: int) -> tuple[nn.Module, int]:
    return Conv(channels, channels, _KERNEL, groups=channels), channels


def _pooled(channels: int) -> tuple[nn.Module, int]:
    return SPPF(channels, channels), channels


def _deep(channels: int) -> tuple[nn.Module, int]:
    half = channels // 2
    return nn.Sequential(*_surroundings(channels, half)), half


def _coarse(channels: int) -> tuple[nn.Module, int]:
    half = channels // 2
    return nn.Sequential(Conv(channels, half, 3, 2), *_surroundings(half, half)), half


def _surroundings(c_in: int, c_out: int) -> tuple[nn.Module, ...]:
    last = Conv(c_out, c_out, _NEAR, groups=c_out)
    return separable(c_in, c_out, _KERNEL), separable(c_out, c_out, _NEAR), last


# What gathers the surroundings in a level of so many channels, and the channels of what it gives.
_FORMS: dict[str, Callable[[int], tuple[nn.Module, int]]] = {
    "depthwise": _depthwise,
    "pooled": _pooled,
    "deep": _deep,
    "coarse": _coarse,
}


@register("relay", "seeker")
class Seeker(nn.Module):
    """`Features` of `levels` to the same, with the auxiliary "heat" (B, 1, H, W): logits, one for each cell.

    Parameters
    ----------
    form:
        What gathers the surroundings of a cell: "depthwise", a 13x13 convolution in each channel; "pooled", pools of
        side 5, 9 and 13 between two 1x1 convolutions (as published for UAVDT); "deep", three depthwise convolutions
        of side 13, 7 and 7 with 1x1 to half the channels between them; or "coarse", the same behind a 3x3 convolution
        of stride 2, its logits repeated for two cells each way.
    loss:
        "bce", as the released code, or "focal_dice", as the paper; see `seeker_loss`.
    stride:
        Of the level that it reads.

    Attributes
    ----------
    gains:
        The factor of its loss term "heat".

    Raises
    ------
    FineSpotError
        There is no level of that stride, or no form or loss of that name.
    """

    def __init__(
        self,
        levels: Sequence[Level],
        *,
        form: Literal["depthwise", "pooled", "deep", "coarse"] = "depthwise",
        loss: Literal["bce", "focal_dice", "peak"] = "bce",
        stride: int = 8,
    ) -> None:
        super().__init__()
        self.inputs = self.levels = tuple(levels)
        strides = [level.stride for level in levels]
        if stride not in strides:
            raise FineSpotError(
                f"expected a level of stride {stride} but got {', '.join(map(str, strides))}",
                where="seeker",
                hint="say another: seeker(stride=...)",
            )
        if form not in _FORMS:
            raise unknown("form of the seeker", str(form), _FORMS)
        self.cost = loss_named(loss)
        self.place, self.stride = strides.index(stride), stride
        self.coarse = form == "coarse"
        self.context, channels = _FORMS[form](levels[self.place].channels)
        self.predict = Pointwise(channels, 1, 1)
        nn.init.constant_(cast(Any, self.predict).bias, _PRIOR)
        self.gains = {HEAT: GAIN}

    def forward(self, features: Features) -> Features:
        seen = features.maps[self.place]
        heat = self.predict(self.context(seen))
        if self.coarse:
            heat = F.interpolate(heat, seen.shape[-2:], mode="nearest")
        return replace(features, auxiliary={**features.auxiliary, HEAT: heat})

    def set_gains(self, gains: Mapping[str, float]) -> None:
        """Change factors of loss terms; those not named stay."""
        for name in gains:
            if name not in self.gains:
                raise unknown("loss gain", name, self.gains)
        self.gains = {**self.gains, **gains}

    def loss(
        self,
        raw: Mapping[str, Tensor],
        targets: Targets,
        content: Tensor | None = None,
        shapes: Tensor | None = None,
    ) -> LossTerms:
        """The term "heat" of the map against the objects of `targets`, in float32 inside autocast too.

        Ignore regions and what lies outside `content` (B, 4) do not count; where `shapes` (B, 1, H, W) are known, they
        cut the corners off the ellipses.
        """
        logits = raw[HEAT]
        with torch.autocast(logits.device.type, enabled=False):
            size = (logits.shape[2] * self.stride, logits.shape[3] * self.stride)
            with torch.no_grad():
                truth = heat_map(targets, size, self.stride, content, shapes)
            return LossTerms({HEAT: self.gains[HEAT] * self.cost(logits.float(), truth)})
