"""DOTA's result files for horizontal boxes (Task 2): `Task2_<class>.txt`, a line `picture score xmin ymin xmax ymax`.

DOTA writes class names with hyphens where other files have blanks or underscores.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from finespot.errors import FineSpotError
from finespot.structures import Detections
from finespot.writers.atomic import make_folder, write_atomic
from finespot.writers.official import by_stem

# In the order of the development kit, to which each version added.
_CLASSES = (
    *("plane", "baseball-diamond", "bridge", "ground-track-field", "small-vehicle", "large-vehicle", "ship"),
    *("tennis-court", "basketball-court", "storage-tank", "soccer-ball-field", "roundabout", "harbor"),
    *("swimming-pool", "helicopter", "container-crane", "airport", "helipad"),
)
DOTA_CLASSES = {"1.0": _CLASSES[:15], "1.5": _CLASSES[:16], "2.0": _CLASSES}

_BETWEEN_WORDS = re.compile(r"[^A-Za-z0-9.-]+")


def dota_key(name: str) -> str:
    """A name as it is compared, and written: with `-` for `_` and blanks, in small letters."""
    return re.sub(r"[\s_]+", "-", name.strip()).lower()


def write_dota(folder: str | Path, detections: Sequence[Detections]) -> Path:
    """Write a file for each class, also where nothing of it was found; returns the folder.

    Raises
    ------
    FineSpotError
        Two pictures share a name, or hold different classes, or a file cannot be written.
    """
    place = make_folder(folder)
    pictures = by_stem(detections)
    tables = {found.classes for found in pictures.values()}
    if len(tables) > 1:
        raise FineSpotError("expected the same classes in all pictures", where="detections")
    for label, name in enumerate(next(iter(tables), ())):
        lines = [line for stem, found in pictures.items() for line in _lines(stem, found, label)]
        write_atomic(place / f"Task2_{_BETWEEN_WORDS.sub('-', name)}.txt", "".join(lines), sync=False)
    return place


def _lines(stem: str, found: Detections, label: int) -> list[str]:
    of_class = found.select(found.labels == label)
    return [
        f"{stem} {score:.6f} {' '.join(f'{value:.2f}' for value in box)}\n"
        for score, box in sorted(zip(of_class.scores.tolist(), of_class.boxes.tolist()), reverse=True)
    ]
