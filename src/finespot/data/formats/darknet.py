"""Darknet layout: `darknet:FOLDER` with one `*.data` file in it, or `darknet:x.data`.

images/ and labels/ lie side by side and text files list the pictures of each split: what YOLOv5 and its descendants
take too. The `.data` file names the lists (`train`, `valid`, read as `val`, and any `test...`) and a file with a class
name a line. Differs from Darknet: files and pictures are looked for beside the `.data` file and the lists first, also
without the `data/` that annotation tools put in front, and in the working directory last; labels are found by the last
folder `images` of a path, else beside the picture.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from finespot.data.dataset import Dataset
from finespot.data.findings import Findings
from finespot.data.formats.class_lists import class_list_text, read_class_list
from finespot.data.formats.data_yaml import DataYaml, data_yaml_text
from finespot.data.formats.layout import Part
from finespot.data.formats.splits import ordered
from finespot.data.formats.text import lines, whole
from finespot.data.formats.yolo import Yolo, read_yolo
from finespot.errors import FineSpotError
from finespot.registry import register
from finespot.writers.atomic import write_atomic

_DATA, _NAMES = "obj.data", "obj.names"


@register("format", "darknet")
class Darknet(Yolo):
    """YOLO labels whose splits are lists, under a `.data` file."""

    def splits(self, place: Path) -> list[str]:
        """The splits that the `.data` file names."""
        return list(_read(place).splits)

    def open(self, place: Path, split: str, findings: Findings | None = None) -> Dataset:
        """Read and check one split."""
        return read_yolo(_read(place), split, findings)

    def write(self, root: Path, parts: Sequence[Part]) -> None:
        """Write what `yolo` writes, the lists, obj.data and obj.names; data.yaml names the lists."""
        names = parts[0].dataset.classes.names
        listed = class_list_text(names, root / _NAMES)
        super().write(root, parts)
        lists = {part.split: f"{part.split}.txt" for part in parts}
        for part in parts:
            rows = [f"./{self.picture(part.split, name)}\n" for name in part.names]
            write_atomic(root / lists[part.split], "".join(rows))
        keys = [f"{'valid' if split == 'val' else split} = {name}\n" for split, name in lists.items()]
        write_atomic(root / _NAMES, listed)
        write_atomic(root / _DATA, f"classes = {len(names)}\n{''.join(keys)}names = {_NAMES}\nbackup = backup/\n")
        write_atomic(root / "data.yaml", data_yaml_text(names, lists))


def _read(place: Path) -> DataYaml:
    """A `.data` file as the data YAML that would say the same."""
    file = _data_file(place)
    values = _values(file)
    if not values.get("names"):
        raise FineSpotError("expected a line 'names = FILE' but got none", where=file)
    names = read_class_list(_beside(file, values["names"]))
    if "classes" in values and whole(values["classes"], "classes", file) != len(names):
        raise FineSpotError(f"classes is {values['classes']}, but there are {len(names)} names", where=file)
    if "valid" in values and "val" in values:
        raise FineSpotError("expected 'valid' or 'val' but got both", where=file)
    places = {
        "val" if key == "valid" else key: str(_beside(file, value))
        for key, value in values.items()
        if value and key.startswith(("train", "val", "test"))
    }
    return DataYaml(file, names, {name: places[name] for name in ordered(places)}, file.parent, ())


def _data_file(place: Path) -> Path:
    if not place.is_dir():
        return place
    found = sorted(place.glob("*.data"))
    if len(found) != 1:
        listed = ", ".join(path.name for path in found) or "none"
        raise FineSpotError(f"expected one .data file in the folder but got {listed}", where=place)
    return found[0]


def _values(file: Path) -> dict[str, str]:
    """The lines `key = value`."""
    values: dict[str, str] = {}
    for where, line in lines(file):
        if line.startswith(("#", ";")):
            continue
        key, equals, value = (part.strip() for part in line.partition("="))
        if not equals or not key or key in values:
            raise FineSpotError(f"expected a line 'key = value', each key once, but got {line[:60]!r}", where=where)
        values[key] = value
    return values


def _beside(file: Path, name: str) -> Path:
    """An absolute path relative to the `.data` file, without `data/` in front of it, or to the working directory."""
    for candidate in (file.parent / name, file.parent / name.removeprefix("data/"), Path(name)):
        if os.path.exists(candidate):
            return Path(os.path.abspath(candidate))
    raise FineSpotError(f"'{name}' does not exist", where=file, hint=f"expected it below {file.parent}")
