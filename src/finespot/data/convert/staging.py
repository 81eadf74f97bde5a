"""The hidden folder beside its target in which a data set grows, and from which it takes its name in one step.

`.NAME.part/` holds the data set, under its own name, and a fingerprint of the work. After a kill the same work goes
on there; other work is refused, because somebody may still want the first.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from finespot.errors import FineSpotError
from finespot.writers import make_folder, write_atomic

try:
    import fcntl
except ImportError:  # Windows: two runs at once are not noticed there
    fcntl = None  # type: ignore[assignment]

# The file that says how a data set was made, and by which one that may be overwritten is known.
RECORD = "ORIGIN.md"


def refuse_target(target: Path, overwrite: bool) -> None:
    """Refuse a target that would cost something: only what FineSpot wrote is overwritten, and only when asked.

    Raises
    ------
    FineSpotError
        The target exists and may not be replaced.
    """
    if not target.exists():
        return
    if not target.is_dir():
        raise FineSpotError("expected a new folder but there is a file", where=target)
    if not any(target.iterdir()):
        return
    if not overwrite:
        raise FineSpotError("the folder exists and is not empty", where=target, hint="--overwrite replaces it")
    if not (target / RECORD).is_file():
        raise FineSpotError(
            f"only a data set that FineSpot wrote is overwritten, and this folder has no {RECORD}",
            where=target,
            hint="remove it yourself or name another",
        )


@contextmanager
def staging(target: Path, fingerprint: str, overwrite: bool = False) -> Iterator[Path]:
    """A folder to write the data set into; without an exception it becomes `target` at the end.

    After an exception or a kill it stays, unless it was removed meanwhile, and the next call with the same fingerprint
    finds what was written.

    Raises
    ------
    FineSpotError
        Another process writes there, or other work was left unfinished there and `overwrite` does not discard it.
    """
    make_folder(target.parent)
    home = target.parent / f".{target.name}.part"
    make_folder(home)
    with _lock(home):
        _prepare(home, target.name, fingerprint, overwrite)
        root = home / target.name
        try:
            yield root
        except BaseException:
            if not root.exists():
                shutil.rmtree(home, ignore_errors=True)
            raise
        _publish(home, target)


def sweep(root: Path, wanted: Collection[str]) -> int:
    """Remove all files below `root` but those wanted (paths with `/` below it), of which it returns the number."""
    kept = 0
    for place, _, files in os.walk(root):
        for file in files:
            path = os.path.join(place, file)
            if os.path.relpath(path, root).replace(os.sep, "/") not in wanted:
                os.unlink(path)
            else:
                kept += 1
    return kept


@contextmanager
def _lock(home: Path) -> Iterator[None]:
    with (home / "lock").open("w") as file:
        if fcntl is not None:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise FineSpotError("another process is writing this data set", where=home) from None
        yield


def _prepare(home: Path, name: str, fingerprint: str, overwrite: bool) -> None:
    root, plan = home / name, home / "plan"
    if root.exists() and not (plan.is_file() and plan.read_text() == fingerprint):
        if not overwrite:
            raise FineSpotError(
                "other work was left unfinished here",
                where=home,
                hint="finish it with the command that began it, or discard it with --overwrite",
            )
        shutil.rmtree(root)
    write_atomic(plan, fingerprint)
    make_folder(root)


def _publish(home: Path, target: Path) -> None:
    root = home / target.name
    try:
        if target.is_dir() and not any(target.iterdir()):
            target.rmdir()
        if target.exists():
            shutil.rmtree(home / "replaced", ignore_errors=True)
            os.rename(target, home / "replaced")
        os.rename(root, target)
    except OSError as error:
        raise FineSpotError(f"the finished data set cannot take its name ({error.strerror})", where=target) from error
    with suppress(OSError):
        shutil.rmtree(home)
