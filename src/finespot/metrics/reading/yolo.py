"""Label files of the YOLO family, one a picture: `class cx cy w h`, detections with the score as a sixth column.

All but class and score are shares of the picture's sides, so the sizes of the pictures are needed. A line of truth may
be a polygon instead, of which the envelope is taken. `a.ignore.txt` beside `a.txt` holds ignore regions: of a class,
or of none (-1). A class is a number; its name comes from a data.yaml or a classes.txt.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from finespot.errors import FineSpotError
from finespot.metrics.reading.pictures import (
    listed_sizes,
    missing_note,
    picture_files,
    place_of,
    places,
    sizes_of,
)
from finespot.metrics.reading.rows import Floats, Rows, Whole, read_rows, read_text, text_files
from finespot.metrics.tables import ImageId, Regions, Results, Truth
from finespot.structures import Classes

IGNORE = ".ignore"
CLASS_LIST = "classes.txt"
_COLUMNS = "class cx cy w h"
_MOST_COLUMNS = 100_000
# Shares may leave 0..1 by what writers of few decimals round and by what points of polygons are off.
_TOLERANCE = 0.01
_NO_SIZES = "give --images, a folder with the pictures or a JSON file of name -> [width, height]"


def read_truth(folder: Path, *, images: Path | None = None, names: Sequence[str] | None = None) -> Truth:
    """The truth of a folder of label files.

    The pictures are those of `images` (a folder, or a JSON file of name -> [width, height]), else those of the folder
    `images` in place of the last folder `labels`. One without a label file has no object. Without `names` the class
    names are those of the data.yaml or classes.txt that lies in the folder or up to two above, else the numbers.

    Raises
    ------
    FineSpotError
        Sizes are not known, a file cannot be read or is that of no picture, or a row is wrong.
    """
    place = _images(folder, images)
    stems = sorted(picture_files(place) if place.is_dir() else listed_sizes(place))
    sizes = sizes_of(stems, place)
    if sizes is None or not stems:
        raise FineSpotError("expected pictures but there are none", where=place)
    position: dict[ImageId, int] = {stem: index for index, stem in enumerate(stems)}
    labels, ignored = _label_files(folder)
    parts, image = [], []
    for file in (*labels, *ignored):
        stem = file.stem.removesuffix(IGNORE) if file in ignored else file.stem
        part = read_rows(file, None, range(5, _MOST_COLUMNS), _COLUMNS)
        part.refuse(
            np.array([len(row) == 6 for row in part.fields], bool),
            lambda _: f"expected 5 columns ({_COLUMNS}) or a class and 3 or more points but got 6",
            "a score as sixth column belongs to detections",
        )
        parts.append(part)
        image.append(np.full(len(part), place_of(stem, position, file), np.int64))
    rows = Rows.join(parts)
    count = sum(len(part) for part in parts[: len(labels)])
    ignore = np.arange(len(rows)) >= count
    at = np.concatenate([np.zeros(0, np.int64), *image])
    label = rows.whole(0, "class")
    classes = Classes(tuple(names or _names(folder) or map(str, range(int(label.max(initial=0)) + 1))))
    _refuse_classes(rows, label, np.where(ignore, -1, 0), classes)
    boxes = _pixels(_shares(rows), sizes[at])
    free = label < 0
    keep = ~free
    missing = len(stems) - len({file.stem for file in labels} & position.keys())
    return Truth(
        image_ids=tuple(stems),
        classes=classes,
        image=at[keep],
        label=label[keep],
        boxes=boxes[keep],
        area=boxes[keep, 2] * boxes[keep, 3],
        crowd=ignore[keep],
        ids=np.arange(1, int(keep.sum()) + 1),
        notes=(f"{missing} pictures without a label file: they hold no object",) if missing else (),
        regions=Regions(at[free], boxes[free]),
        sizes=sizes,
    )


def read_results(folder: Path, truth: Truth, *, images: Path | None = None) -> Results:
    """The detections of a folder; a picture without a file, or with an empty one, has none.

    A class is a position among the truth's classes. Sizes are the truth's, else those of `images`.

    Raises
    ------
    FineSpotError
        Sizes are not known, a file cannot be read or is that of no picture, or a row is wrong.
    """
    sizes = truth.sizes
    if sizes is None:
        if images is None:
            raise FineSpotError("the sizes of the pictures are not known", where=folder, hint=_NO_SIZES)
        sizes = sizes_of(truth.stems or [str(key) for key in truth.image_ids], images)
        assert sizes is not None
    known = places(truth)
    files = [file for file in text_files(folder) if file.name != CLASS_LIST]
    parts = [read_rows(file, None, range(6, 7), f"{_COLUMNS} score") for file in files]
    at = [place_of(file.stem, known, file) for file in files]
    rows = Rows.join(parts)
    image = np.repeat(np.array(at, np.int64), [len(part) for part in parts])
    label = rows.whole(0, "class")
    _refuse_classes(rows, label, np.zeros(len(rows), np.int64), truth.classes)
    found = set(at)
    return Results(
        image=image,
        label=label,
        boxes=_pixels(_shares(rows), sizes[image]),
        scores=rows.numbers(5, ["score"])[:, 0],
        notes=missing_note([str(key) for k, key in enumerate(truth.image_ids) if k not in found], "pictures"),
    )


def _label_files(folder: Path) -> tuple[list[Path], list[Path]]:
    """Label files, and side files of ignore regions."""
    files = [file for file in text_files(folder) if file.name != CLASS_LIST]
    stems = {file.stem for file in files}
    ignored = [one for one in files if one.stem.endswith(IGNORE) and one.stem.removesuffix(IGNORE) in stems]
    labels = [one for one in files if one not in set(ignored)]
    if not labels:
        raise FineSpotError(f"expected label files ({_COLUMNS}) but there are none", where=folder)
    return labels, ignored


def _images(folder: Path, images: Path | None) -> Path:
    """Where the pictures, or their sizes, are."""
    if images is not None:
        return images
    parts = folder.absolute().parts
    if "labels" in parts:
        last = len(parts) - 1 - parts[::-1].index("labels")
        place = Path(*parts[:last], "images", *parts[last + 1 :])
        if place.is_dir():
            return place
    raise FineSpotError("the sizes of the pictures are not known", where=folder, hint=_NO_SIZES)


def _refuse_classes(rows: Rows, label: Whole, lowest: Whole, classes: Classes) -> None:
    rows.refuse(
        (label < lowest) | (label >= len(classes)),
        lambda k: f"expected a class from {lowest[k]} to {len(classes) - 1} but got {label[k]}",
    )


def _shares(rows: Rows) -> Floats:
    """Left, top, width and height as shares of the sides: of boxes, and of the envelopes of polygons."""
    lengths = np.array([len(row) for row in rows.fields], np.int64)
    polygon = np.flatnonzero(lengths > 6)
    rows.refuse(
        (lengths > 6) & (lengths % 2 == 0),
        lambda k: f"expected a class and x and y of 3 or more points but got {lengths[k]} columns",
    )
    # A file of truth has no sixth column; one of detections has no other number (both are refused when read).
    boxes = rows.numbers(1, ("cx", "cy", "w", "h"))
    for k in polygon.tolist():
        one = Rows([rows.fields[k]], [rows.files[k]], [rows.lines[k]])
        points = one.numbers(1, [f"coordinate {number}" for number in range(1, int(lengths[k]))]).reshape(-1, 2)
        low, high = points.min(axis=0), points.max(axis=0)
        boxes[k] = [*((low + high) / 2), *(high - low)]
    rows.refuse((boxes[:, 2:] < 0).any(axis=1), lambda k: f"expected w and h of 0 or more but got {boxes[k, 2:]}")
    rows.refuse(
        (boxes[:, :2] < -_TOLERANCE).any(axis=1) | (boxes > 1 + _TOLERANCE).any(axis=1),
        lambda k: f"expected shares of the picture's sides, 0 to 1, but got {boxes[k].tolist()}",
        "pixels are not read here",
    )
    return np.concatenate([boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, 2:]], axis=1)


def _pixels(shares: Floats, sizes: NDArray[np.int64]) -> Floats:
    pixels: Floats = shares * sizes[:, [1, 0, 1, 0]]
    return pixels


def _names(folder: Path) -> tuple[str, ...] | None:
    """The class names that lie with the labels."""
    places = [folder.absolute(), *folder.absolute().parents][:3]
    for place in places:
        lists = [place / CLASS_LIST] if (place / CLASS_LIST).is_file() else []
        tables = [file for file in sorted([*place.glob("*.yaml"), *place.glob("*.yml")]) if _has_names(file)]
        if len(lists + tables) > 1:
            both = " and ".join(file.name for file in (lists + tables)[:2])
            raise FineSpotError(f"expected one file with class names but got {both}", where=place, hint="give --names")
        if lists or tables:
            return read_names((lists + tables)[0])
    return None


def read_names(file: Path) -> tuple[str, ...]:
    """Class names from a YAML file (`names`: a list, or number -> name) or from a file of a name a line.

    Raises
    ------
    FineSpotError
        The file cannot be read or holds something else.
    """
    if file.suffix.lower() not in (".yaml", ".yml"):
        found = tuple(line.strip() for line in read_text(file).splitlines() if line.strip())
    else:
        names = _yaml(file).get("names")
        if isinstance(names, Mapping):
            if sorted(map(str, names)) != sorted(map(str, range(len(names)))):
                raise FineSpotError("expected class numbers from 0 on in 'names'", where=file)
            names = [value for _, value in sorted((int(key), value) for key, value in names.items())]
        if not isinstance(names, list) or not all(isinstance(name, str | int) for name in names):
            raise FineSpotError("expected class names under 'names'", where=file)
        found = tuple(map(str, names))
    try:
        return Classes(found).names
    except FineSpotError as error:
        raise FineSpotError(error.what, where=file) from error


def _has_names(file: Path) -> bool:
    """Whether a YAML file holds class names; what is no YAML does not."""
    try:
        return bool(_yaml(file).get("names"))
    except FineSpotError:
        return False


def _yaml(file: Path) -> Mapping[str, Any]:
    import yaml

    try:
        content = yaml.safe_load(read_text(file))
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise FineSpotError(f"no valid YAML ({error})", where=file) from error
    if not isinstance(content, Mapping):
        raise FineSpotError("expected a mapping with names", where=file)
    return content
