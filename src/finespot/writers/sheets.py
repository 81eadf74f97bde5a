"""One picture several times, each with what somebody found in it: panels in rows, a title over each, a legend below.

Panels keep their order and a class its color from sheet to sheet. Large pictures are shrunk before boxes are drawn, so
that lines stay a pixel wide.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from PIL import Image as Pillow
from PIL import ImageDraw

from finespot import images
from finespot.structures import ANY_CLASS, Annotations, Classes, Detections
from finespot.writers.drawings import Pixels, draw, font_of, palette

# The longest side of a panel, in pixels.
PANEL = 960
_GAP = 4
_BLACK, _WHITE = (0, 0, 0), (255, 255, 255)
_CUT = "..."

Shown = Detections | Annotations | None


def sheet(
    pixels: Pixels,
    panels: Mapping[str, Shown],
    classes: Classes,
    *,
    columns: int | None = None,
    side: int = PANEL,
    line_width: int | None = None,
    labels: bool = True,
) -> Pixels:
    """A page (H, W, 3) of the picture with each of `panels`, by title.

    Parameters
    ----------
    panels:
        What stands in each panel, labels of `classes`; detections are counted in the title, objects of a truth too
        (without ignore regions), and None is said to be not there.
    columns:
        Panels in a row; by default three at most stand in one row, more in about as many rows as columns.
    side:
        Longest side of a panel in pixels; 0 leaves pictures as they are.
    line_width, labels:
        See `draw`.
    """
    if not panels:
        raise ValueError("expected at least one panel")
    scaled = _shrunk(pixels, side)
    high, wide = scaled.shape[:2]
    columns = min(columns or (len(panels) if len(panels) <= 3 else math.ceil(math.sqrt(len(panels)))), len(panels))
    rows = -(-len(panels) // columns)
    font = font_of(max(12, min(high, wide) // 40))
    line = int(font.getbbox("Ag")[3]) + 6
    width = columns * (wide + _GAP) - _GAP
    legend = _legend(panels.values(), classes, font, width)
    top_of_legend = rows * (line + high + _GAP)
    page = Pillow.new("RGB", (width, top_of_legend + line * len(legend)), _WHITE)
    pen = ImageDraw.Draw(page)
    for number, (title, shown) in enumerate(panels.items()):
        top, left = number // columns * (line + high + _GAP), number % columns * (wide + _GAP)
        drawn = scaled
        if shown is not None:
            drawn = draw(scaled, _moved(shown, pixels.shape[:2], (high, wide)), classes, line_width, labels)
        page.paste(Pillow.fromarray(np.ascontiguousarray(drawn)), (left, top + line))
        pen.text((left + 4, top + 2), _fitted(title, _count(shown), font, wide - 8), fill=_BLACK, font=font)
    colors = palette(len(classes))
    for number, entries in enumerate(legend):
        top = top_of_legend + number * line
        for label, left in entries:
            pen.rectangle((left, top + 4, left + line - 8, top + line - 4), fill=colors[label], outline=_BLACK)
            pen.text((left + line - 3, top + 2), classes[label], fill=_BLACK, font=font)
    return np.asarray(page)


def _shrunk(pixels: Pixels, side: int) -> Pixels:
    height, width = pixels.shape[:2]
    if side == 0 or max(height, width) <= side:
        return pixels
    factor = side / max(height, width)
    return images.resize(pixels, (max(1, round(height * factor)), max(1, round(width * factor))))


def _moved(shown: Detections | Annotations, size: Sequence[int], target: tuple[int, int]) -> Detections | Annotations:
    """Boxes of a picture of `size` in one of `target` (height, width)."""
    (height, width), (high, wide) = size, target
    scale = np.array([wide / width, high / height, wide / width, high / height], np.float32)
    return replace(shown, boxes=shown.boxes * scale, size=target)


def _count(shown: Shown) -> str:
    if shown is None:
        return "none given"
    return f"{int((~shown.ignore).sum())} objects" if isinstance(shown, Annotations) else f"{len(shown)} found"


def _fitted(title: str, count: str, font: Any, width: int) -> str:
    """`title: count`, the end of the title left out where it is too wide."""
    text, kept = f"{title}: {count}", len(title)
    while kept and font.getlength(text) > width:
        kept -= 1
        text = f"{title[:kept]}{_CUT}: {count}"
    return text


def _legend(shown: Iterable[Shown], classes: Classes, font: Any, width: int) -> list[list[tuple[int, int]]]:
    """Lines of (label, left edge) of the classes that occur."""
    labels = {int(label) for one in shown if one is not None for label in np.unique(one.labels)}
    lines: list[list[tuple[int, int]]] = []
    left = 4
    square = int(font.getbbox("Ag")[3]) + 3
    for label in sorted(labels - {ANY_CLASS}):
        wide = square + int(font.getlength(classes[label])) + 16
        if not lines or left + wide > width:
            lines.append([])
            left = 4
        lines[-1].append((label, left))
        left += wide
    return lines
