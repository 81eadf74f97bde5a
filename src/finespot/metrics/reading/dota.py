"""DOTA's horizontal boxes: label files `x1 y1 x2 y2 x3 y3 x4 y4 class [difficult]`, results `Task2_<class>.txt`.

As in the development kit, a box is the points 1 and 3 with whole coordinates, cut toward zero, which is not the
envelope of an oriented box; a missing flag means 0. Differs from it: lines before the objects (`imagesource:`, `gsd:`)
are skipped, and a class without a file of results, or with an empty one, has no detection.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from finespot.errors import FineSpotError, unknown
from finespot.metrics.reading.pictures import missing_note, place_of, places
from finespot.metrics.reading.rows import Floats, Rows, read_rows, read_text, text_files
from finespot.metrics.tables import Results, Truth
from finespot.structures import Classes
from finespot.writers import DOTA_CLASSES, dota_key

PREFIX = "Task2_"
_COLUMNS = "x1 y1 x2 y2 x3 y3 x4 y4 class difficult"
_RESULT_COLUMNS = "picture score xmin ymin xmax ymax"
HEADERS = ("imagesource", "gsd")


def read_truth(folder: Path, *, images: Path | None = None, classes: Sequence[str] | None = None) -> Truth:
    """The truth of a folder labelTxt, of the pictures in the list `images` (a name a line), or of all.

    The classes are `classes`, or those of the first version of DOTA that has all of the files.

    Raises
    ------
    FineSpotError
        A file cannot be read, a listed picture has none, or a row is wrong; names the file and the line.
    """
    files = {path.stem: path for path in text_files(folder)}
    if not files:
        raise FineSpotError(f"expected label files ({_COLUMNS}) but there are none", where=folder)
    names = sorted(files) if images is None else _listed(images, files)
    parts = [_without_headers(read_rows(files[name], None, range(1, 11), _COLUMNS)) for name in names]
    rows = Rows.join(parts)
    rows.refuse(
        np.array([len(row) < 9 for row in rows.fields], bool),
        lambda k: f"expected 9 or 10 columns ({_COLUMNS}) but got {len(rows.fields[k])}",
    )
    keys = [dota_key(row[8]) for row in rows.fields]
    table = _classes(keys, classes)
    label = {dota_key(name): index for index, name in enumerate(table)}
    for k, key in enumerate(keys):
        if key not in label:
            raise unknown("class", key[:60], label, where=rows.where(k))
    corners = np.trunc(rows.numbers(0, _COLUMNS.split()[:8]))
    boxes = _boxes(
        np.concatenate([corners[:, :2], corners[:, 4:6]], axis=1),
        rows,
        "oriented labels are not read here: use DOTA's files of horizontal boxes (labelTxt-v1.0-hbb)",
    )
    full = Rows([[*row[9:], "0"] for row in rows.fields], rows.files, rows.lines)
    return Truth(
        image_ids=tuple(names),
        classes=table,
        image=np.repeat(np.arange(len(names)), [len(part) for part in parts]),
        label=np.array([label[key] for key in keys], np.int64),
        boxes=boxes,
        area=boxes[:, 2] * boxes[:, 3],
        crowd=np.zeros(len(rows), bool),
        ids=np.arange(1, len(rows) + 1),
        marks={"difficult": full.whole(0, "difficult") != 0},
    )


def read_results(folder: Path, truth: Truth) -> Results:
    """The detections of a folder, class after class in the truth's order, each in file order.

    Raises
    ------
    FineSpotError
        A file cannot be read or is that of no class, a row is wrong or names no picture of the truth.
    """
    labels = {dota_key(name): label for label, name in enumerate(truth.classes)}
    parts: dict[int, Rows] = {}
    for file in text_files(folder):
        if not file.name.startswith(PREFIX):
            continue
        key = dota_key(file.stem.removeprefix(PREFIX))
        if key not in labels:
            raise unknown("class", key[:60], labels, where=file)
        if labels[key] in parts:
            raise FineSpotError("expected one file a class but there are two", where=file)
        parts[labels[key]] = read_rows(file, None, range(6, 7), _RESULT_COLUMNS)
    if not parts:
        hint = "Task1 files hold oriented boxes, which are not read" if any(folder.glob("Task1_*")) else None
        raise FineSpotError(f"expected files {PREFIX}<class>.txt but there are none", where=folder, hint=hint)
    order = sorted(parts)
    rows = Rows.join([parts[label] for label in order])
    known = places(truth)
    corners = rows.numbers(2, ("xmin", "ymin", "xmax", "ymax"))
    return Results(
        image=np.array([place_of(row[0], known, rows.where(k)) for k, row in enumerate(rows.fields)], np.int64),
        label=np.repeat(np.array(order, np.int64), [len(parts[label]) for label in order]),
        boxes=_boxes(corners, rows, None),
        scores=rows.numbers(1, ["score"])[:, 0],
        notes=missing_note([name for label, name in enumerate(truth.classes) if label not in parts], "classes"),
    )


def _boxes(corners: Floats, rows: Rows, hint: str | None) -> Floats:
    """(left, top, width, height) of (xmin, ymin, xmax, ymax)."""
    sides = corners[:, 2:] - corners[:, :2]
    rows.refuse(
        (sides < 0).any(axis=1),
        lambda k: f"expected the right bottom corner behind the left top one but got {corners[k].tolist()}",
        hint,
    )
    return np.concatenate([corners[:, :2], sides], axis=1)


def _without_headers(rows: Rows) -> Rows:
    """The rows without those that tell of the picture, which stand before the objects."""
    first = 0
    while first < len(rows) and rows.fields[first][0].partition(":")[0].lower() in HEADERS:
        first += 1
    return Rows(rows.fields[first:], rows.files[first:], rows.lines[first:])


def _listed(file: Path, known: dict[str, Path]) -> list[str]:
    """The names of an image set file, in its order."""
    found: dict[str, int] = {}
    for number, line in enumerate(read_text(file).splitlines(), 1):
        name = line.strip()
        if not name:
            continue
        if name not in known:
            raise FineSpotError(f"there is no label file of the picture '{name[:60]}'", where=f"{file}:{number}")
        if name in found:
            raise FineSpotError(f"'{name[:60]}' stands on line {found[name]}, too", where=f"{file}:{number}")
        found[name] = number
    if not found:
        raise FineSpotError("expected names of pictures, one a line, but there are none", where=file)
    return list(found)


def _classes(keys: Sequence[str], given: Sequence[str] | None) -> Classes:
    if given is not None:
        return Classes(tuple(given))
    for names in DOTA_CLASSES.values():
        if set(keys) <= set(names):
            return Classes(names)
    return Classes(next(reversed(DOTA_CLASSES.values())))
