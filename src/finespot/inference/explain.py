"""Heat maps: which places of a picture made the network find what it found.

A heat map is gradient times activation: how a map of the network depends on the picture, weighed with how the scores
(or boxes) of the detections depend on that map. After "Use HiResCAM instead of Grad-CAM for faithful explanations of
convolutional neural networks" (2020): products are summed over channels cell by cell, and what is left above 0 speaks
for the detections. `layercam` ("LayerCAM", 2021) takes positive gradients only; `gradcam` ("Grad-CAM", 2017) takes the
mean of each channel's gradient over the whole map, which spreads heat to everything that looks alike.

What differs: the target is a set of detections, not one class of the picture; maps of several levels are each brought
to the picture through the letterbox (sides on their own, so that rectangles stay right) and summed; tiles are merged
by their maximum. A side of a box may move both ways, so for boxes both signs count.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from finespot.errors import unknown
from finespot.inference.explain_graph import GradientGraph
from finespot.inference.explain_targets import TARGETS, box_values, class_value, points_of
from finespot.inference.prepare import Scaling, place
from finespot.runtimes import Session
from finespot.structures import Detections, Placement, Size, Window
from finespot.tiling import windows

Heat = NDArray[np.float32]


def hirescam(x: Tensor, gradient: Tensor) -> Tensor:
    """Maps (1, C, h, w) and their gradients to (1, h, w): the sum of products over channels."""
    return (gradient * x).sum(1)


def layercam(x: Tensor, gradient: Tensor) -> Tensor:
    """The same of positive gradients only."""
    return (gradient.clamp(min=0) * x).sum(1)


def gradcam(x: Tensor, gradient: Tensor) -> Tensor:
    """The same with each channel's mean gradient."""
    return (gradient.mean((2, 3), keepdim=True) * x).sum(1)


METHODS: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    "hirescam": hirescam,
    "layercam": layercam,
    "gradcam": gradcam,
}


@dataclass(frozen=True, eq=False)
class Explanation:
    """One picture: what was found, its pixels (uint8 RGB (H, W, 3)), and the heat of each class that was found.

    `heat` maps labels to float32 (H, W), 0 or more: for the target `class` in logits of the score, for `box` in sides
    of the box, for `both` the mean of the two, each as a share of its maximum.
    """

    detections: Detections
    pixels: NDArray[np.uint8]
    heat: Mapping[int, Heat]


