"""COCO JSON files: decoded, their records checked for what all records of a kind must have, their pictures found."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec

from finespot.data.builder import Builder, counted, number, shown, whole_number
from finespot.data.findings import Corners
from finespot.data.formats.missing import MissingPictures
from finespot.errors import FineSpotError
from finespot.images import EXTENSIONS

Record = dict[str, Any]
Id = int | str

_ONE = {"images": "image", "annotations": "annotation", "categories": "category"}


def load_json(file: Path, kind: Any = Any) -> Any:
    """The content of a JSON file, as msgspec reads it into `kind`; an error names the line."""
    try:
        data = file.read_bytes()
    except OSError as error:
        raise FineSpotError(f"cannot be read ({error.strerror})", where=file) from error
    try:
        return msgspec.json.decode(data, type=kind)
    except (UnicodeDecodeError, RecursionError) as error:
        raise FineSpotError(f"the JSON cannot be read ({error})", where=file) from error
    except msgspec.DecodeError as error:
        byte = re.search(r"byte (\d+)", str(error))
        line = data[: int(byte[1])].count(b"\n") + 1 if byte else 1
        raise FineSpotError(f"the JSON cannot be read ({error})", where=f"{file}:{line}") from error


def load_coco(file: Path) -> Record:
    """The content of a COCO file."""
    content = load_json(file)
    if not isinstance(content, dict) or "images" not in content or "categories" not in content:
        raise FineSpotError("expected a COCO file with images, categories and annotations", where=file)
    return content


@contextmanager
def refuse_deep_nesting(file: Path) -> Iterator[None]:
    """Around what shows or compares values of a file: some are nested more deeply than Python can follow."""
    try:
        yield
    except RecursionError as error:
        raise FineSpotError("expected records but got values that are nested too deeply", where=file) from error


def place_of(file: Path, kind: str, identity: object) -> str:
    """How a record (`kind` image, annotation or category) is named in messages."""
    return f"{file}: {kind} {identity}"


def by_id(content: Record, key: str, file: Path, builder: Builder | None = None) -> dict[Any, Record]:
    """Records of a list by their id; what has no usable or a repeated id is refused (noted, with a builder)."""
    records = content.get(key, [])
    if not isinstance(records, list):
        raise FineSpotError(f"expected a list of {key}", where=file)
    found: dict[Any, Record] = {}
    for count, record in enumerate(records, 1):
        with builder.guard() if builder is not None else nullcontext():
            identity = _checked_id(record, key, count, file)
            if identity in found:
                where = place_of(file, _ONE[key], identity)
                raise FineSpotError(f"the id occurs more than once among the {key}", where=where)
            found[identity] = {**record, "id": identity}
    return found


def _checked_id(record: Any, key: str, count: int, file: Path) -> Id:
    """The id of a record that has what every record of its kind must have."""
    one = _ONE[key]
    if not isinstance(record, dict) or "id" not in record:
        raise FineSpotError(f"expected a record with an id as {one} number {count} but got none", where=file)
    identity: Id = record["id"]
    if key != "images" or not isinstance(identity, str):
        identity = whole_number(identity, "id", f"{file}: {one} number {count}")
    where = place_of(file, one, identity)
    if key == "images" and not isinstance(record.get("file_name"), str):
        raise FineSpotError("expected a file_name", where=where)
    if key == "categories" and not isinstance(record.get("name"), str):
        raise FineSpotError("expected a name", where=where)
    if key == "images":
        for side in ("height", "width"):
            if record.get(side) is not None:
                number(record[side], side, where)
    return identity


def categories_of(content: Record, file: Path) -> dict[int, str]:
    """Category names by ascending id."""
    found = {key: record["name"] for key, record in sorted(by_id(content, "categories", file).items())}
    if not found:
        raise FineSpotError("expected at least one category but got none", where=file)
    return found


def annotations_of(
    content: Record, images: Mapping[Any, Any], categories: Mapping[int, str], file: Path, builder: Builder
) -> list[Record]:
    """The annotations, each of an image and a category that exist."""
    records = []
    for record in by_id(content, "annotations", file, builder).values():
        where = place_of(file, "annotation", record["id"])
        image, category = record.get("image_id"), record.get("category_id")
        with builder.guard(where):
            if not _is_key(image, (int, float, str)) or image not in images:
                raise FineSpotError(f"no image has the id {shown(image)}", where=where)
            if not _is_key(category, (int, float)) or category not in categories:
                known = ", ".join(map(str, islice(categories, 10)))
                raise FineSpotError(f"no category has the id {shown(category)}", where=where, hint=f"there are {known}")
            records.append(record)
    return records


def _is_key(value: object, kinds: tuple[type, ...]) -> bool:
    """Whether a value may be looked up; `true` must not find the id 1."""
    return isinstance(value, kinds) and not isinstance(value, bool)


def flag(record: Record, name: str, where: str) -> int:
    """An integer or truth value of a record, 0 where it is missing."""
    value = record.get(name, 0)
    return int(value) if isinstance(value, bool) else whole_number(value, name, where)


def corners_of(record: Record, where: str) -> Corners:
    """`bbox` as corners; where it is missing, the envelope of the polygons."""
    box, polygons = record.get("bbox"), record.get("segmentation")
    if box is None and isinstance(polygons, list) and polygons:
        if not all(isinstance(polygon, list) and len(polygon) >= 6 and len(polygon) % 2 == 0 for polygon in polygons):
            raise FineSpotError(
                f"expected a list of polygons [x1, y1, x2, y2, x3, y3, ...] but got {shown(polygons)}", where=where
            )
        flat = [number(value, "coordinate", where) for polygon in polygons for value in polygon]
        return min(flat[::2]), min(flat[1::2]), max(flat[::2]), max(flat[1::2])
    if not isinstance(box, list) or len(box) != 4:
        raise FineSpotError(f"expected a bbox [x, y, width, height] but got {shown(box)}", where=where)
    x, y, width, height = (number(value, "coordinate of bbox", where) for value in box)
    if width < 0 or height < 0:
        raise FineSpotError(f"expected a bbox with sides of 0 or more but got {box}", where=where)
    return x, y, x + width, y + height


def find_pictures(
    images: Mapping[Id, Record], folders: Sequence[Path], file: Path, builder: Builder, hint: str = ""
) -> dict[Id, str]:
    """Absolute paths of the pictures by image id, each from the first of `folders` that has it.

    A file of another extension stands in for a missing one, and is counted. What is missing is refused, with `hint`.
    """
    paths: dict[Id, str] = {}
    missing: list[Id] = []
    others: list[str] = []
    for key, image in images.items():
        name = image["file_name"]
        path = _first_file((name, name.replace("\\", "/")), folders)
        if path is None and (path := _first_file(_other_extensions(name), folders)) is not None:
            others.append(f"{os.path.basename(path)} for {name}")
        if path is None:
            missing.append(key)
        else:
            paths[key] = path
    looked = f"looked in {', '.join(map(str, folders))}"
    count = f"{len(missing)} of {len(images)} pictures are missing" if len(missing) > 1 else ""
    refused = MissingPictures(builder)
    for key in missing:
        why = "; ".join(filter(None, (looked, count, hint)))
        refused.refuse(images[key]["file_name"], folders, place_of(file, "image", key), why)
    if others:
        text = counted(len(others), "1 picture has another extension", "pictures have other extensions")
        builder.notes.append(f"{text} than {file.name} says ({others[0]})")
    return paths


def _first_file(names: Sequence[str], folders: Sequence[Path]) -> str | None:
    for folder in folders:
        for name in names:
            path: str = os.path.abspath(folder / name)
            if os.path.isfile(path):
                return path
    return None


def _other_extensions(name: str) -> list[str]:
    stem, own = os.path.splitext(name.replace("\\", "/"))
    if own.lower() not in EXTENSIONS:
        return []
    return [stem + extension for low in sorted(EXTENSIONS) for extension in (low, low.upper())]
