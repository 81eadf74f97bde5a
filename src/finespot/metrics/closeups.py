"""A picture with what was found, missed and invented in it, drawn so that objects of a few pixels can be judged.

The part with most errors is shown magnified by whole pixels; where that is not all of the picture, the whole stands
beside it, small, with a frame where the part lies. Kinds differ in color and in the pattern of their lines.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from finespot.boxes import xywh_to_xyxy
from finespot.errors import FineSpotError
from finespot.images import to_rgb8
from finespot.metrics.tables import Results, Truth
from finespot.metrics.worst import Failure
from finespot.structures import Image, Size, Window
from finespot.writers import Stroke, View, outline, view, window_around
from finespot.writers.html import jpeg

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float64]

# What a found object, a missed one, a false positive and an ignored object look like, in the order of drawing.
STROKES: dict[str, Stroke] = {
    "ignored": Stroke((255, 255, 255), "dotted", 1),
    "found": Stroke((0, 210, 255), "solid", 1),
    "missed": Stroke((255, 200, 0), "dashed", 2),
    "false": Stroke((255, 70, 220), "corners", 2, gap=3),
}
_PART_PX, _WHOLE_PX = 560, 360
_MOST_TIMES = 8
# The side that a usual error is magnified to, in pixels.
_READABLE_PX = 40
_HERE = Stroke((255, 255, 255), "solid", 1)
_QUALITIES = (90, 80, 65, 50, 35, 20)


def closeup(
    image: Image, truth: Truth, results: Results, failure: Failure, about: str, most_bytes: int
) -> tuple[tuple[bytes, ...], str]:
    """One or two JPEG files, and what they show in words.

    Each has half of `most_bytes` at most, or as little as the lowest quality gives.

    `about` is the kind of error, `missed` or `false`, that the part is chosen for.

    Raises
    ------
    FineSpotError
        The picture cannot be read, or has another size than the truth says.
    """
    if truth.sizes is not None and tuple(truth.sizes[failure.image].tolist()) != image.size:
        height, width = truth.sizes[failure.image]
        raise FineSpotError(
            f"expected {width}x{height} pixels as in the truth but got {image.size[1]}x{image.size[0]}",
            where=image.path,
        )
    pixels = to_rgb8(image.read(None), image.bit_depth)
    regions = truth.regions.joined(truth.others)
    layers = {
        "ignored": _corners(truth.boxes[failure.ignored], regions.boxes[regions.image == failure.image]),
        "found": _corners(truth.boxes[failure.found]),
        "missed": _corners(truth.boxes[failure.missed]),
        "false": _corners(results.boxes[failure.false]),
    }
    window = where(image.size, layers[about])
    part = view(pixels, window, _PART_PX, _MOST_TIMES)
    shown = [_drawn(part, layers)]
    whole = window == (0, 0, image.size[1], image.size[0])
    if not whole:
        small = view(pixels, None, _WHOLE_PX)
        thin = {name: stroke._replace(width=1, gap=0) for name, stroke in STROKES.items()}
        overview = _drawn(small, layers, thin)
        shown.append(outline(overview, [(small.boxes(window), _HERE)]))
    words = [] if whole else [f"x {window[0]} to {window[2]}, y {window[1]} to {window[3]}"]
    if part.scale[0] > 1:
        words.append(f"magnified {part.scale[0]:g} times")
    return tuple(_jpeg(one, most_bytes // 2) for one in shown), ", ".join(words)


def where(size: Size, errors: Floats) -> Window:
    """The window with most of the errors (N, 4), xyxy, N above 0, at which a usual one of them is readable."""
    sides = np.sqrt(np.maximum((errors[:, 2:] - errors[:, :2]).prod(axis=1), 1))
    times = int(np.clip(np.ceil(_READABLE_PX / np.median(sides)), 1, _MOST_TIMES))
    side = _PART_PX // times
    if max(size) <= side:
        return 0, 0, size[1], size[0]
    centers = np.clip((errors[:, :2] + errors[:, 2:]) / 2, 0, [size[1], size[0]])
    starts = np.clip(centers - side / 2, 0, np.maximum(0, [size[1] - side, size[0] - side]))
    inside = np.all((starts[:, None] <= centers) & (centers <= starts[:, None] + side), axis=2)
    own = centers[inside[inside.sum(axis=1).argmax()]]
    x, y = (own.min(axis=0) + own.max(axis=0)) / 2
    return window_around((float(x), float(y)), side, size)


def swatch(name: str) -> Pixels:
    """What a frame of one of `STROKES` looks like."""
    return outline(np.full((48, 64, 3), 96, np.uint8), [([[16, 10, 48, 38]], STROKES[name])])


def _drawn(part: View, layers: dict[str, Floats], strokes: dict[str, Stroke] = STROKES) -> Pixels:
    return outline(part.pixels, [(part.boxes(layers[name]), stroke) for name, stroke in strokes.items()])


def _corners(*boxes: Floats) -> Floats:
    corners: Floats = xywh_to_xyxy(np.concatenate(boxes))
    return corners


def _jpeg(pixels: Pixels, most_bytes: int) -> bytes:
    data = b""
    for quality in _QUALITIES:
        data = jpeg(pixels, quality)
        if len(data) <= most_bytes:
            break
    return data
