"""Label files of the YOLO family: where they lie, what their lines mean, and how they are written.

A line is `class cx cy w h`, or `class x1 y1 x2 y2 x3 y3 ...` (a polygon, of which the envelope is taken), all divided
by the picture's sides. Written are boxes alone, with six decimals and never with an exponent, which hand-written
readers reject; pictures of more than 10,000 pixels a side get eight, so that every box comes back to 0.01 px.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from finespot.data.builder import Builder
from finespot.data.findings import Corners
from finespot.data.formats.layout import Part
from finespot.data.formats.pairing import label_stems
from finespot.data.formats.text import digits, read_text
from finespot.errors import FineSpotError
from finespot.structures import Boxes, Flags, Labels, Size
from finespot.writers.atomic import write_atomic

IGNORE_SUFFIX = ".ignore"

# (fields, class count, lowest class, where) to a class and the corners, divided by the picture's sides.
LineReader = Callable[[list[str], int, int, str], tuple[int, Corners]]

# Centers and sizes may leave 0..1 by this much: what writers of four and more decimals round.
TOLERANCE = 1e-4
# Points of polygons may leave 0..1 by this much, as the format's usual reader allows; the envelope is clipped.
POINT_TOLERANCE = 0.01

_FINE_FROM_PX = 10_000


def label_path(picture: str) -> str:
    """The label file of a picture: the last folder `images` becomes `labels`, the extension .txt.

    Without such a folder the label lies beside the picture.
    """
    stem = os.path.splitext(picture.replace(os.sep, "/"))[0]
    head, found, tail = stem.rpartition("/images/")
    return f"{head}/labels/{tail}.txt" if found else f"{stem}.txt"


def side_path(label_file: str) -> str:
    """The side file of a label file, which holds ignore regions: `a.ignore.txt` beside `a.txt`."""
    return f"{label_file.removesuffix('.txt')}{IGNORE_SUFFIX}.txt"


def existing(file: str) -> str | None:
    """A label file where it exists, also with its extension in capitals."""
    return next((name for name in (file, f"{file.removesuffix('.txt')}.TXT") if os.path.isfile(name)), None)


def read_labels(file: str, size: Size, builder: Builder, read_line: LineReader, *, ignore: bool) -> None:
    """Add each line that is not blank; a file of ignore regions knows the class -1."""
    height, width = size
    for number, line in enumerate(read_text(Path(file)).splitlines(), 1):
        if fields := line.rstrip().rstrip(",").split():
            where = f"{file}:{number}"
            with builder.guard(where):
                label, (x1, y1, x2, y2) = read_line(fields, len(builder.classes), -1 if ignore else 0, where)
                corners = (x1 * width, y1 * height, x2 * width, y2 * height)
                builder.box(corners, label, where=where, ignore=ignore)


def box_or_polygon(fields: list[str], classes: int, lowest: int, where: str) -> tuple[int, Corners]:
    """A line of a box or of a polygon, decided line by line."""
    if len(fields) == 6:
        raise FineSpotError(
            "expected 5 fields (class cx cy w h) but got 6",
            where=where,
            hint="a sixth field is the confidence in a file of predictions, which are no truth",
        )
    if len(fields) != 5 and (len(fields) < 7 or len(fields) % 2 == 0):
        raise FineSpotError(
            f"expected 5 fields (class cx cy w h) or a class and 3 or more points but got {len(fields)} fields",
            where=where,
        )
    label, values = class_and_numbers(fields, classes, lowest, where)
    if len(values) > 4:
        corners = envelope(values)
        if not -POINT_TOLERANCE <= min(corners) <= max(corners) <= 1 + POINT_TOLERANCE:
            far = max(corners, key=lambda value: abs(value - 0.5))
            raise FineSpotError(f"expected points of a polygon from 0 to 1 but got {far:g}", where=where)
        return label, corners
    cx, cy, w, h = values
    if not (0 <= w <= 1 + TOLERANCE and 0 <= h <= 1 + TOLERANCE):
        raise FineSpotError(f"expected a width and height from 0 to 1 but got {w:g} and {h:g}", where=where)
    if not (-TOLERANCE <= cx <= 1 + TOLERANCE and -TOLERANCE <= cy <= 1 + TOLERANCE):
        raise FineSpotError(f"expected a center from 0 to 1 but got {cx:g}, {cy:g}", where=where)
    return label, (cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2)


def class_and_numbers(fields: list[str], classes: int, lowest: int, where: str) -> tuple[int, list[float]]:
    """The class of a line and the numbers behind it."""
    try:
        label, *values = [float(digits(field)) for field in fields]
    except ValueError:
        raise FineSpotError(f"expected numbers but got '{' '.join(fields)[:60]}'", where=where) from None
    if not all(map(math.isfinite, (label, *values))):
        raise FineSpotError("expected finite numbers but got NaN or infinity", where=where)
    if not label.is_integer() or not lowest <= label < classes:
        raise FineSpotError(f"expected a class from {lowest} to {classes - 1} but got {fields[0]}", where=where)
    return int(label), values


def envelope(points: list[float]) -> Corners:
    """The upright box around points x1, y1, x2, y2, ..."""
    xs, ys = points[::2], points[1::2]
    return min(xs), min(ys), max(xs), max(ys)


def write_labels(folder: Path, part: Part, *, side_files: bool) -> None:
    """Write the label file of each picture of a split, and the side files where there is something to ignore.

    Raises
    ------
    FineSpotError
        Two pictures would share a label file, or a side file would be the label file of another picture.
    """
    stems = label_stems(part.names, folder)
    taken = set(stems)
    for index, stem in enumerate(stems):
        size = part.dataset.size(index)
        boxes, labels, ignore = part.dataset.columns(index)
        _write(folder / f"{stem}.txt", boxes, labels, ~ignore, size)
        if not side_files or not ignore.any():
            continue
        if f"{stem}{IGNORE_SUFFIX}" in taken:
            raise FineSpotError(
                f"{stem}{IGNORE_SUFFIX}.txt would hold ignore regions of one picture and labels of another",
                where=folder,
                hint="rename one of the pictures",
            )
        _write(folder / f"{stem}{IGNORE_SUFFIX}.txt", boxes, labels, ignore, size)


def _write(file: Path, boxes: Boxes, labels: Labels, keep: Flags, size: Size) -> None:
    height, width = size
    digits = 6 if max(size) <= _FINE_FROM_PX else 8
    corners = boxes[keep].astype(np.float64) / (width, height, width, height)
    shares = np.concatenate([(corners[:, :2] + corners[:, 2:]) / 2, corners[:, 2:] - corners[:, :2]], axis=1)
    rows = [
        " ".join([str(label), *(f"{value:.{digits}f}" for value in row)])
        for label, row in zip(labels[keep].tolist(), shares.tolist())
    ]
    write_atomic(file, "".join(f"{row}\n" for row in rows), sync=False)
