"""Detections out: COCO and YOLO files, drawn pictures, cut-out objects; run folders; safe writing."""

from finespot.writers.atomic import make_folder, write_atomic
from finespot.writers.coco import CocoWriter, coco_results, write_coco
from finespot.writers.crops import CropWriter
from finespot.writers.drawings import DrawingWriter, draw, grid, palette, side_by_side
from finespot.writers.naming import Names
from finespot.writers.run_folder import new_run
from finespot.writers.writer import Writer
from finespot.writers.yolo import YoloWriter

__all__ = [
    "CocoWriter",
    "CropWriter",
    "DrawingWriter",
    "Names",
    "Writer",
    "YoloWriter",
    "coco_results",
    "draw",
    "grid",
    "make_folder",
    "new_run",
    "palette",
    "side_by_side",
    "write_atomic",
    "write_coco",
]
