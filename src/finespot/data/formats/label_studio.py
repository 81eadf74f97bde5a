"""Label Studio exports, JSON and JSON-MIN: `label-studio:FOLDER` with JSON files and pictures, `label-studio:x.json`.

Several JSON files are one split each, else it is `all`. Coordinates are percent of the picture; a rectangle is turned
about its top left corner, so envelopes are taken in pixels. Of several annotations of a task the latest that was not
cancelled counts (`annotator=` names whose), never all of them; a task without one is left out, since nobody has said
that its picture is empty. A box without a label is an ignore region; one of several labels is read once for each.
Predictions are no truth and are not read. Pictures are found by the end of their address, without the eight hex digits
that an upload puts in front where need be.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from finespot.data.builder import Builder, bytewise, counted, number, shown
from finespot.data.dataset import Dataset
from finespot.data.findings import Corners, Findings
from finespot.data.formats.label_studio_tasks import Record, Task, file_names, read_tasks
from finespot.data.formats.named_pictures import NamedPictures, image_ids
from finespot.data.formats.rotated import ellipse_envelope, rotated_envelope
from finespot.data.formats.sizes import StatedSizes
from finespot.data.formats.splits import find_split, split_files
from finespot.errors import FineSpotError
from finespot.registry import register
from finespot.structures import Classes, Size


@register("format", "label-studio")
class LabelStudio:
    """JSON files with the pictures below the same folder."""

    def __init__(self, annotator: str = "") -> None:
        self._annotator = annotator

    def splits(self, place: Path) -> list[str]:
        """The JSON files, or `all`."""
        return list(split_files(place, ".json"))

    def open(self, place: Path, split: str, findings: Findings | None = None) -> Dataset:
        """Read and check one split; the classes are those of all splits, by name."""
        files = split_files(place, ".json")
        file = find_split(files, split, place)
        tasks = {one: read_tasks(one) for one in files.values()}
        wrong = [error for _, errors in tasks.values() for error in errors]
        if wrong and findings is None:
            raise wrong[0]
        names = {
            name
            for found, _ in tasks.values()
            for task in found
            for value, _ in _boxes(task.results(self._annotator) or [])
            for name in _names(value)
        }
        if not names:
            by = f" by {self._annotator}" if self._annotator else ""
            raise FineSpotError(f"expected labelled boxes{by} but there are none", where=place)
        builder = Builder(place.resolve().name, split, Classes(tuple(sorted(names))), findings)
        found, errors = tasks[file]
        for error in errors:
            with builder.guard():
                raise error
        self._read_all(found, file, builder)
        return builder.build()

    def _read_all(self, tasks: Sequence[Task], file: Path, builder: Builder) -> None:
        pictures, sizes = NamedPictures(file.parent, builder), StatedSizes(builder, file.name)
        chosen: dict[str, tuple[Task, list[Record]]] = {}
        for task in tasks:
            results = task.results(self._annotator)
            if results is None:
                builder.counts["unlabelled"] += 1
                continue
            if path := pictures.find(file_names(task.address), (file.parent,), task.where):
                chosen[path] = (task, results)
        pictures.note()
        labels = {name: label for label, name in enumerate(builder.classes)}
        paths = sorted(chosen, key=bytewise)
        for path, image_id in zip(paths, image_ids(paths)):
            task, results = chosen[path]
            with builder.guard(path):
                size = builder.picture(path, image_id)
                boxes = _boxes(results)
                builder.counts["no box"] += sum(not _kind(result.get("value")) for result in results)
                for count, (value, record) in enumerate(boxes, 1):
                    where = f"{task.where}: box {count}"
                    with builder.guard(where):
                        stated = (_stated(record, "original_height", where), _stated(record, "original_width", where))
                        if count == 1:
                            sizes.compare(size, stated, Path(path).name, path, where)
                        _add(value, record, size, labels, builder, where)
        sizes.note()
        _tell_counts(builder)


def _add(value: Record, record: Record, size: Size, labels: Mapping[str, int], builder: Builder, where: str) -> None:
    turned = record.get("image_rotation") or 0
    if number(turned, "image_rotation", where) % 360:
        raise FineSpotError(f"expected a picture that was not turned but got image_rotation {turned}", where=where)
    corners = _corners(value, size, where)
    names = _names(value)
    builder.counts["no label"] += not names
    builder.counts["several labels"] += len(names) > 1
    for label in [labels[name] for name in names] or [-1]:
        builder.box(corners, label, where=where, ignore=label < 0)


def _tell_counts(builder: Builder) -> None:
    for key, one, many in (
        ("unlabelled", "1 task without annotation was left out", "tasks without annotation were left out"),
        ("no box", "1 result is no box and was left out", "results are no boxes and were left out"),
        ("no label", "1 box has no label and is an ignore region", "boxes have no label and are ignore regions"),
        ("several labels", "1 box has several labels, read once each", "boxes have several labels, read once each"),
    ):
        if text := counted(builder.counts[key], one, many):
            builder.notes.append(text)


def _boxes(results: Sequence[Record]) -> list[tuple[Record, Record]]:
    """The values (with their results) that have an area; a value without label is left out beside an equal one with.

    Label Studio repeats the coordinates of a box in each result that says something of it.
    """
    found = [(result["value"], result) for result in results if _kind(result.get("value"))]
    labelled = {_place(value) for value, _ in found if _label_lists(value)}
    return [(value, result) for value, result in found if _label_lists(value) or _place(value) not in labelled]


def _kind(value: Any) -> str:
    """The kind of shape that a result's value is, or nothing."""
    if not isinstance(value, dict):
        return ""
    if "width" in value and "height" in value and "rle" not in value:
        return "rectangle"
    return "ellipse" if "radiusX" in value else "polygon" if "points" in value else ""


