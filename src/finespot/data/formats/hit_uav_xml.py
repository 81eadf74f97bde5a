"""The two XML layouts of HIT-UAV: Annotations/*.xml, ImageSets/Main/<split>.txt, JPEGImages.

Boxes are `xmin ymin xmax ymax`, 0-based and with xmax exclusive (not Pascal VOC's convention), or rotated ones with
the angle in radians. The element `filename` lacks the extension in the rotated files and `path` is one of another
machine: pictures are paired by stem.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from finespot.data.builder import Builder, bytewise, no_split
from finespot.data.dataset import Dataset
from finespot.data.findings import Corners, Findings
from finespot.data.formats.markup import Element, number_of, read_xml, text_of
from finespot.data.formats.pairing import by_stem
from finespot.data.formats.rotated import rotated_envelope
from finespot.data.formats.sizes import StatedSizes
from finespot.data.formats.splits import ordered
from finespot.data.formats.text import lines, real, whole
from finespot.errors import FineSpotError, unknown
from finespot.structures import Classes

NAMES = ("Person", "Car", "Bicycle", "OtherVehicle")
DONT_CARE = "DontCare"

_ATTRIBUTES = ("difficult", "truncated")
_LAYOUTS = {"bndbox": "normal_xml", "robndbox": "rotate_xml"}


def xml_splits(folder: Path) -> list[str]:
    """The splits that have a list of pictures."""
    return ordered(path.stem for path in _lists(folder).glob("*.txt"))


def open_xml(
    folder: Path, split: str, *, name: str, group: Callable[[str], str | None], findings: Findings | None
) -> Dataset:
    """Read and check one split; `group` is the group of a file name."""
    file = _lists(folder) / f"{split}.txt"
    if not file.is_file():
        raise no_split(split, xml_splits(folder), folder)
    builder = Builder(name, split, Classes(NAMES), findings)
    paths = _listed(file, folder / "JPEGImages", builder)
    sizes = StatedSizes(builder, "its XML file")
    kinds: set[str] = set()
    for stem in sorted(paths, key=lambda stem: bytewise(paths[stem])):
        path, annotation = paths[stem], folder / "Annotations" / f"{stem}.xml"
        with builder.guard(path):
            size = builder.picture(path, stem, group=group(Path(path).name))
            root = read_xml(annotation, "annotation")
            stated = (_stated(root, "height", annotation), _stated(root, "width", annotation))
            sizes.compare(size, stated, Path(path).name, path, str(annotation))
            for count, element in enumerate(root.iterfind("object"), 1):
                with builder.guard():
                    kinds.add(_add(builder, element, f"{annotation}: object {count}"))
    sizes.note()
    layouts = " and ".join(sorted(_LAYOUTS[kind] for kind in kinds)) or "XML"
    builder.notes.insert(0, f"HIT-UAV in its layout {layouts}")
    return builder.build()


def _lists(folder: Path) -> Path:
    return folder / "ImageSets" / "Main"


def _listed(file: Path, folder: Path, builder: Builder) -> dict[str, str]:
    """The pictures of a list by stem."""
    pictures = by_stem(folder, builder)
    found: dict[str, str] = {}
    for where, stem in lines(file):
        there = stem in pictures
        with builder.guard(kind="record" if there else "missing"):
            if stem in found:
                raise FineSpotError(f"the picture {stem} is listed twice", where=where)
            if not there:
                raise FineSpotError(f"the picture {stem} does not exist", where=where, hint=f"looked in {folder}")
            found[stem] = pictures[stem]
    return found


def _stated(root: Element, side: str, file: Path) -> float | None:
    """The height or width that a file states; 0 states nothing."""
    text = root.findtext(f"size/{side}")
    return (real(text, side, file) if text else 0.0) or None


def _add(builder: Builder, element: Element, where: str) -> str:
    """Add an object; returns the kind of its box."""
    name = text_of(element, "name", where)
    if name != DONT_CARE and name not in NAMES:
        raise unknown("class", name[:60], (*NAMES, DONT_CARE), where=where)
    kind = "bndbox" if element.find("bndbox") is not None else "robndbox"
    builder.box(
        _CORNERS[kind](element, where),
        -1 if name == DONT_CARE else NAMES.index(name),
        where=where,
        ignore=name == DONT_CARE,
        attributes={key: whole(text, key, where) for key in _ATTRIBUTES if (text := element.findtext(key))},
    )
    return kind


def _upright(element: Element, where: str) -> Corners:
    x1, y1, x2, y2 = (number_of(element, f"bndbox/{side}", where) for side in ("xmin", "ymin", "xmax", "ymax"))
    if x2 < x1 or y2 < y1:
        raise FineSpotError(f"expected corners in order but got ({x1:g}, {y1:g}) and ({x2:g}, {y2:g})", where=where)
    return x1, y1, x2, y2


def _rotated(element: Element, where: str) -> Corners:
    cx, cy, w, h, angle = (number_of(element, f"robndbox/{key}", where) for key in ("cx", "cy", "w", "h", "angle"))
    if w < 0 or h < 0:
        raise FineSpotError(f"expected sides of 0 or more but got {w:g} and {h:g}", where=where)
    return rotated_envelope(cx, cy, w, h, angle)


_CORNERS = {"bndbox": _upright, "robndbox": _rotated}
