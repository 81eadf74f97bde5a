"""What may be predicted on: a file, a folder, a glob, a list file, a video, arrays and Pillow pictures in memory.

A picture that was named on its own must be readable; one of many (folder, glob, list) that cannot be read is left out
and reported at the end.
"""

from __future__ import annotations

import glob
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Pillow

from finespot import images
from finespot.errors import FineSpotError
from finespot.structures import Image

VIDEO_EXTENSIONS = (".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm", ".wmv")
_MAGIC = ("*", "?", "[")
# Not looked for in folders, because a person who keeps them beside pictures seldom means them; but said.
_LEFT_OUT = {
    ".gif": "a GIF is read only where it is named itself",
    **dict.fromkeys(VIDEO_EXTENSIONS, "a video is read only where it is named on its own"),
}


@dataclass(frozen=True)
class Entry:
    """One picture of a source: the name it is reported under, and how to open it."""

    name: str
    open: Callable[[], Image]


@dataclass(frozen=True)
class Source:
    """Pictures in a fixed order.

    `count` is None where nobody knows it (some videos). `single`: the picture or video was named on its own, so an
    error in it ends the run. `fps` is set for videos, and `times` then holds the seconds of each frame read so far.
    `left_out` are (name, reason) of GIFs and videos found in folders beside the pictures.
    """

    entries: Iterable[Entry]
    count: int | None
    single: bool
    fps: float | None = None
    times: list[float] = field(default_factory=list)
    left_out: tuple[tuple[str, str], ...] = ()

    def __len__(self) -> int:
        if self.count is None:
            raise TypeError("the number of pictures is not known")
        return self.count


def open_source(source: Any) -> Source:
    """The pictures of whatever was given.

    Parameters
    ----------
    source:
        A picture or video file; a folder (with all below it); a glob (`**` reaches below); a `.txt` file with one
        path a line (relative to the file, else to the working folder); an array (H, W), (H, W, 1) or (H, W, 3) in
        RGB order, uint8 or uint16; a Pillow picture; a list of any of these but videos.

    Raises
    ------
    FineSpotError
        There is no such file, no picture in the folder, or nothing matches.
    """
    if isinstance(source, Source):
        return source
    if isinstance(source, (list, tuple)):
        return _of_list(source)
    if isinstance(source, (np.ndarray, Pillow.Image)):
        return Source([_in_memory(source, 0)], 1, single=True)
    if not isinstance(source, (str, Path)):
        raise FineSpotError(
            f"expected a path, an array, a Pillow picture or a list of these but got {type(source).__name__}",
            where="source",
        )
    path = _path(source, "source")
    if path.suffix.lower() in VIDEO_EXTENSIONS and not path.is_dir() and not _is_glob(path):
        return _video(path)
    found = _files(path)
    return Source([_file(one) for one in found.paths], len(found.paths), found.single, left_out=found.left_out)


class _Files(NamedTuple):
    """Picture files that a path stands for, whether it is one file, and what lies beside them."""

    paths: list[Path]
    single: bool
    left_out: tuple[tuple[str, str], ...] = ()


def _path(source: str | Path, where: str) -> Path:
    # An empty text would mean the working folder, which nobody types so.
    if isinstance(source, str) and not source.strip():
        raise FineSpotError("expected a path but got an empty text", where=where)
    return Path(source).expanduser()


def _files(path: Path) -> _Files:
    if path.is_dir():
        return _sorted_out(images.find_images(path, {*images.EXTENSIONS, *_LEFT_OUT}), path)
    if path.is_file():
        return _Files(_listed(path), False) if path.suffix.lower() == ".txt" else _Files([path], True)
    if _is_glob(path):
        return _sorted_out([Path(name) for name in sorted(glob.glob(_pattern(path), recursive=True))], path)
    raise FineSpotError("expected a file or folder but there is none", where=path)


def _sorted_out(found: list[Path], place: Path) -> _Files:
    """Pictures among the files that a folder or a pattern gave."""
    paths = [one for one in found if one.suffix.lower() in images.EXTENSIONS]
    reasons = [(str(one), _LEFT_OUT[one.suffix.lower()]) for one in found if one.suffix.lower() in _LEFT_OUT]
    if not paths:
        what = "a folder with pictures but found none in it or below"
        if not place.is_dir():
            what = "a pattern that pictures match but none does"
        raise FineSpotError(f"expected {what}", where=place, hint=": ".join(reasons[0]) if reasons else None)
    return _Files(paths, False, tuple(reasons))


