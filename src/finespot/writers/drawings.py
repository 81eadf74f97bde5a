"""Boxes drawn on pictures so that objects of 8 pixels stay visible.

The line runs outside the box (a 2 px frame inside an 8 px object would leave 4 px of it), with a thin dark seam on
bright ground. A label goes where it covers no box and no other label; where there is no such place near the
box, it is left out: the color says the class. Drawn without smoothing: a pixel is a pixel.
"""

from __future__ import annotations

import colorsys
import io
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image as Pillow
from PIL import ImageDraw, ImageFont

from finespot.errors import FineSpotError
from finespot.structures import ANY_CLASS, Annotations, Boxes, Classes, Detections, Size
from finespot.writers.atomic import make_folder, write_atomic
from finespot.writers.naming import Names

Color = tuple[int, int, int]
Pixels = NDArray[np.uint8]
Frame = tuple[int, int, int, int, int]

# The first classes by hand: bright, far apart in hue, told apart on gray thermal pictures, asphalt and grass.
_FIRST: tuple[Color, ...] = (
    (255, 64, 64),
    (0, 210, 255),
    (255, 200, 0),
    (90, 255, 90),
    (255, 90, 235),
    (255, 140, 0),
    (90, 140, 255),
    (190, 255, 0),
    (180, 100, 255),
    (0, 255, 190),
)
_IGNORED: Color = (200, 200, 200)
_SEAM: Color = (0, 0, 0)
# How drawings are written: Pillow's format and options. Full color resolution: halved, a line of one pixel loses its
# color.
FORMATS: dict[str, tuple[str, dict[str, Any]]] = {
    "jpg": ("JPEG", {"quality": 92, "subsampling": 0}),
    "png": ("PNG", {}),
}
_LONGEST_JPEG = 65_500


def palette(count: int) -> list[Color]:
    """A color for each of `count` classes, all different; the first ten are chosen, the rest go round the hues."""
    colors = list(_FIRST[:count])
    number = 0
    while len(colors) < count:
        # The golden ratio spreads any number of hues evenly; brightness and strength in turns tell neighbors apart.
        hue, strength, value = (number * 0.618034) % 1, (0.55, 0.85)[number % 2], (1.0, 0.8, 0.62)[number % 3]
        red, green, blue = colorsys.hsv_to_rgb(hue, strength, value)
        color = (round(red * 255), round(green * 255), round(blue * 255))
        if color not in colors:
            colors.append(color)
        number += 1
    return colors


def auto_line_width(size: Size) -> int:
    """One pixel up to about 1,000 px of mean side, two at 2,000 and so on."""
    return max(1, round((size[0] + size[1]) / 2 / 1000))


def draw(
    pixels: Pixels,
    found: Detections | Annotations,
    classes: Classes | None = None,
    line_width: int | None = None,
    labels: bool = True,
) -> Pixels:
    """A copy of uint8 RGB `pixels` (H, W, 3) with boxes and, where they cover nothing, labels.

    Parameters
    ----------
    found:
        Detections (label with the score) or the truth (label without; ignore regions gray, with dashed lines).
    classes:
        Class names; those of the detections where left out.
    line_width:
        Pixels; by default from the picture's size (`auto_line_width`), thinner around objects of a few pixels.
    labels:
        Write class names at all.
    """
    if line_width is not None and line_width < 1:
        raise FineSpotError(f"expected a line width of 1 or more but got {line_width}", where="line_width")
    if classes is None:
        if not isinstance(found, Detections):
            raise ValueError("the truth carries no class names: give classes")
        classes = found.classes
    size: Size = (pixels.shape[0], pixels.shape[1])
    picture = Pillow.fromarray(np.ascontiguousarray(pixels))
    pen = ImageDraw.Draw(picture)
    order = _drawing_order(found)
    colors = palette(len(classes))
    ignore = found.ignore if isinstance(found, Annotations) else np.zeros(len(found), bool)
    frames = [_frame(box, size, line_width) for box in found.boxes]
    # All seams first: a seam drawn later would cut the colored line of a neighbor.
    for row in order:
        if not ignore[row]:
            x1, y1, x2, y2, _ = frames[row]
            pen.rectangle((x1 - 1, y1 - 1, x2, y2), outline=_SEAM)
    for row in order:
        x1, y1, x2, y2, width = frames[row]
        if ignore[row]:
            _dashes(pen, frames[row], _IGNORED, 4 * frames[row][4])
        else:
            pen.rectangle((x1, y1, x2 - 1, y2 - 1), outline=colors[int(found.labels[row])], width=width)
    if labels:
        outer = np.array([frame[:4] for frame in frames], np.float64).reshape(-1, 4)
        _write_labels(pen, found, classes, colors, outer, order[::-1], size)
    return np.asarray(picture)


