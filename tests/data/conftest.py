"""The fixtures of this folder's tests."""

from data_factory import make_coco, make_yolo
from loader_factory import decoded

__all__ = ["decoded", "make_coco", "make_yolo"]
