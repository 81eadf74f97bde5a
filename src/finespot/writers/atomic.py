"""Writing a file so that a full disk, an interrupt or a power cut leaves the old one or the new one, never half.

The bytes go to a temporary name in the same folder, are flushed to the disk, and take the name in one step. A symbolic
link stays one: the file that it leads to is replaced. What is no regular file (a device, a pipe, /dev/stdout) has no
old content to keep and must not be replaced by a file: it is written to as it stands.
"""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path

from finespot.errors import FineSpotError

# Names of files that this process has open. Opened anew by name, a file behind one would be cut and written over.
_DESCRIPTOR = re.compile(r"/dev/(?:(stdout)|(stderr)|fd/(\d+))|/proc/self/fd/(\d+)")


def write_atomic(path: str | Path, data: bytes | str, sync: bool = True) -> Path:
    """Write `data` (text as UTF-8) to `path`, making its folder where needed; returns the path.

    Without `sync` the bytes are not forced to the disk first: for thousands of small files that a run can make
    again, where a power cut may cost the last seconds of them.

    Raises
    ------
    FineSpotError
        The folder or the file cannot be written; what stood at `path` is then unchanged.
    """
    named, content = Path(path), data.encode() if isinstance(data, str) else data
    target = regular_file(named)
    if target is None:
        _write_straight(named, content)
        return named
    make_folder(target.parent)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            if sync:
                file.flush()
                os.fsync(file.fileno())
        os.replace(temporary, target)
    except OSError as error:
        raise _cannot_write(named, error) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
    return named


class GrowingFile:
    """A file written piece by piece, for what is too much to be kept: it takes its name when it is closed.

    What stood at `path` stays until then.

    Raises
    ------
    FineSpotError
        The folder or the file cannot be written, or `path` is a folder, a device or a pipe.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        target = regular_file(self.path)
        if target is None or target.is_dir():
            what = "a device or a pipe" if target is None else "a folder"
            raise FineSpotError(f"expected a file but got {what}", where=self.path)
        self._target = target
        make_folder(self._target.parent)
        self._part = self._target.with_name(f".{self._target.name}.{os.getpid()}.part")
        try:
            self._file = self._part.open("wb")
        except OSError as error:
            raise _cannot_write(self.path, error) from error

    def write(self, data: bytes) -> None:
        """Add some bytes."""
        try:
            self._file.write(data)
        except OSError as error:
            raise _cannot_write(self.path, error) from error

    def close(self, last: bytes = b"") -> Path:
        """Add the `last` bytes, flush to the disk and give the file its name; returns its path."""
        try:
            with self._file:
                self._file.write(last)
                self._file.flush()
                os.fsync(self._file.fileno())
            os.replace(self._part, self._target)
        except OSError as error:
            raise _cannot_write(self.path, error) from error
        finally:
            with contextlib.suppress(OSError):
                self._part.unlink(missing_ok=True)
        return self.path

    def discard(self) -> None:
        """Leave the file unwritten; what stood at `path` stays."""
        self._file.close()
        with contextlib.suppress(OSError):
            self._part.unlink(missing_ok=True)


def regular_file(path: str | Path) -> Path | None:
    """The file that writing to `path` makes or replaces, at the end of all links; None for a device or a pipe."""
    named = Path(path)
    target = Path(os.path.realpath(named)) if os.path.islink(named) else named
    special = os.path.exists(target) and not os.path.isfile(target) and not os.path.isdir(target)
    return None if special or _descriptor(named) is not None else target


def make_folder(path: str | Path) -> Path:
    """The folder, made with its parents where it does not exist and known to be writable."""
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _cannot_write(folder, error) from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise FineSpotError("expected a folder that can be written but got one without write permission", where=folder)
    return folder


def check_folder(path: str | Path) -> None:
    """Raise `FineSpotError` where `make_folder` would, as far as that can be known without making anything."""
    folder = Path(path)
    there = next((one for one in (folder, *folder.parents) if os.path.exists(one)), Path())
    if not os.path.isdir(there):
        raise FineSpotError("expected a folder but got a file", where=there)
    if not os.access(there, os.W_OK | os.X_OK):
        raise FineSpotError("expected a folder that can be written but got one without write permission", where=there)


def _write_straight(path: Path, content: bytes) -> None:
    own = _descriptor(path)
    try:
        with open(path if own is None else own, "wb", closefd=own is None) as file:
            file.write(content)
    except OSError as error:
        raise _cannot_write(path, error) from error


def _descriptor(path: Path) -> int | None:
    """The number of an open file that a path is another name of."""
    found = _DESCRIPTOR.fullmatch(os.path.abspath(path))
    if found is None:
        return None
    output, errors, *numbers = found.groups()
    return 1 if output else 2 if errors else int(next(filter(None, numbers)))


def _cannot_write(path: Path, error: OSError) -> FineSpotError:
    return FineSpotError(f"cannot be written ({error.strerror or error})", where=path)
