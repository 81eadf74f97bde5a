"""The XML of CVAT exports, version 1.1, of both kinds: `for images` and `for video`.

Shapes become upright boxes: boxes and ellipses may be rotated (degrees clockwise on the screen, about their center,
the coordinates are those before turning), polygons, masks and cuboids are taken by their envelope.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from finespot.data.findings import Corners
from finespot.data.formats.markup import Element, number_of, read_xml
from finespot.data.formats.rotated import ellipse_envelope, rotated_envelope
from finespot.data.formats.text import real, whole
from finespot.errors import FineSpotError

# An attribute that a label declares where its boxes are ignore regions of every class.
ANY_CLASS = "any_class"
NO_AREA = ("points", "polyline", "skeleton", "tag")


@dataclass(frozen=True)
class Export:
    """A file: its labels in the order of its meta data, those among them that mean a region of every class."""

    file: Path
    root: Element
    labels: tuple[str, ...]
    regions: frozenset[str]

    @property
    def is_video(self) -> bool:
        """Whether objects are tracks over frames, not boxes of pictures."""
        modes = [(self.root.findtext(f"meta/{holder}/mode") or "").strip() for holder in ("task", "job")]
        return self.root.find("track") is not None or ("interpolation" in modes and self.root.find("image") is None)

    def frames(self) -> tuple[int | None, int]:
        """The number of frames (None where it is not said) and the first frame of the task or job."""
        for holder in ("task", "job"):
            element = self.root.find(f"meta/{holder}")
            if element is not None:
                size = (element.findtext("size") or "").strip()
                first = (element.findtext("start_frame") or "").strip() if holder == "job" else ""
                where = f"{self.file}: meta"
                return whole(size, "size", where) if size else None, whole(first or "0", "start_frame", where)
        return None, 0

    def frame_size(self) -> tuple[float | None, float | None]:
        """The (height, width) of a video's frames as its meta data says."""
        for holder in ("meta", "meta/task", "meta/job"):
            element = self.root.find(f"{holder}/original_size")
            if element is not None:
                where = f"{self.file}: meta"
                return number_of(element, "height", where), number_of(element, "width", where)
        return None, None


def read_export(file: Path) -> Export:
    """Read a file and its labels; parts of a skeleton are no labels of their own."""
    root = read_xml(file, "annotations")
    if root.find("track") is not None and root.find("image") is not None:
        raise FineSpotError("expected tracks or images but got both", where=file)
    labels: dict[str, None] = {}
    regions = set()
    for holder in ("task", "job", "project"):
        for label in root.findall(f"meta/{holder}/labels/label"):
            name = (label.findtext("name") or "").strip()
            if not name:
                raise FineSpotError("expected a name of each label", where=f"{file}: meta")
            if (label.findtext("parent") or "").strip():
                continue
            if any((one.text or "").strip() == ANY_CLASS for one in label.findall("attributes/attribute/name")):
                regions.add(name)
            else:
                labels[name] = None
    return Export(file, root, tuple(labels), frozenset(regions))


def size_of(image: Element, where: str) -> tuple[float | None, float | None]:
    """The (height, width) that an image states."""
    height, width = (
        None if image.get(side) is None else real(image.get(side, ""), side, where) for side in ("height", "width")
    )
    return height, width


def shapes(parent: Element, where: str) -> Iterator[tuple[str, Element]]:
    """The shapes of an image or track, each with its place in words."""
    for number, element in enumerate(parent, 1):
        if element.tag != "attribute":
            frame = element.get("frame")
            yield f"{where}: {element.tag} {number if frame is None else f'of frame {frame}'}", element


def corners_of(element: Element, where: str) -> Corners | None:
    """The upright box of a shape, or None where its kind has no area."""
    if element.tag in NO_AREA:
        return None
    if element.tag not in _AREAS:
        known = ", ".join((*_AREAS, *NO_AREA))
        raise FineSpotError(f"unknown shape <{element.tag}>", where=where, hint=f"there are {known}")
    return _AREAS[element.tag](element, where)


def flags(element: Element) -> tuple[frozenset[str], frozenset[str]]:
    """The names of a shape's attributes that are set (`true` or a number above 0), and of those with other values."""
    on, other = set(), set()
    for attribute in element.findall("attribute"):
        name, value = attribute.get("name", ""), (attribute.text or "").strip().lower()
        if value == "true" or (value.isdecimal() and value.strip("0")):
            on.add(name)
        elif value not in ("", "false") and value.strip("0"):
            other.add(name)
    return frozenset(on), frozenset(other)


def _numbers(element: Element, names: Iterable[str], where: str) -> list[float]:
    return [real(element.get(name, ""), name, where) for name in names]


def _box(element: Element, where: str) -> Corners:
    x1, y1, x2, y2 = _numbers(element, ("xtl", "ytl", "xbr", "ybr"), where)
    if x2 < x1 or y2 < y1:
        raise FineSpotError(f"expected xtl <= xbr and ytl <= ybr but got {x1:g}, {y1:g}, {x2:g}, {y2:g}", where=where)
    angle = _angle(element, where)
    return rotated_envelope((x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1, angle) if angle else (x1, y1, x2, y2)


def _ellipse(element: Element, where: str) -> Corners:
    cx, cy, rx, ry = _numbers(element, ("cx", "cy", "rx", "ry"), where)
    if rx < 0 or ry < 0:
        raise FineSpotError(f"expected radii of 0 or more but got {rx:g} and {ry:g}", where=where)
    return ellipse_envelope(cx, cy, rx, ry, _angle(element, where))


def _angle(element: Element, where: str) -> float:
    return math.radians(real(element.get("rotation", "0"), "rotation", where))


def _polygon(element: Element, where: str) -> Corners:
    pairs = [pair.split(",") for pair in element.get("points", "").split(";")]
    if len(pairs) < 3 or any(len(pair) != 2 for pair in pairs):
        raise FineSpotError("expected 3 or more points 'x,y' with semicolons between", where=where)
    xs, ys = ([real(pair[axis], "coordinate", where) for pair in pairs] for axis in (0, 1))
    return min(xs), min(ys), max(xs), max(ys)


def _mask(element: Element, where: str) -> Corners:
    left, top, width, height = _numbers(element, ("left", "top", "width", "height"), where)
    if width < 0 or height < 0:
        raise FineSpotError(f"expected a width and height of 0 or more but got {width:g} and {height:g}", where=where)
    return left, top, left + width, top + height


def _cuboid(element: Element, where: str) -> Corners:
    corners = [f"{corner}{face}" for face in (1, 2) for corner in ("tl", "bl", "tr", "br")]
    xs, ys = (_numbers(element, (axis + corner for corner in corners), where) for axis in "xy")
    return min(xs), min(ys), max(xs), max(ys)


_AREAS: Mapping[str, Callable[[Element, str], Corners]] = {
    "box": _box,
    "polygon": _polygon,
    "ellipse": _ellipse,
    "mask": _mask,
    "cuboid": _cuboid,
}
