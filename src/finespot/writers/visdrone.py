"""VisDrone's official result files: images (DET) a file a picture, video (VID) a file a sequence.

The official program looks at the first 1, 10, 100 and 500 lines of a picture, of all classes together, as they stand,
so all classes are written by falling score. It cannot read an empty file: where nothing was found, one row of score 0
stands in.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from finespot.structures import Classes, Detections
from finespot.writers.atomic import make_folder, write_atomic
from finespot.writers.official import by_sequence, by_stem, refuse_other_classes, rows

# Numbered from 1: 0 are ignore regions, 11 is "others", and neither is detected.
VISDRONE_CLASSES = (
    "pedestrian",
    "people",
    "bicycle",
    "car",
    "van",
    "truck",
    "tricycle",
    "awning-tricycle",
    "bus",
    "motor",
)
_NOTHING = "0,0,1,1,0,1,-1,-1"


def write_visdrone(folder: str | Path, detections: Sequence[Detections]) -> Path:
    """Write `<picture>.txt` with lines `left,top,width,height,score,category,-1,-1`; returns the folder.

    Raises
    ------
    FineSpotError
        A class is none of VisDrone's ten, two pictures share a name, or a file cannot be written.
    """
    place = make_folder(folder)
    for stem, found in by_stem(detections).items():
        write_atomic(place / f"{stem}.txt", "\n".join(_lines(found) or [_NOTHING]) + "\n", sync=False)
    return place


def write_visdrone_vid(folder: str | Path, detections: Sequence[Detections]) -> Path:
    """Write `<sequence>.txt` with lines `frame,-1,left,top,width,height,score,category,-1,-1`; returns the folder.

    Raises
    ------
    FineSpotError
        A class is none of VisDrone's ten, a picture is no numbered frame, or a file cannot be written.
    """
    place = make_folder(folder)
    for sequence, frames in by_sequence(detections).items():
        lines = [f"{frame},-1,{line}" for frame, found in frames.items() for line in _lines(found)]
        write_atomic(place / f"{sequence}.txt", "\n".join(lines or [f"{min(frames)},-1,{_NOTHING}"]) + "\n", sync=False)
    return place


def _lines(found: Detections) -> list[str]:
    categories = _categories(found.classes)
    return [f"{box},{score},{categories[label]},-1,-1" for box, score, label in rows(found)]


def _categories(classes: Classes) -> list[int]:
    """The official number of each class, by name, so that a detector may know fewer of them or in another order."""
    refuse_other_classes(classes, VISDRONE_CLASSES, "VisDrone")
    return [VISDRONE_CLASSES.index(name) + 1 for name in classes]
