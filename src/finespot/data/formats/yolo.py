"""YOLO text labels under a data YAML: `x.yaml`, `yolo:x.yaml` or `yolo:FOLDER` (with one YAML file in it).

A line is `class cx cy w h`, or `class x1 y1 x2 y2 x3 y3 ...` (a polygon, of which the envelope is taken), all
divided by the picture's sides. Differs from the format's usual reader: polygon or box is decided per line, not per
file; a faulty line is an error with file and line, where others drop the whole picture; a label file whose picture is
missing is an error; boxes of any size and equal boxes are kept. Beside `a.txt` a file `a.ignore.txt` may hold the
picture's ignore regions in the same form, with -1 for a region of every class; other readers leave it alone.
"""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from finespot.data.builder import Builder, Corners, bytewise, counted
from finespot.data.dataset import Dataset
from finespot.data.findings import Findings
from finespot.data.formats.coco import read_coco
from finespot.data.formats.data_yaml import DataYaml, read_data_yaml, split_pictures, split_place
from finespot.data.formats.text import read_text
from finespot.errors import FineSpotError
from finespot.images import EXTENSIONS
from finespot.registry import register
from finespot.structures import Classes, Size

IGNORE_SUFFIX = ".ignore"

# More label files missing than this share, and the folder is more likely wrong than the pictures empty.
MAX_ABSENT = 0.9
# Centers and sizes may leave 0..1 by this much: what writers of four and more decimals round.
TOLERANCE = 1e-4
# Points of polygons may leave 0..1 by this much, as the format's usual reader allows; the envelope is clipped.
POINT_TOLERANCE = 0.01

# Lists that labelling tools leave beside the labels.
_NO_LABELS = ("classes.txt", "obj.names.txt", "predefined_classes.txt", "labels.txt", "README.txt")


@register("format", "yolo")
class Yolo:
    """A data YAML with pictures in folders or lists and a text file a picture, or with COCO files."""

    def splits(self, place: Path) -> list[str]:
        """The splits that the YAML names."""
        return list(read_data_yaml(_yaml_file(place)).splits)

    def open(self, place: Path, split: str, findings: Findings | None = None) -> Dataset:
        """Read and check one split."""
        data = read_data_yaml(_yaml_file(place))
        notes = list(data.notes)
        places = [split_place(data, value, notes) for value in data.value(split)]
        if len(places) == 1 and places[0].suffix.lower() == ".json":
            return _open_coco(data, places[0], split, notes, findings)
        builder = Builder(data.file.stem, split, Classes(data.names), findings)
        builder.notes += notes
        pictures = _pictures(data, places, builder)
        _refuse_orphans(pictures, [one for one in places if one.is_dir()], builder)
        _read_all(pictures, builder)
        return builder.build()


def label_path(picture: str) -> str:
    """The label file of a picture: the last folder `images` becomes `labels`, the extension .txt.

    Without such a folder the label lies beside the picture.
    """
    stem = os.path.splitext(picture.replace(os.sep, "/"))[0]
    head, found, tail = stem.rpartition("/images/")
    return f"{head}/labels/{tail}.txt" if found else f"{stem}.txt"


def _open_coco(data: DataYaml, file: Path, split: str, notes: list[str], findings: Findings | None) -> Dataset:
    stem = file.stem.removeprefix("instances_")
    root = data.root
    folders = [root / "images" / stem, root / "images" / split, root / stem, root / "images", root, file.parent]
    dataset = read_coco(file, folders, name=data.file.stem, split=split, names=data.names, findings=findings)
    dataset.notes[:0] = notes
    return dataset


def _yaml_file(place: Path) -> Path:
    if not place.is_dir():
        return place
    found = sorted([*place.glob("*.yaml"), *place.glob("*.yml")])
    if len(found) != 1:
        listed = ", ".join(path.name for path in found) or "none"
        raise FineSpotError(f"expected one data YAML in the folder but got {listed}", where=place)
    return found[0]


def _pictures(data: DataYaml, places: Iterable[Path], builder: Builder) -> list[str]:
    """The split's pictures, once each, in bytewise order."""
    found = [picture for place in places for picture in split_pictures(data, place)]
    pictures = sorted(set(found), key=bytewise)
    if twice := len(found) - len(pictures):
        builder.notes.append(
            counted(twice, "1 picture is listed twice, read once", "pictures are listed twice, read once")
        )
    shared = len(pictures) - len({label_path(picture) for picture in pictures})
    if shared:
        builder.notes.append(counted(shared, "1 picture shares its label file", "pictures share their label files"))
    return pictures


