"""CVAT XML 1.1, exported `for images` or `for video`: `cvat:FOLDER` with annotations.xml and the pictures in images/.

Several XML files (or sub-folders with one each) are one split each; a single file's subsets are splits, else it is
`all`. Classes stand in the order of the labels in the file. The attributes `ignore` and `difficult` of an object make
it an ignored object, a label that declares an attribute `any_class` is no class but marks ignore regions of every
class; this is also how they are written. Objects that are `outside` of a video's frame are left out; a video's frames
lie as pictures in images/, and the video is one group.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import ClassVar
from xml.sax.saxutils import escape, quoteattr

from finespot.data.builder import Builder, bytewise, counted
from finespot.data.dataset import Dataset
from finespot.data.findings import Findings
from finespot.data.formats.cvat_xml import ANY_CLASS, Export, corners_of, flags, read_export, shapes, size_of
from finespot.data.formats.layout import Keeps, Part
from finespot.data.formats.markup import Element
from finespot.data.formats.named_pictures import NamedPictures, image_ids
from finespot.data.formats.sizes import StatedSizes
from finespot.data.formats.splits import WHOLE, find_split, ordered, split_files
from finespot.data.formats.text import plain, whole
from finespot.errors import FineSpotError
from finespot.images import find_images
from finespot.registry import register
from finespot.structures import Classes
from finespot.writers.atomic import write_atomic

# What CVAT itself calls the frames of a video.
_FRAME = re.compile(r"frame_(\d{1,9})")
_DEFAULT = "default"
_REGION_LABEL = "ignore-region"
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

Split = tuple[Export, str | None]


@register("format", "cvat")
class Cvat:
    """annotations.xml beside images/."""

    keeps: ClassVar[Keeps] = Keeps(regions=True, ignored=True, attributes=frozenset({"occluded"}))

    def splits(self, place: Path) -> list[str]:
        """The XML files, else the subsets of the only one, else `all`."""
        return list(_splits(place))

    def open(self, place: Path, split: str, findings: Findings | None = None) -> Dataset:
        """Read and check one split; the classes are those of all splits."""
        splits = _splits(place)
        export, subset = find_split(splits, split, place)
        names, notes = _class_names({id(one): one for one, _ in splits.values()}.values(), place)
        builder = Builder(place.resolve().name, split, Classes(names), findings)
        builder.notes += notes
        reader = _Reader(builder, export)
        if export.is_video:
            reader.read_video()
        else:
            reader.read_images(subset)
        return builder.build()

    def picture(self, split: str, name: str) -> str:
        """`<split>/images/<name>`."""
        return f"{split}/images/{name}"

    def write(self, root: Path, parts: Sequence[Part]) -> None:
        """Write <split>/annotations.xml, which CVAT takes back for a task with the same pictures."""
        for part in parts:
            write_atomic(root / part.split / "annotations.xml", _text(part, root))


class _Reader:
    """Reads one split into a builder."""

    def __init__(self, builder: Builder, export: Export) -> None:
        self._builder, self._export = builder, export
        self._labels = {name: label for label, name in enumerate(builder.classes)}
        self._other: set[str] = set()

    def read_images(self, subset: str | None) -> None:
        """The pictures of a subset, or all."""
        builder, file = self._builder, self._export.file
        sizes = StatedSizes(builder, file.name)
        pictures = NamedPictures(file.parent, builder)
        found: dict[str, Element] = {}
        for image in self._export.root.findall("image"):
            own = image.get("subset", "") or _DEFAULT
            if subset is None or own == subset:
                folders = [file.parent / "images" / own, file.parent / "images", file.parent]
                if path := pictures.find((image.get("name", ""),), folders, self._where(image)):
                    found[path] = image
        pictures.note()
        paths = sorted(found, key=bytewise)
        for path, image_id in zip(paths, image_ids(paths)):
            image = found[path]
            where = self._where(image)
            with builder.guard(path):
                size = builder.picture(path, image_id)
                sizes.compare(size, size_of(image, where), image.get("name", ""), path, where)
                for place, element in shapes(image, where):
                    self._add(element, element.get("label", ""), place, {})
        sizes.note()
        self._tell()

    def read_video(self) -> None:
        """All frames, also those without objects."""
        builder, export = self._builder, self._export
        if len(export.root.findall("meta/project/tasks/task")) > 1:
            raise FineSpotError("expected the tracks of one task but got those of several", where=export.file)
        frames = _frames(export)
        objects: dict[int, list[tuple[str, Element, Element]]] = {number: [] for number in frames}
        gaps = 0
        for track in export.root.findall("track"):
            where = f"{export.file}: track {track.get('id', '')}"
            last = None
            for place, element in shapes(track, where):
                with builder.guard(place):
                    number = whole(element.get("frame", ""), "frame", place)
                    if number not in objects:
                        raise FineSpotError(f"the frame {number} has no picture", where=place)
                    gaps += last is not None and number > last + 1
                    outside = element.get("outside", "0") == "1"
                    last = None if outside else number
                    if not outside:
                        objects[number].append((place, track, element))
        sizes, stated = StatedSizes(builder, export.file.name), export.frame_size()
        paths = {path: number for number, path in frames.items()}
        order = sorted(paths, key=bytewise)
        for path, image_id in zip(order, image_ids(order)):
            with builder.guard(path):
                size = builder.picture(path, image_id, group=str(export.file))
                sizes.compare(size, stated, os.path.basename(path), path, str(export.file))
                for place, track, element in objects[paths[path]]:
                    target = whole(track.get("id", "0"), "track id", place)
                    self._add(element, track.get("label", ""), place, {"target_id": target})
        sizes.note()
        if text := counted(gaps, "1 gap in a track", "gaps in tracks"):
            builder.notes.append(f"{text}: frames in between are read as without the object")
        self._tell()

    def _add(self, element: Element, label: str, where: str, attributes: dict[str, int]) -> None:
        builder = self._builder
        with builder.guard(where):
            corners = corners_of(element, where)
            if corners is None:
                builder.counts["no area"] += 1
                return
            region = label in self._export.regions
            if not region and label not in self._labels:
                raise FineSpotError(f"the label {label!r} is not among those of the file", where=where)
            on, other = flags(element)
            self._other |= other | (on - {"ignore", "difficult", ANY_CLASS})
            occluded = int(element.get("occluded", "0") not in ("0", "", "False"))
            builder.box(
                corners,
                -1 if region else self._labels[label],
                where=where,
                ignore=region or not on.isdisjoint(("ignore", "difficult")),
                attributes={**attributes, "occluded": occluded, "difficult": int("difficult" in on)},
            )

    def _tell(self) -> None:
        count, notes = self._builder.counts["no area"], self._builder.notes
        if text := counted(count, "1 shape has no area and was", "shapes have no area and were"):
            notes.append(f"{text} left out (tags, points, lines, skeletons)")
        if self._other:
            listed = ", ".join(sorted(self._other)[:5])
            notes.append(f"attributes other than ignore and difficult are not read ({listed})")

    def _where(self, image: Element) -> str:
        return f"{self._export.file}: image {image.get('id', '')} {image.get('name', '')}"


def _splits(place: Path) -> dict[str, Split]:
    files = split_files(place, ".xml")
    exports = {name: read_export(file) for name, file in files.items()}
    if list(exports) == [WHOLE]:
        export = exports[WHOLE]
        subsets = {image.get("subset", "") or _DEFAULT for image in export.root.findall("image")}
        if subsets - {_DEFAULT}:
            return {name: (export, name) for name in ordered(subsets)}
    return {name: (export, None) for name, export in exports.items()}


def _class_names(exports: Iterable[Export], place: Path) -> tuple[tuple[str, ...], list[str]]:
    """The labels of all files in their order; where the meta data lists none, those that occur, sorted."""
    exports = list(exports)
    listed = [export.labels for export in exports if export.labels]
    names = dict.fromkeys(name for labels in listed for name in labels)
    notes = []
    if len(set(listed)) > 1:
        notes.append("the XML files list different labels, or in another order; classes are those of all files")
    if not names:
        used = {
            element.get("label", "")
            for export in exports
            for element in export.root.iter()
            if element.get("label") is not None and element.tag != "tag"
        }
        names = dict.fromkeys(sorted(used))
    if not names:
        raise FineSpotError("expected labels in the meta data or of objects but got none", where=place)
    return tuple(names), notes


def _frames(export: Export) -> dict[int, str]:
    """The pictures of a video's frames by frame number.

    Where there are as many as the task has frames, they are taken in order, since programs that cut a video into
    pictures count from 0 or 1; else only CVAT's own names tell the number.
    """
    folder, stem = export.file.parent, export.file.stem
    choices = [folder / stem, folder / "images" / stem, folder / "images", folder]
    pictures = [os.path.abspath(path) for path in find_images(next(filter(os.path.isdir, choices)))]
    size, first = export.frames()
    if len(pictures) == size:
        return dict(enumerate(sorted(pictures, key=_number_in), first))
    matches = [_FRAME.fullmatch(os.path.splitext(os.path.basename(path))[0]) for path in pictures]
    numbers = [int(match[1]) for match in matches if match is not None]
    if not numbers or len(set(numbers)) != len(pictures):
        raise FineSpotError(
            f"expected {'pictures of all' if size is None else size} frames but got {len(pictures)} pictures",
            where=export.file,
            hint="frames are taken in order where none is missing, else by names such as frame_000012.png",
        )
    return dict(zip(numbers, pictures))


def _number_in(path: str) -> tuple[int, bytes]:
    """Sorts by the last number in a file's name."""
    numbers = re.findall(r"\d+", os.path.splitext(os.path.basename(path))[0])
    return (int(numbers[-1]) if numbers else 0, bytewise(path))


