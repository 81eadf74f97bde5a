"""The switches of augmentation, with the defaults of the YOLO family."""

from __future__ import annotations

import math

import msgspec

from finespot.errors import FineSpotError

_PROBABILITIES = ("mosaic", "flip_lr", "flip_ud", "mixup", "copy_paste")
# Largest sensible value of each strength; a shear of 90 degrees and a scale of 0 have no picture left.
_LIMITS = {
    "degrees": 180.0,
    "translate": 0.5,
    "scale": 0.95,
    "shear": 60.0,
    "perspective": 0.001,
    "hsv_h": 0.5,
    "hsv_s": 1.0,
    "hsv_v": 1.0,
}


class Augment(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is done to training pictures; probabilities 0 to 1, strengths as half-widths of uniform distributions.

    mosaic: probability of a mosaic of four pictures. degrees, shear: degrees. translate: share of the output side.
    scale: s draws the scale from 1 - s to 1 + s. perspective: per pixel, at most 0.001. hsv_h: share of the hue
    circle; hsv_s, hsv_v: relative change. flip_lr, flip_ud, mixup, copy_paste: probability.
    """

    mosaic: float = 1.0
    degrees: float = 0.0
    translate: float = 0.1
    scale: float = 0.5
    shear: float = 0.0
    perspective: float = 0.0
    hsv_h: float = 0.015
    hsv_s: float = 0.7
    hsv_v: float = 0.4
    flip_lr: float = 0.5
    flip_ud: float = 0.0
    mixup: float = 0.0
    copy_paste: float = 0.0

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value, top = getattr(self, name), 1.0 if name in _PROBABILITIES else _LIMITS[name]
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
                raise FineSpotError(f"expected a number but got {value!r}", where=f"augment.{name}")
            if not 0 <= value <= top:
                raise FineSpotError(f"expected a value from 0 to {top:g} but got {value:g}", where=f"augment.{name}")

    @classmethod
    def off(cls) -> Augment:
        """Nothing at all: pictures are only placed in the input."""
        return cls(**dict.fromkeys(cls.__struct_fields__, 0.0))

    @property
    def warps(self) -> bool:
        """Whether pictures are moved, scaled, turned or sheared."""
        return any((self.degrees, self.translate, self.scale, self.shear, self.perspective))

    def closed(self) -> Augment:
        """The same without what joins pictures: mosaic, mixup and copy-paste, as in the last epochs of a training."""
        return msgspec.structs.replace(self, mosaic=0.0, mixup=0.0, copy_paste=0.0)