def _place(value: Record) -> tuple[object, ...]:
    """What tells a value's coordinates from those of others."""
    found = [value.get(key) for key in ("x", "y", "width", "height", "radiusX", "radiusY", "rotation")]
    points = value.get("points")
    if isinstance(points, list):
        found += [one for point in points if isinstance(point, list) for one in point]
    return tuple(one if isinstance(one, (int, float)) else None for one in found)


def _label_lists(value: Record) -> list[list[Any]]:
    return [found for key, found in value.items() if key.endswith("labels") and isinstance(found, list)]


def _names(value: Record) -> list[str]:
    """The labels of a box, once each."""
    return list(
        dict.fromkeys(name for names in _label_lists(value) for name in names if isinstance(name, str) and name)
    )


def _stated(record: Record, key: str, where: str) -> float | None:
    return None if record.get(key) is None else number(record[key], key, where)


def _corners(value: Record, size: Size, where: str) -> Corners:
    """The envelope of a shape, turned in pixels."""
    height, width = size
    kind = _kind(value)
    if kind == "polygon":
        xs, ys = zip(*_points(value["points"], where))
        return min(xs) * width, min(ys) * height, max(xs) * width, max(ys) * height
    x, y = _share(value, "x", where) * width, _share(value, "y", where) * height
    angle = math.radians(number(value.get("rotation") or 0, "rotation", where))
    if kind == "ellipse":
        rx, ry = _share(value, "radiusX", where) * width, _share(value, "radiusY", where) * height
        return ellipse_envelope(x, y, rx, ry, angle)
    w, h = _share(value, "width", where) * width, _share(value, "height", where) * height
    if w < 0 or h < 0:
        raise FineSpotError("expected a width and height of 0 or more", where=where)
    if not angle:
        return x, y, x + w, y + h
    cosine, sine = math.cos(angle), math.sin(angle)
    cx, cy = x + (w * cosine - h * sine) / 2, y + (w * sine + h * cosine) / 2
    return rotated_envelope(cx, cy, w, h, angle)


def _share(value: Record, key: str, where: str) -> float:
    return number(value.get(key), key, where) / 100


def _points(points: Any, where: str) -> Iterator[tuple[float, float]]:
    if not isinstance(points, list) or len(points) < 3:
        raise FineSpotError(f"expected 3 or more points but got {shown(points)}", where=where)
    for point in points:
        if not isinstance(point, list) or len(point) != 2:
            raise FineSpotError(f"expected a point [x, y] but got {shown(point)}", where=where)
        yield number(point[0], "x", where) / 100, number(point[1], "y", where) / 100
