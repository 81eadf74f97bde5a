"""Collect a data set picture by picture: what every format's reader has in common.

Boxes are clipped to the picture; what reaches over the edge is counted, what has no area left is dropped and counted.
No box is dropped for being small. A picture file that breaks off is refused here, before anything is made of the set.
"""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from finespot.data.dataset import Dataset, Rows
from finespot.data.findings import RECORD, Corners, Findings, shown_box
from finespot.errors import FineSpotError
from finespot.images import crop, open_image
from finespot.structures import Classes, Image, Size, Window

# Files round coordinates to 6 decimals of the side or to 0.01 px; so much over the edge is not worth a note.
EDGE_TOLERANCE_PX = 0.05

# Single precision, in which boxes are kept, no longer tells neighboring pixels apart beyond this.
FARTHEST_PX = 2.0**24
# What a whole picture file ends with, by what it begins with, and where that is looked for: some programs append a few
# bytes of their own.
_ENDS = {b"\xff\xd8": b"\xff\xd9", b"\x89P": b"IEND\xaeB`\x82"}
_TAIL_BYTES = 1024
# Ids are kept as 64-bit integers.
_LARGEST_ID = 2**62


class Builder:
    """Takes pictures and boxes in reading order, counts what it had to change, and makes the `Dataset`.

    With `findings`, what `guard` surrounds is noted there instead of raised, and what is counted is noted one by one.
    """

    def __init__(self, name: str, split: str, classes: Classes, findings: Findings | None = None) -> None:
        self.name, self.split, self.classes, self.findings = name, split, classes, findings
        self.notes: list[str] = []
        self.counts: Counter[str] = Counter()
        self._path = ""  # of the picture at hand, also where it could not be opened
        self._broken: FineSpotError | None = None
        self._paths: list[str] = []
        self._sizes: list[Size] = []
        self._image_ids: list[int | str] = []
        self._groups: list[str] = []
        self._windows: list[Window | None] = []
        self._starts = [0]
        self._corners: list[Corners] = []
        self._rows: list[tuple[int, bool, float, int]] = []
        self._attributes: dict[str, list[int]] = {}
        self._seen: set[tuple[int, Corners]] = set()

    @contextmanager
    def guard(self, where: object = "", kind: str = RECORD) -> Iterator[None]:
        """Around one record (or one picture with its records): with `findings`, an error is noted and it is left out.

        `where` stands in for the place of an error that names none. `kind` is that of the finding; what is wrong with
        a picture file itself is `broken`. A picture that is started under the guard is the one that findings concern
        until the guard ends.
        """
        before = self._path
        try:
            yield
        except FineSpotError as error:
            if self.findings is None:
                raise
            what = f"{error.what}; {error.hint}" if error.hint else error.what
            place = error.where if error.where is not None else where
            self.findings.add("broken" if error is self._broken else kind, what, place, self._path)
        finally:
            self._path = before

    def picture(
        self, path: str, image_id: int | str, *, group: str | None = None, window: Window | None = None
    ) -> Size:
        """Start the next picture; its size (height, width) comes from the file's header.

        `window` (x1, y1, x2, y2): the picture is this part of the file, and so are all coordinates. `group` names the
        video or scene it belongs to.
        """
        self._path = path
        try:
            image = open_image(path)
        except FineSpotError as error:
            self._broken = error
            raise
        # `finespot data check` decodes all pictures itself, and says what is the matter with each. Of the windows of
        # a file, which follow each other, one is enough.
        if self.findings is None and self._paths[-1:] != [path]:
            _refuse_truncated(image)
        size = image.size if window is None else crop(image, window).size
        self._paths.append(path)
        self._sizes.append(size)
        self._image_ids.append(image_id)
        self._groups.append(path if group is None else group)
        self._windows.append(window)
        self._starts.append(self._starts[-1])
        self._seen.clear()
        return size

    def box(
        self,
        corners: Corners,
        label: int,
        *,
        where: str,
        ignore: bool = False,
        area: float | None = None,
        annotation_id: int | None = None,
        attributes: Mapping[str, int] | None = None,
    ) -> None:
        """Add a box (x1, y1, x2, y2 in pixels) to the picture started last."""
        height, width = self._sizes[-1]
        x1, y1, x2, y2 = corners
        if not all(map(math.isfinite, corners)):
            raise FineSpotError("expected finite coordinates but got NaN or infinity", where=where)
        if max(map(abs, corners)) > FARTHEST_PX:
            far = max(corners, key=abs)
            raise FineSpotError(f"expected coordinates of at most {FARTHEST_PX:.0f} px but got {far:g}", where=where)
        if x1 < x2 and y1 < y2 and (x2 <= 0 or y2 <= 0 or x1 >= width or y1 >= height):
            self._count("outside", "lies outside the picture", corners, where)
            return
        over = min(x1, y1, width - x2, height - y2) < -EDGE_TOLERANCE_PX
        x1, y1, x2, y2 = max(x1, 0.0), max(y1, 0.0), min(x2, float(width)), min(y2, float(height))
        if not (np.float32(x2) > np.float32(x1) and np.float32(y2) > np.float32(y1)):
            self._count("empty", "has no area inside the picture", corners, where)
            return
        if over:
            self._count("clipped", "reaches over the edge", corners, where)
        key = (label, (x1, y1, x2, y2))
        if key in self._seen:
            self._count("twice", "repeats an equal box of the picture", corners, where)
        self._seen.add(key)
        for name in self._attributes.keys() | (attributes or {}).keys():
            column = self._attributes.setdefault(name, [0] * len(self._rows))
            column.append((attributes or {}).get(name, 0))
        number = len(self._rows) + 1 if annotation_id is None else annotation_id
        self._rows.append((label, ignore, (x2 - x1) * (y2 - y1) if area is None else area, number))
        self._corners.append((x1, y1, x2, y2))
        self._starts[-1] += 1

    def _count(self, kind: str, what: str, corners: Corners, where: str) -> None:
        self.counts[kind] += 1
        if self.findings is not None:
            height, width = self._sizes[-1]
            self.findings.add(kind, f"{what}: {shown_box(corners)} in {width}x{height}", where, self._path, corners)

    def build(self) -> Dataset:
        """The data set, with the counts told in its notes."""
        count = len(self._rows)
        labels, ignore, area, ids = zip(*self._rows) if count else ((), (), (), ())
        rows = Rows(
            starts=np.array(self._starts, np.int64),
            boxes=np.array(self._corners, np.float64).reshape(-1, 4).astype(np.float32),
            labels=np.array(labels, np.int64),
            ignore=np.array(ignore, np.bool_),
            area=np.array(area, np.float64),
            ids=np.array(ids, np.int64),
            attributes={name: np.array(column, np.int64) for name, column in sorted(self._attributes.items())},
        )
        notes = self.notes + [
            text
            for key, one, many in (
                (
                    "clipped",
                    "1 box reached over the edge and was clipped",
                    "boxes reached over the edge and were clipped",
                ),
                ("empty", "1 box without area was dropped", "boxes without area were dropped"),
                ("outside", "1 box outside its picture was dropped", "boxes outside their pictures were dropped"),
                ("twice", "1 box repeats an equal one (kept)", "boxes repeat equal ones (kept)"),
            )
            if (text := counted(self.counts[key], one, many))
        ]
        return Dataset(
            name=self.name,
            split=self.split,
            classes=self.classes,
            paths=self._paths,
            sizes=self._sizes,
            image_ids=self._image_ids,
            rows=rows,
            notes=notes,
            groups=self._groups,
            windows=self._windows if any(self._windows) else None,
        )