class Stroke(NamedTuple):
    """How the frames of one kind run: kinds differ by pattern too, for those who see no color.

    `width` is that of the line, `gap` what stays free between box and line, both in pixels.
    """

    color: Color
    pattern: Literal["solid", "dashed", "dotted", "corners"] = "solid"
    width: int = 1
    gap: int = 0


def outline(pixels: Pixels, layers: Sequence[tuple[ArrayLike, Stroke]]) -> Pixels:
    """A copy of uint8 RGB `pixels` (H, W, 3) with frames around boxes (N, 4), xyxy, kind by kind.

    A later kind is drawn over an earlier one. Boxes that lie outside the pixels are left out; frames of those that
    reach beyond them end at the edge.
    """
    picture = Pillow.fromarray(np.ascontiguousarray(pixels))
    pen = ImageDraw.Draw(picture)
    size: Size = (pixels.shape[0], pixels.shape[1])
    for boxes, stroke in layers:
        for box in np.asarray(boxes, np.float32).reshape(-1, 4):
            if box[2] >= 0 and box[3] >= 0 and box[0] <= size[1] and box[1] <= size[0]:
                widened = box + np.array([-1, -1, 1, 1], np.float32) * stroke.gap
                _stroke(pen, _frame(widened, size, stroke.width), stroke)
    return np.asarray(picture)


