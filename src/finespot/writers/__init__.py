"""Detections out: COCO, YOLO and official result files, drawn pictures, cut-out objects; run folders; safe writing."""

from finespot.writers.atomic import GrowingFile, check_folder, make_folder, regular_file, write_atomic
from finespot.writers.coco import CocoWriter, coco_results, write_coco
from finespot.writers.crops import CropWriter
from finespot.writers.dota import DOTA_CLASSES, dota_key, write_dota
from finespot.writers.drawings import DrawingWriter, Stroke, draw, grid, outline, palette, side_by_side, write_drawing
from finespot.writers.footprints import Footprints, footprints
from finespot.writers.geojson import GeoJsonWriter
from finespot.writers.geopackage import GeoPackageWriter
from finespot.writers.heat import HeatWriter, heat_picture, overlay
from finespot.writers.html import Figure, Link, Number, Page, Styled
from finespot.writers.naming import Names
from finespot.writers.run_folder import check_run, new_run
from finespot.writers.sheets import sheet
from finespot.writers.tinyperson import write_tinyperson
from finespot.writers.uavdt import UAVDT_CLASSES, UAVDT_TEST, write_uavdt
from finespot.writers.views import View, view, window_around
from finespot.writers.visdrone import VISDRONE_CLASSES, write_visdrone, write_visdrone_vid
from finespot.writers.windows import FigureWriter, Looked, WindowWriter, window_picture
from finespot.writers.writer import Writer
from finespot.writers.yolo import YoloWriter

__all__ = [
    "DOTA_CLASSES",
    "UAVDT_CLASSES",
    "UAVDT_TEST",
    "VISDRONE_CLASSES",
    "CocoWriter",
    "CropWriter",
    "DrawingWriter",
    "Figure",
    "FigureWriter",
    "Footprints",
    "GeoJsonWriter",
    "GeoPackageWriter",
    "GrowingFile",
    "HeatWriter",
    "Link",
    "Looked",
    "Names",
    "Number",
    "Page",
    "Stroke",
    "Styled",
    "View",
    "WindowWriter",
    "Writer",
    "YoloWriter",
    "check_folder",
    "check_run",
    "coco_results",
    "dota_key",
    "draw",
    "footprints",
    "grid",
    "heat_picture",
    "make_folder",
    "new_run",
    "outline",
    "overlay",
    "palette",
    "regular_file",
    "sheet",
    "side_by_side",
    "view",
    "window_around",
    "window_picture",
    "write_atomic",
    "write_coco",
    "write_dota",
    "write_drawing",
    "write_tinyperson",
    "write_uavdt",
    "write_visdrone",
    "write_visdrone_vid",
]