class Explainer:
    """Explains detections: pixels (H, W, 3) uint8 RGB and what a session found in them to heat by label.

    Parameters
    ----------
    session, rule:
        What found the detections, and how pictures were cut and scaled.
    method:
        One of `METHODS`.
    target:
        `class` (what raises the scores), `box` (what moves the sides) or `both`.
    layers:
        Dotted names of the layers that are looked at; the neck's output is what the head sees.

    Attributes
    ----------
    unmatched:
        Detections so far that belong to no point of the network, as where suppression moved their boxes far; their
        heat is missing.

    Raises
    ------
    FineSpotError
        The method or target is unknown; a layer is unknown, gives no maps, or the target does not depend on any.
    """

    def __init__(
        self,
        session: Session,
        rule: Scaling,
        *,
        method: str = "hirescam",
        target: str = "class",
        layers: Sequence[str] = ("neck",),
    ) -> None:
        if method not in METHODS:
            raise unknown("method", method, METHODS, where="method")
        if target not in TARGETS:
            raise unknown("target", target, TARGETS, where="target")
        self.rule, self.method, self.target = rule, method, target
        self.layers = tuple(layers)
        self.unmatched = 0
        self._graph = GradientGraph(session, layers)
        self._check(session.stride)

    def __call__(self, pixels: NDArray[np.uint8], detections: Detections) -> dict[int, Heat]:
        """The heat (H, W) of each label that was found."""
        labels = np.unique(detections.labels).tolist()
        kinds = ("class", "box") if self.target == "both" else (self.target,)
        heat = {(label, kind): np.zeros(detections.size, np.float32) for label in labels for kind in kinds}
        found = np.zeros(len(detections), bool)
        for tile in windows(detections.size, self.rule.tiling) if labels else ():
            window, placement = place(pixels, tile, self.rule)
            seen = np.flatnonzero(_meets(detections, tile.window) if self.rule.tiled else np.ones(len(detections)))
            if not len(seen):
                continue
            raw = self._graph(torch.tensor(window).permute(2, 0, 1)[None])
            here = detections.select(seen)
            points = points_of(self._graph.network.head, raw, placement, here)
            found[seen[points >= 0]] = True
            x1, y1, x2, y2 = tile.window
            for (label, kind), canvas in heat.items():
                chosen = np.unique(points[(here.labels == label) & (points >= 0)])
                if len(chosen):
                    maps = self._maps(raw, kind, label, chosen)
                    part = _in_window(maps, (window.shape[0], window.shape[1]), placement, (y2 - y1, x2 - x1))
                    canvas[y1:y2, x1:x2] = np.maximum(canvas[y1:y2, x1:x2], part)
            self._graph.maps.clear()  # and with them the graph, before the next picture is detected in
        self.unmatched += int((~found).sum())
        if self.target != "both":
            return {label: heat[label, self.target] for label in labels}
        both = {}
        for label in labels:
            mean: Heat = (_share(heat[label, "class"]) + _share(heat[label, "box"])) / np.float32(2)
            both[label] = mean
        return both

    def _maps(self, raw: dict[str, Tensor], kind: str, label: int, points: NDArray[np.int64]) -> list[Tensor]:
        """Heat (1, h, w) of each map that the graph kept."""
        method = METHODS[self.method]
        if kind == "class":
            gradients = self._graph.gradients(class_value(raw, label, points))
            return [method(x.detach(), g).clamp(min=0) for x, g in zip(self._graph.maps, gradients)]
        sums = [torch.zeros_like(x[:, 0]) for x in self._graph.maps]
        for side in box_values(self._graph.network.head, raw, points):
            for total, x, g in zip(sums, self._graph.maps, self._graph.gradients(side)):
                for signed in (g, -g):
                    total += method(x.detach(), signed).clamp(min=0)
        return sums

    def _check(self, stride: int) -> None:
        """Run a gray picture, so that layers that cannot be explained are known before the work."""
        raw = self._graph(torch.full((1, 3, 2 * stride, 2 * stride), 114, dtype=torch.uint8))
        every = np.arange(raw["scores"].shape[2])
        for kind in ("class", "box") if self.target == "both" else (self.target,):
            self._maps(raw, kind, 0, every)
        self._graph.maps.clear()


def explanations(found: Iterator[tuple[Detections, NDArray[np.uint8]]], explainer: Explainer) -> Iterator[Explanation]:
    """Each picture with its heat, made when it is asked for."""
    for detections, pixels in found:
        yield Explanation(detections, pixels, explainer(pixels, detections))


def _meets(detections: Detections, window: Window) -> NDArray[np.bool_]:
    """Which boxes reach into a window."""
    x1, y1, x2, y2 = window
    boxes = detections.boxes
    meets: NDArray[np.bool_] = (boxes[:, 0] < x2) & (boxes[:, 2] > x1) & (boxes[:, 1] < y2) & (boxes[:, 3] > y1)
    return meets


def _in_window(maps: Sequence[Tensor], size: Size, placement: Placement, window: Size) -> Heat:
    """Maps (1, h, w) of an input of `size` summed in the pixels of the `window` (height, width) that lies in it.

    Every map covers the input evenly; what lies in the padding is left out.
    """
    total = torch.zeros((1, 1, *size), device=maps[0].device)
    for x in maps:
        total += F.interpolate(x[:, None], size=size, mode="bilinear", align_corners=False)
    top, left = (round(value) for value in placement.offset)
    high, wide = (max(1, round(side * scale)) for side, scale in zip(window, placement.scale))
    inner = total[:, :, top : top + high, left : left + wide]
    if (high, wide) != tuple(window):
        inner = F.interpolate(inner, size=window, mode="bilinear", align_corners=False, antialias=True)
    heat: Heat = inner[0, 0].cpu().numpy()
    return heat


def _share(heat: Heat) -> Heat:
    """Heat from 0 to 1."""
    peak = heat.max()
    share: Heat = heat / peak if peak > 0 else heat
    return share
