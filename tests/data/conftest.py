"""The fixtures of this folder's tests."""

from data_factory import make_coco, make_yolo

__all__ = ["make_coco", "make_yolo"]
