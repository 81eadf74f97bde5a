"""The decoded pictures of a data set for augmentation: eight bits, one or three channels, at a bounded size.

Very large pictures are shrunk by a whole factor first, by the mean of factor x factor pixels, as long as their longer
side stays at `DETAIL` times the network input or more: augmentation may enlarge by half and still finds real pixels,
and shrinks from there with antialiasing. The rule is the same with and without a cache, so batches are too.
"""

from __future__ import annotations

import os
import shutil
from copy import copy
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from finespot.data.dataset import Dataset
from finespot.data.decoded import Decoded, File, InMemory, OnDisk, Recent, decode, default_folder, size_changed
from finespot.data.shapes import Shapes
from finespot.errors import FineSpotError
from finespot.images import PADDING, open_image, reduce
from finespot.structures import Window
from finespot.writers import make_folder

DETAIL = 2
# Share of the free memory that a cache may take: the network and the workers need the rest.
_SHARE = 0.7
# Share of the free disk that it may take.
_DISK_SHARE = 0.9
# Decoded files that a process remembers where pictures are windows: several come from one file.
_RECENT_BYTES = 512 << 20


@dataclass(frozen=True)
class Picture:
    """Decoded pixels (h, w, 1 or 3) uint8; each stands for `factor` x `factor` pixels of the file.

    `shape` (h, w, 1) uint8 says how much of each pixel belongs to objects, 255 for all of it; None where the shapes of
    objects are not known.
    """

    pixels: NDArray[np.uint8]
    factor: int
    shape: NDArray[np.uint8] | None = None


