"""Put the pictures of a data set into place: linked, copied, painted, or cut out of a larger file.

Every picture appears under its name in one step, so that whatever is there after a kill is complete and need not be
made again.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from finespot.data.dataset import Dataset
from finespot.data.painting import Fill, encode, paint, whole_pixels
from finespot.errors import FineSpotError, unknown
from finespot.images import exif_orientation, open_image
from finespot.structures import Flags, Labels, Window
from finespot.writers import write_atomic

# How pictures get to the new folder. Links are absolute: they hold while the data set is still in its temporary
# folder, and when it is moved; for another machine, copy.
WAYS = ("link", "copy", "hardlink")

_MOST_WORKERS = 16


@dataclass(frozen=True)
class Handling:
    """What happens to the pictures.

    Attributes
    ----------
    way:
        `link`, `copy` or `hardlink`, for pictures whose pixels stay as they are.
    fill:
        What ignore regions without a class are painted with (see `finespot.data.painting`); None paints none.
    objects:
        Paint ignored objects of a class, too.
    """

    way: str = "link"
    fill: Fill | None = None
    objects: bool = False

    def __post_init__(self) -> None:
        if self.way not in WAYS:
            raise unknown("way to place pictures", self.way, WAYS, where="images")
        if self.objects and self.fill is None:
            raise FineSpotError(
                "painting ignored objects has no effect", where="paint-objects", hint="give --paint-ignore too"
            )

    def paints(self, labels: Labels, ignore: Flags) -> Flags:
        """Which annotations are painted over."""
        if self.fill is None:
            return np.zeros(len(labels), bool)
        return ignore & ((labels < 0) | self.objects)


@dataclass(frozen=True)
class Job:
    """One picture to place at `target`, below the data set's folder."""

    target: str
    source: str
    window: Window | None
    regions: tuple[Window, ...]
    visible: tuple[Window, ...]
    handling: Handling

    @property
    def reencoded(self) -> bool:
        """Whether the pixels change, so that neither link nor copy will do."""
        return bool(self.window or self.regions)


def jobs(dataset: Dataset, targets: Sequence[str], handling: Handling) -> Iterator[Job]:
    """What is to be done for each picture of a split."""
    for index, target in enumerate(targets):
        regions: tuple[Window, ...] = ()
        visible: tuple[Window, ...] = ()
        if handling.fill is not None:
            truth = dataset.annotations(index)
            painted = handling.paints(truth.labels, truth.ignore)
            if painted.any():
                regions = tuple(whole_pixels(truth.boxes[painted], truth.size))
                visible = tuple(whole_pixels(truth.boxes[~truth.ignore], truth.size))
        yield Job(target, dataset.path(index), dataset.window(index), regions, visible, handling)


def fingerprint(work: Iterable[Job]) -> str:
    """A text that differs where any picture would come out differently, to know an interrupted conversion again."""
    digest = hashlib.sha256()
    for job in work:
        try:
            state = os.stat(job.source)
        except OSError as error:
            raise FineSpotError(f"cannot be read ({error.strerror})", where=job.source) from error
        digest.update(repr((job, state.st_size, state.st_mtime_ns)).encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def place_all(work: Iterable[Job], root: Path, workers: int | None = None) -> Iterator[bool]:
    """Do the work in `workers` threads (by default as many as there are cores for this process).

    Yields for each picture, in order, whether its EXIF orientation turns it.

    Raises
    ------
    FineSpotError
        A picture cannot be read, linked or written; those placed so far stay.
    """
    count = workers or min(_MOST_WORKERS, _cores())
    pool = ThreadPoolExecutor(count)
    waiting: deque[Future[bool]] = deque()
    try:
        for job in work:
            waiting.append(pool.submit(place, job, root))
            if len(waiting) >= 8 * count:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
        _whole.cache_clear()


def place(job: Job, root: Path) -> bool:
    """Place one picture where it is not there yet; returns whether its EXIF orientation turns it."""
    target = root / job.target
    if not os.path.lexists(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        if job.reencoded:
            _make(job, target)
        else:
            _bring(os.path.realpath(job.source), target, job.handling.way)
    return not job.reencoded and _turned(job.source)


def _make(job: Job, target: Path) -> None:
    if job.window is None:
        pixels = open_image(job.source).read(None)
    else:
        x1, y1, x2, y2 = job.window
        pixels = _whole(job.source)[y1:y2, x1:x2].copy()
    if job.regions and job.handling.fill is not None:
        pixels = paint(pixels, job.regions, job.handling.fill, job.visible)
    write_atomic(target, encode(pixels, target.suffix, job.source), sync=False)


@lru_cache(maxsize=2)
def _whole(path: str) -> NDArray[Any]:
    """All pixels of a file. The windows of one file come one after the other, so the last files are remembered."""
    pixels: NDArray[Any] = open_image(path).read(None)
    return pixels


def _bring(source: str, target: Path, way: str) -> None:
    try:
        if way == "link":
            os.symlink(source, target)
        elif way == "hardlink":
            os.link(source, target)
        else:
            _copy(source, target)
    except FileExistsError:
        pass
    except OSError as error:
        hint = "take another way, --images copy" if way != "copy" and error.errno != errno.ENOSPC else None
        raise FineSpotError(
            f"the picture cannot be placed ({error.strerror or error})", where=target, hint=hint
        ) from error


def _copy(source: str, target: Path) -> None:
    temporary = target.with_name(f".{target.name}.part")
    try:
        shutil.copyfile(source, temporary)
        os.replace(temporary, target)
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def _turned(path: str) -> bool:
    try:
        with PIL.Image.open(path) as header:
            return exif_orientation(header) > 1
    except OSError:  # it has gone since it was placed
        return False


def _cores() -> int:
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1
