"""The backbone of LRS-DETR: its levels on rectangles, and the parameters of its stages."""

from __future__ import annotations

import pytest
import torch

from finespot.errors import FineSpotError
from finespot.nn.backbones import DFENet
from finespot.structures import Level
from finespot.zoo import count_parameters


def test_levels_and_their_maps() -> None:
    torch.manual_seed(0)
    backbone = DFENet((4, 8, 32)).eval()
    assert backbone.levels == (Level(128, 4), Level(256, 8), Level(384, 32))
    with torch.no_grad():
        found = backbone(torch.rand(1, 3, 32, 96))
    assert [tuple(x.shape[1:]) for x in found.maps] == [(128, 8, 24), (256, 4, 12), (384, 1, 3)]


def test_parameters_of_the_stages() -> None:
    with torch.device("meta"):
        backbone = DFENet()
    stages = (backbone.stage2, backbone.stage3, backbone.stage4, backbone.stage5)
    assert [count_parameters(stage.down) for stage in stages] == [73_984, 295_424, 885_504, 1_327_872]
    assert [count_parameters(stage.block) for stage in stages] == [115_456, 460_288, 566_720, 1_107_264]
    assert count_parameters(backbone.stage4.block.units[0]) == 196_544


def test_other_strides_are_refused() -> None:
    with pytest.raises(FineSpotError, match="dfenet backbone: expected 4 stages and strides"):
        DFENet((2, 4))
