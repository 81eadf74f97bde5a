"""Numbered output folders: every run gets one of its own, so that nothing is written over."""

from __future__ import annotations

import os
import re
from pathlib import Path

from finespot.errors import FineSpotError
from finespot.writers.atomic import check_folder, make_folder

# File systems take 255 bytes; a number may follow.
_LONGEST = 240


def new_run(project: str | Path, name: str, overwrite: bool = False) -> Path:
    """Make and return `project/name`, or `name2`, `name3` ... where that exists already.

    With `overwrite` the folder `project/name` itself is taken, with whatever it holds.

    Raises
    ------
    FineSpotError
        The name is empty, too long or holds a path separator, or the folder cannot be written.
    """
    _check_name(name)
    parent = make_folder(project)
    if overwrite:
        return make_folder(parent / name)
    number = 1
    while True:
        folder = parent / (name if number == 1 else f"{name}{number}")
        try:
            folder.mkdir()
        except FileExistsError:
            number += 1
        except OSError as error:
            raise FineSpotError(f"cannot be made ({error.strerror or error})", where=folder) from error
        else:
            return folder


def check_run(project: str | Path, name: str, overwrite: bool = False) -> None:
    """Raise `FineSpotError` where `new_run` would, before the work whose results it holds, and make nothing."""
    _check_name(name)
    check_folder(Path(project) / name if overwrite else project)


def _check_name(name: str) -> None:
    if len(os.fsencode(name)) > _LONGEST:
        raise FineSpotError(f"expected a name of {_LONGEST} bytes at most but got '{name[:20]}...'", where="name")
    if not re.fullmatch(r"[^/\\\0]+", name) or name in (".", ".."):
        raise FineSpotError(f"expected a plain folder name but got '{name}'", where="name")
