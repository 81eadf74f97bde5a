"""A folder of shape files, one for each picture of a data set's split, found by the picture's id and window.

All of them are looked at when the folder is opened: a file that is missing, or was made from other boxes than the data
set has now, ends a training before its first epoch. It never counts as a picture without shapes.
"""

from __future__ import annotations

import hashlib
import re
from collections import OrderedDict
from copy import copy
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from finespot.data.builder import counted
from finespot.data.dataset import Dataset
from finespot.data.shapes.file import EXTENSION, Bits, Header, read, read_header, unpack
from finespot.errors import FineSpotError
from finespot.structures import Window

# Bits of the files read last: several tiles come from one file.
_RECENT_BYTES = 64 << 20
_LONGEST_STEM = 80


def place(folder: Path, dataset: Dataset, index: int) -> Path:
    """The shape file of a picture: named so that a person finds it, with a digest so that no two share it."""
    split, image_id, window = dataset.split, str(dataset.image_id(index)), dataset.window(index)
    key = hashlib.sha256(f"{split}\n{image_id}\n{window}".encode(errors="surrogateescape")).hexdigest()[:12]
    return folder / _plain(split) / f"{_plain(image_id)[-_LONGEST_STEM:]}-{key}{EXTENSION}"


def truth_digest(dataset: Dataset, index: int) -> str:
    """What identifies the boxes and classes of a picture's objects; ignore regions do not count."""
    boxes, labels, ignore = dataset.columns(index)
    digest = hashlib.sha256(np.ascontiguousarray(boxes[~ignore], "<f4").tobytes())
    digest.update(np.ascontiguousarray(labels[~ignore], "<i8").tobytes())
    return digest.hexdigest()[:32]


def check(header: Header, path: Path, dataset: Dataset, index: int) -> None:
    """Refuse a file that was made from other truth than a picture has.

    Raises
    ------
    FineSpotError
        The size of the picture, or the boxes or classes of its objects, are others.
    """
    height, width = dataset.size(index)
    if (header.height, header.width) != (height, width):
        raise FineSpotError(
            f"the shapes are those of a picture of {header.width}x{header.height} pixels, but {dataset.path(index)} "
            f"has {width}x{height}",
            where=path,
            hint=_command(dataset, path, header.model, "--overwrite"),
        )
    if header.truth != truth_digest(dataset, index):
        raise FineSpotError(
            f"the shapes are those of other boxes or classes than {dataset.path(index)} has now",
            where=path,
            hint=_command(dataset, path, header.model, "--overwrite"),
        )


class Shapes:
    """The shapes of a data set's pictures by index: pixels (height, width) uint8, 255 on objects and 0 elsewhere.

    Attributes
    ----------
    objects, whole:
        How many objects the shapes are of, and how many of them are whole boxes.
    models:
        What made them.

    Raises
    ------
    FineSpotError
        The file of a picture is missing, broken, or made from other truth; it names both.
    """

    def __init__(self, dataset: Dataset, folder: Path) -> None:
        self.dataset, self.folder = dataset, folder
        headers = [self._header(index) for index in range(len(dataset))]
        self.objects = sum(header.objects for header in headers)
        self.whole = sum(header.whole for header in headers)
        self.models = sorted({header.model for header in headers})
        self._cuts: tuple[NDArray[np.int64], NDArray[np.int64]] | None = None
        self._recent: OrderedDict[int, Bits] = OrderedDict()

    def __getitem__(self, index: int) -> NDArray[np.uint8]:
        if self._cuts is None:
            height, width = self.dataset.size(index)
            return self._window(index, (0, 0, width, height))
        pictures, corners = self._cuts
        x1, y1, x2, y2 = corners[index].tolist()
        return self._window(int(pictures[index]), (x1, y1, x2, y2))

    def cut(self, pictures: NDArray[np.int64], corners: NDArray[np.int64]) -> Shapes:
        """The shapes of windows by their number: pictures (n,) by index, corners (n, 4) xyxy in their pixels."""
        made = copy(self)
        made._cuts = pictures, corners
        return made

    def notes(self) -> list[str]:
        """What they are, in words."""
        objects = counted(self.objects, "1 object", "objects") or "no object"
        whole = f", {self.whole} of them as whole boxes" if self.whole else ""
        return [f"shapes: {objects} in {self.folder}{whole} (made by {', '.join(self.models)})"]

    def _window(self, picture: int, window: Window) -> NDArray[np.uint8]:
        pixels: NDArray[np.uint8] = unpack(self._bits(picture), window) * np.uint8(255)
        return pixels

    def _bits(self, picture: int) -> Bits:
        if picture in self._recent:
            self._recent.move_to_end(picture)
            return self._recent[picture]
        path = place(self.folder, self.dataset, picture)
        header, bits = read(path)
        check(header, path, self.dataset, picture)
        if self._cuts is not None:
            self._keep(picture, bits)
        return bits

    def _keep(self, picture: int, bits: Bits) -> None:
        self._recent[picture] = bits
        while len(self._recent) > 1 and sum(one.nbytes for one in self._recent.values()) > _RECENT_BYTES:
            self._recent.popitem(last=False)

    def _header(self, index: int) -> Header:
        path = place(self.folder, self.dataset, index)
        if not path.exists():
            raise FineSpotError(
                f"the shapes of {self.dataset.path(index)} are missing",
                where=path,
                hint=_command(self.dataset, path, "MODEL"),
            )
        header = read_header(path)
        check(header, path, self.dataset, index)
        return header


def _command(dataset: Dataset, path: Path, model: str, *more: str) -> str:
    """The command that makes a file."""
    words = ["finespot data shapes DATA", "--split", dataset.split, "--out", str(path.parent.parent), "--model", model]
    return " ".join([*words, *more])


def _plain(text: str) -> str:
    """Text as part of a file's name, on any file system."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", text).lstrip(".") or "_"
