"""TinyPerson's result file: COCO records of one class, person, with the image ids of the official annotation file.

Persons at sea and on earth are one class, as in the official evaluation.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from finespot.structures import Detections
from finespot.writers.coco import write_coco
from finespot.writers.official import as_one_class, refuse_other_classes

PERSON = "person"
_PERSONS = (PERSON, "sea_person", "earth_person")


def write_tinyperson(
    path: str | Path, detections: Sequence[Detections], image_ids: Sequence[int | str], iou: float = 0.7
) -> Path:
    """Write the records of whole pictures, by picture and falling score; returns the path.

    Of boxes of two classes that overlap by more than `iou` the better stays.

    Raises
    ------
    FineSpotError
        A class is no person, or the file cannot be written.
    """
    for one in detections:
        refuse_other_classes(one.classes, _PERSONS, "TinyPerson")
    return write_coco(path, [as_one_class(one, PERSON, iou) for one in detections], image_ids)