class Pictures:
    """The pictures of a data set by index.

    Parameters
    ----------
    dataset, imgsz:
        The pictures, and the side of the network input.
    cache:
        None decodes a picture each time, "ram" keeps them all in memory, as each of `sharers` processes does, "disk"
        keeps each on the disk once it was decoded.
    folder:
        Where on the disk; by default below the folder that all files lie in, or in the user's cache folder where that
        cannot be written.
    tiled:
        Windows will be cut from the pictures (`of`), so files are kept at full size.
    shapes:
        The shapes of the pictures' objects, which then come with them.

    Raises
    ------
    FineSpotError
        The cache would not fit into the free memory or on the disk, or a picture cannot be read.
    """

    def __init__(
        self,
        dataset: Dataset,
        imgsz: int,
        cache: str | None = None,
        sharers: int = 1,
        *,
        folder: Path | None = None,
        tiled: bool = False,
        shapes: Shapes | None = None,
    ) -> None:
        self.dataset, self.shapes = dataset, shapes
        self.notes: list[str] = []
        self._least = DETAIL * imgsz
        self._tiled = tiled
        whole = [index for index in range(len(dataset)) if dataset.window(index) is None]
        # The sizes of files that pictures will be windows of; else the data set knows them.
        self._sizes = {dataset.path(index): dataset.size(index) for index in whole} if tiled else {}
        self._decoded = self._store(cache, sharers, folder, windows=tiled or len(whole) < len(dataset))

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Picture:
        picture = self._picture(index)
        if self.shapes is None:
            return picture
        shape = _filled(self.shapes[index][..., None], self.dataset.size(index), 0)
        return replace(picture, shape=reduce(shape, picture.factor))

    def _picture(self, index: int) -> Picture:
        file, window = self._file(index), self.dataset.window(index)
        pixels = self._decoded(file)
        if window is None and not self._tiled:
            return Picture(pixels, file.factor)
        if window is not None:
            pixels = _cropped(pixels, window, file.path)
        size = self.dataset.size(index)
        factor = self._factor(max(size))
        return Picture(reduce(_filled(pixels, size, PADDING), factor), factor)

    def of(self, tiles: Dataset, shapes: Shapes | None = None) -> Pictures:
        """The pictures of a data set that was cut from this one, from the same memory or disk, with their own shapes.

        A tile that is smaller than its data set says is filled up with gray at the right or the bottom.
        """
        made = copy(self)
        made.dataset, made.shapes = tiles, shapes
        return made

    def nbytes(self) -> int:
        """What all decoded files take, from their headers."""
        return sum(_nbytes(file) for file in self._files())

    def _store(self, cache: str | None, sharers: int, folder: Path | None, windows: bool) -> Decoded:
        if cache == "ram":
            self._refuse_if_too_large(sharers)
            return InMemory(self._files())
        if cache == "disk":
            return self._on_disk(folder or default_folder([self.dataset.path(i) for i in range(len(self))]))
        return Recent(_RECENT_BYTES) if windows else decode

    def _on_disk(self, folder: Path) -> OnDisk:
        store = OnDisk(make_folder(folder))
        store.clean()
        there, lacking = 0, 0
        for file in self._files():
            place = store.place(file)
            if place.exists():
                there += place.stat().st_size
            else:
                lacking += _nbytes(file)
        free = shutil.disk_usage(folder).free
        if lacking > _DISK_SHARE * free:
            raise FineSpotError(
                f"the decoded pictures need {_gib(lacking)} more, but {_gib(free)} are free on the disk of {folder}",
                where="cache",
                hint=f"a cache may take {_DISK_SHARE:.0%} of it; make space, set cache_folder, or train without cache",
            )
        self.notes.append(
            f"cache: {_gib(there + lacking)} of decoded pictures in {folder}, {_gib(there)} of it there already; the "
            "folder can be deleted at any time"
        )
        return store

    def _files(self) -> list[File]:
        """The files to decode, each once."""
        return list(dict.fromkeys(self._file(index) for index in range(len(self))))

    def _file(self, index: int) -> File:
        """The file of a picture; at full size where the picture is a window of it."""
        path, size = self.dataset.path(index), self.dataset.size(index)
        if self._tiled or self.dataset.window(index) is not None:
            return File(path, 1, self._sizes.get(path))
        return File(path, self._factor(max(size)), size)

    def _factor(self, side: int) -> int:
        return max(1, side // self._least)

    def _refuse_if_too_large(self, sharers: int) -> None:
        needed, free = self.nbytes() * sharers, free_memory()
        if free is not None and needed > _SHARE * free:
            times = f" in {sharers} processes" if sharers > 1 else ""
            raise FineSpotError(
                f"the decoded pictures take {_gib(needed)}{times}, but {_gib(free)} of memory are free",
                where="cache",
                hint=f"a cache may take {_SHARE:.0%} of it; keep them on the disk (cache=disk) or train without cache",
            )


def _cropped(pixels: NDArray[np.uint8], window: Window, path: str) -> NDArray[np.uint8]:
    x1, y1, x2, y2 = window
    if y2 > pixels.shape[0] or x2 > pixels.shape[1]:
        raise size_changed(path)
    return np.ascontiguousarray(pixels[y1:y2, x1:x2])


def _filled(pixels: NDArray[np.uint8], size: tuple[int, int], fill: int) -> NDArray[np.uint8]:
    """Pixels with the value `fill` at the right and the bottom up to `size`."""
    if pixels.shape[:2] == size:
        return pixels
    filled = np.full((*size, pixels.shape[2]), fill, np.uint8)
    filled[: pixels.shape[0], : pixels.shape[1]] = pixels
    return filled


def _nbytes(file: File) -> int:
    image = open_image(file.path)
    height, width = image.size
    return -(-height // file.factor) * -(-width // file.factor) * image.channels


def _gib(count: int) -> str:
    return f"{count / 2**30:.1f} GiB"


def free_memory(proc: Path = Path("/proc"), groups: Path = Path("/sys/fs/cgroup")) -> int | None:
    """Bytes that this process may still take: the machine's free memory or less, where a control group limits it.

    None where the system does not tell (no Linux).
    """
    found = []
    try:
        lines = (proc / "meminfo").read_text().splitlines()
        found += [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")]
    except (OSError, ValueError, IndexError):
        pass
    left = (_left(limit, used) for limit, used in _group_files(proc, groups))
    found += [one for one in left if one is not None]
    return max(0, min(found)) if found else None


def _left(limit: Path, used: Path) -> int | None:
    try:
        return int(limit.read_text()) - int(used.read_text())
    except (OSError, ValueError):  # no such group, or "max"
        return None


def _group_files(proc: Path, groups: Path) -> list[tuple[Path, Path]]:
    """(limit, usage) files of this process's control group and those above it, versions 2 and 1."""
    try:
        entries = [line.split(":", 2) for line in (proc / "self/cgroup").read_text().splitlines()]
    except OSError:
        entries = []
    pairs = []
    for _, controllers, path in [entry for entry in entries if len(entry) == 3] or [["0", "", "/"]]:
        if controllers and "memory" not in controllers.split(","):
            continue
        root = groups / "memory" if controllers else groups
        names = ("memory.limit_in_bytes", "memory.usage_in_bytes") if controllers else ("memory.max", "memory.current")
        parts = [part for part in path.split("/") if part and part != os.pardir]
        for depth in range(len(parts) + 1):
            place = root.joinpath(*parts[:depth])
            pairs.append((place / names[0], place / names[1]))
    return pairs
