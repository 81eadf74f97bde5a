"""YOLO text labels under a data YAML: `x.yaml`, `yolo:x.yaml` or `yolo:FOLDER` (with one YAML file in it).

Lines are boxes or polygons (see `finespot.data.formats.yolo_text`). Differs from the format's usual reader: polygon or
box is decided per line, not per file; a faulty line is an error with file and line, where others drop the whole
picture; a label file whose picture is missing is an error; boxes of any size and equal boxes are kept. Beside `a.txt`
a file `a.ignore.txt` may hold the picture's ignored objects and ignore regions in the same form, with -1 for a region
of every class; other readers leave it alone.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from finespot.data.builder import Builder, bytewise, counted
from finespot.data.dataset import Dataset
from finespot.data.findings import Findings
from finespot.data.formats.coco import read_coco
from finespot.data.formats.data_yaml import DataYaml, data_yaml_text, read_data_yaml, split_pictures, split_place
from finespot.data.formats.layout import Keeps, Part
from finespot.data.formats.named_pictures import image_ids
from finespot.data.formats.options import switch
from finespot.data.formats.pairing import refuse_orphans, tell_absent
from finespot.data.formats.splits import walk
from finespot.data.formats.yolo_text import (
    IGNORE_SUFFIX,
    LineReader,
    box_or_polygon,
    existing,
    label_path,
    read_labels,
    side_path,
    write_labels,
)
from finespot.errors import FineSpotError
from finespot.images import EXTENSIONS
from finespot.registry import register
from finespot.structures import Classes
from finespot.writers.atomic import write_atomic

__all__ = ["Yolo", "label_path", "read_yolo", "yaml_file"]

# Lists that labelling tools leave beside the labels.
_NO_LABELS = ("classes.txt", "obj.names.txt", "predefined_classes.txt", "labels.txt", "README.txt")


@register("format", "yolo")
class Yolo:
    """A data YAML with pictures in folders or lists and a text file a picture, or with COCO files.

    `side_file=false` writes no files `a.ignore.txt`: what is ignored is then lost.
    """

    def __init__(self, side_file: str = "true") -> None:
        self._side_files = switch("side_file", side_file)
        self.keeps = Keeps(regions=self._side_files, ignored=self._side_files)

    def splits(self, place: Path) -> list[str]:
        """The splits that the YAML names."""
        return list(read_data_yaml(yaml_file(place)).splits)

    def open(self, place: Path, split: str, findings: Findings | None = None) -> Dataset:
        """Read and check one split."""
        return read_yolo(read_data_yaml(yaml_file(place)), split, findings)

    def picture(self, split: str, name: str) -> str:
        """`images/<split>/<name>`."""
        return f"images/{split}/{name}"

    def write(self, root: Path, parts: Sequence[Part]) -> None:
        """Write labels/<split>/<stem>.txt for every picture, side files, and data.yaml."""
        for part in parts:
            write_labels(root / "labels" / part.split, part, side_files=self._side_files)
        places = {part.split: f"images/{part.split}" for part in parts}
        write_atomic(root / "data.yaml", data_yaml_text(parts[0].dataset.classes.names, places))


def read_yolo(
    data: DataYaml,
    split: str,
    findings: Findings | None,
    *,
    read_line: LineReader = box_or_polygon,
    choose: Callable[[list[str]], list[str]] | None = None,
    group: Callable[[str], str | None] = lambda picture: None,
) -> Dataset:
    """Read and check a split that a data YAML names.

    `choose` may leave out pictures, and is asked before `group`, which names what a picture belongs to.
    """
    notes = list(data.notes)
    places = [split_place(data, value, notes) for value in data.value(split)]
    if len(places) == 1 and places[0].suffix.lower() == ".json":
        return _open_coco(data, places[0], split, notes, findings)
    builder = Builder(data.file.stem, split, Classes(data.names), findings)
    builder.notes += notes
    pictures = _pictures(data, places, builder)
    _refuse_orphans(pictures, [one for one in places if one.is_dir()], builder)
    _read_all(choose(pictures) if choose else pictures, builder, read_line, group)
    return builder.build()


def yaml_file(place: Path) -> Path:
    """The data YAML that a place means: itself, or the only one in a folder."""
    if not place.is_dir():
        return place
    found = sorted([*place.glob("*.yaml"), *place.glob("*.yml")])
    if len(found) != 1:
        listed = ", ".join(path.name for path in found) or "none"
        raise FineSpotError(f"expected one data YAML in the folder but got {listed}", where=place)
    return found[0]


def _open_coco(data: DataYaml, file: Path, split: str, notes: list[str], findings: Findings | None) -> Dataset:
    stem = file.stem.removeprefix("instances_")
    root = data.root
    folders = [root / "images" / stem, root / "images" / split, root / stem, root / "images", root, file.parent]
    dataset = read_coco(file, folders, name=data.file.stem, split=split, names=data.names, findings=findings)
    dataset.notes[:0] = notes
    return dataset


def _pictures(data: DataYaml, places: Iterable[Path], builder: Builder) -> list[str]:
    """The split's pictures, once each, in bytewise order."""
    found = [picture for place in places for picture in split_pictures(data, place, builder)]
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
        places |= {_picture_folder(place, below, os.path.abspath(folder)) for place, _ in walk(below)}
    for place in sorted(places):
        labels = os.path.dirname(label_path(os.path.join(place, "x.jpg")))
        if labels == Path(place).as_posix() or not os.path.isdir(labels):  # beside the pictures any text may lie
            continue
        stems = {os.path.splitext(name)[0] for name in _files(place) if _extension(name) in EXTENSIONS}
        found = []
        for name in sorted(_files(labels)):
            if _extension(name) != ".txt" or name.startswith(".") or name in _NO_LABELS:
                continue
            stem = os.path.splitext(name)[0]
            found.append((stem if stem in stems else stem.removesuffix(IGNORE_SUFFIX), os.path.join(labels, name)))
        refuse_orphans(found, stems, place, builder)


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


def _read_all(pictures: list[str], builder: Builder, read_line: LineReader, group: Callable[[str], str | None]) -> None:
    label_files = {label_path(picture) for picture in pictures}
    absent = []
    for picture, image_id in zip(pictures, image_ids(pictures)):
        with builder.guard(picture):
            size = builder.picture(picture, image_id, group=group(picture))
            label_file = label_path(picture)
            if found := existing(label_file):
                read_labels(found, size, builder, read_line, ignore=False)
            else:
                absent.append(label_file)
            side_file = side_path(label_file)
            if side_file not in label_files and (found := existing(side_file)):  # not the labels of a.ignore.jpg
                read_labels(found, size, builder, read_line, ignore=True)
    tell_absent(
        absent,
        len(pictures),
        "labels belong where the last folder 'images' of a picture's path is replaced by 'labels'; "
        "an empty file says that a picture holds no object",
        builder,
    )
