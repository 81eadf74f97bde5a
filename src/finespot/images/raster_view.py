"""A raster as the network is to see it: uint8 RGB, at another scale where asked for, any window of it.

More than 8 bits are stretched by percentiles that hold for all of the raster, so equal values stay equal. Pixels
without data are painted in the gray of padding. At a scale below a half, whole groups of pixels are averaged first, in
strips, so that no window needs more memory than its result; what is left is resampled as pictures are, from pixels of
the raster that reach over the window's edge: a window shows what it would show in the raster resampled as a whole.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from finespot.errors import FineSpotError
from finespot.images.letterbox import PADDING
from finespot.images.raster import Raster, Samples
from finespot.images.resize import reduce, resample, to_rgb8
from finespot.structures import Size, Window

# Pixels of the raster that are decoded at once where they are averaged.
_STRIP = 4 << 20


@dataclass(frozen=True)
class Stretch:
    """What becomes 0 and what becomes 255, for each band that is read; linear between."""

    low: tuple[float, ...]
    high: tuple[float, ...]

    def __call__(self, samples: Samples) -> NDArray[np.uint8]:
        """Samples (h, w, bands) as uint8."""
        low = np.array(self.low, np.float32)
        factor = np.float32(255) / (np.array(self.high, np.float32) - low)
        with np.errstate(invalid="ignore"):  # NaN is painted over afterwards
            scaled = np.nan_to_num((samples.astype(np.float32) - low) * factor)
        stretched: NDArray[np.uint8] = np.rint(np.clip(scaled, 0, 255)).astype(np.uint8)
        return stretched


def stretch_of(raster: Raster, asked: str | None = None) -> tuple[Stretch | None, list[str]]:
    """How samples become 8 bits, and a note on it; None: as they are, or linear from the type's full range.

    `asked` is `none`, percentiles as `2,98`, or values as `0:3000`. By default 8 bits stay, and others go from the 2nd
    to the 98th percentile of a sample of the raster, band by band.

    Raises
    ------
    FineSpotError
        The text is something else, the type has no full range, or the sample holds no data.
    """
    if asked == "none" or (asked is None and raster.dtype == np.uint8) or raster.palette is not None:
        if raster.dtype not in (np.uint8, np.uint16):
            raise FineSpotError(
                f"expected a stretch for samples of {raster.dtype}, which have no full range",
                where="stretch",
                hint="such as 2,98 (percentiles) or 0:3000 (values)",
            )
        return None, []
    first, second, values = _limits("2,98" if asked is None else asked)
    count = len(raster.bands)
    if values:
        return Stretch((first,) * count, (second,) * count), []
    samples, valid = raster.sample()
    kept = samples.reshape(-1, count) if valid is None else samples[valid]
    kept = kept[np.isfinite(kept).all(1)]
    if not len(kept):
        what = "expected data but a sample of the raster, spread over all of it, holds nothing but nodata"
        raise FineSpotError(what, where=raster.path, hint="give values, such as --stretch 0:3000")
    low, high = np.percentile(kept.astype(np.float64), (first, second), axis=0)
    high = np.where(high > low, high, low + 1)
    made = Stretch(tuple(low.tolist()), tuple(high.tolist()))
    shown = ", ".join(f"{one:g} to {two:g}" for one, two in zip(made.low, made.high))
    share = f"from percentile {first:g} to {second:g}"
    return made, [f"{raster.dtype} samples are stretched to 8 bits {share} of a sample: {shown}"]


def _limits(text: str) -> tuple[float, float, bool]:
    """The two numbers of `2,98` or `0:3000`, and whether they are values (else percentiles)."""
    values = ":" in text
    try:
        low, high = (float(part) for part in text.split(":" if values else ","))
    except ValueError:
        low, high = math.nan, math.nan
    if not low < high or math.isinf(high - low) or (not values and not 0 <= low < high <= 100):
        raise FineSpotError(
            f"expected none, two percentiles as 2,98, or two rising values as 0:3000 but got '{text}'", where="stretch"
        )
    return low, high, values


class RasterView:
    """A raster at a scale.

    Parameters
    ----------
    scale:
        (y, x): pixels of the view to one of the raster.
    stretch:
        See `stretch_of`.

    Attributes
    ----------
    size:
        (height, width) of the view; `raster.size`, where the scale is 1, is read without resampling.
    """

    def __init__(self, raster: Raster, scale: tuple[float, float] = (1.0, 1.0), stretch: Stretch | None = None) -> None:
        if not all(math.isfinite(one) and one > 0 for one in scale):
            raise FineSpotError(f"expected a scale above 0 but got {scale}", where=raster.path)
        self.raster, self.stretch = raster, stretch
        height, width = (max(1, round(side * one)) for side, one in zip(raster.size, scale))
        self.size: Size = (height, width)
        # What one pixel of the view is in the raster, and in groups of pixels that are averaged first.
        self.step = (raster.size[0] / height, raster.size[1] / width)
        self._group = (max(1, int(self.step[0] + 1e-9)), max(1, int(self.step[1] + 1e-9)))

    def to_raster(self, boxes: NDArray[np.float32]) -> NDArray[np.float64]:
        """Boxes xyxy of the view in pixels of the raster."""
        down, across = self.step
        moved: NDArray[np.float64] = boxes.astype(np.float64) * np.array([across, down, across, down])
        return moved

    def read(self, window: Window) -> tuple[NDArray[np.uint8], bool]:
        """Pixels (h, w, 3) of `window` (x1, y1, x2, y2), whole pixels of the view; whether any of them holds data."""
        if self.size == self.raster.size:
            return self._painted(window)
        x1, y1, x2, y2 = window
        spans = [_span(*one) for one in zip((y1, x1), (y2, x2), self.step, self._group, self.raster.size)]
        (top, bottom, *high), (left, right, *wide) = ((s.first, s.last, s.start, s.end) for s in spans)
        pixels, some = self._grouped(top, bottom, left, right)
        return resample(pixels, (y2 - y1, x2 - x1), (wide[0], high[0], wide[1], high[1])), some

    def picture(self, side: int = 2000) -> NDArray[np.uint8]:
        """All of the raster (h, w, 3), its longer side `side` pixels at most; from an overview where there is one."""
        factor = min(1.0, side / max(self.raster.size))
        overview = self.raster.overview(1 / factor)
        source = overview or self.raster
        scale = tuple(max(1, round(own * factor)) / there for own, there in zip(self.raster.size, source.size))
        try:
            view = RasterView(source, (scale[0], scale[1]), self.stretch)
            return view.read((0, 0, view.size[1], view.size[0]))[0]
        finally:
            if overview is not None:
                overview.close()

    def _grouped(self, top: int, bottom: int, left: int, right: int) -> tuple[NDArray[np.uint8], bool]:
        """Groups of pixels averaged, from (left, top) to (right, bottom), counted in groups."""
        (down, across), (height, width) = self._group, self.raster.size
        x1, x2 = left * across, min(right * across, width)
        step = max(1, _STRIP // max(1, (x2 - x1) * down))
        strips, some = [], False
        for first in range(top, bottom, step):
            y1, y2 = first * down, min(min(first + step, bottom) * down, height)
            pixels, held = self._painted((x1, y1, x2, y2))
            strips.append(reduce(pixels, (across, down)))
            some |= held
        return strips[0] if len(strips) == 1 else np.concatenate(strips), some

    def _painted(self, window: Window) -> tuple[NDArray[np.uint8], bool]:
        samples, valid = self.raster.read(window)
        if valid is not None and not valid.any():
            return np.full((*samples.shape[:2], 3), PADDING, np.uint8), False
        pixels = self._eight_bits(samples)
        if valid is not None:
            pixels = pixels if pixels.flags.writeable and pixels is not samples else pixels.copy()
            pixels[~valid] = PADDING
        return pixels, True

    def _eight_bits(self, samples: Samples) -> NDArray[np.uint8]:
        if self.raster.palette is not None:
            colors: NDArray[np.uint8] = self.raster.palette[samples[..., 0]]
            return colors
        if self.stretch is not None:
            return to_rgb8(self.stretch(samples))
        return to_rgb8(samples, self.raster.bits)


@dataclass(frozen=True)
class _Span:
    """Along one axis: groups `first` to `last` are read, of which `start` to `end`, in groups, are resampled."""

    first: int
    last: int
    start: float
    end: float


def _span(low: int, high: int, step: float, group: int, length: int) -> _Span:
    """What of an axis of `length` pixels, in groups, makes the pixels `low` to `high` of the view."""
    count = -(-length // group)
    # Along the far edge, the last group may hold fewer pixels than the others.
    start, end = low * step / group, min(high * step / group, count)
    margin = math.ceil(max(1.0, step / group)) + 1
    first, last = max(0, math.floor(start) - margin), min(count, math.ceil(end) + margin)
    return _Span(first, last, start - first, end - first)
