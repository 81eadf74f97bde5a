"""One Pascal VOC XML file: what stands in it, where its corners lie, and how it is written.

A corner is a pixel number, and files disagree on what that means. In VOC proper it counts from 1 and the last pixel
belongs to the box, so (11, 21, 18, 28) is 8 pixels wide and begins at x = 10. Common readers subtract 1 from both
corners, or from all four without asking, and lose a pixel of every box: 23 % of the overlap of an 8 x 8 object.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from finespot.data.findings import Corners
from finespot.data.formats.markup import Element, number_of, read_xml, text_of
from finespot.data.formats.rotated import rotated_envelope
from finespot.data.formats.text import plain, whole
from finespot.errors import FineSpotError
from finespot.structures import Annotations, Classes, Size

# What to add to (xmin, ymin) and to (xmax, ymax) to get edges that count from 0.
ONE_BASED = {"true": (-1, 0), "false": (0, 0), "false-inclusive": (0, 1)}
ATTRIBUTES = ("difficult", "truncated", "occluded")

_CORNERS = ("xmin", "ymin", "xmax", "ymax")
_SAID = re.compile("FineSpot, one_based=({})".format("|".join(ONE_BASED)))
# A rotated box has its angle in radians; what lies beyond a full turn is in degrees.
_FULL_TURN = 2 * math.pi


@dataclass(frozen=True)
class VocObject:
    """One object; `numbered` says that its corners are pixel numbers and not edges (those of a rotated box are)."""

    where: str
    name: str
    corners: Corners
    numbered: bool
    attributes: Mapping[str, int]


@dataclass(frozen=True)
class VocFile:
    """The content of a file: its objects, and what could not be read.

    `size` is what the file says, None where it says nothing; `one_based` what FineSpot wrote down when it wrote the
    file.
    """

    path: Path
    objects: tuple[VocObject, ...] = ()
    faults: tuple[FineSpotError, ...] = ()
    size: Size | None = None
    filename: str = ""
    one_based: str = ""


def read_voc(path: Path) -> VocFile:
    """Read a file; errors are handed back in `faults`, because class names are collected from files of all splits."""
    try:
        root = read_xml(path, "annotation")
    except FineSpotError as error:
        return VocFile(path, faults=(error,))
    found = [_object_or_fault(element, f"{path}: object {i}") for i, element in enumerate(root.findall("object"), 1)]
    said = _SAID.fullmatch((root.findtext("source/annotation") or "").strip())
    return VocFile(
        path,
        tuple(one for one in found if isinstance(one, VocObject)),
        tuple(one for one in found if isinstance(one, FineSpotError)),
        _size(root),
        (root.findtext("filename") or "").strip(),
        said[1] if said else "",
    )


def _object_or_fault(element: Element, where: str) -> VocObject | FineSpotError:
    try:
        return _object(element, where)
    except FineSpotError as error:
        return error


def _object(element: Element, where: str) -> VocObject:
    name = text_of(element, "name", where)
    numbered = element.find("bndbox") is not None  # a part of the object has a box of its own further down
    if not numbered and element.find("robndbox") is None:
        raise FineSpotError("expected <bndbox> or <robndbox> in <object> but got none", where=where)
    attributes = {
        attribute: whole(text, attribute, where)
        for attribute in ATTRIBUTES
        if (text := (element.findtext(attribute) or "").strip())
    }
    return VocObject(
        where, name, _corners(element, where) if numbered else _envelope(element, where), numbered, attributes
    )


def _corners(element: Element, where: str) -> Corners:
    """The corners, which stand in any order, by their names."""
    x1, y1, x2, y2 = (number_of(element, f"bndbox/{name}", where) for name in _CORNERS)
    return x1, y1, x2, y2


def _envelope(element: Element, where: str) -> Corners:
    """The upright box around a rotated one (roLabelImg: center, sides, angle in radians, clockwise on the screen)."""
    cx, cy, w, h, angle = (number_of(element, f"robndbox/{name}", where) for name in ("cx", "cy", "w", "h", "angle"))
    if w < 0 or h < 0:
        raise FineSpotError(f"expected w and h of 0 or more but got {w:g} and {h:g}", where=where)
    if abs(angle) > _FULL_TURN:
        raise FineSpotError(f"expected an angle in radians, at most a full turn, but got {angle:g}", where=where)
    return rotated_envelope(cx, cy, w, h, angle)


def _size(root: Element) -> Size | None:
    """(height, width) as the file says; None where it has none, or zeros, as some tools leave them."""
    try:
        height, width = (whole(text_of(root, f"size/{side}", ""), side, "") for side in ("height", "width"))
    except FineSpotError:
        return None
    return (height, width) if height and width else None


def edges(one: VocObject, one_based: str) -> Corners:
    """The box of an object as edges that count from 0."""
    first, last = ONE_BASED[one_based] if one.numbered else (0, 0)
    x1, y1, x2, y2 = one.corners
    if x2 + last < x1 + first or y2 + last < y1 + first:
        raise FineSpotError(
            f"expected xmin <= xmax and ymin <= ymax but got {x1:g}, {y1:g}, {x2:g}, {y2:g}", where=one.where
        )
    return x1 + first, y1 + first, x2 + last, y2 + last


def guess_one_based(files: Sequence[VocFile], size_of: Callable[[VocFile], Size | None]) -> tuple[str, str]:
    """What the corners of a data set are, a key of `ONE_BASED`, and the reason; no reason where there are no corners.

    A corner below 1 shows that they count from 0. Else a smallest xmin of 1, together with a box that ends at the
    edge of its picture, shows that they count from 1. Else nothing is shown, and they are taken to count from 0.
    """
    corners = [(file, [one for one in file.objects if one.numbered]) for file in files]
    corners = [(file, objects) for file, objects in corners if objects]
    if not corners:
        return "false", ""
    said = {file.one_based for file, _ in corners}
    if len(said) == 1 and said != {""}:
        return said.pop(), "as FineSpot wrote them"
    first = min((one for _, objects in corners for one in objects), key=lambda one: min(one.corners[:2]))
    if min(first.corners[:2]) < 1:
        return "false", f"{first.where} begins at {min(first.corners[:2]):g}"
    smallest = min(one.corners[0] for _, objects in corners for one in objects)
    if smallest == 1:
        for file, objects in corners:
            if size := size_of(file):
                for one in objects:
                    if one.corners[2] == size[1] or one.corners[3] == size[0]:
                        sides = f"{size[1]}x{size[0]}"
                        return "true", f"the smallest xmin is 1, and {one.where} ends at the edge of {sides} pixels"
    return "false", f"for want of a sign (the smallest xmin is {smallest:g}); say one_based= to be sure"


def voc_text(filename: str, channels: int, truth: Annotations, classes: Classes, one_based: str) -> str:
    """The file of a picture. Regions without a class are left out; an ignored object is a difficult one."""
    root = ElementTree.Element("annotation")
    _add(root, "filename", filename)
    source = ElementTree.SubElement(root, "source")
    _add(source, "annotation", f"FineSpot, one_based={one_based}")
    size = ElementTree.SubElement(root, "size")
    for side, value in zip(("width", "height", "depth"), (truth.size[1], truth.size[0], channels)):
        _add(size, side, str(value))
    _add(root, "segmented", "0")
    first, last = ONE_BASED[one_based]
    for row in range(len(truth)):
        if truth.labels[row] < 0:
            continue
        element = ElementTree.SubElement(root, "object")
        _add(element, "name", classes[int(truth.labels[row])])
        _add(element, "pose", "Unspecified")
        flags = {name: int(truth.attributes[name][row]) if name in truth.attributes else 0 for name in ATTRIBUTES}
        flags["difficult"] = (flags["difficult"] or 1) if truth.ignore[row] else 0
        for name in ("truncated", "occluded", "difficult"):
            _add(element, name, str(flags[name]))
        box = ElementTree.SubElement(element, "bndbox")
        x1, y1, x2, y2 = truth.boxes[row].tolist()
        for name, value in zip(_CORNERS, (x1 - first, y1 - first, x2 - last, y2 - last)):
            _add(box, name, plain(value))
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode") + "\n"


def _add(parent: Element, tag: str, text: str) -> None:
    ElementTree.SubElement(parent, tag).text = text
