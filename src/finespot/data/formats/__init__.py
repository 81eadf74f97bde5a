"""Formats of data sets, one file each, registered by name (kind "format"); `layout` says what a format is."""

from finespot.data.formats.ai_tod import AiTod
from finespot.data.formats.ass import Ass
from finespot.data.formats.coco import Coco
from finespot.data.formats.csv_table import CsvTable
from finespot.data.formats.cvat import Cvat
from finespot.data.formats.darknet import Darknet
from finespot.data.formats.dota import Dota
from finespot.data.formats.hit_uav import HitUav
from finespot.data.formats.label_studio import LabelStudio
from finespot.data.formats.labelme import LabelMe
from finespot.data.formats.soda_d import SodaD
from finespot.data.formats.synthetic import Synthetic
from finespot.data.formats.tinyperson import TinyPerson
from finespot.data.formats.uavdt import Uavdt
from finespot.data.formats.uavvaste import UavVaste
from finespot.data.formats.visdrone import VisDrone
from finespot.data.formats.visdrone_vid import VisDroneVid
from finespot.data.formats.voc import Voc
from finespot.data.formats.yolo import Yolo
from finespot.data.formats.yolo_obb import YoloObb

__all__ = [
    "AiTod",
    "Ass",
    "Coco",
    "CsvTable",
    "Cvat",
    "Darknet",
    "Dota",
    "HitUav",
    "LabelMe",
    "LabelStudio",
    "SodaD",
    "Synthetic",
    "TinyPerson",
    "UavVaste",
    "Uavdt",
    "VisDrone",
    "VisDroneVid",
    "Voc",
    "Yolo",
    "YoloObb",
]
