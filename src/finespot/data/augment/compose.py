"""One training picture from a data set: mosaic, affine, copy-paste, mixup, HSV, flips, in this order.

Copy-paste comes after the warp, because mosaic and warp are one step; its objects get a scale from the same
distribution. The order and the number of random draws depend on the settings alone, not on the pictures' content.
The shapes of objects, where the pictures have them, take the same way as the pixels and draw nothing.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from finespot.data.augment.affine import random_affine
from finespot.data.augment.copy_paste import paste_small
from finespot.data.augment.hsv import adjust, random_gains
from finespot.data.augment.mixup import blend, random_weight
from finespot.data.augment.mosaic import mosaic_center, mosaic_matrices, on_whole_pixel
from finespot.data.augment.parts import Canvas, Part, Truth
from finespot.data.augment.settings import Augment
from finespot.data.augment.truth import warp_truth
from finespot.data.augment.warp import render, scaling, shape_part
from finespot.data.pictures import Pictures
from finespot.images import letterbox
from finespot.structures import Placement, Sample, Size

# A pixel belongs to a shape where at least half of it does.
_HALF = 128
# Draws so many pictures to be joined to another one.
Partners = Callable[[np.random.Generator, int], list[int]]


@dataclass(frozen=True)
class Composer:
    """Makes training pictures of size imgsz x imgsz from the pictures of a data set.

    What is joined to a picture comes from `partners`; None draws from all pictures alike.
    """

    pictures: Pictures
    augment: Augment
    imgsz: int
    drop_small: float = 0.0
    partners: Partners | None = None

    def compose(
        self,
        index: int,
        rng: np.random.Generator,
        out: NDArray[np.uint8],
        shape: NDArray[np.bool_] | None = None,
    ) -> tuple[Sample, Placement]:
        """Make picture `index` and write it to `out` (imgsz, imgsz, 3) uint8, which the sample's pixels then are.

        The shapes of its objects, where the pictures have them, are written to `shape` (imgsz, imgsz). The placement
        is true for pictures that are only letterboxed; of others it says just the size.
        """
        augment, size = self.augment, (self.imgsz, self.imgsz)
        dropped: Counter[str] = Counter()
        canvas, truth, placement = self._base(index, rng, dropped)
        if rng.random() < augment.mixup:
            other, more, _ = self._base(self._others(rng, 1)[0], rng, dropped)
            canvas, truth = _mixed(canvas, other, random_weight(rng)), truth.joined(more)
            placement = _unplaced(size)
        canvas = canvas._replace(pixels=adjust(canvas.pixels, *random_gains(augment, rng)))
        up_down, left_right = rng.random() < augment.flip_ud, rng.random() < augment.flip_lr
        if up_down or left_right:
            canvas = canvas.flipped(left_right, up_down)
            truth, placement = truth.flipped(size, left_right, up_down), _unplaced(size)
        for channel in range(3):
            out[..., channel] = canvas.pixels[..., min(channel, canvas.pixels.shape[2] - 1)]
        if shape is not None and canvas.shape is not None:
            np.greater_equal(canvas.shape[..., 0], _HALF, out=shape)
        annotations = truth.annotations(size, self.pictures.dataset.path(index))
        return Sample(out, annotations, index, dropped), placement

    def _base(self, index: int, rng: np.random.Generator, dropped: Counter[str]) -> tuple[Canvas, Truth, Placement]:
        """Canvas and truth before mixup, color and flips."""
        augment, size = self.augment, (self.imgsz, self.imgsz)
        if rng.random() < augment.mosaic:
            parts = self._mosaic(index, rng)
        elif augment.warps:
            parts = [self._single(index, rng)]
        else:
            parts = []
        placement = _unplaced(size)
        if parts:
            canvas = _rendered(parts, size)
        else:
            part = self._part(index, np.eye(3))
            canvas, placement = self._letterboxed(part)
            parts = [dataclasses.replace(part, matrix=scaling(*placement.scale[::-1], *placement.offset[::-1]))]
        truth = warp_truth(parts, size, self.drop_small, dropped)
        if rng.random() < augment.copy_paste:
            donor = self._part(self._others(rng, 1)[0], np.eye(3))
            scale = (1 + augment.scale * rng.uniform(-1, 1)) * self.imgsz / max(donor.size)
            pixels, truth, pasted, shape = paste_small(canvas.pixels, truth, donor, scale, rng, canvas.shape)
            canvas = Canvas(pixels, shape)
            placement = _unplaced(size) if pasted else placement
        return canvas, truth, placement

    def _mosaic(self, index: int, rng: np.random.Generator) -> list[Part]:
        indices = [index, *self._others(rng, 3)]
        center = mosaic_center(self.imgsz, rng)
        canvas = (2.0 * self.imgsz, 2.0 * self.imgsz)
        warp = on_whole_pixel(random_affine(self.augment, canvas, (self.imgsz, self.imgsz), rng), center)
        sizes = [self.pictures.dataset.size(one) for one in indices]
        matrices = mosaic_matrices(sizes, self.imgsz, center)
        return [self._part(one, warp @ matrix) for one, matrix in zip(indices, matrices)]

    def _others(self, rng: np.random.Generator, count: int) -> list[int]:
        if self.partners is not None:
            return self.partners(rng, count)
        return [int(one) for one in rng.integers(len(self.pictures), size=count)]

    def _single(self, index: int, rng: np.random.Generator) -> Part:
        height, width = self.pictures.dataset.size(index)
        ratio = self.imgsz / max(height, width)
        warp = random_affine(self.augment, (height * ratio, width * ratio), (self.imgsz, self.imgsz), rng)
        return self._part(index, warp @ scaling(ratio, ratio, 0, 0))

    def _part(self, index: int, matrix: NDArray[np.float64]) -> Part:
        dataset = self.pictures.dataset
        boxes, labels, ignore = dataset.columns(index)
        return Part(self.pictures[index], dataset.size(index), Truth(boxes.astype(np.float64), labels, ignore), matrix)

    def _letterboxed(self, part: Part) -> tuple[Canvas, Placement]:
        """As prediction places pictures; the scale is that of the full-size picture."""
        size, factor, shape = (self.imgsz, self.imgsz), part.picture.factor, part.picture.shape
        pixels, placement = letterbox(part.picture.pixels, size)
        canvas = Canvas(pixels, None if shape is None else letterbox(shape, size, fill=0)[0])
        if factor == 1:
            return canvas, placement
        scale = (placement.scale[0] / factor, placement.scale[1] / factor)
        return canvas, Placement(scale, placement.offset, part.size)


def _rendered(parts: Sequence[Part], size: Size) -> Canvas:
    shapes = [part for part in map(shape_part, parts) if part is not None]
    return Canvas(render(parts, size), render(shapes, size, fill=0) if shapes else None)


def _mixed(first: Canvas, second: Canvas, weight: float) -> Canvas:
    shape = None if first.shape is None or second.shape is None else np.maximum(first.shape, second.shape)
    return Canvas(blend(first.pixels, second.pixels, weight), shape)


def _unplaced(size: Size) -> Placement:
    return Placement((1.0, 1.0), (0.0, 0.0), size)