def _listed(path: Path) -> list[Path]:
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise FineSpotError(f"the list of pictures cannot be read ({error})", where=path) from error
    found = []
    for line in filter(None, lines):
        beside = path.parent / line
        found.append(beside if beside.exists() or not Path(line).exists() else Path(line))
    if not found:
        raise FineSpotError("expected one picture a line but the file is empty", where=path)
    return found


def _of_list(items: Iterable[Any]) -> Source:
    entries: list[Entry] = []
    left_out: list[tuple[str, str]] = []
    for place, item in enumerate(items):
        if isinstance(item, (np.ndarray, Pillow.Image)):
            entries.append(_in_memory(item, place))
            continue
        where = f"source, item {place}"
        if not isinstance(item, (str, Path)):
            raise FineSpotError(
                f"expected a path, an array or a Pillow picture but got {type(item).__name__}", where=where
            )
        path = _path(item, where)
        found = _files(path) if path.is_dir() or _is_glob(path) else _Files([path], True)
        entries += [_file(one) for one in found.paths]
        left_out += found.left_out
    if not entries:
        raise FineSpotError("expected at least one picture but got an empty list", where="source")
    return Source(entries, len(entries), single=False, left_out=tuple(left_out))


def _is_glob(path: Path) -> bool:
    return any(sign in str(path) for sign in _MAGIC) and not path.exists()


def _pattern(path: Path) -> str:
    """A glob in which the folders that exist stand for themselves: `flight [2]/*.jpg` looks into `flight [2]`."""
    folder = next((one for one in path.parents if one.exists()), Path())
    return str(Path(glob.escape(str(folder))) / path.relative_to(folder))


def _file(path: Path) -> Entry:
    return Entry(str(path), lambda: images.open_image(path))


def _in_memory(picture: NDArray[Any] | Pillow.Image, place: int) -> Entry:
    name = f"picture_{place:06d}"
    if isinstance(picture, Pillow.Image):
        name = str(getattr(picture, "filename", "") or name)
    return Entry(name, lambda: as_image(picture, name))


def as_image(picture: NDArray[Any] | Pillow.Image, name: str) -> Image:
    """A picture in memory: an array in RGB order, or a Pillow picture (turned upright as its EXIF entry says)."""
    pixels = images.from_pillow(picture, name) if isinstance(picture, Pillow.Image) else np.asarray(picture)
    if pixels.ndim == 2:
        pixels = pixels[:, :, None]
    if pixels.ndim != 3 or pixels.shape[2] not in (1, 3) or 0 in pixels.shape:
        raise FineSpotError(
            f"expected an array (height, width), (height, width, 1) or (height, width, 3) but got {pixels.shape}",
            where=name,
        )
    if pixels.dtype not in (np.uint8, np.uint16):
        raise FineSpotError(f"expected uint8 or uint16 pixels but got {pixels.dtype}", where=name)

    def read(window: tuple[int, int, int, int] | None = None) -> NDArray[Any]:
        x1, y1, x2, y2 = window or (0, 0, pixels.shape[1], pixels.shape[0])
        return pixels[y1:y2, x1:x2]

    return Image((pixels.shape[0], pixels.shape[1]), pixels.shape[2], 8 * pixels.dtype.itemsize, name, read)


def _video(path: Path) -> Source:
    video = images.open_video(path)
    times: list[float] = []

    def entries() -> Iterator[Entry]:
        # "clip_000012.mp4": a name of its own for every frame, in the folder and with the stem of the video.
        for number, (seconds, pixels) in enumerate(video.timed_frames()):
            times.append(seconds)
            name = str(path.with_name(f"{path.stem}_{number:06d}{path.suffix}"))
            yield Entry(name, lambda pixels=pixels, name=name: as_image(pixels, name))  # type: ignore[misc]

    return Source(entries(), video.count, single=True, fps=float(video.fps), times=times)
