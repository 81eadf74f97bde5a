"""LabelMe: `labelme:FOLDER` with a JSON file a picture, beside it; several folders are one split each, else `all`.

Boxes are the envelopes of rectangles, polygons, circles and masks; lines and points have no area and are counted. The
shape flags `ignore` and `difficult` (and the field `difficult` that a descendant of LabelMe writes) make an ignored
object, `any_class` an ignore region of every class; this is also how they are written. Differs from common readers:
pictures without a JSON file are background, `imagePath` may have backslashes or be another machine's, and shapes of
one `group_id` stay apart unless `merge=true` asks for one box around them.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import msgspec

from finespot.data.builder import Builder, bytewise, counted
from finespot.data.dataset import Dataset
from finespot.data.findings import Corners, Findings
from finespot.data.formats.coco_file import load_json
from finespot.data.formats.layout import Keeps, Part
from finespot.data.formats.named_pictures import image_ids
from finespot.data.formats.options import switch
from finespot.data.formats.pairing import label_stems, tell_absent
from finespot.data.formats.sizes import StatedSizes
from finespot.data.formats.splits import files_below, find_split, split_folders
from finespot.errors import FineSpotError, unknown
from finespot.images import find_images
from finespot.registry import register
from finespot.structures import Classes
from finespot.writers.atomic import write_atomic

# The fewest points of each kind of shape that has an area; the last three kinds are those of descendants.
_LEAST_POINTS = dict.fromkeys(("rectangle", "circle", "mask"), 2) | dict.fromkeys(
    ("polygon", "rotation", "quadrilateral", "oriented_rectangle"), 3
)
_NO_AREA = ("line", "linestrip", "point", "points")
_VERSION = "5.5.0"


class _File(msgspec.Struct):
    """What is read of a file; its `imageData`, a picture as text, is skipped."""

    shapes: list[msgspec.Raw]
    image_path: str | None = msgspec.field(name="imagePath", default=None)
    image_height: float | None = msgspec.field(name="imageHeight", default=None)
    image_width: float | None = msgspec.field(name="imageWidth", default=None)


class _Shape(msgspec.Struct):
    label: str
    points: list[tuple[float, float]]
    shape_type: str | None = None
    group_id: int | str | None = None
    flags: dict[str, Any] | None = None
    difficult: bool | None = None

    def flag(self, name: str) -> bool:
        return bool((self.flags or {}).get(name))


@dataclass(frozen=True)
class _Labels:
    """A file as read: its shapes with their places in words, and what is wrong with the others."""

    file: Path
    image_path: str
    size: tuple[float | None, float | None]
    shapes: list[tuple[str, _Shape]]
    errors: list[FineSpotError]


@register("format", "labelme")
class LabelMe:
    """A folder, or folders, of pictures with a JSON file each."""

    keeps: ClassVar[Keeps] = Keeps(regions=True, ignored=True)

    def __init__(self, merge: str = "false") -> None:
        self._merge = switch("merge", merge)

    def splits(self, place: Path) -> list[str]:
        """The sub-folders with JSON files, or `all`."""
        return list(split_folders(place, ".json"))

    def open(self, place: Path, split: str, findings: Findings | None = None) -> Dataset:
        """Read and check one split; the classes are those of all splits, by name."""
        folders = split_folders(place, ".json")
        folder = find_split(folders, split, place)
        names: set[str] = set()
        for one in folders.values():
            files, errors = _load_all(one)
            wrong = [*errors, *(error for file in files for error in file.errors)]
            if wrong and findings is None:
                raise wrong[0]
            names |= {shape.label for file in files for _, shape in file.shapes if _has_class(shape)}
            if one == folder:
                mine, mistakes = files, errors
        if not names:
            raise FineSpotError("expected labels of shapes but there is no shape with an area", where=place)
        builder = Builder(place.resolve().name, split, Classes(tuple(sorted(names))), findings)
        for error in mistakes:
            with builder.guard():
                raise error
        self._read_all(folder, mine, builder)
        return builder.build()

    def picture(self, split: str, name: str) -> str:
        """`<split>/<name>`."""
        return f"{split}/{name}"

    def write(self, root: Path, parts: Sequence[Part]) -> None:
        """Write <split>/<stem>.json for every picture."""
        for part in parts:
            folder = root / part.split
            for index, stem in enumerate(label_stems(part.names, folder)):
                content = _content(part.dataset, index, part.names[index])
                text = msgspec.json.format(msgspec.json.encode(content), indent=2)
                write_atomic(folder / f"{stem}.json", text + b"\n", sync=False)

    def _read_all(self, folder: Path, files: list[_Labels], builder: Builder) -> None:
        sizes = StatedSizes(builder, "the JSON file")
        images = [os.path.abspath(path) for path in find_images(folder)]
        labels = _by_picture(files, images, builder)
        pictures = sorted({*labels, *images}, key=bytewise)
        label_of = {name: label for label, name in enumerate(builder.classes)}
        absent = []
        for path, image_id in zip(pictures, image_ids(pictures)):
            with builder.guard(path):
                size = builder.picture(path, image_id)
                if path not in labels:
                    absent.append(f"{os.path.splitext(path)[0]}.json")
                    continue
                found = labels[path]
                sizes.compare(size, found.size, os.path.basename(path), path, str(found.file))
                for error in found.errors:
                    with builder.guard():
                        raise error
                self._add(found, label_of, builder)
        tell_absent(absent, len(pictures), "a JSON file without shapes says that a picture holds no object", builder)
        sizes.note()
        _tell_counts(builder)

    def _add(self, labels: _Labels, label_of: Mapping[str, int], builder: Builder) -> None:
        """Add the boxes of a picture."""
        groups: dict[object, list[tuple[str, _Shape, Corners]]] = {}
        for number, (where, shape) in enumerate(labels.shapes):
            corners = None
            with builder.guard(where):
                corners = _corners(shape, where)
                builder.counts["no area"] += corners is None
            if corners is not None:
                merged = self._merge and shape.group_id is not None
                key = (shape.group_id, shape.label) if merged else number
                groups.setdefault(key, []).append((where, shape, corners))
        for members in groups.values():
            builder.counts["merged"] += len(members) - 1
            where, shape, _ = members[0]
            x1, y1, x2, y2 = zip(*(corners for _, _, corners in members))
            region, difficult = shape.flag("any_class"), bool(shape.difficult) or shape.flag("difficult")
            with builder.guard(where):
                builder.box(
                    (min(x1), min(y1), max(x2), max(y2)),
                    -1 if region else label_of[shape.label],
                    where=where,
                    ignore=region or difficult or shape.flag("ignore"),
                    attributes={"difficult": 1} if difficult else None,
                )


def _tell_counts(builder: Builder) -> None:
    for key, one, many in (
        ("no area", "1 line or point has no area and was left out", "lines and points have no area and were left out"),
        ("merged", "1 shape was merged into another of its group", "shapes were merged into others of their groups"),
    ):
        if text := counted(builder.counts[key], one, many):
            builder.notes.append(text)


def _by_picture(files: Sequence[_Labels], images: Sequence[str], builder: Builder) -> dict[str, _Labels]:
    """The files by the picture that each is of: `imagePath`, else the picture beside it of the same stem."""
    beside = {os.path.splitext(path)[0]: path for path in images}
    found: dict[str, _Labels] = {}
    for labels in files:
        name, folder = labels.image_path, labels.file.parent
        candidates = [os.path.join(folder, one) for one in (name, os.path.basename(name)) if one]
        path = next(filter(os.path.isfile, candidates), beside.get(os.path.abspath(labels.file.with_suffix(""))))
        with builder.guard(kind="record" if path else "orphan"):
            if path is None:
                hint = f"looked for {name or 'a picture of the same stem'} in {folder}"
                raise FineSpotError("the label file has no picture", where=labels.file, hint=hint)
            path = os.path.abspath(path)
            if path in found:
                raise FineSpotError(f"{path} is also the picture of {found[path].file}", where=labels.file)
            found[path] = labels
    return found


def _load_all(folder: Path) -> tuple[list[_Labels], list[FineSpotError]]:
    """The JSON files below a folder, and what is wrong with those that cannot be read."""
    found = [_try_load(file) for file in files_below(folder, ".json")]
    files = [one for one in found if isinstance(one, _Labels)]
    return files, [one for one in found if isinstance(one, FineSpotError)]


def _try_load(file: Path) -> _Labels | FineSpotError:
    try:
        return _load(file)
    except FineSpotError as error:
        return error


def _load(file: Path) -> _Labels:
    content: _File = load_json(file, _File)
    shapes, errors = [], []
    for number, raw in enumerate(content.shapes, 1):
        where = f"{file}: shape {number}"
        try:
            shapes.append((where, msgspec.json.decode(raw, type=_Shape)))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            errors.append(FineSpotError(f"the shape cannot be read ({error})", where=where))
    name = (content.image_path or "").replace("\\", "/")
    return _Labels(file, name, (content.image_height, content.image_width), shapes, errors)


def _has_class(shape: _Shape) -> bool:
    return shape.shape_type not in _NO_AREA and not shape.flag("any_class")


def _corners(shape: _Shape, where: str) -> Corners | None:
    """The box of a shape in pixels, or None where its kind has no area."""
    kind, points = shape.shape_type or "polygon", shape.points
    if kind in _NO_AREA:
        return None
    if kind not in _LEAST_POINTS:
        raise unknown("shape_type", kind, (*_LEAST_POINTS, *_NO_AREA), where=where)
    least = _LEAST_POINTS[kind]
    if len(points) < least or (kind in ("circle", "mask") and len(points) != least):
        raise FineSpotError(f"expected {least} points of a {kind} but got {len(points)}", where=where)
    if kind == "circle":
        (x, y), rim = points
        radius = math.dist((x, y), rim)
        return x - radius, y - radius, x + radius, y + radius
    xs, ys = zip(*points)
    last = 1 if kind == "mask" else 0  # the two points of a mask are its first and its last pixel
    return min(xs), min(ys), max(xs) + last, max(ys) + last


def _content(dataset: Dataset, index: int, name: str) -> Mapping[str, Any]:
    """What a picture's file holds."""
    truth = dataset.annotations(index)
    shapes = []
    for (x1, y1, x2, y2), label, ignore in zip(
        truth.boxes.astype(float).round(4).tolist(), truth.labels.tolist(), truth.ignore.tolist()
    ):
        flags = {"any_class": True, "ignore": True} if label < 0 else {"ignore": True} if ignore else {}
        shapes.append(
            {
                "label": "ignore" if label < 0 else dataset.classes[label],
                "points": [[x1, y1], [x2, y2]],
                "group_id": None,
                "shape_type": "rectangle",
                "flags": flags,
            }
        )
    return {
        "version": _VERSION,
        "flags": {},
        "shapes": shapes,
        "imagePath": name,
        "imageData": None,
        "imageHeight": truth.size[0],
        "imageWidth": truth.size[1],
    }
