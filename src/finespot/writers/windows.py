"""Where a network on windows looked: its heat map and its windows on the picture, with what was found."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image as Pillow
from PIL import ImageDraw

from finespot.structures import Boxes, Detections
from finespot.writers.atomic import make_folder, write_atomic
from finespot.writers.drawings import Pixels, auto_line_width, write_drawing
from finespot.writers.heat import Heat, heat_picture
from finespot.writers.naming import Names

_COLOR = (60, 255, 120)


class Looked(NamedTuple):
    """Of one picture: heat (H, W) 0 to 1, windows (K, 4) xyxy in its pixels, and figures for the file."""

    heat: Heat
    windows: Boxes
    figures: Mapping[str, Any]


def window_picture(
    pixels: Pixels, heat: Heat, windows: Boxes, found: Detections, line_width: int | None = None, labels: bool = True
) -> Pixels:
    """The picture tinted by `heat`, with windows in green, twice as thick as boxes; below it how many there are.

    The hottest tint is that of a probability of 1, so a map that says the same everywhere does not hide the picture.
    """
    title = f"{len(windows)} windows, {len(found)} found: heat of the seeker"
    page = Pillow.fromarray(heat_picture(pixels, heat, found, title, line_width, labels, 1.0))
    pen = ImageDraw.Draw(page)
    thick = 2 * (line_width or auto_line_width((pixels.shape[0], pixels.shape[1])))
    for x1, y1, x2, y2 in np.round(windows).astype(np.int64).tolist():
        pen.rectangle((x1, y1, max(x1, x2 - 1), max(y1, y2 - 1)), outline=_COLOR, width=thick)
    return np.asarray(page)


class FigureWriter:
    """`windows.json`: the figures of each picture, or frame of a video, of which nothing is drawn.

    `figures` gives those of the picture that is written.
    """

    needs_pixels = False

    def __init__(self, figures: Callable[[], Mapping[str, Any]]) -> None:
        self.figures = figures
        self._rows: list[dict[str, Any]] = []

    def open(self, folder: str | Path, names: Names | None = None) -> None:
        """Begin a table."""
        self._table = Path(folder) / "windows.json"
        self._rows = []

    def write(self, detections: Detections, pixels: Pixels | None) -> None:
        """Note the figures of one picture."""
        self._rows.append({"picture": detections.source, **self.figures()})

    def close(self) -> Path:
        """Write the table."""
        return write_atomic(self._table, json.dumps(self._rows, indent=1).encode())


class WindowWriter:
    """`windows/<picture>.jpg`, and `windows.json` with the figures of each picture.

    `look` gives where the network looked in the picture that is written.
    """

    needs_pixels = True

    def __init__(
        self,
        look: Callable[[], Looked],
        line_width: int | None = None,
        labels: bool = True,
        extension: str = "jpg",
    ) -> None:
        self.look, self.line_width, self.labels, self.extension = look, line_width, labels, extension
        self._figures = FigureWriter(lambda: self._looked.figures)

    def open(self, folder: str | Path, names: Names | None = None) -> None:
        """Make the folder `windows`."""
        self._figures.open(folder)
        self._folder = make_folder(Path(folder) / "windows")
        self._names = names or Names()

    def write(self, detections: Detections, pixels: Pixels | None) -> None:
        """Draw one picture."""
        if pixels is None:
            raise ValueError("WindowWriter.write needs the picture's pixels")
        self._looked = self.look()
        heat, windows, _ = self._looked
        name = self._names.of(detections.source)
        drawn = window_picture(pixels, heat, windows, detections, self.line_width, self.labels)
        write_drawing(self._folder / f"{name}.{self.extension}", drawn)
        self._figures.write(detections, None)

    def close(self) -> Path:
        """Write the figures; the folder of the drawings."""
        self._figures.close()
        return self._folder
