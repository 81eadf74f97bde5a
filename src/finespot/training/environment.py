"""What a run was made with: versions, device, threads and seed, kept beside its results."""

from __future__ import annotations

import contextlib
import json
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric

import finespot
from finespot.errors import FineSpotError
from finespot.writers import write_atomic

PACKAGES = ("torch", "lightning-fabric", "numpy", "pillow", "simplejpeg", "safetensors", "msgspec")


def environment(fabric: Fabric, seed: int) -> dict[str, Any]:
    """Versions, device, threads and seed of this process."""
    versions = {"finespot": finespot.__version__}
    for name in PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            versions[name] = version(name)
    device = fabric.device
    return {
        "python": platform.python_version(),
        "system": platform.platform(),
        "command": sys.argv,
        "versions": versions,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "processes": fabric.world_size,
        "precision": str(fabric.strategy.precision.precision),
        "threads": torch.get_num_threads(),
        "seed": seed,
    }


def write_environment(path: Path, now: dict[str, Any]) -> None:
    """Write it for a new run."""
    write_atomic(path, json.dumps(now, indent=2) + "\n")


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FineSpotError(f"cannot be read ({error})", where=path, hint="remove it to go on without it") from error
    parts = [found, found.get("versions", {})] if isinstance(found, dict) else [found]
    if not all(isinstance(part, dict) for part in parts) or not isinstance(found.get("resumed", []), list):
        raise FineSpotError("is not as a run wrote it", where=path, hint="remove it to go on without it")
    return dict(found)


def resume_environment(path: Path, now: dict[str, Any]) -> list[str]:
    """Add the environment in which a run goes on; returns what differs so that the numbers may differ too.

    Raises
    ------
    FineSpotError
        The file is damaged or cannot be written.
    """
    first = _read(path) if path.is_file() else {}
    write_atomic(path, json.dumps({**first, "resumed": [*first.get("resumed", []), now]}, indent=2) + "\n")
    changed = [
        f"{key} was {first[key]}, is {now[key]}"
        for key in ("threads", "device", "processes", "precision")
        if key in first and first[key] != now[key]
    ]
    before = first.get("versions", {}).get("torch")
    if before not in (None, now["versions"]["torch"]):
        changed.append(f"torch was {before}, is {now['versions']['torch']}")
    return changed
