"""From COCO records to a data set: what the readers of all data sets share that are published as COCO JSON.

`Dialect` says how the files of one of them differ from plain COCO.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from finespot.data.builder import Builder, bytewise, counted, number, shown
from finespot.data.dataset import Dataset
from finespot.data.findings import Corners, Findings
from finespot.data.formats.coco_file import (
    Id,
    Record,
    annotations_of,
    by_id,
    categories_of,
    corners_of,
    find_pictures,
    flag,
    load_coco,
    place_of,
    refuse_deep_nesting,
)
from finespot.data.formats.sizes import StatedSizes
from finespot.errors import FineSpotError
from finespot.structures import Classes, Window

# Keys of annotations that are no attributes: COCO's own and the two by which class-free regions are known.
OWN_KEYS = frozenset(
    (
        *("id", "image_id", "category_id", "bbox", "area", "iscrowd", "ignore", "segmentation"),
        *("keypoints", "num_keypoints", "caption"),
        *("dontcare", "region_id"),
    )
)
_LARGEST = 2**62


def _nothing(record: Record) -> None:
    return None


@dataclass(frozen=True)
class Dialect:
    """How the files of a data set differ from plain COCO, which the defaults are.

    Attributes
    ----------
    regions:
        Categories that are ignore regions without a class.
    ignored_by:
        Keys that make an object an ignored one, as `iscrowd` does.
    honored:
        Whether the set's own evaluation honors these keys; COCO's does not, which is worth a note.
    attributes:
        Keys that are attributes wherever they stand, with integers or truth values.
    strict_regions:
        Whether every record with `dontcare` must be a row of a region that stands once per class.
    corners:
        The box (x1, y1, x2, y2) of an annotation.
    keep:
        Whether an image record is read at all.
    group:
        The video or scene of an image record.
    window:
        The part of its file that an image record is.
    missing:
        What to do where pictures are missing.
    """

    regions: frozenset[str] = frozenset()
    ignored_by: tuple[str, ...] = ("ignore",)
    honored: bool = False
    attributes: tuple[str, ...] = ("difficult", "truncated")
    strict_regions: bool = False
    corners: Callable[[Record, str], Corners] = corners_of
    keep: Callable[[Record], bool] = lambda record: True
    group: Callable[[Record], str | None] = _nothing
    window: Callable[[Record, str], Window | None] = lambda record, where: None
    missing: str = ""


PLAIN = Dialect()


def read_coco(
    file: Path,
    folders: Sequence[Path],
    *,
    name: str,
    split: str,
    names: Sequence[str] | None = None,
    dialect: Dialect = PLAIN,
    findings: Findings | None = None,
) -> Dataset:
    """Read a COCO file whose pictures lie in the first of `folders` that has them.

    `names` orders the classes where a data YAML names them; else they are ordered by category id.
    """
    content = load_coco(file)
    return read_content(content, file, folders, name=name, split=split, names=names, dialect=dialect, findings=findings)


def read_content(
    content: Record,
    file: Path,
    folders: Sequence[Path],
    *,
    name: str,
    split: str,
    names: Sequence[str] | None = None,
    dialect: Dialect = PLAIN,
    findings: Findings | None = None,
) -> Dataset:
    """As `read_coco`, of a file that is loaded."""
    with refuse_deep_nesting(file):
        categories = categories_of(content, file)
        classes, labels = _classes(categories, dialect, names, file)
        builder = Builder(name, split, classes, findings)
        every_image = by_id(content, "images", file, builder)
        annotations = annotations_of(content, every_image, categories, file, builder)
        annotations = fold_regions(annotations, frozenset(categories), file, builder, dialect.strict_regions)
        images = {key: image for key, image in every_image.items() if dialect.keep(image)}
        grouped: dict[Id, list[Record]] = {key: [] for key in images}
        for record in annotations:
            if record["image_id"] in grouped:
                grouped[record["image_id"]].append(record)
        if "annotations" not in content:
            builder.notes.append(f"{file.name} has no annotations: all pictures are read as background")
        paths = find_pictures(images, folders, file, builder, dialect.missing)
        reading = _Reading(file, dialect, builder, labels, annotations)
        for key in sorted(paths, key=lambda key: bytewise(paths[key])):
            with builder.guard(paths[key]):
                reading.picture(images[key], paths[key], grouped[key])
        reading.note()
        return builder.build()


def _classes(
    categories: dict[int, str], dialect: Dialect, names: Sequence[str] | None, file: Path
) -> tuple[Classes, dict[int, int]]:
    """The class table, and the label of each category that is a class."""
    real = {key: name for key, name in categories.items() if name not in dialect.regions}
    if names is not None and sorted(real.values()) != sorted(names):
        raise FineSpotError(
            f"expected the classes of the data YAML ({', '.join(names)}) but got {', '.join(real.values())}",
            where=file,
        )
    order = [names.index(name) for name in real.values()] if names else range(len(real))
    labels = dict(zip(real, order))
    by_label = sorted(real, key=labels.__getitem__)
    try:
        return Classes(tuple(real[key] for key in by_label), tuple(by_label)), labels
    except FineSpotError as error:
        raise FineSpotError(error.what, where=file) from error


def fold_regions(
    records: Sequence[Record], categories: frozenset[int], file: Path, builder: Builder, strict: bool = False
) -> list[Record]:
    """Join the rows of each class-free region, of one (image_id, region_id) and with `dontcare`, into the first.

    Only what stands once for each category is a region of no class; with `strict`, whatever has `dontcare` is.
    """
    regions: dict[tuple[Any, Any], set[int]] = defaultdict(set)
    keyed: list[tuple[Record, tuple[Any, Any] | None]] = []
    for record in records:
        with builder.guard():
            key = _region_of(record, place_of(file, "annotation", record["id"]), strict)
            keyed.append((record, key))
            if key is not None:
                regions[key].add(record["category_id"])
    folded: list[Record] = []
    first: dict[tuple[Any, Any], Record] = {}
    for record, key in keyed:
        with builder.guard():
            if key is None or not (strict or regions[key] == categories):
                folded.append(record)
            elif key not in first:
                first[key] = {**record, "ignore": 1, "category_id": None}
                folded.append(first[key])
            elif first[key].get("bbox") != record.get("bbox"):
                raise FineSpotError(
                    f"expected one box for all rows of region {key[1]} but got two",
                    where=place_of(file, "annotation", record["id"]),
                )
    return folded


def _region_of(record: Record, where: str, strict: bool) -> tuple[Any, Any] | None:
    """Image and region that a record is a row of, if any."""
    region = record.get("region_id")
    marked = flag(record, "dontcare", where) if strict else record.get("dontcare") == 1
    if marked and isinstance(region, (int, str)):
        return record["image_id"], region
    if marked and strict:
        got = shown(region) if "region_id" in record else "none"
        raise FineSpotError(f"expected a number or text as region_id on a dontcare record but got {got}", where=where)
    return None


class _Reading:
    """Adds pictures with their annotations to the builder."""

    def __init__(
        self, file: Path, dialect: Dialect, builder: Builder, labels: dict[int, int], annotations: Sequence[Record]
    ) -> None:
        self._file, self._dialect, self._builder, self._labels = file, dialect, builder, labels
        self._sizes = StatedSizes(builder, file.name)
        self._found = [key for key in _whole_keys(annotations) if key not in dialect.attributes]
        self._attributes = (*dialect.attributes, *self._found)
        self._read: dict[tuple[str, Window | None], Id] = {}

    def picture(self, image: Record, path: str, records: Sequence[Record]) -> None:
        """Add a picture and what lies in it."""
        where = place_of(self._file, "image", image["id"])
        window = self._dialect.window(image, where)
        other = self._read.setdefault((path, window), image["id"])
        if other != image["id"]:
            raise FineSpotError(
                f"{image['file_name']} is also the picture of image {other}",
                where=where,
                hint="give each picture one record, and all its annotations the id of that",
            )
        size = self._builder.picture(path, image["id"], group=self._dialect.group(image), window=window)
        self._sizes.compare(size, (image.get("height"), image.get("width")), image["file_name"], path, where)
        for record in records:
            with self._builder.guard():
                self._annotation(record, place_of(self._file, "annotation", record["id"]))

    def _annotation(self, record: Record, where: str) -> None:
        dialect, label = self._dialect, self._labels.get(record["category_id"], -1)
        crowd = bool(flag(record, "iscrowd", where))
        area = None if record.get("area") is None else number(record["area"], "area", where)
        if area is not None and area < 0:
            raise FineSpotError(f"expected an area of 0 or more but got {area:g}", where=where)
        given = [name for name in self._attributes if record.get(name) is not None]
        extra = {name: flag(record, name, where) for name in given}
        ignore = any(flag(record, name, where) for name in dialect.ignored_by)
        self._builder.counts["ignore"] += ignore and not crowd and label >= 0
        self._builder.box(
            dialect.corners(record, where),
            label,
            where=where,
            ignore=ignore or crowd or label < 0,
            area=area,
            annotation_id=record["id"],
            attributes={"crowd": int(crowd), **extra},
        )

    def note(self) -> None:
        """Say what was found on the way."""
        builder = self._builder
        if self._found:
            builder.notes.append(f"keys of the annotations that were kept as attributes: {', '.join(self._found)}")
        if builder.counts["ignore"] and not self._dialect.honored:
            text = counted(builder.counts["ignore"], "1 annotation", "annotations")
            builder.notes.append(
                f"{text} with ignore but no iscrowd: left out in val and training; the official COCO program counts "
                "them as objects"
            )
        self._sizes.note()


def _whole_keys(annotations: Sequence[Record]) -> list[str]:
    """The keys that hold an integer or a truth value in every annotation, COCO's own aside."""
    keys = set(annotations[0]) - OWN_KEYS if annotations else set()
    for record in annotations:
        keys = {key for key in keys if isinstance(value := record.get(key), int) and abs(value) <= _LARGEST}
    return sorted(keys)
