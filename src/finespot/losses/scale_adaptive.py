"""Scale-adaptive loss (SAL): the smaller the target, the more its box loss weighs.

After "Scale-Aware Relay and Scale-Adaptive Loss for Tiny Object Detection" (arXiv 2511.09891, equation 5): the weight
beta * ln(2 - s) of a pair, where s in 0..1 is the place of its target's area between the smallest and the largest,
times 1 - IoU^2. The defaults are the paper's; by them the largest target gets no weight, and areas of tiny objects
hardly differ (`scale=sqrt` or `log` parts them). What differs: a true IoU, where the printed one can leave 0..1; the
mean over pairs is left to the head; other scales, ranges and losses. The paper's alpha, the factor of SAL beside an L1
term, is the gain of the box term (`loss.box`), and that term's gain is `loss.l1`.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

from finespot.boxes.geometry import EPS, area
from finespot.errors import FineSpotError
from finespot.losses.blend import box_loss
from finespot.losses.options import require
from finespot.losses.pairs import cost_of_pairs
from finespot.losses.ranks import all_reduced
from finespot.registry import register
from finespot.structures import Size

Range = Literal["batch", "image", "fixed", "ema"]
Scale = Literal["area", "sqrt", "log"]
# Square pixels of the network input, and the share of the old range that a batch keeps.
_LOW, _HIGH, _DECAY = 4.0, 4096.0, 0.99
# A narrower range, relative to its end, is equal areas but for the rounding of coordinates.
_NARROW = 1e-3


@register("box_loss", "sal")
class ScaleAdaptive(nn.Module):
    """Weights of pairs by the size of their target, times a box loss.

    Parameters
    ----------
    beta:
        Factor of the weights; at 1 / ln 2 the smallest target has weight 1.
    scale:
        What s is linear in: area, its square root, or its logarithm (of at least a square pixel).
    range:
        The smallest and the largest target are those of the batch on this process; or of the picture (`image`); or
        fixed areas; or running means of the batches' (`ema`), over all ranks and saved with the head.
    low, high:
        The fixed areas in square pixels of the network input; 4 and 4096.
    decay:
        The share of the old range that the running mean keeps; 0.99.
    over:
        The box loss, with options if it has them.
    w_min:
        The smallest weight; 0.1 keeps the largest targets in play.
    normalize_mean:
        Divide the weights by their mean, so that they shift between pairs and do not change the gain.
    """

    bounds: Tensor
    started: Tensor

    def __init__(
        self,
        beta: float = 2 / math.log(2),
        scale: Scale = "area",
        range: Range = "batch",
        over: str = "iou2",
        w_min: float = 0.0,
        normalize_mean: bool = False,
        low: float | None = None,
        high: float | None = None,
        decay: float | None = None,
    ) -> None:
        super().__init__()
        require(beta > 0, "sal", "beta", "above 0", beta)
        require(w_min >= 0, "sal", "w_min", "of 0 or more", w_min)
        largest = beta * math.log(2)
        require(w_min < largest, "sal", "w_min", f"below the largest weight, beta ln 2 = {largest:g},", w_min)
        for name, value, kind in (("low", low, "fixed"), ("high", high, "fixed"), ("decay", decay, "ema")):
            if value is not None and range != kind:
                raise FineSpotError(f"{name} counts with range={kind} only", where="box loss 'sal'")
        self.low = _LOW if low is None else low
        self.high = _HIGH if high is None else high
        self.decay = _DECAY if decay is None else decay
        require(0 <= self.low < self.high, "sal", "low and high", "as 0 <= low < high", f"{self.low}, {self.high}")
        require(0 <= self.decay < 1, "sal", "decay", "from 0 to below 1", self.decay)
        self.beta, self.scale, self.range = beta, scale, range
        self.w_min, self.normalize_mean = w_min, normalize_mean
        self.over = box_loss(over)
        if range == "ema":
            self.register_buffer("bounds", torch.zeros(2))
            self.register_buffer("started", torch.zeros((), dtype=torch.bool))

    def forward(
        self, pred: Tensor, target: Tensor, *, stride: Tensor, image_size: Size, picture: Tensor | None = None
    ) -> Tensor:
        cost = cost_of_pairs(self.over, pred, target, stride=stride, image_size=image_size, picture=picture)
        return self.weights(target, picture) * cost

    @torch.no_grad()
    def weights(self, target: Tensor, picture: Tensor | None = None) -> Tensor:
        """Weights (P,) of pairs with these targets (P, 4) in these pictures (P,), which only `range=image` reads.

        In training, a running range takes the targets in first.

        Raises
        ------
        FineSpotError
            The range is that of the picture, and nothing says which picture a pair is from.
        """
        size = self._scaled(area(target))
        if self.range == "image":
            if picture is None:
                raise FineSpotError(
                    "range=image wants to be told which picture a pair is from",
                    where="box loss 'sal'",
                    hint="take another range, or hand on `picture` where a part of your own calls it",
                )
            low, high = _bounds_by_picture(size, picture)
        else:
            low, high = self._bounds(size)
        wide = high - low > _NARROW * high.abs().clamp(min=1)
        place = torch.where(wide, ((size - low) / (high - low).clamp(min=EPS)).clamp(0, 1), 0)
        weights = (self.beta * torch.log1p(1 - place)).clamp(min=self.w_min)
        return weights / weights.mean().clamp(min=EPS) if self.normalize_mean else weights

    def _scaled(self, areas: Tensor) -> Tensor:
        if self.scale == "log":
            return areas.clamp(min=1).log()
        return areas.clamp(min=0).sqrt() if self.scale == "sqrt" else areas

    def _bounds(self, size: Tensor) -> tuple[Tensor, Tensor]:
        if self.range == "fixed":
            low, high = self._scaled(size.new_tensor([self.low, self.high]))
            return low, high
        none = size.new_full((1,), -math.inf)
        # The smallest with its sign turned, so that both are a maximum; minus infinity where there is no pair.
        extremes = torch.stack((torch.cat((-size, none)).max(), torch.cat((size, none)).max()))
        if self.range == "ema":
            return self._running(extremes)
        return -extremes[0], extremes[1]

    def _running(self, extremes: Tensor) -> tuple[Tensor, Tensor]:
        if self.training:
            extremes = all_reduced(extremes, "max")
        found = torch.isfinite(extremes[1])
        now = (extremes * extremes.new_tensor([-1, 1])).to(self.bounds.dtype)
        if self.training:
            moved = torch.where(self.started, torch.lerp(now, self.bounds, self.decay), now)
            self.bounds.copy_(torch.where(found, moved, self.bounds))
            self.started.logical_or_(found)
        low, high = torch.where(self.started, self.bounds, now)
        return low, high


def _bounds_by_picture(size: Tensor, picture: Tensor) -> tuple[Tensor, Tensor]:
    """The smallest and the largest (P,) of the sizes (P,) that share a picture (P,) with each."""
    pictures = int(picture.max()) + 1 if len(picture) else 0
    low = size.new_zeros(pictures).scatter_reduce(0, picture, size, "amin", include_self=False)
    high = size.new_zeros(pictures).scatter_reduce(0, picture, size, "amax", include_self=False)
    return low[picture], high[picture]