def side_by_side(
    pixels: Pixels,
    truth: Annotations,
    detections: Detections,
    classes: Classes | None = None,
    line_width: int | None = None,
    labels: bool = True,
) -> Pixels:
    """The picture twice: the truth on the left, what was found on the right, with a title line."""
    classes = classes or detections.classes
    gap = np.full((pixels.shape[0], max(2, pixels.shape[1] // 200), 3), 255, np.uint8)
    left = draw(pixels, truth, classes, line_width, labels)
    right = draw(pixels, detections, classes, line_width, labels)
    joined = np.concatenate([left, gap, right], axis=1)
    font = font_of(max(12, pixels.shape[0] // 40))
    high = int(font.getbbox("Ag")[3]) + 6
    page = Pillow.new("RGB", (joined.shape[1], joined.shape[0] + high), (255, 255, 255))
    page.paste(Pillow.fromarray(joined), (0, high))
    pen = ImageDraw.Draw(page)
    pen.text((4, 2), f"truth: {int((~truth.ignore).sum())}", fill=(0, 0, 0), font=font)
    pen.text((left.shape[1] + gap.shape[1] + 4, 2), f"found: {len(detections)}", fill=(0, 0, 0), font=font)
    return np.asarray(page)


def grid(
    images: Sequence[Pixels],
    found: Sequence[Detections | Annotations],
    classes: Classes,
    columns: int | None = None,
    line_width: int | None = None,
    labels: bool = False,
) -> Pixels:
    """Pictures (H, W, 3) in rows, each with its boxes, with a white line between them: a training batch to look at.

    Smaller pictures stand at the top left of their cell. `columns` defaults to about the root of the count.
    """
    if len(images) != len(found) or not images:
        raise ValueError(f"expected as many pictures as truths, at least one, but got {len(images)} and {len(found)}")
    columns = columns or int(np.ceil(np.sqrt(len(images))))
    rows = -(-len(images) // columns)
    high, wide = max(p.shape[0] for p in images), max(p.shape[1] for p in images)
    gap = 2
    page = np.full((rows * (high + gap) - gap, columns * (wide + gap) - gap, 3), 255, np.uint8)
    for number, (pixels, one) in enumerate(zip(images, found)):
        top, left = number // columns * (high + gap), number % columns * (wide + gap)
        drawn = draw(pixels, one, classes, line_width, labels)
        page[top : top + drawn.shape[0], left : left + drawn.shape[1]] = drawn
    return page


def write_drawing(path: Path, pixels: Pixels) -> Path:
    """Write uint8 RGB (H, W, 3) in one step, as the path's suffix says (of `FORMATS`); returns the path.

    Raises
    ------
    FineSpotError
        A JPEG cannot be so large, or the file cannot be written.
    """
    kind, options = FORMATS[path.suffix[1:]]
    if kind == "JPEG" and max(pixels.shape[:2]) > _LONGEST_JPEG:
        raise FineSpotError(
            f"expected sides of {_LONGEST_JPEG} px at most for a JPEG but got {pixels.shape[1]}x{pixels.shape[0]}",
            where=path,
            hint="write png instead",
        )
    stream = io.BytesIO()
    Pillow.fromarray(pixels).save(stream, kind, **options)
    return write_atomic(path, stream.getvalue(), sync=False)


class DrawingWriter:
    """`<picture>.jpg` (quality 92) or `.png` with what was found drawn in."""

    needs_pixels = True

    def __init__(self, line_width: int | None = None, labels: bool = True, extension: str = "jpg") -> None:
        if extension not in FORMATS:
            raise FineSpotError(f"expected jpg or png but got '{extension}'", where="extension")
        self.line_width, self.labels, self.extension = line_width, labels, extension

    def open(self, folder: str | Path, names: Names | None = None) -> None:
        """Make the folder."""
        self._folder = make_folder(folder)
        self._names = names or Names()

    def write(self, detections: Detections, pixels: Pixels | None) -> None:
        """Draw one picture."""
        if pixels is None:
            raise ValueError("DrawingWriter.write needs the picture's pixels")
        name = f"{self._names.of(detections.source)}.{self.extension}"
        write_drawing(self._folder / name, draw(pixels, detections, None, self.line_width, self.labels))

    def close(self) -> Path:
        """The folder of the drawn pictures."""
        return self._folder


def _drawing_order(found: Detections | Annotations) -> list[int]:
    """Large first, so that a small box is never under a large one; among equals the better score last."""
    sides = found.boxes[:, 2:] - found.boxes[:, :2]
    scores = found.scores if isinstance(found, Detections) else np.zeros(len(found))
    return [int(row) for row in np.lexsort((scores, -sides.prod(axis=1)))]


def _frame(box: Boxes, size: Size, line_width: int | None) -> Frame:
    """Where the frame around a box runs: its outermost pixels, right and bottom exclusive, and its line width."""
    width = line_width or max(1, min(auto_line_width(size), int(min(box[2] - box[0], box[3] - box[1])) // 8))
    x1, y1, x2, y2 = int(np.floor(box[0])), int(np.floor(box[1])), int(np.ceil(box[2])), int(np.ceil(box[3]))
    # The line lies just outside the object, except where the picture ends.
    x1, y1 = max(0, x1 - width), max(0, y1 - width)
    x2, y2 = min(size[1], max(x2 + width, x1 + 1)), min(size[0], max(y2 + width, y1 + 1))
    return x1, y1, x2, y2, width


def _stroke(pen: ImageDraw.ImageDraw, frame: Frame, stroke: Stroke) -> None:
    x1, y1, x2, y2, width = frame
    if stroke.pattern == "corners":
        _corners(pen, frame, stroke.color)
        return
    pen.rectangle((x1 - 1, y1 - 1, x2, y2), outline=_SEAM)
    if stroke.pattern == "solid":
        pen.rectangle((x1, y1, x2 - 1, y2 - 1), outline=stroke.color, width=width)
        return
    # What shows between dashes is dark, so that they are seen on ground of any color.
    pen.rectangle((x1, y1, x2 - 1, y2 - 1), outline=_SEAM, width=width)
    _dashes(pen, frame, stroke.color, (4 if stroke.pattern == "dashed" else 2) * width)


def _corners(pen: ImageDraw.ImageDraw, frame: Frame, color: Color) -> None:
    """The corners of a frame only, a third of each side, with a seam around them."""
    x1, y1, x2, y2, width = frame
    wide, high = max(width, (x2 - x1) // 3), max(width, (y2 - y1) // 3)
    lefts = ((x1, x1 + wide, x1, x1 + width), (x2 - wide, x2, x2 - width, x2))
    tops = ((y1, y1 + width, y1, y1 + high), (y2 - width, y2, y2 - high, y2))
    bars = [
        bar
        for across_from, across_to, down_from, down_to in lefts
        for top, top_to, side, side_to in tops
        for bar in ((across_from, top, across_to, top_to), (down_from, side, down_to, side_to))
    ]
    for grown, shown in ((1, _SEAM), (0, color)):
        for left, top, right, bottom in bars:
            pen.rectangle((left - grown, top - grown, right - 1 + grown, bottom - 1 + grown), fill=shown)


def _dashes(pen: ImageDraw.ImageDraw, frame: Frame, color: Color, dash: int) -> None:
    x1, y1, x2, y2, width = frame
    for x in range(x1, x2, 2 * dash):
        end = min(x + dash, x2) - 1
        pen.rectangle((x, y1, end, y1 + width - 1), fill=color)
        pen.rectangle((x, y2 - width, end, y2 - 1), fill=color)
    for y in range(y1, y2, 2 * dash):
        end = min(y + dash, y2) - 1
        pen.rectangle((x1, y, x1 + width - 1, end), fill=color)
        pen.rectangle((x2 - width, y, x2 - 1, end), fill=color)


def _write_labels(
    pen: ImageDraw.ImageDraw,
    found: Detections | Annotations,
    classes: Classes,
    colors: list[Color],
    outer: NDArray[np.float64],
    order: list[int],
    size: Size,
) -> None:
    """Labels in `order` (small objects first) at the first place around the box that covers nothing."""
    # Grows with the root of the side: objects in large pictures are not larger, there are more of them.
    font = font_of(max(10, round(0.42 * ((size[0] + size[1]) / 2) ** 0.5)))
    taken = outer.copy()
    for row in order:
        label = int(found.labels[row])
        if label == ANY_CLASS or (isinstance(found, Annotations) and found.ignore[row]):
            continue
        text = classes[label]
        if isinstance(found, Detections):
            text = f"{text} {found.scores[row]:.2f}"
        left, top, right, bottom = (int(v) for v in font.getbbox(text))
        wide, high = right - left + 4, bottom - top + 4
        spot = _free_spot(outer[row], wide, high, size, taken)
        if spot is None:
            continue
        x, y = spot
        color = colors[label]
        pen.rectangle((x, y, x + wide - 1, y + high - 1), fill=color)
        bright = 0.299 * color[0] + 0.587 * color[1] + 0.114 * color[2] > 140
        pen.text((x + 2 - left, y + 2 - top), text, fill=(0, 0, 0) if bright else (255, 255, 255), font=font)
        taken = np.concatenate([taken, [[x, y, x + wide, y + high]]])


def _free_spot(
    box: NDArray[np.float64], wide: int, high: int, size: Size, taken: NDArray[np.float64]
) -> tuple[int, int] | None:
    x1, y1, x2, y2 = (int(v) for v in box)
    spots = [
        (x1, y1 - high - 1),
        (x1, y2 + 1),
        (x2 - wide, y1 - high - 1),
        (x2 - wide, y2 + 1),
        (x2 + 1, y1),
        (x1 - wide - 1, y1),
    ]
    for x, y in spots:
        if x < 0 or y < 0 or x + wide > size[1] or y + high > size[0]:
            continue
        touches = (taken[:, 0] < x + wide) & (taken[:, 2] > x) & (taken[:, 1] < y + high) & (taken[:, 3] > y)
        if not touches.any():
            return x, y
    return None


@lru_cache(maxsize=16)
def font_of(size: int) -> Any:
    """The font of labels and titles, at a size in pixels."""
    return ImageFont.load_default(size)
