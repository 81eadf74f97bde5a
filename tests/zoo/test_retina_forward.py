"""One forward pass of the networks with a RetinaNet head against the original modules' numbers.

Weights are made from the tensors' names in the published files, so the maps of names are proven too.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from finespot import zoo
from finespot.nn.backbones import GPViT
from finespot.structures import Architecture
from finespot.weights.foreign import gpvit, torchvision_retinanet
from finespot.weights.foreign.layout import Entry, from_file, to_file

GOLDEN = json.loads((Path(__file__).parent / "data" / "retina_forward.json").read_text())


def noise(count: int, k: int) -> np.ndarray:
    """Values in [0, 1) from an integer hash of position and `k`."""
    mask = np.uint64(0xFFFFFFFF)
    h = (
        np.arange(1, count + 1, dtype=np.uint64) * np.uint64(2654435761) + np.uint64((k + 1) * 2246822519 % 2**32)
    ) & mask
    for shift, factor in ((15, 2246822519), (13, 3266489917)):
        h = (h ^ (h >> np.uint64(shift))) * np.uint64(factor) & mask
    return (h ^ (h >> np.uint64(16))).astype(np.float64) / 2**32


def formula_value(key: str, value: Tensor) -> Tensor:
    if not value.is_floating_point():
        return value
    made = 2 * noise(value.numel(), zlib.crc32(key.encode())) - 1
    if key.endswith("running_var"):
        made = 1 + 0.3 * made
    elif key.endswith("weight") and value.ndim > 1:
        made = made * np.sqrt(3 / (value.numel() / value.shape[0]))
    elif key.endswith("weight"):
        made = 1 + 0.2 * made
    else:
        made = 0.1 * made
    return torch.from_numpy(made.astype(np.float32).reshape(tuple(value.shape)))


def formula_detector(
    architecture: Architecture, entries: Callable[[Architecture], Iterable[Entry]], prefix: str = ""
) -> zoo.Detector:
    detector = zoo.build(architecture).eval()
    theirs = to_file(detector.state_dict(), entries(architecture))
    made = {key: formula_value(key.removeprefix(prefix), value) for key, value in theirs.items()}
    detector.load_state_dict(from_file(made, entries(architecture), architecture))
    return detector


def formula_picture() -> Tensor:
    c, y, x = np.meshgrid(np.arange(3), np.arange(160), np.arange(192), indexing="ij")
    wave = 0.5 + 0.5 * np.sin(0.05 * x + 0.07 * y + 1.3 * c + 0.001 * x * y)
    return torch.from_numpy(wave.astype(np.float32))[None]


def check(value: Tensor, want: dict[str, object], tolerance: float) -> None:
    assert list(value.shape) == want["shape"]
    # Six digits are recorded; sums of signed values lose some of them.
    assert value.double().abs().sum().item() == pytest.approx(want["abs_sum"], rel=tolerance)
    assert value.double().sum().item() == pytest.approx(want["sum"], rel=tolerance, abs=1e-7 * want["abs_sum"])
    if "first" in want:
        assert value.flatten()[0].item() == pytest.approx(want["first"], rel=tolerance, abs=1e-5)


def test_the_formula_is_the_recorded_one() -> None:
    k = zlib.crc32(b"backbone.stem.0.conv.weight")
    assert k == 1822131463
    assert noise(3, k) == pytest.approx([0.49414372, 0.19300638, 0.01363634], abs=1e-8)


@pytest.mark.slow
def test_retinanet() -> None:
    want = GOLDEN["retinanet-r50"]
    detector = formula_detector(zoo.architecture("retinanet-r50", classes=91), torchvision_retinanet.entries)
    with torch.no_grad():
        features = detector.neck(detector.backbone(formula_picture()))
        raw = detector(formula_picture())
        fused = detector.fused()(formula_picture())
    for level, x in zip(("p3", "p4", "p5", "p6", "p7"), features.maps):
        check(x, want[level], 1e-4)
    sizes = [tuple(x.shape[2:]) for x in features.maps]
    for key in ("scores", "boxes"):
        check(cell_by_cell(raw[key], sizes), want[key], 1e-4)
        assert torch.allclose(raw[key], fused[key], rtol=0, atol=1e-4)


@pytest.mark.slow
def test_gpvit_with_its_adapter() -> None:
    want = GOLDEN["gpvit-l1"]
    detector = formula_detector(zoo.architecture("gpvit-l1"), gpvit.entries, prefix="backbone.")
    with torch.no_grad():
        maps = detector.backbone(formula_picture()).maps
        fused = detector.fused().backbone(formula_picture()).maps
    for level, x, y in zip(("p3", "p4", "p5"), maps, fused):
        check(x, want[level], 1e-3)
        # Unlike trained ones, these weights make maps of some hundreds.
        assert torch.allclose(x, y, rtol=1e-3, atol=1e-3)


@pytest.mark.slow
def test_gpvit_without_adapter() -> None:
    backbone = GPViT("l1").eval()
    entries = list(gpvit.plain_entries(backbone))
    own = backbone.state_dict()
    made = {key: formula_value(key, value) for key, value in to_file(own, entries).items()}
    state = {
        name: (made[entry.key] if rows is None else made[entry.key][rows]).reshape(own[name].shape)
        for entry in entries
        for name, rows in zip(entry.ours, entry.rows)
    }
    backbone.load_state_dict(state)
    with torch.no_grad():
        check(backbone(formula_picture()).maps[0], GOLDEN["gpvit-l1"]["plain"], 1e-3)


def cell_by_cell(values: Tensor, sizes: list[tuple[int, int]]) -> Tensor:
    """(B, C, N), of a level anchor by anchor, to the original's (B, N, C), cell by cell."""
    levels = values.split([9 * h * w for h, w in sizes], 2)
    parts = [x.unflatten(2, (9, h, w)).permute(0, 3, 4, 2, 1).flatten(1, 3) for x, (h, w) in zip(levels, sizes)]
    return torch.cat(parts, 1)