def _refuse_truncated(image: Image) -> None:
    """Refuse a JPEG or PNG file that breaks off. Where no end is near the file's end, its pixels decide."""
    with open(image.path, "rb", buffering=0) as file:
        end = _ENDS.get(file.read(2))
        if end is None:
            return
        file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL_BYTES))
        if end in file.read():
            return
    try:
        image.read(None)
    except FineSpotError as error:
        raise FineSpotError(
            "expected a whole picture but the file is truncated", where=image.path, hint="copy it again from its source"
        ) from error


def counted(count: int, one: str, many: str) -> str:
    """`one` for 1, `<count> many` for more, nothing for 0."""
    return one if count == 1 else f"{count} {many}" if count else ""


def bytewise(path: str) -> bytes:
    """The key by which pictures are sorted: the bytes of the path with `/`, the same on every machine."""
    return os.fsencode(path.replace(os.sep, "/"))


def no_split(split: str, splits: Sequence[str], where: object) -> FineSpotError:
    """The error for a split that the data set does not have."""
    hint = f"it has {', '.join(splits)}" if splits else "it has none"
    return FineSpotError(f"no split '{split}'", where=where, hint=hint)


def whole_number(value: Any, what: str, where: str) -> int:
    """A JSON number that must be an integer (`12.0` is one) of at most 2**62."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise FineSpotError(f"expected an integer as {what} but got {shown(value)}", where=where)
    if abs(value) > _LARGEST_ID:
        raise FineSpotError(f"expected an integer of at most 2**62 as {what} but got {shown(value)}", where=where)
    return value


def number(value: Any, what: str, where: str) -> float:
    """A finite JSON number as float; `true` is none."""
    try:
        if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
            return float(value)
    except OverflowError:  # an integer beyond any float
        pass
    raise FineSpotError(f"expected a finite number as {what} but got {shown(value)}", where=where)


def shown(value: object) -> str:
    """A value for an error message, cut where it is long."""
    try:
        text = repr(value)
    except ValueError:  # Python writes out no integer of several thousand digits
        text = "a number of very many digits"
    except RecursionError:
        text = "values nested very deeply"
    return text if len(text) <= 60 else f"{text[:57]}..."
