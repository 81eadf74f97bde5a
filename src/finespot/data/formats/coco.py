"""COCO JSON: `coco:FOLDER` with annotations/<split>.json (or instances_<split>.json) and images/<split>.

Categories become labels 0..n-1 by ascending id and keep their ids for result files. `iscrowd` and `ignore` both make
a box an ignore region of its class: for training neither is an object; the attribute `crowd` keeps `iscrowd` alone,
which is all that COCO's own evaluation honors. `area` is what the file says. Pictures without annotations stay. Sizes
come from the picture files; a file whose width and height say otherwise is noted.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import msgspec

from finespot.data.builder import Builder, Corners, bytewise, counted, no_split, number, shown, whole_number
from finespot.data.dataset import Dataset
from finespot.data.findings import Findings
from finespot.errors import FineSpotError
from finespot.registry import register
from finespot.structures import Classes

Record = dict[str, Any]
Fold = Callable[[list[Record], str], list[Record]]

_PREFIX = "instances_"
_ATTRIBUTES = ("difficult", "truncated")


@register("format", "coco")
class Coco:
    """A folder with one COCO file a split."""

    def splits(self, place: Path) -> list[str]:
        """Names of the files in annotations/, without `instances_`."""
        _need_folder(place)
        return sorted(path.stem.removeprefix(_PREFIX) for path in (place / "annotations").glob("*.json"))

    def open(self, place: Path, split: str, findings: Findings | None = None) -> Dataset:
        """Read and check one split."""
        return self._open(place, split, None, findings)

    def _open(self, place: Path, split: str, fold: Fold | None, findings: Findings | None) -> Dataset:
        splits = self.splits(place)
        candidates = [place / "annotations" / f"{prefix}{split}.json" for prefix in ("", _PREFIX)]
        found = next((path for path in candidates if path.is_file()), None)
        if found is None:
            raise no_split(split, splits, place)
        folders = [place / "images" / split, place / split, place / "images", place]
        return read_coco(found, folders, name=place.resolve().name, split=split, fold=fold, findings=findings)


def read_coco(
    file: Path,
    folders: Sequence[Path],
    *,
    name: str,
    split: str,
    names: Sequence[str] | None = None,
    fold: Fold | None = None,
    findings: Findings | None = None,
) -> Dataset:
    """Read a COCO file whose pictures lie in the first of `folders` that has them.

    `names` orders the classes where a data YAML names them; else they are ordered by category id. `fold` may join
    annotation records before they are used.
    """
    content = _load(file)
    categories = _categories(content, file, names)
    order = [names.index(category) for category in categories.values()] if names else range(len(categories))
    label_of = dict(zip(categories, order))
    by_label = sorted(categories, key=label_of.__getitem__)
    try:
        classes = Classes(tuple(categories[i] for i in by_label), tuple(by_label))
    except FineSpotError as error:
        raise FineSpotError(error.what, where=file) from error
    builder = Builder(name, split, classes, findings)
    images = _by_id(content, "images", file, builder)
    annotations = _annotations(content, images, categories, file, builder)
    if fold:
        annotations = fold(annotations, str(file))
    grouped: dict[int | str, list[Record]] = {key: [] for key in images}
    for record in annotations:
        grouped[record["image_id"]].append(record)
    if "annotations" not in content:
        builder.notes.append(f"{file.name} has no annotations: all pictures are read as background")
    paths: dict[int | str, str] = {}
    for key, image in images.items():
        with builder.guard():
            paths[key] = _find(image, folders, file)
    other_sizes: list[str] = []
    for key in sorted(paths, key=lambda key: bytewise(paths[key])):
        with builder.guard(paths[key]):
            size = builder.picture(paths[key], key)
            height, width = (images[key].get(side) for side in ("height", "width"))
            said = (size[0] if height is None else height, size[1] if width is None else width)
            if said != size:
                what = f"{images[key]['file_name']} is {size[1]}x{size[0]}, not {said[1]}x{said[0]}"
                other_sizes.append(what)
                if findings is not None:
                    findings.add("size", what, _where(file, "image", key), paths[key])
            for record in grouped[key]:
                with builder.guard():
                    _add(builder, record, label_of, file)
    if builder.counts["ignore"]:
        text = counted(builder.counts["ignore"], "1 annotation", "annotations")
        builder.notes.append(
            f"{text} with ignore but no iscrowd: left out in val and training; the official COCO program counts them "
            "as objects"
        )
    if other_sizes:
        text = counted(len(other_sizes), "1 picture has another size", "pictures have other sizes")
        builder.notes.append(f"{text} than {file.name} says ({other_sizes[0]}); the picture files count")
    return builder.build()


def _add(builder: Builder, record: Record, label_of: Mapping[int, int], file: Path) -> None:
    where = _where(file, "annotation", record["id"])
    crowd = bool(flag(record, "iscrowd", where))
    area = None if record.get("area") is None else number(record["area"], "area", where)
    if area is not None and area < 0:
        raise FineSpotError(f"expected an area of 0 or more but got {area:g}", where=where)
    extra = {name: flag(record, name, where) for name in _ATTRIBUTES if record.get(name) is not None}
    ignore = bool(flag(record, "ignore", where))
    category = record["category_id"]
    builder.counts["ignore"] += ignore and not crowd
    builder.box(
        _corners(record, where),
        -1 if category is None else label_of[category],
        where=where,
        ignore=ignore or crowd,
        area=area,
        annotation_id=record["id"],
        attributes={"crowd": int(crowd), **extra},
    )


def _corners(record: Record, where: str) -> Corners:
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


def _load(file: Path) -> Record:
    try:
        data = file.read_bytes()
    except OSError as error:
        raise FineSpotError(f"cannot be read ({error.strerror})", where=file) from error
    try:
        content = msgspec.json.decode(data)
    except (UnicodeDecodeError, RecursionError) as error:
        raise FineSpotError(f"the JSON cannot be read ({error})", where=file) from error
    except msgspec.DecodeError as error:
        byte = re.search(r"byte (\d+)", str(error))
        line = data[: int(byte[1])].count(b"\n") + 1 if byte else 1
        raise FineSpotError(f"the JSON cannot be read ({error})", where=f"{file}:{line}") from error
    if not isinstance(content, dict) or "images" not in content or "categories" not in content:
        raise FineSpotError("expected a COCO file with images, categories and annotations", where=file)
    return content


def _by_id(content: Record, key: str, file: Path, builder: Builder | None = None) -> dict[Any, Record]:
    """Records of a list by their id; what has no usable or a repeated id is refused (noted, with a builder)."""
    records = content.get(key, [])
    if not isinstance(records, list):
        raise FineSpotError(f"expected a list of {key}", where=file)
    found: dict[Any, Record] = {}
    one = key.removesuffix("s") if key != "categories" else "category"
    for count, record in enumerate(records, 1):
        with builder.guard() if builder is not None else nullcontext():
            identity = _checked_id(record, key, one, count, file)
            if identity in found:
                raise FineSpotError(f"the id occurs more than once among the {key}", where=_where(file, one, identity))
            found[identity] = {**record, "id": identity}
    return found


def _checked_id(record: Any, key: str, one: str, count: int, file: Path) -> int | str:
    """The id of a record that has what every record of its kind must have."""
    if not isinstance(record, dict) or "id" not in record:
        raise FineSpotError(f"expected a record with an id as {one} number {count} but got none", where=file)
    identity: int | str = record["id"]
    if key != "images" or not isinstance(identity, str):
        identity = whole_number(identity, "id", f"{file}: {one} number {count}")
    if key == "images" and not isinstance(record.get("file_name"), str):
        raise FineSpotError("expected a file_name", where=_where(file, one, identity))
    if key == "categories" and not isinstance(record.get("name"), str):
        raise FineSpotError("expected a name", where=_where(file, one, identity))
    if key == "images":
        for side in ("height", "width"):
            if record.get(side) is not None:
                number(record[side], side, _where(file, one, identity))
    return identity


def _categories(content: Record, file: Path, names: Sequence[str] | None) -> dict[int, str]:
    found = {key: record["name"] for key, record in sorted(_by_id(content, "categories", file).items())}
    if not found:
        raise FineSpotError("expected at least one category but got none", where=file)
    if names is not None and sorted(found.values()) != sorted(names):
        raise FineSpotError(
            f"expected the classes of the data YAML ({', '.join(names)}) but got {', '.join(found.values())}",
            where=file,
        )
    return found


def _annotations(
    content: Record, images: Mapping[Any, Any], categories: Mapping[int, str], file: Path, builder: Builder
) -> list[Record]:
    records = []
    for record in _by_id(content, "annotations", file, builder).values():
        where = _where(file, "annotation", record["id"])
        image, category = record.get("image_id"), record.get("category_id")
        with builder.guard(where):
            if not _is_key(image, (int, float, str)) or image not in images:
                raise FineSpotError(f"no image has the id {shown(image)}", where=where)
            if not _is_key(category, (int, float)) or category not in categories:
                known = ", ".join(map(str, list(categories)[:10]))
                raise FineSpotError(f"no category has the id {shown(category)}", where=where, hint=f"there are {known}")
            records.append(record)
    return records


def _find(image: Record, folders: Sequence[Path], file: Path) -> str:
    for folder in folders:
        path: str = os.path.abspath(folder / str(image["file_name"]))
        if os.path.isfile(path):
            return path
    tried = ", ".join(str(folder) for folder in folders)
    raise FineSpotError(
        f"the picture {image['file_name']} does not exist",
        where=_where(file, "image", image["id"]),
        hint=f"looked in {tried}",
    )


def _where(file: Path, kind: str, identity: object) -> str:
    return f"{file}: {kind} {identity}"


def flag(record: Record, name: str, where: str) -> int:
    """An integer or truth value of a record, 0 where it is missing."""
    value = record.get(name, 0)
    return int(value) if isinstance(value, bool) else whole_number(value, name, where)


def _is_key(value: object, kinds: tuple[type, ...]) -> bool:
    """Whether a value may be looked up; `true` must not find the id 1."""
    return isinstance(value, kinds) and not isinstance(value, bool)


def _need_folder(place: Path) -> None:
    if not place.is_dir():
        raise FineSpotError("expected the folder of a data set but there is none", where=place)
    if not (place / "annotations").is_dir():
        raise FineSpotError("expected a folder 'annotations' with COCO files in it", where=place)
