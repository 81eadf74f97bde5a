"""The file a run resumes from: `RUN/weights/resume.pt`.

Written after every epoch to a temporary name, flushed to the disk and renamed, so that the file is whole at any
moment, and read with `weights_only=True`, so that it can execute nothing. It holds weights, average, optimizer,
gradient scaler, position, early-stop state and the random states of every process.
"""

from __future__ import annotations

import errno
import os
import random
import shutil
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor

from finespot.errors import FineSpotError

FORMAT = 1
# What a run needs to go on, and in it.
NEEDED: dict[str, tuple[str, ...]] = {
    "progress": ("epoch", "iteration", "steps", "best", "best_epoch"),
    "model": (),
    "ema": ("model", "steps"),
    "optimizer": ("state", "param_groups"),
    "scaler": (),
    "order": ("per_epoch",),
}


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Put an interrupt (SIGINT) off until the block is done. Elsewhere than in the main thread it does nothing."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    waiting: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: waiting.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before if before is not None else signal.default_int_handler)
    if waiting:
        signal.raise_signal(signal.SIGINT)


@uninterrupted()
def save_checkpoint(state: dict[str, Any], path: Path) -> None:
    """Write `state` (tensors, numbers, texts, and dicts and lists of these); the old file stays where this fails.

    Raises
    ------
    FineSpotError
        The file cannot be written, as when the disk is full.
    """
    temporary = path.with_name(f"{path.name}.part")
    failures: list[OSError] = []
    try:
        with temporary.open("wb") as file:
            torch.save({"format": FORMAT, **state}, _Stream(file, failures))  # type: ignore[arg-type]
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except (OSError, RuntimeError) as error:
        temporary.unlink(missing_ok=True)
        kept = "the last good one is kept" if path.exists() else "there was none before it"
        reason = _reason(failures[0] if failures else error, state, path.parent)
        raise FineSpotError(f"the checkpoint could not be written ({reason}); {kept}", where=path) from error


class _Stream:
    """A file for torch, whose own RuntimeError about a failing one does not say why: `failures` does."""

    def __init__(self, file: BinaryIO, failures: list[OSError]) -> None:
        self.flush = file.flush
        self._file, self._failures = file, failures

    def write(self, data: Any) -> int:
        try:
            return self._file.write(data)
        except OSError as error:
            self._failures.append(error)
            raise


def _reason(cause: Exception, state: Mapping[str, Any], folder: Path) -> str:
    if not (isinstance(cause, OSError) and cause.errno == errno.ENOSPC):
        return str(cause)
    needed, free = _nbytes(state) / 2**20, shutil.disk_usage(folder).free / 2**20
    return f"the disk is full: it takes {needed:.1f} MiB, and {free:.1f} MiB are free"


def _nbytes(value: Any) -> int:
    """Bytes of all tensors in a value, which are nearly all of its file."""
    if isinstance(value, Tensor):
        return value.nbytes
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ()
    return sum(_nbytes(part) for part in parts)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint on the CPU, tensors and plain values only.

    Raises
    ------
    FineSpotError
        There is none, it is damaged, or it is no checkpoint of this kind.
    """
    if not path.is_file():
        raise FineSpotError("no checkpoint to resume from", where=path, hint="expected a run folder of finespot train")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # of a broken file, torch and pickle let through whatever they run into
        # Torch's own answer to what is no plain value goes on to advise how to run it all the same.
        first = next(iter(str(error).strip().splitlines()), type(error).__name__)
        why = "it is damaged, or holds more than tensors and plain values" if "weights_only" in first else first
        raise FineSpotError(f"cannot be read as a checkpoint ({why})", where=path) from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        found = state.get("format") if isinstance(state, dict) else type(state).__name__
        raise FineSpotError(f"expected a checkpoint of format {FORMAT} but got {found}", where=path)
    lacking = [name for name, parts in NEEDED.items() if not _has(state.get(name), parts)]
    if lacking:
        raise FineSpotError(f"the checkpoint is not complete (no usable {', '.join(lacking)})", where=path)
    return state


def _has(value: Any, parts: tuple[str, ...]) -> bool:
    return isinstance(value, dict) and all(part in value for part in parts)


def refuse_misfit(saved: Any, own: Mapping[str, Tensor]) -> None:
    """Refuse the tensors of another model than the one whose state is `own`.

    Raises
    ------
    FineSpotError
        Says how many do not fit, and the first of them.
    """
    found = saved if isinstance(saved, dict) else {}
    absent, extra = [name for name in own if name not in found], [name for name in found if name not in own]
    other = [name for name in own if name in found and getattr(found[name], "shape", None) != own[name].shape]
    for names, count, what in (
        (absent, len(own), "that it lacks"),
        (extra, len(found), "without a place"),
        (other, len(own), "of another shape"),
    ):
        if names:
            raise FineSpotError(
                f"the checkpoint does not fit this model (tensors {what}: {len(names)} of {count}, first '{names[0]}')",
                where="resume",
                hint="did the model in recipe.yaml change, or its code?",
            )


def random_states() -> dict[str, Any]:
    """The states of Python's, numpy's and torch's generators in this process, as plain values and tensors."""
    version, internal, gauss = random.getstate()
    # The old global generator too: user code may draw from it.
    kind, keys, position, has_gauss, cached = np.random.get_state(legacy=True)  # noqa: NPY002
    return {
        "python": [version, list(internal), gauss],
        "numpy": [
            str(kind),
            np.asarray(keys).tolist(),
            int(position),
            int(has_gauss),
            float(cached),
        ],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def set_random_states(states: dict[str, Any]) -> None:
    """Set all generators to what `random_states` returned."""
    version, internal, gauss = states["python"]
    random.setstate((version, tuple(internal), gauss))
    kind, keys, position, has_gauss, cached = states["numpy"]
    np.random.set_state((kind, np.array(keys, np.uint32), position, has_gauss, cached))  # noqa: NPY002
    torch.set_rng_state(states["torch"])
    if states["cuda"] and torch.cuda.device_count() == len(states["cuda"]):
        torch.cuda.set_rng_state_all(states["cuda"])


def seed_all(seed: int) -> None:
    """Seed Python's, numpy's and torch's generators."""
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002
    torch.manual_seed(seed)