def _refuse_orphans(pictures: list[str], folders: list[Path], builder: Builder) -> None:
    """Refuse a label file without picture: the picture was lost, or the label is named wrongly."""
    places = {os.path.dirname(picture) for picture in pictures}
    for folder in folders:
        below = os.path.dirname(label_path(os.path.abspath(folder / "x.jpg")))
        places |= {
            _picture_folder(place, below, os.path.abspath(folder)) for place, _, _ in os.walk(below, followlinks=True)
        }
    for place in sorted(places):
        labels = os.path.dirname(label_path(os.path.join(place, "x.jpg")))
        if labels == Path(place).as_posix() or not os.path.isdir(labels):  # beside the pictures any text may lie
            continue
        stems = {os.path.splitext(name)[0] for name in _files(place) if _extension(name) in EXTENSIONS}
        for name in sorted(_files(labels)):
            if _extension(name) != ".txt" or name.startswith(".") or name in _NO_LABELS:
                continue
            stem = os.path.splitext(name)[0]
            with builder.guard():
                if stem not in stems and stem.removesuffix(IGNORE_SUFFIX) not in stems:
                    raise FineSpotError(
                        f"the label file has no picture in {place}",
                        where=os.path.join(labels, name),
                        hint="add the picture or remove the label file",
                    )


def _picture_folder(labels: str, below: str, folder: str) -> str:
    inside = os.path.relpath(labels, below)
    return folder if inside == os.curdir else os.path.join(folder, inside)


def _files(folder: str) -> list[str]:
    if not os.path.isdir(folder):
        return []
    with os.scandir(folder) as entries:
        return [entry.name for entry in entries if entry.is_file()]


def _extension(name: str) -> str:
    return os.path.splitext(name)[1].lower()


def _read_all(pictures: list[str], builder: Builder) -> None:
    image_ids = _image_ids(pictures)
    label_files = {label_path(picture) for picture in pictures}
    absent = 0
    for picture, image_id in zip(pictures, image_ids):
        with builder.guard(picture):
            size = builder.picture(picture, image_id)
            label_file = label_path(picture)
            absent += not os.path.isfile(label_file)
            if os.path.isfile(label_file):
                _read_file(label_file, size, builder, ignore=False)
            side_file = f"{label_file.removesuffix('.txt')}{IGNORE_SUFFIX}.txt"
            if side_file not in label_files and os.path.isfile(side_file):  # not the labels of a picture a.ignore.jpg
                _read_file(side_file, size, builder, ignore=True)
    with builder.guard():
        if absent > MAX_ABSENT * len(pictures):
            raise FineSpotError(
                f"{absent} of {len(pictures)} label files do not exist",
                where=label_path(pictures[0]),
                hint="labels belong where the last folder 'images' of a picture's path is replaced by 'labels'; "
                "an empty file says that a picture holds no object",
            )
    if absent:
        text = counted(absent, "1 label file absent", "label files absent")
        builder.notes.append(f"{text} (read as background)")


def _image_ids(pictures: list[str]) -> list[str]:
    """Stems, as result files name pictures; where two are equal, paths below the common folder."""
    stems = [os.path.splitext(os.path.basename(picture))[0] for picture in pictures]
    if max(Counter(stems).values(), default=0) <= 1:
        return stems
    common = os.path.commonpath([os.path.dirname(picture) for picture in pictures])
    return [os.path.splitext(os.path.relpath(picture, common))[0].replace(os.sep, "/") for picture in pictures]


def _in_pixels(corners: Corners, size: Size) -> Corners:
    height, width = size
    return corners[0] * width, corners[1] * height, corners[2] * width, corners[3] * height


def _read_file(file: str, size: Size, builder: Builder, *, ignore: bool) -> None:
    """Add each line that is not blank; a file of ignore regions knows the class -1."""
    for number, line in enumerate(read_text(Path(file)).splitlines(), 1):
        if fields := line.rstrip().rstrip(",").split():
            where = f"{file}:{number}"
            with builder.guard(where):
                label, corners = _read_line(fields, len(builder.classes), -1 if ignore else 0, where)
                builder.box(_in_pixels(corners, size), label, where=where, ignore=ignore)


def _read_line(fields: list[str], classes: int, lowest: int, where: str) -> tuple[int, Corners]:
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
    try:
        values = [float(field) for field in fields]
    except ValueError:
        raise FineSpotError(f"expected numbers but got '{' '.join(fields)[:60]}'", where=where) from None
    if not all(map(math.isfinite, values)):
        raise FineSpotError("expected finite numbers but got NaN or infinity", where=where)
    label = values[0]
    if not label.is_integer() or not lowest <= label < classes:
        raise FineSpotError(f"expected a class from {lowest} to {classes - 1} but got {fields[0]}", where=where)
    if len(fields) > 5:
        xs, ys = values[1::2], values[2::2]
        corners = (min(xs), min(ys), max(xs), max(ys))
        if not -POINT_TOLERANCE <= min(corners) <= max(corners) <= 1 + POINT_TOLERANCE:
            far = max(corners, key=lambda value: abs(value - 0.5))
            raise FineSpotError(f"expected points of a polygon from 0 to 1 but got {far:g}", where=where)
        return int(label), corners
    cx, cy, w, h = values[1:]
    if not (0 <= w <= 1 + TOLERANCE and 0 <= h <= 1 + TOLERANCE):
        raise FineSpotError(f"expected a width and height from 0 to 1 but got {w:g} and {h:g}", where=where)
    if not (-TOLERANCE <= cx <= 1 + TOLERANCE and -TOLERANCE <= cy <= 1 + TOLERANCE):
        raise FineSpotError(f"expected a center from 0 to 1 but got {cx:g}, {cy:g}", where=where)
    return int(label), (cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2)
