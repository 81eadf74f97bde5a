"""From a picture to the network's input: cut into windows, scaled, padded to the stride.

A whole picture is scaled so that its long side becomes `imgsz`; a window of a tiling by `imgsz / tile size`, so that
pixels stay as they are where both are equal. Either is padded to the next multiple of the stride only: a picture
of 640 x 512 enters as 640 x 512. Weights that learnt on stretched pictures get a square of `imgsz`, unpadded.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from finespot import images
from finespot.errors import FineSpotError
from finespot.structures import Image, Placement, Size, Tile, Tiling
from finespot.weights import LARGEST_SIDE, Card

# Augmentation shows objects at other scales too; up to this factor nothing is said.
_SAME_SCALE = 1.5


@dataclass(frozen=True)
class Scaling:
    """The rule that makes network inputs: the tiling, the input size, the stride that sides are multiples of, and how
    a picture lies in the input (see `Card.fit`).
    """

    imgsz: int
    stride: int
    tiling: Tiling | None = None
    fit: str = "center"

    @property
    def tiled(self) -> bool:
        """Whether pictures are cut."""
        return self.tiling is not None and self.tiling.size is not None

    def factor(self, window: Size, whole: bool = False) -> float:
        """Input pixels per picture pixel for a window of (height, width), or for a picture that is seen as a whole."""
        if self.tiling is not None and self.tiling.size is not None and not whole:
            return self.imgsz / self.tiling.size
        return self.imgsz / max(window)


def scaling(imgsz: int, stride: int, tiling: Tiling | None, fit: str = "center") -> tuple[Scaling, list[str]]:
    """The scaling for an asked input size, with notes where that changes the size of pixels or was rounded up.

    Raises
    ------
    FineSpotError
        The size is out of range, or `tiling` is none.
    """
    if not 1 <= imgsz <= LARGEST_SIDE:
        hint = "cut larger pictures into tiles" if imgsz > 1 else None
        raise FineSpotError(f"expected 1 to {LARGEST_SIDE} but got {imgsz}", where="imgsz", hint=hint)
    if tiling is not None and not isinstance(tiling, Tiling):
        hint = f"give tiling=Tiling({tiling})" if isinstance(tiling, int) else None
        raise FineSpotError(f"expected a Tiling but got {tiling!r}", where="tiling", hint=hint)
    rule, notes = Scaling(imgsz, stride, tiling, fit), []
    if tiling is not None and tiling.size is not None and tiling.size != imgsz:
        notes.append(f"tiles of {tiling.size} px are scaled to {imgsz} px")
    rounded = -(-imgsz // stride) * stride
    if rounded == imgsz:
        return rule, notes
    if rule.tiled and fit != "stretch":
        # Tiles keep their scale: a tile of 500 px at imgsz 500 stays at its own pixels.
        return rule, [*notes, f"imgsz {imgsz} is no multiple of the stride {stride}: tiles are padded to {rounded}"]
    note = f"imgsz {imgsz} is no multiple of the stride {stride}: rounded up to {rounded}"
    return replace(rule, imgsz=rounded), [*notes, note]


def scale_notes(rule: Scaling, card: Card) -> list[str]:
    """A note where tiles show objects much larger or smaller than the network saw them while training.

    Pictures count as alike: what is compared is the number of input pixels to a pixel of the picture.
    """
    if rule.tiling is None or rule.tiling.size is None:
        return []
    learned = None
    if card.objects is not None:
        learned = card.objects.factor
    elif card.tiling is not None and card.tiling.size is not None:
        learned = card.imgsz / card.tiling.size
    if learned is None:
        return []
    ratio = rule.factor((rule.tiling.size, rule.tiling.size)) / learned
    if 1 / _SAME_SCALE <= ratio <= _SAME_SCALE:
        return []
    words = f"{ratio:.1f} times larger" if ratio > 1 else f"{1 / ratio:.1f} times smaller"
    side = "" if card.objects is None else f" (there half of them have a side of {card.objects.side:.0f} px or less)"
    alike = f"tiles of {rule.imgsz / learned:.0f} px show them alike"
    return [f"in pictures as in training, objects appear {words} than there{side}: {alike}"]


def uncut(sizes: Iterable[Size], tiling: Tiling | None) -> list[str]:
    """A note on pictures that were to be cut and fit in one tile."""
    if tiling is None or tiling.size is None:
        return []
    whole = [max(size) <= tiling.size for size in sizes]
    note = f"{sum(whole)} of {len(whole)} pictures were not cut: they are no larger than a tile of {tiling.size} px"
    return [note] if any(whole) else []


def place(pixels: NDArray[np.uint8], tile: Tile, rule: Scaling) -> tuple[NDArray[np.uint8], Placement]:
    """One window of a picture as network input."""
    x1, y1, x2, y2 = tile.window
    height, width = y2 - y1, x2 - x1
    window = pixels[y1:y2, x1:x2]
    scaled = _scaled(tile, rule, (pixels.shape[0], pixels.shape[1]))
    if scaled != (height, width):
        window = images.resize(window, scaled)
    target = input_size(tile, rule, (pixels.shape[0], pixels.shape[1]))
    offset = (0.0, 0.0)
    if target != scaled:
        window, inner = images.letterbox(window, target, enlarge=False, corner=rule.fit == "corner")
        offset = inner.offset
    placement = Placement(
        scale=(scaled[0] / height, scaled[1] / width),
        offset=offset,
        size=(pixels.shape[0], pixels.shape[1]),
        origin=(float(x1), float(y1)),
    )
    return np.ascontiguousarray(window), placement


def input_size(tile: Tile, rule: Scaling, size: Size) -> Size:
    """The (height, width) in which a window of a picture of `size` enters the network: scaled and padded."""
    height, width = _scaled(tile, rule, size)
    return _up(height, rule.stride), _up(width, rule.stride)


def stack(inputs: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Inputs (h, w, 3) of one shape as a batch (B, h, w, 3); one alone is not copied, unless it cannot be written to,
    of which torch warns.
    """
    return inputs[0][None] if len(inputs) == 1 and inputs[0].flags.writeable else np.stack(inputs)


def read_rgb(image: Image) -> NDArray[np.uint8]:
    """All pixels of a picture as uint8 RGB (H, W, 3): gray repeated, 16 bits scaled to 8."""
    pixels: NDArray[Any] = image.read(None)
    return images.to_rgb8(pixels, image.bit_depth)


def _scaled(tile: Tile, rule: Scaling, size: Size) -> Size:
    """The (height, width) that a window of a picture of `size` is scaled to."""
    x1, y1, x2, y2 = tile.window
    window = y2 - y1, x2 - x1
    if rule.fit == "stretch":
        # A window that was cut down keeps the scale of a full one.
        side = rule.tiling.size if rule.tiling is not None and rule.tiling.size is not None and not tile.whole else 0
        high, wide = (max(own, min(side, length)) for own, length in zip(window, size))
        return max(1, round(rule.imgsz * window[0] / high)), max(1, round(rule.imgsz * window[1] / wide))
    factor = rule.factor(window, tile.whole)
    return max(1, round(window[0] * factor)), max(1, round(window[1] * factor))


def _up(length: int, stride: int) -> int:
    return -(-length // stride) * stride
