"""What a picture file holds: kind, mode and orientation from its header, and what its pixels show.

Pixels are decoded whole, one picture at a time in each process, so that memory stays at a picture for each. What is
kept of one is small: a digest of the pixels, a gray miniature of 16 x 16, and 64 signs of its lowest frequencies.

The signs are those of the 64 lowest coefficients of the discrete cosine transform of the gray picture reduced to
32 x 32, against their median: the hash known as pHash, without the mean brightness. Over the 1,333 pictures of HIT-UAV
compressed again at quality 30, halved, brightened or with another gamma it changed by at most 6 of 64; pictures of
different flights differed by 6 or more, half of them by 32.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import signal
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import PIL.Image
from numpy.typing import NDArray

from finespot.errors import FineSpotError
from finespot.images import exif_orientation, open_image, to_uint8

MINIATURE = 16
_SIDE = 2 * MINIATURE

# Fewer files than this are not worth starting processes for.
_FEW = 64
# Files in one request: of a size that costs tens of milliseconds or more to work on.
_DECODED, _HEADERS = 8, 128


# Wraps the files as they are looked at, of which there are so many; shows progress.
Watch = Callable[[Iterable[Any], int], Iterable[Any]]


class Facts(NamedTuple):
    """What is known of one picture file; `digest`, `signs` and `miniature` are of its pixels, where decoded.

    `error` says why a file cannot be opened or decoded, else "".
    """

    error: str = ""
    format: str = ""
    mode: str = ""
    channels: int = 3
    bit_depth: int = 8
    orientation: int = 1
    digest: bytes = b""
    signs: int = 0
    miniature: bytes = b""


def inspect(path: str, decode: bool) -> Facts:
    """Look at one file."""
    try:
        image = open_image(path)
        with PIL.Image.open(path) as header:
            orientation = exif_orientation(header)
            facts = Facts("", header.format or "", header.mode, image.channels, image.bit_depth, orientation)
    except FineSpotError as error:
        return Facts(error.what)
    except OSError as error:  # it has gone in between
        return Facts(f"cannot be read ({error})")
    if not decode:
        return facts
    try:
        pixels = image.read(None)
    except FineSpotError as error:
        return facts._replace(error=error.what)
    digest = hashlib.blake2b(repr((pixels.shape, pixels.dtype.str)).encode(), digest_size=16)
    digest.update(pixels.data.cast("B"))
    small = _reduce(to_uint8(pixels, image.bit_depth))
    return facts._replace(
        digest=digest.digest(), signs=perceptual_hash(small), miniature=_halve(small).astype(np.uint8).tobytes()
    )


def inspect_all(
    files: Sequence[str], *, decode: bool, workers: int | None = None, watch: Watch | None = None
) -> list[Facts]:
    """Look at all files, in `workers` processes (as many as this one may use CPUs); `watch` may show progress.

    Raises
    ------
    FineSpotError
        A process was ended from outside, as for want of memory.
    """
    found = _inspected(files, decode, available_cpus() if workers is None else workers)
    # The processes run before `watch` may start a thread: one forked while a thread writes could wait forever.
    started = itertools.chain(list(itertools.islice(found, 1)), found)
    return list(started if watch is None else watch(started, len(files)))


def available_cpus() -> int:
    """CPUs that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def perceptual_hash(gray: NDArray[np.float64]) -> int:
    """The 64 signs of a gray picture of 32 x 32."""
    basis, rows, columns = _frequencies()
    lowest = (basis @ gray @ basis.T)[rows, columns]
    return int.from_bytes(np.packbits(lowest > np.median(lowest)).tobytes(), "big")


def _inspected(files: Sequence[str], decode: bool, workers: int) -> Iterator[Facts]:
    if workers <= 1 or len(files) < _FEW:
        for path in files:
            yield from _inspect_some([path], decode)
        return
    size = _DECODED if decode else _HEADERS
    with ProcessPoolExecutor(workers, initializer=_leave_interrupts_to_the_parent) as pool:
        waiting: deque[Future[list[Facts]]] = deque()
        try:
            for start in range(0, len(files), size):
                waiting.append(pool.submit(_inspect_some, files[start : start + size], decode))
                if len(waiting) > 4 * workers:  # no more are lined up, however many there are
                    yield from waiting.popleft().result()
            while waiting:
                yield from waiting.popleft().result()
        except BrokenExecutor as error:
            raise FineSpotError(
                "a process that decodes pictures was ended from outside",
                hint="where memory ran out, try --workers 1 or --no-decode",
            ) from error
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _inspect_some(paths: Sequence[str], decode: bool) -> list[Facts]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what Pillow warns of on the way is found by its effect
        return [inspect(path, decode) for path in paths]


def _leave_interrupts_to_the_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _reduce(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    """The picture in gray at 32 x 32, each the mean of what it covers."""
    picture = PIL.Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).convert("L")
    return np.asarray(picture.resize((_SIDE, _SIDE), PIL.Image.Resampling.BOX), np.float64)


def _halve(gray: NDArray[np.float64]) -> NDArray[np.float64]:
    halved: NDArray[np.float64] = gray.reshape(MINIATURE, 2, MINIATURE, 2).mean((1, 3))
    return halved


@lru_cache(maxsize=1)
def _frequencies() -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """The cosine transform of 32 samples, and where the 64 lowest coefficients but the mean stand."""
    sample = np.arange(_SIDE)
    basis = np.cos(np.pi * (2 * sample + 1) * sample[:, None] / (2 * _SIDE))
    order = sorted((row + column, row, column) for row in range(_SIDE) for column in range(_SIDE))[1:65]
    _, rows, columns = np.array(order).T
    return basis, rows, columns
