"""Device, precision and threads: what `auto` means on this machine, with the reason in words."""

from __future__ import annotations

import os
from typing import NamedTuple

import torch

from finespot.errors import FineSpotError, unknown

# More threads than cores only wait for each other; a hundred thousand end the process without a word.
_THREADS_PER_CORE = 4

PRECISIONS = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


# How many threads a program may use at most, by a convention that torch, numpy and others keep.
_LIMIT = "OMP_NUM_THREADS"


class Choice(NamedTuple):
    """A value that was asked for or chosen, and why."""

    value: str
    reason: str


def allowed_cores() -> int:
    """Cores that this process may use: its affinity mask where the system has one, else all."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def thread_limit() -> Choice:
    """The threads that are used where nobody asks: one for each core of this process, fewer where OMP_NUM_THREADS says
    so (of a list, the first).
    """
    limit, cores = os.environ.get(_LIMIT, "").partition(",")[0].strip(), allowed_cores()
    if limit.isdecimal() and 1 <= int(limit) < cores:
        return Choice(str(int(limit)), _LIMIT)
    return Choice(str(cores), "cores of this process")


def choose_threads(threads: int | None) -> int:
    """Threads of a CPU network: as asked, else those of `thread_limit`.

    Raises
    ------
    FineSpotError
        Fewer than one, or more than four for each core of the machine (and than this process has already).
    """
    if threads is None:
        return int(thread_limit().value)
    most = max(_THREADS_PER_CORE * (os.cpu_count() or 1), torch.get_num_threads())
    if not 1 <= threads <= most:
        hint = None if threads < 1 else f"more than {_THREADS_PER_CORE} for each core of this machine are of no use"
        raise FineSpotError(f"expected 1 to {most} but got {threads}", where="threads", hint=hint)
    return threads


def choose_device(device: str, own: torch.device | None = None) -> Choice:
    """`auto` is where a live network (`own`) lies already, else the first GPU, else the CPU; `0` means `cuda:0`.

    Raises
    ------
    FineSpotError
        The device is none that FineSpot runs on (cpu, cuda, mps), or this machine has no such device.
    """
    if device != "auto":
        return Choice(_checked_device(f"cuda:{device}" if device.isdigit() else device), "asked for")
    if own is not None:
        return Choice(str(own), "the network lies there")
    if torch.cuda.is_available():
        return Choice("cuda:0", "a GPU is available")
    if torch.backends.mps.is_available():
        return Choice("mps", "a GPU is available")
    return Choice("cpu", "no GPU is available")


def choose_precision(precision: str, device: torch.device) -> Choice:
    """`auto` is fp16 on a GPU (half the memory traffic, tensor cores) and fp32 on a CPU."""
    if precision == "auto":
        gpu = device.type == "cuda"
        return Choice("fp16", "on a GPU") if gpu else Choice("fp32", f"on {device.type}")
    if precision not in PRECISIONS:
        raise unknown("precision", precision, ["auto", *PRECISIONS], where="precision")
    return Choice(precision, "asked for")


def _checked_device(name: str) -> str:
    unknown_name = FineSpotError(
        f"unknown device '{name}'", where="device", hint="expected auto, cpu, cuda, cuda:0, a GPU's number or mps"
    )
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise unknown_name from error
    if device.type not in ("cpu", "cuda", "mps"):
        raise unknown_name
    if device.type != "cuda" and device.index:
        raise FineSpotError(f"there is no '{name}': only GPUs are numbered", where="device")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise FineSpotError("there is no 'mps' on this machine", where="device")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise FineSpotError(
            f"there is no '{name}': this machine shows {torch.cuda.device_count()} GPUs", where="device"
        )
    return name
