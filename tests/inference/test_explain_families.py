"""Heat maps of every family and variant: the smallest network of each, on a tiny picture."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from finespot import zoo
from finespot.inference import Model
from finespot.runtimes import Session
from finespot.structures import Tiling

QUICK = ("yolov8n", "rtdetr-r18")
# Networks on windows are explained in their dense form, which is their hosts': see the tests of these.
SMALLEST = [
    next(n for n in family.names() if n.endswith(suffix))
    for family in zoo.families()
    if "windows" not in family.options
    for suffix in family.variants
]


def mark(name: str) -> Any:
    """Variants are explained like the family's first; they wait for `make test-all`."""
    if name == QUICK[0]:
        return name
    return pytest.param(
        name, marks=pytest.mark.full if name.endswith(("-p2", "-published", "-v2")) else pytest.mark.slow
    )


@pytest.mark.parametrize("name", [mark(name) for name in SMALLEST])
def test_every_family_is_explained(name: str) -> None:
    torch.manual_seed(0)
    detector = zoo.build(zoo.architecture(name, classes=2))
    with torch.no_grad():  # layers that start at zero let no gradient through
        for p in detector.parameters():
            p += 0.01 * torch.randn(p.shape) * p.requires_grad
    model = Model(Session(detector, threads=1))
    pixels = np.random.default_rng(0).integers(0, 256, (96, 150, 3), np.uint8)
    for options in (
        {"target": "both"},
        {"target": "box", "layers": ["backbone"], "method": "layercam"},
        {"target": "box", "tiling": Tiling(96)},
    ):
        (explained,) = model.explain([pixels], imgsz=128, conf=0.0, max_det=20, **options)
        assert len(explained.detections)
        assert set(explained.heat) == set(explained.detections.labels.tolist())
        for heat in explained.heat.values():
            assert heat.shape == (96, 150)
            assert np.isfinite(heat).all()
            assert heat.min() >= 0
            assert heat.max() > 0  # of scores, what a random network looks at may all speak against them


@pytest.mark.slow
@pytest.mark.parametrize("name", QUICK)
def test_all_detections_are_matched(name: str) -> None:
    """What runs is fused, what is explained is not: their boxes differ by rounding and are found all the same."""
    torch.manual_seed(0)
    model = Model(Session(zoo.build(zoo.architecture(name, classes=2)), threads=1))
    pixels = np.random.default_rng(0).integers(0, 256, (96, 150, 3), np.uint8)
    explainer = model.explainer(imgsz=128)
    (found,) = model.predict([pixels], imgsz=128, conf=0.0, max_det=40)
    explainer(pixels, found)
    assert explainer.unmatched == 0
