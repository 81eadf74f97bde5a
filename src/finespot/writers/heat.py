"""Heat maps over pictures: what is cold stays as it is, what is hot is tinted, detections stand on top.

Heat runs from 0 to a number that the bar below the picture says: 1 for probabilities, else its own maximum.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow
from PIL import ImageDraw

from finespot.errors import FineSpotError
from finespot.structures import Classes, Detections
from finespot.writers.atomic import make_folder
from finespot.writers.crops import class_folder
from finespot.writers.drawings import FORMATS, Pixels, draw, font_of, write_drawing
from finespot.writers.naming import Names

Heat = NDArray[np.float32]

# Cold to hot: violet, red, orange, yellow. Brightness rises all the way, so it reads in gray too.
_RAMP = np.array([(60, 20, 150), (175, 30, 130), (235, 75, 60), (250, 150, 30), (255, 245, 110)], np.float64)
# The tint of the hottest place, and the power of heat that the tint follows: weak heat is to be seen.
_TINT, _POWER = 0.8, 0.5
_NARROWEST = 360
_BAR = 120


def overlay(pixels: Pixels, heat: Heat, peak: float | None = None) -> Pixels:
    """uint8 RGB `pixels` (H, W, 3) tinted by `heat` (H, W) of 0 or more; `peak` (its maximum) is the hottest tint."""
    if heat.shape != pixels.shape[:2]:
        raise ValueError(f"expected heat of shape {pixels.shape[:2]} but got {heat.shape}")
    peak = float(heat.max()) if peak is None else peak
    if peak <= 0:
        return np.array(pixels)
    share = np.clip(heat / peak, 0, 1)
    places = np.linspace(0, 1, len(_RAMP))
    table = np.stack([np.interp(np.linspace(0, 1, 256), places, channel) for channel in _RAMP.T], 1)
    tint = table[(share * 255).round().astype(np.int64)]
    strength = _TINT * share[..., None] ** _POWER
    mixed: Pixels = np.round(pixels * (1 - strength) + tint * strength).astype(np.uint8)
    return mixed


def heat_picture(
    pixels: Pixels,
    heat: Heat,
    found: Detections,
    title: str,
    line_width: int | None = None,
    labels: bool = True,
    peak: float | None = None,
) -> Pixels:
    """The tinted picture with what was `found`; below it `title`, and a bar from 0 to `peak`, by default the greatest
    heat.
    """
    peak = float(heat.max()) if peak is None else peak
    drawn = draw(overlay(pixels, heat, peak), found, None, line_width, labels)
    font = font_of(max(12, min(pixels.shape[0], pixels.shape[1]) // 40))
    line = int(font.getbbox("Ag")[3]) + 6
    wide = max(pixels.shape[1], _NARROWEST)
    most = f"{peak:.3g}"
    zero_end, most_wide = 10 + int(font.getlength("0")), int(font.getlength(most))
    bar = _BAR * line // 18
    scale = zero_end + bar + 4 + most_wide + 4
    # Beside each other where both fit, else one below the other.
    beside = font.getlength(title) + 8 + scale <= wide
    page = Pillow.new("RGB", (wide, pixels.shape[0] + (line if beside else 2 * line)), (255, 255, 255))
    page.paste(Pillow.fromarray(drawn), (0, 0))
    pen = ImageDraw.Draw(page)
    pen.text((4, pixels.shape[0] + 2), title, fill=(0, 0, 0), font=font)
    left, top = (wide - scale if beside else 0), pixels.shape[0] + (0 if beside else line)
    pen.text((left + 4, top + 2), "0", fill=(0, 0, 0), font=font)
    ramp = np.tile(np.linspace(0, 1, bar, dtype=np.float32), (line - 6, 1))
    ground = np.full((*ramp.shape, 3), 128, np.uint8)
    page.paste(Pillow.fromarray(overlay(ground, ramp, 1.0)), (left + zero_end, top + 3))
    pen.text((left + zero_end + bar + 4, top + 2), most, fill=(0, 0, 0), font=font)
    return np.asarray(page)


class HeatWriter:
    """`heat/<class>/<picture>.jpg` for every class that was found in a picture.

    Parameters
    ----------
    explain:
        Gives the heat (H, W) of each label in the detections of a picture.
    what:
        What the heat is of, in words, for the line below the picture.

    Attributes
    ----------
    empty:
        Names of the pictures without a heat map, as nothing was found in them.
    """

    needs_pixels = True

    def __init__(
        self,
        explain: Callable[[Pixels, Detections], Mapping[int, Heat]],
        what: str,
        line_width: int | None = None,
        labels: bool = True,
        extension: str = "jpg",
    ) -> None:
        if extension not in FORMATS:
            raise FineSpotError(f"expected jpg or png but got '{extension}'", where="extension")
        self.explain, self.what = explain, what
        self.line_width, self.labels, self.extension = line_width, labels, extension
        self.empty: list[str] = []

    def open(self, folder: str | Path, names: Names | None = None) -> None:
        """Make the folder `heat`."""
        self._folder = make_folder(Path(folder) / "heat")
        self._names = names or Names()
        self.empty.clear()

    def write(self, detections: Detections, pixels: Pixels | None) -> None:
        """Explain and draw one picture."""
        if pixels is None:
            raise ValueError("HeatWriter.write needs the picture's pixels")
        if not len(detections):
            self.empty.append(detections.source)
            return
        folders = _folders(detections.classes)
        name = self._names.of(detections.source)
        for label, heat in self.explain(pixels, detections).items():
            found = detections.select(detections.labels == label)
            title = f"{detections.classes[label]}, {len(found)} found: {self.what}"
            drawn = heat_picture(pixels, heat, found, title, self.line_width, self.labels)
            write_drawing(self._folder / folders[label] / f"{name}.{self.extension}", drawn)

    def close(self) -> Path:
        """The folder of the class folders."""
        return self._folder


def _folders(classes: Classes) -> list[str]:
    """A folder name for each class; of names that are one as a folder, the later ones carry their label too."""
    taken: set[str] = set()
    folders = []
    for label, name in enumerate(classes):
        folder = class_folder(name)
        while folder.casefold() in taken:
            folder = f"{folder}_{label}"
        taken.add(folder.casefold())
        folders.append(folder)
    return folders
