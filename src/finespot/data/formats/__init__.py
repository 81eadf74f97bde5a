"""Readers of data set formats, one file each, registered by name (kind "format").

A format is a class without arguments that has `open(place, split) -> Dataset` and `splits(place) -> list[str]`.
"""

from finespot.data.formats.coco import Coco
from finespot.data.formats.hit_uav import HitUav
from finespot.data.formats.yolo import Yolo

__all__ = ["Coco", "HitUav", "Yolo"]
