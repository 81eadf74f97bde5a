"""Sizes and joints of the parts of a network."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from finespot import zoo
from finespot.errors import FineSpotError
from finespot.nn.backbones import CSPBackbone
from finespot.nn.heads import AnchorFreeHead
from finespot.nn.layers import Conv
from finespot.nn.necks import PAFPN
from finespot.structures import Architecture, Features, Level

CLASSES = 3


def build(name: str, seed: int = 0) -> zoo.Detector:
    torch.manual_seed(seed)
    return zoo.build(zoo.architecture(name, classes=CLASSES))


def pictures(size: tuple[int, int], batch: int = 2, seed: int = 1) -> torch.Tensor:
    return torch.rand(batch, 3, *size, generator=torch.Generator().manual_seed(seed))


def test_input_sides_must_be_multiples_of_the_stride() -> None:
    with pytest.raises(FineSpotError, match="multiples of 32 but got 64 x 100"):
        build("yolov8n")(pictures((64, 100)))


@pytest.mark.slow
def test_parts_that_do_not_fit_are_refused() -> None:
    small, large = build("yolov8n"), zoo.build(zoo.architecture("yolov8s", classes=CLASSES))
    with pytest.raises(FineSpotError, match=r"the neck expects 128 channels at stride 8.*but the backbone gives 64"):
        zoo.Detector(small.backbone, None, large.neck, large.head)
    with pytest.raises(FineSpotError, match="the head expects"):
        zoo.Detector(small.backbone, None, small.neck, large.head)
    with pytest.raises(FineSpotError, match="has no 'inputs'"):
        zoo.Detector(small.backbone, None, nn.Identity(), small.head)


def test_a_relay_stands_between_backbone_and_neck() -> None:
    class Doubler(nn.Module):
        def __init__(self, levels: tuple[Level, ...]) -> None:
            super().__init__()
            self.inputs = self.levels = levels

        def forward(self, features: Features) -> Features:
            return Features([2 * x for x in features.maps], features.levels)

    plain = build("yolov8n").eval()
    relayed = zoo.Detector(plain.backbone, Doubler(plain.backbone.levels), plain.neck, plain.head).eval()
    with torch.no_grad():
        assert not torch.equal(plain(pictures((64, 64)))["scores"], relayed(pictures((64, 64)))["scores"])


def test_a_neck_of_ones_own_is_reached_by_its_path() -> None:
    found = zoo.build(Architecture("yolov8", "n", 2, {"neck": "finespot.nn.necks.pafpn:PAFPN"}))
    assert isinstance(found.neck, PAFPN)


def test_three_levels_without_a_family() -> None:
    levels = (Level(8, 8), Level(8, 16))
    backbone = CSPBackbone(Conv(3, 8, 3, 2), [Conv(8, 8, 3, 2) for _ in range(4)], (8, 8, 8, 8), strides=(8, 16))
    detector = zoo.Detector(
        backbone, None, PAFPN(levels, (8, 16), Conv), AnchorFreeHead((Level(8, 8), Level(16, 16)), 1)
    )
    assert detector.stride == 16
    assert detector(pictures((64, 64)))["scores"].shape == (2, 1, 80)
