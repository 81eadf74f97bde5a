"""Whole networks: one file a family, the `Detector` that joins parts, what a network costs.

>>> detector = build(architecture("yolo11n-p2", classes=4))
"""

from finespot.zoo.cost import RULES, Cost, count_gflops, count_parameters, measure
from finespot.zoo.detector import Detector
from finespot.zoo.esod import ESOD
from finespot.zoo.family import Family, Scale, head_takes
from finespot.zoo.gpvit import GPVIT
from finespot.zoo.lrs_detr import LRSDETR
from finespot.zoo.names import architecture, build, families, is_name, name_of, names, normalization_of
from finespot.zoo.retinanet import RETINANET
from finespot.zoo.rtdetr import RTDETR
from finespot.zoo.rtmdet import RTMDET
from finespot.zoo.savings import Look, Savings, WindowCosts, looks, window_areas, window_costs
from finespot.zoo.windowed import WindowedDetector, Windows
from finespot.zoo.yolo11 import YOLO11
from finespot.zoo.yolo11_ass import YOLO11_ASS
from finespot.zoo.yolo12 import YOLO12
from finespot.zoo.yolo_sod import YOLO_SOD
from finespot.zoo.yolov5 import YOLOV5
from finespot.zoo.yolov8 import YOLOV8
from finespot.zoo.yolox import YOLOX

__all__ = [
    "ESOD",
    "GPVIT",
    "LRSDETR",
    "RETINANET",
    "RTDETR",
    "RTMDET",
    "RULES",
    "YOLO11",
    "YOLO11_ASS",
    "YOLO12",
    "YOLOV5",
    "YOLOV8",
    "YOLOX",
    "YOLO_SOD",
    "Cost",
    "Detector",
    "Family",
    "Look",
    "Savings",
    "Scale",
    "WindowCosts",
    "WindowedDetector",
    "Windows",
    "architecture",
    "build",
    "count_gflops",
    "count_parameters",
    "families",
    "head_takes",
    "is_name",
    "looks",
    "measure",
    "name_of",
    "names",
    "normalization_of",
    "window_areas",
    "window_costs",
]
