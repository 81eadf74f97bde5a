"""The decoded pictures of a data set for augmentation: eight bits, one or three channels, at a bounded size.

Very large pictures are shrunk by a whole factor first, by the mean of factor x factor pixels, as long as their longer
side stays at `DETAIL` times the network input or more: augmentation may enlarge by half and still finds real pixels,
and shrinks from there with antialiasing. The rule is the same with and without the cache, so batches are too.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from finespot.data.dataset import Dataset
from finespot.errors import FineSpotError
from finespot.images import reduce, to_uint8

DETAIL = 2
# Share of the free memory that a cache may take: the network and the workers need the rest.
_SHARE = 0.7


@dataclass(frozen=True)
class Picture:
    """Decoded pixels (h, w, 1 or 3) uint8; each stands for `factor` x `factor` pixels of the file."""

    pixels: NDArray[np.uint8]
    factor: int


class Pictures:
    """Decodes pictures by index, or keeps them all in memory (`cache="ram"`), as each of `sharers` processes does.

    Raises
    ------
    FineSpotError
        The cache would not fit into the free memory, or a picture cannot be read.
    """

    def __init__(self, dataset: Dataset, imgsz: int, cache: str | None = None, sharers: int = 1) -> None:
        self.dataset = dataset
        self._least = DETAIL * imgsz
        self._kept: list[Picture] | None = None
        if cache is not None:
            self._refuse_if_too_large(sharers)
            self._kept = [self._decode(index) for index in range(len(dataset))]

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Picture:
        return self._kept[index] if self._kept is not None else self._decode(index)

    def nbytes(self) -> int:
        """What all decoded pictures take in memory, from their headers."""
        total = 0
        for index in range(len(self.dataset)):
            image = self.dataset.image(index)
            factor = self._factor(max(image.size))
            total += -(-image.size[0] // factor) * -(-image.size[1] // factor) * image.channels
        return total

    def _factor(self, side: int) -> int:
        return max(1, side // self._least)

    def _decode(self, index: int) -> Picture:
        image = self.dataset.image(index)
        if image.size != self.dataset.size(index):
            raise FineSpotError("the picture's size has changed since its data set was opened", where=image.path)
        factor = self._factor(max(image.size))
        return Picture(reduce(to_uint8(image.read(None), image.bit_depth), factor), factor)

    def _refuse_if_too_large(self, sharers: int) -> None:
        needed, free = self.nbytes() * sharers, free_memory()
        if free is not None and needed > _SHARE * free:
            times = f" in {sharers} processes" if sharers > 1 else ""
            raise FineSpotError(
                f"the decoded pictures take {needed / 2**30:.1f} GiB{times}, "
                f"but {free / 2**30:.1f} GiB of memory are free",
                where="cache",
                hint=f"a cache may take {_SHARE:.0%} of it; train without cache",
            )


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
