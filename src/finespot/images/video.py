"""Video files in and out, through PyAV (extra `video`)."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from finespot.errors import FineSpotError, import_extra
from finespot.structures import Size

# In this order: H.264 as players expect it, then what every FFmpeg build has.
_ENCODERS = ("libx264", "libopenh264", "mpeg4")
# PyAV's errors derive from these; ValueError is its answer to unknown file extensions.
_FAILURES = (OSError, ValueError, RuntimeError, LookupError)


@dataclass(frozen=True)
class Video:
    """A video file: frames per second, upright size (height, width), number of frames where the file says so."""

    path: str
    fps: float
    size: Size
    count: int | None

    def frames(self) -> Iterator[NDArray[np.uint8]]:
        """All frames in order, uint8 RGB (height, width, 3), turned as the file says.

        Raises
        ------
        FineSpotError
            The file breaks off or a frame cannot be decoded.
        """
        for _, pixels in self.timed_frames():
            yield pixels

    def timed_frames(self) -> Iterator[tuple[float, NDArray[np.uint8]]]:
        """`frames()` with the time of each in seconds, counted from the first frame.

        It is the time the file gives, also where frames do not follow at a constant rate; number / fps where it
        gives none.
        """
        av = import_extra("av", "video")
        done, start = 0, 0.0
        try:
            with av.open(self.path) as container:
                for frame in container.decode(container.streams.video[0]):
                    time = done / self.fps + start if frame.time is None else float(frame.time)
                    start = start if done else time
                    yield time - start, _upright(frame)
                    done += 1
        except _FAILURES as error:
            raise FineSpotError(f"the video cannot be read after frame {done} ({error})", where=self.path) from error


def open_video(path: str | os.PathLike[str]) -> Video:
    """Open a video and decode its first frame, to know that it can be read and how it is turned.

    Raises
    ------
    FineSpotError
        The file is missing or no video, or PyAV is not installed.
    """
    av = import_extra("av", "video")
    name = os.fspath(path)
    try:
        with av.open(name) as container:
            if not container.streams.video:
                raise FineSpotError("expected a video but the file has no picture stream", where=name)
            stream = container.streams.video[0]
            fps, count = stream.average_rate or stream.guessed_rate, stream.frames or None
            first = next(container.decode(stream), None)
    except FileNotFoundError:
        raise FineSpotError("expected a video but there is no such file", where=name) from None
    except _FAILURES as error:
        raise FineSpotError(f"expected a video but it cannot be read ({error})", where=name) from error
    if first is None:
        raise FineSpotError("expected a video but it has no frames", where=name)
    height, width = _upright(first).shape[:2]
    return Video(name, float(fps) if fps else 25.0, (height, width), count)


class VideoWriter:
    """Write RGB frames to a video file; H.264 where this build of PyAV has it, else MPEG-4.

    The file appears under its name when the writer is closed (none without frames); after an error inside `with`
    nothing is left. The chosen encoder stands in `.codec`. Sides that are odd are extended by a row or column, because
    the common pixel format stores color for 2 x 2 pixels.
    """

    def __init__(self, path: str | os.PathLike[str], fps: float, size: Size) -> None:
        av = import_extra("av", "video")
        self.path, self.size = Path(path), (int(size[0]), int(size[1]))
        if min(self.size) < 1 or not 0 < fps < 1000:
            raise FineSpotError(f"expected a size above 0 and 0 < fps < 1000 but got {size}, {fps}", where=path)
        self.codec = next(name for name in _ENCODERS if _available(av, name))
        self._av = av
        self._partial = self.path.with_name(f".partial-{self.path.name}")
        if not self.path.parent.is_dir():
            raise FineSpotError("cannot write a video here, the folder does not exist", where=path)
        try:
            self._container = av.open(str(self._partial), "w")
        except _FAILURES as error:
            raise FineSpotError(f"cannot write a video here ({error})", where=path) from error
        self._open, self._count = True, 0
        try:
            # MPEG-4 allows denominators up to 65535.
            self._stream = self._container.add_stream(self.codec, rate=Fraction(fps).limit_denominator(65535))
        except _FAILURES as error:  # a container that does not take this codec
            self._discard()
            raise FineSpotError(f"cannot write a video here ({error})", where=path) from error
        self._stream.height, self._stream.width = (side + side % 2 for side in self.size)
        self._stream.pix_fmt = "yuv420p"
        if self.codec == "mpeg4":
            self._stream.bit_rate = int(fps * self.size[0] * self.size[1] * 0.2)

    def write(self, frame: NDArray[np.uint8]) -> None:
        """Append a uint8 RGB frame (height, width, 3) of the writer's size.

        Raises
        ------
        FineSpotError
            The frame is of another kind, the writer is closed, or the encoder or the disk fails.
        """
        if not self._open:
            raise FineSpotError("cannot write to a video that is closed", where=self.path)
        if frame.dtype != np.uint8 or frame.shape != (*self.size, 3):
            raise FineSpotError(f"expected a uint8 frame {(*self.size, 3)} but got {frame.dtype} {frame.shape}")
        padding = ((0, self.size[0] % 2), (0, self.size[1] % 2), (0, 0))
        picture = self._av.VideoFrame.from_ndarray(np.pad(frame, padding, mode="edge"), format="rgb24")
        try:
            self._container.mux(self._stream.encode(picture))
        except _FAILURES as error:
            raise self._failed(error) from error
        self._count += 1

    def close(self) -> None:
        """Finish the file and give it its name; FineSpotError, and no file, where that fails."""
        if not self._open:
            return
        self._open = False
        try:
            if self._count:
                self._container.mux(self._stream.encode())
            self._container.close()
            if self._count:
                os.replace(self._partial, self.path)
            else:
                self._partial.unlink(missing_ok=True)
        except _FAILURES as error:
            self._discard()
            raise self._failed(error) from error

    def _failed(self, error: BaseException) -> FineSpotError:
        return FineSpotError(f"the video cannot be written after frame {self._count} ({error})", where=self.path)

    def _discard(self) -> None:
        with contextlib.suppress(*_FAILURES):  # an unfinished stream may fail to close; the first error counts
            self._container.close()
        with contextlib.suppress(OSError):
            self._partial.unlink(missing_ok=True)

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
            return
        self._open = False
        self._discard()


def _available(av: Any, name: str) -> bool:
    try:
        av.Codec(name, "w")
    except _FAILURES:
        return False
    return True


def _upright(frame: Any) -> NDArray[np.uint8]:
    """RGB pixels of a frame, turned by its display matrix (counter-clockwise degrees, as `numpy.rot90` turns)."""
    pixels: NDArray[np.uint8] = frame.to_ndarray(format="rgb24")
    quarter_turns = round(getattr(frame, "rotation", 0) / 90) % 4
    return np.ascontiguousarray(np.rot90(pixels, quarter_turns)) if quarter_turns else pixels
