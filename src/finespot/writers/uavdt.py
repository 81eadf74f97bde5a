"""UAVDT's official result files: a file a sequence, all classes as one, because the official program knows no other.

Its lines are `frame,-1,left,top,width,height,score,1,-1`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from finespot.structures import Detections
from finespot.writers.atomic import make_folder, write_atomic
from finespot.writers.official import as_one_class, by_sequence, refuse_other_classes, rows

# The sequences of the official test, with the number of frames that its program goes through.
UAVDT_TEST = {
    "M0203": 1007,
    "M0205": 646,
    "M0208": 265,
    "M0209": 1576,
    "M0403": 514,
    "M0601": 372,
    "M0602": 480,
    "M0606": 1374,
    "M0701": 1308,
    "M0801": 298,
    "M0802": 1101,
    "M1001": 1859,
    "M1004": 269,
    "M1007": 659,
    "M1009": 604,
    "M1101": 864,
    "M1301": 1182,
    "M1302": 719,
    "M1303": 445,
    "M1401": 1050,
}
UAVDT_CLASSES = ("car", "truck", "bus")
VEHICLE = "vehicle"
_VEHICLES = (VEHICLE, *UAVDT_CLASSES)


def write_uavdt(folder: str | Path, detections: Sequence[Detections], iou: float = 0.7) -> Path:
    """Write `<sequence>.txt`, by frame and falling score; an empty file where nothing was found. Returns the folder.

    Of boxes of two classes that overlap by more than `iou` the better stays.

    Raises
    ------
    FineSpotError
        A class is no vehicle, a picture is no numbered frame, or a file cannot be written.
    """
    place = make_folder(folder)
    for sequence, frames in by_sequence(detections).items():
        lines = [
            f"{frame},-1,{box},{score},1,-1\n"
            for frame, found in frames.items()
            for box, score, _ in rows(_vehicles(found, iou))
        ]
        write_atomic(place / f"{sequence}.txt", "".join(lines), sync=False)
    return place


def _vehicles(found: Detections, iou: float) -> Detections:
    refuse_other_classes(found.classes, _VEHICLES, "UAVDT")
    return as_one_class(found, VEHICLE, iou)
