"""The other side of the comparisons: builds, feeds and drives ultralytics through its own public classes.

Only functions that the scripts here call; ultralytics is imported inside them, never when this module is read.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks import report

SCRATCH = report.ROOT / ".peers"
Model = torch.nn.Module


def build(name: str, classes: int = 80, seed: int = 0, calibrate_on: Tensor | None = None) -> Model:
    """A randomly initialized detection model by name (`yolov8n-p2`), in eval mode, not trained.

    Batch normalization gets random weights and statistics: a fresh one is the identity, which would hide a wrong
    epsilon or a forgotten layer. `calibrate_on` gives it the statistics of these pictures (B, 3, H, W) instead, so that
    their signal neither dies out nor explodes on its way and every layer matters to the outputs; then rounding errors
    grow too, so compare such models in float64.
    """
    from ultralytics.nn.tasks import DetectionModel

    torch.manual_seed(seed)
    model = DetectionModel(f"{name}.yaml", nc=classes, verbose=False)
    generator = torch.Generator().manual_seed(seed + 1)
    norms = [part for part in model.modules() if isinstance(part, torch.nn.BatchNorm2d)]
    for norm in norms:
        ranges = ((norm.weight, 0.7, 1.3), (norm.bias, -0.1, 0.1), (norm.running_mean, -0.1, 0.1))
        for values, low, high in (*ranges, (norm.running_var, 0.7, 1.3)):
            values.data.copy_(torch.rand(values.shape, generator=generator) * (high - low) + low)
    if calibrate_on is not None:
        momentum = norms[0].momentum
        for norm in norms:
            norm.momentum = 1.0
        with torch.no_grad():
            model.train()(calibrate_on)
        for norm in norms:
            norm.momentum = momentum
    return model.eval()


def raw_outputs(model: Model, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Box logits (B, 64, N), class logits (B, classes, N) and decoded boxes (B, 4, N) as center and size."""
    with torch.inference_mode():
        decoded, raw = model(images)
    return raw["boxes"], raw["scores"], decoded[:, :4]


def random_numbers(count: int, k: int) -> np.ndarray:
    """`count` numbers in 0..1 from a hash of position and `k`: the same on every machine and numpy release."""
    with np.errstate(over="ignore"):
        h = np.arange(1, count + 1, dtype=np.uint32) * np.uint32(2654435761)
        h += np.uint32((k + 1) * 2246822519 % 2**32)
        h ^= h >> np.uint32(15)
        h *= np.uint32(2246822519)
        h ^= h >> np.uint32(13)
        h *= np.uint32(3266489917)
        h ^= h >> np.uint32(16)
    return h / 2.0**32


def formula_weights(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same entries with values from `random_numbers`, k = position in the state dict.

    Convolutions r * sqrt(3 / fan in), batch normalization weight 1 + 0.2 r, bias 0.1 r, mean 0.1 r, variance
    1 + 0.3 r, with r = 2 u - 1. The counters and the fixed DFL kernel keep their values.
    """
    filled = {}
    for k, (key, value) in enumerate(state.items()):
        if not value.is_floating_point() or key.endswith("dfl.conv.weight"):
            filled[key] = value.clone()
            continue
        r = 2 * random_numbers(value.numel(), k) - 1
        if value.dim() == 4:
            r *= np.sqrt(3 / np.prod(value.shape[1:]))
        elif key.endswith("running_var"):
            r = 1 + 0.3 * r
        elif key.endswith("bn.weight"):
            r = 1 + 0.2 * r
        else:
            r *= 0.1
        filled[key] = torch.from_numpy(r.astype(np.float32)).reshape(value.shape)
    return filled


def formula_picture(height: int = 160, width: int = 192) -> Tensor:
    """A smooth colored picture (1, 3, height, width) in 0..1 that needs no file."""
    c, y, x = np.meshgrid(np.arange(3.0), np.arange(float(height)), np.arange(float(width)), indexing="ij")
    values = 0.5 + 0.5 * np.sin(0.05 * x + 0.07 * y + 1.3 * c + 0.001 * x * y)
    return torch.from_numpy(values.astype(np.float32))[None]


def private_copy(folder: Path) -> Path:
    """A private copy of a YOLO data set (the peer writes caches beside labels) and its data file."""
    # Two data sets may share a folder name.
    place = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:8]
    copy = SCRATCH / "data" / f"{folder.name}-{place}"
    if not copy.is_dir():
        partial = copy.with_name(f"{copy.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        shutil.copytree(folder, partial)
        partial.rename(copy)
    return report.data_file(copy)


def trainer(model: str, data: Path, name: str, **settings: Any) -> Any:
    """The peer's own detection trainer, not started. `settings` are its arguments; runs go to the scratch folder."""
    from ultralytics.models.yolo.detect import DetectionTrainer

    fixed = {
        "model": f"{model}.yaml",
        "data": str(private_copy(data)),
        "project": str(SCRATCH / "runs"),
        "name": name,
        "exist_ok": True,
        "pretrained": False,
        "plots": False,
        "workers": 0,
        "verbose": False,
    }
    quiet()
    return DetectionTrainer(overrides={**fixed, **settings})


def finished_model(path: Path) -> Model | None:
    """The averaged model of a run that has ended; None where the file is not there or training can go on from it."""
    if not path.exists():
        return None
    checkpoint = torch.load(path, map_location="cpu", weights_only=False)
    return checkpoint["model"] if checkpoint["epoch"] == -1 else None


def quiet() -> None:
    """Warnings and errors only."""
    import logging

    from ultralytics.utils import LOGGER

    LOGGER.setLevel(logging.WARNING)


def require_environment() -> None:
    """Say how to enter the peer environment, where this is not it."""
    if not os.environ.get("YOLO_CONFIG_DIR"):
        raise SystemExit("run this as `.peers/run -m ...` after benchmarks/peers/setup.sh")


@contextmanager
def pinned(threads: int = 1) -> Iterator[None]:
    """Keep this process on the first `threads` of its allowed cores, and torch to as many threads."""
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(allowed)[:threads])
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)
