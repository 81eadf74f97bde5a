"""What the check can find: severity, title, advice, and what a fixed copy does about it.

An error would stop a training run or make its numbers worthless, a warning costs accuracy or hides in the score, a
note is good to know. What is wrong with records, files and sizes, and `clipped`, `outside`, `empty` and `twice`, is
noted by the readers, the rest here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from finespot.errors import unknown

ERROR, WARNING, NOTE = "error", "warning", "note"
SEVERITIES = (ERROR, WARNING, NOTE)


@dataclass(frozen=True)
class Kind:
    """One sort of finding.

    Attributes
    ----------
    severity:
        `error`, `warning` or `note`.
    title:
        A few words for tables.
    advice:
        What to do about it.
    repair:
        What a fixed copy does about it; "" where it cannot.
    pair:
        The findings' `where` is a second picture.
    """

    severity: str
    title: str
    advice: str
    repair: str = ""
    pair: bool = False


KINDS: dict[str, Kind] = {
    # Splits and class tables
    "unreadable": Kind(ERROR, "split cannot be opened", "repair what the line says; the split was not checked further"),
    "no-pictures": Kind(ERROR, "split without pictures", "every picture of the split was refused, or there is none"),
    "no-objects": Kind(ERROR, "split without objects", "the labels lie elsewhere or were lost"),
    "classes": Kind(
        ERROR,
        "class tables disagree",
        "give all splits the same classes in the same order: a label would mean two things",
        "joined by name",
    ),
    "same-split": Kind(
        ERROR,
        "all pictures of a split are in another",
        "a score on pictures trained on says nothing: divide them with `finespot data split`",
    ),
    "class-empty": Kind(
        WARNING, "class without objects", "remove the class, or divide the pictures so that each split has it"
    ),
    # Records and files
    "record": Kind(ERROR, "record refused", "correct the line or record: training stops at it", "left out"),
    "orphan": Kind(
        ERROR, "label file without picture", "add the picture, or remove or rename the label file", "left out"
    ),
    "missing": Kind(ERROR, "picture does not exist", "add the picture or remove its record", "left out"),
    "case": Kind(
        ERROR,
        "names differ in case only",
        "rename one of the two: they match on some computers and not on others",
        "left out",
    ),
    "absent": Kind(ERROR, "nearly all label files absent", "the folder of the labels is likely wrong"),
    "broken": Kind(ERROR, "not a readable picture", "replace or remove the file", "left out"),
    "truncated": Kind(
        ERROR, "picture cannot be decoded", "copy the file again from its source, or remove it", "left out"
    ),
    "size": Kind(
        ERROR,
        "size differs from the annotation file",
        "the picture was scaled, turned or replaced after it was labelled: look whether its boxes fit",
        "the picture's own size is written",
    ),
    # Boxes
    "clipped": Kind(WARNING, "box reaches over the edge", "clip them; many of them hint at a wrong scale", "clipped"),
    "outside": Kind(
        WARNING, "box outside the picture", "remove them; many of them hint at labels of another picture", "left out"
    ),
    "empty": Kind(WARNING, "box without area in the picture", "remove the boxes", "left out"),
    "twice": Kind(WARNING, "box repeated", "remove the copy: it counts as a second object", "copies left out"),
    "double": Kind(WARNING, "nearly equal boxes of one class", "keep one of the two if they mean one object"),
    "conflict": Kind(WARNING, "one box with two classes", "decide for one class"),
    "tiny": Kind(WARNING, "box below 2 px", "no detector finds it: mark it as ignored, or remove slips of the mouse"),
    "huge": Kind(WARNING, "box over nearly the whole picture", "remove it, unless the object does fill the picture"),
    "sliver": Kind(WARNING, "side ratio of 20 or more", "look at the box: slips of the mouse look like this"),
    "one-based": Kind(
        WARNING,
        "coordinates may start at 1",
        "compare a few boxes with their objects; if all lie one pixel right and low, read them as 1-based",
    ),
    "unlabeled": Kind(NOTE, "picture without objects", "right for background; else label it or leave it out"),
    "mostly-empty": Kind(
        WARNING, "more than half the pictures without objects", "make sure that no label files are missing"
    ),
    # Pictures
    "exif": Kind(
        WARNING,
        "turned by EXIF orientation",
        "FineSpot turns the picture; make sure that the labels were made on the turned one",
    ),
    "sixteen-bit": Kind(NOTE, "16-bit picture", "read by the full range of 16 bits; most other programs read 8 bits"),
    "odd-mode": Kind(
        NOTE, "palette, CMYK, bilevel or transparent picture", "read as gray or RGB; other programs may differ"
    ),
    "channels": Kind(NOTE, "gray and color pictures mixed", "fine where the detector will meet both"),
    "extension": Kind(NOTE, "content of another kind than the extension", "rename: some programs go by the extension"),
    # Copies and leaks
    "copy": Kind(WARNING, "same picture twice in a split", "keep one", "copies left out", pair=True),
    "contradiction": Kind(
        WARNING, "same picture with different labels", "decide which labels are right and remove the other", pair=True
    ),
    "near": Kind(NOTE, "nearly the same picture in a split", "frames of a video: every nth is enough", pair=True),
    "leak-copy": Kind(
        ERROR,
        "same picture in two splits",
        "remove it from one of them: the score counts what was learned by heart",
        "left out of the earlier split",
        pair=True,
    ),
    "leak-near": Kind(
        WARNING,
        "nearly the same picture in two splits",
        "divide by scene or flight, or leave it out of one split",
        "left out of the later split",
        pair=True,
    ),
    "leak-frames": Kind(
        WARNING,
        "frames close by number in two splits",
        "divide by video or flight: neighboring frames show the same objects",
        "left out of the later split",
        pair=True,
    ),
    "leak-group": Kind(
        WARNING,
        "parts of one video or scene in two splits",
        "keep all pictures of a video, scene or large picture in one split",
        "left out of the later split",
    ),
    # Names
    "shared-stem": Kind(
        WARNING,
        "names in one folder that differ in extension or case",
        "rename one: they share a label file, or overwrite each other on some computers",
        pair=True,
    ),
    "collide": Kind(
        NOTE, "file name used in two folders", "fine here; converted into one folder they get numbers", pair=True
    ),
}

LEAKS = ("leak-near", "leak-frames", "leak-group")


def kind(name: str) -> Kind:
    """The kind of that name; what a reader of the user's own notes under another name is a note."""
    return KINDS.get(name) or Kind(NOTE, name, "noted by the reader of the format")


def known_kinds(names: Iterable[str]) -> tuple[str, ...]:
    """The names, each of which is a kind.

    Raises
    ------
    FineSpotError
        One is none.
    """
    found = tuple(names)
    for name in found:
        if name not in KINDS:
            raise unknown("kind of finding", name, KINDS)
    return found
