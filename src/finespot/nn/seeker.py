"""A seeker that stands alone: a small network that says where in a reduced picture objects may be, of no class.

After ObjSeeker of "ESOD: Efficient Small Object Detection on High-Resolution Images" (IEEE TIP 34, 2025), whose truth
and losses it learns by; there the seeker reads a map of the detector, here it has stages of its own, so that it serves
any detector and can look before the detector does.

    reduced -> 3x3, /2 -> 3x3, /4 -> block 3x3 -> (3x3, /8) -> block 3x3 -> block 3x3 -> block 13x13 -> 1x1 -> heat

A block adds a depthwise and a 1x1 convolution to what it gets; the last one sees the surroundings, as in ObjSeeker.
What stands in brackets belongs to stride 8 only.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from finespot.assigners.heatmap import heat_map
from finespot.errors import FineSpotError, unknown
from finespot.nn.layers.conv import Conv, Pointwise
from finespot.nn.layers.separable import separable
from finespot.nn.relays.seeker_loss import loss_named
from finespot.structures import LossTerms, Targets

HEAT = "heat"
STRIDES = (4, 8)
WIDTHS = range(4, 29, 4)  # wider ones have more than 0.1 million parameters
_KERNEL = 13
_PRIOR = math.log(0.05 / 0.95)
# The first stages have by far the largest maps. On a CPU they compute about so many cells at a time, in strips of whole
# rows and of no fewer than so many: their maps then stay in its cache. Measured on one thread with a
# picture of 5120x4096 pixels, halved: 1.3 times as quick as the whole at once (`benchmarks.highres.look`).
_CELLS, _ROWS = 10_240, 8
# Cells that a strip sees above and below, to have what the whole has: the kernels of the first stages reach 11 px
# outside a cell of 8 px, 7 px outside one of 4 px.
_AROUND = 2


class _Block(nn.Module):
    """Maps (B, channels, H, W) to the same."""

    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__()
        self.change = separable(channels, channels, kernel)

    def forward(self, x: Tensor) -> Tensor:
        change = cast(Tensor, self.change(x))
        return x + change if change.requires_grad else change.add_(x)


class SeekerNet(nn.Module):
    """Pictures (B, 3, H, W), float 0..1 or uint8, to logits of heat (B, 1, ceil(H / stride), ceil(W / stride)).

    Parameters
    ----------
    stride:
        Side of a cell in pixels of the (reduced) picture: 4 or 8.
    width:
        Channels of the first stage, a multiple of 4 up to 28; the others have two and three times as many.
    loss:
        "bce", "focal_dice" or "peak"; see `nn.relays.seeker_loss`.

    Attributes
    ----------
    gains:
        The factor of its loss term "heat".

    Raises
    ------
    FineSpotError
        An option is out of range.
    """

    def __init__(
        self, *, stride: int = 8, width: int = 16, loss: Literal["bce", "focal_dice", "peak"] = "peak"
    ) -> None:
        super().__init__()
        if stride not in STRIDES:
            raise FineSpotError(f"expected 4 or 8 but got {stride}", where="seeker.stride")
        if width not in WIDTHS:
            raise FineSpotError(
                f"expected a multiple of 4 from {WIDTHS[0]} to {WIDTHS[-1]} but got {width}", where="seeker.width"
            )
        self.cost = loss_named(loss)
        self.stride, self.width = stride, width
        channels = width * (3 if stride == 8 else 2)
        self.stem = nn.Sequential(Conv(3, width, 3, 2), Conv(width, 2 * width, 3, 2), _Block(2 * width, 3))
        deeper = Conv(2 * width, channels, 3, 2) if stride == 8 else nn.Identity()
        self.body = nn.Sequential(deeper, _Block(channels, 3), _Block(channels, 3))
        self.context = _Block(channels, _KERNEL)
        self.predict = Pointwise(channels, 1, 1)
        nn.init.constant_(cast(Any, self.predict).bias, _PRIOR)
        self.gains = {HEAT: 1.0}

    def forward(self, pictures: Tensor) -> Tensor:
        height, width = pictures.shape[2:]
        # Up to whole cells, so that the last ones see a border and not a stage's own padding; nothing is to cut off
        # again, as the last cells are those that hold the picture's edge.
        if height % self.stride or width % self.stride:
            pictures = F.pad(pictures, (0, -width % self.stride, 0, -height % self.stride), mode="replicate")
        _, first, second = cast(Any, self.body)
        return cast(Tensor, self.predict(self.context(second(first(self._reduced(pictures))))))

    def _reduced(self, pictures: Tensor) -> Tensor:
        """The map (B, channels, H / stride, W / stride) of the stages down to `stride`."""
        rows, columns = (side // self.stride for side in pictures.shape[2:])
        strip = max(_ROWS, _CELLS // columns)
        tracing = torch.compiler.is_compiling() or torch.jit.is_tracing()  # type: ignore[attr-defined]
        if self.training or torch.is_grad_enabled() or tracing or pictures.device.type != "cpu" or rows <= strip:
            return self._stages(pictures)
        parts = []
        for top in range(0, rows, strip):
            begin, end = max(0, top - _AROUND), min(rows, top + strip + _AROUND)
            part = self._stages(pictures[:, :, begin * self.stride : end * self.stride])
            parts.append(part[:, :, top - begin :][:, :, :strip])
        return torch.cat(parts, 2)

    def _stages(self, pictures: Tensor) -> Tensor:
        if pictures.dtype == torch.uint8:
            kind = cast(Any, self.predict).weight.dtype
            pictures = pictures.to(kind).div_(255)
        return cast(Tensor, cast(Any, self.body)[0](self.stem(pictures)))

    def set_gains(self, gains: Mapping[str, float]) -> None:
        """Change factors of loss terms; those not named stay."""
        for name in gains:
            if name not in self.gains:
                raise unknown("loss gain", name, self.gains)
        self.gains = {**self.gains, **gains}

    def loss(
        self, logits: Tensor, targets: Targets, content: Tensor | None = None, shapes: Tensor | None = None
    ) -> LossTerms:
        """The term "heat" of the map against the objects of `targets`, in float32 inside autocast too.

        Boxes and `content` (B, 4) are in pixels of the reduced picture; ignore regions and what lies outside `content`
        do not count; where `shapes` (B, 1, H, W) are known, they cut the corners off the ellipses.
        """
        with torch.autocast(logits.device.type, enabled=False):
            size = (logits.shape[2] * self.stride, logits.shape[3] * self.stride)
            with torch.no_grad():
                truth = heat_map(targets, size, self.stride, content, shapes)
            return LossTerms({HEAT: self.gains[HEAT] * self.cost(logits.float(), truth)})
