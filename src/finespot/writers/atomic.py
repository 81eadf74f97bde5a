"""Writing a file so that a full disk, an interrupt or a power cut leaves the old one or the new one, never half.

The bytes go to a temporary name in the same folder, are flushed to the disk, and take the name in one step.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from finespot.errors import FineSpotError


def write_atomic(path: str | Path, data: bytes | str, sync: bool = True) -> Path:
    """Write `data` (text as UTF-8) to `path`, making its folder where needed; returns the path.

    Without `sync` the bytes are not forced to the disk first: for thousands of small files that a run can make
    again, where a power cut may cost the last seconds of them.

    Raises
    ------
    FineSpotError
        The folder or the file cannot be written; what stood at `path` is then unchanged.
    """
    target = Path(path)
    make_folder(target.parent)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        with temporary.open("wb") as file:
            file.write(data.encode() if isinstance(data, str) else data)
            if sync:
                file.flush()
                os.fsync(file.fileno())
        os.replace(temporary, target)
    except OSError as error:
        raise _cannot_write(target, error) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
    return target


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


def _cannot_write(path: Path, error: OSError) -> FineSpotError:
    return FineSpotError(f"cannot be written ({error.strerror or error})", where=path)