def _text(part: Part, root: Path) -> str:
    """The XML of a split."""
    classes = part.dataset.classes.names
    for name in (*classes, *part.names):
        if _NOT_XML.search(name) or name != name.strip() or not name:
            raise FineSpotError(f"expected a name that XML can hold but got {name!r}", where=root)
    region = _REGION_LABEL
    while region in classes:
        region += "_"
    rows = [
        '<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n  <version>1.1</version>\n  <meta>\n    <task>\n',
        f"      <name>{escape(part.split)}</name>\n      <size>{len(part.dataset)}</size>\n",
        "      <mode>annotation</mode>\n      <labels>\n",
        *(_label(name, ("ignore",)) for name in classes),
        _label(region, ("ignore", ANY_CLASS)),
        "      </labels>\n    </task>\n  </meta>\n",
    ]
    for index, name in enumerate(part.names):
        height, width = part.dataset.size(index)
        rows.append(f'  <image id="{index}" name={quoteattr(name)} width="{width}" height="{height}">\n')
        rows += _boxes(part.dataset, index, (*classes, region))
        rows.append("  </image>\n")
    return "".join((*rows, "</annotations>\n"))


def _label(name: str, attributes: Iterable[str]) -> str:
    listed = "".join(
        f"<attribute><name>{attribute}</name><mutable>False</mutable><input_type>checkbox</input_type>"
        "<default_value>false</default_value><values>false</values></attribute>"
        for attribute in attributes
    )
    return f"        <label><name>{escape(name)}</name><attributes>{listed}</attributes></label>\n"


def _boxes(dataset: Dataset, index: int, labels: Sequence[str]) -> list[str]:
    """The boxes of a picture; `labels` ends with that of regions, which the label -1 finds there."""
    truth = dataset.annotations(index)
    occluded = truth.attributes.get("occluded", truth.labels * 0)
    rows = []
    for box, label, ignore, hidden in zip(
        truth.boxes.tolist(), truth.labels.tolist(), truth.ignore.tolist(), occluded.tolist()
    ):
        places = " ".join(f'{name}="{plain(value)}"' for name, value in zip(("xtl", "ytl", "xbr", "ybr"), box))
        on = ("ignore", ANY_CLASS) if label < 0 else ("ignore",) if ignore else ()
        inner = "".join(f'<attribute name="{name}">true</attribute>' for name in on)
        rows.append(
            f'    <box label={quoteattr(labels[label])} source="manual" occluded="{int(hidden != 0)}" {places} '
            f'z_order="0">{inner}</box>\n'
        )
    return rows
