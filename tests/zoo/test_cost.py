"""Parameters, operations, memory and time of a network, in all and part by part."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from finespot import zoo
from finespot.errors import FineSpotError
from finespot.nn.backbones import CSPBackbone
from finespot.nn.heads import AnchorFreeHead
from finespot.structures import Features, Level
from finespot.zoo.cost import measure, without_data
from finespot.zoo.memory import peak_bytes, saved_bytes


def build(name: str) -> zoo.Detector:
    with torch.device("meta"):
        return zoo.build(zoo.architecture(name))


# One network of each family, most of them in the slow suite.
ONE_EACH = [family.names()[0] for family in zoo.families() if "windows" not in family.options or family.name == "esod"]
NAMES = [pytest.param(n, marks=pytest.mark.slow) if n != "yolov8n" else n for n in ONE_EACH]


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_the_parts_add_up_to_the_whole(name: str) -> None:
    cost = measure(build(name), (96, 352))
    assert cost.training_mib > cost.inference_mib > 0
    assert sum(one.parameters for one in cost.stages) == cost.parameters
    assert sum(one.gflops for one in cost.stages) == pytest.approx(cost.gflops)
    # Of YOLO11-ASS's dual convolutions fusing makes dense ones, which have more.
    assert (cost.parameters_fused < cost.parameters) == (name != "yolo11n-ass")
    assert sum(one.gflops > 0 for one in cost.stages) > 3
    assert cost.stages[0].name.startswith("backbone")
    assert cost.stages[-1].name == "head"
    assert all(one.seconds is None for one in cost.stages)


@pytest.mark.slow
def test_output_of_a_stage_is_what_it_hands_on() -> None:
    stem = measure(build("yolov8n"), (64, 96)).stages[0]
    assert stem.output_mib == 16 * 32 * 48 * 4 / 2**20


@pytest.mark.slow
def test_peers_way_of_counting() -> None:
    """The peer counts the integral of the side distributions as a convolution: 0.0011 of yolov8n's 8.8551."""
    ours = zoo.count_gflops(build("yolov8n"), (640, 640), "thop")
    assert ours + 2 * 16 * 4 * 8400 / 1e9 == pytest.approx(8.8551, abs=6e-5)
    # Attention is left out there, batch norm is not.
    cost, counted = measure(build("yolo11n"), (96, 96), "thop"), measure(build("yolo11n"), (96, 96))
    assert cost.gflops > cost.gflops_fused
    assert cost.gflops_fused < counted.gflops_fused == counted.gflops
    with pytest.raises(FineSpotError, match="unknown rule 'fvcore'"):
        measure(build("yolov8n"), (64, 64), "fvcore")


@pytest.mark.slow
def test_times_are_taken_and_nothing_is_changed() -> None:
    detector = zoo.build(zoo.architecture("yolov8n", classes=2)).train()
    before = {name: value.clone() for name, value in detector.state_dict().items()}
    cost = measure(detector, (64, 64), profile=2)
    assert all(one.seconds is not None and one.seconds > 0 for one in cost.stages)
    assert all(one.seconds > 0 for one in cost.layers)
    assert {"Conv2d", "Pointwise", "MaxPool2d"} <= {one.kind for one in cost.layers}
    assert cost.layers[0].name == "backbone.stem.conv"
    assert sum(one.seconds for one in cost.layers) < 1.5 * sum(one.seconds or 0 for one in cost.stages)
    assert measure(detector, (64, 64)).layers == ()
    assert detector.training
    assert all(torch.equal(value, before[name]) for name, value in detector.state_dict().items())
    assert not any(module._forward_hooks for module in detector.modules())


@pytest.mark.slow
def test_a_head_of_single_cells_is_timed_with_all_of_them() -> None:
    detector = zoo.build(zoo.architecture("esod-yolov5s", 2, cells="oracle", core=8, halo=4, threshold=0.0))
    rule = detector.windows
    cost = measure(detector, (64, 64), profile=1)
    assert all(one.seconds is not None and one.seconds > 0 for one in cost.stages)
    assert detector.windows == rule
    every = zoo.build(zoo.architecture("esod-yolov5s", 2, core=8, halo=4, threshold=0.0))
    assert cost.gflops == measure(every, (64, 64)).gflops


class Chain(nn.Module):
    """A stem of two convolutions, 8 channels each, at stride 4."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, 8, 3, 2, 1)
        self.levels = (Level(8, 4),)

    def forward(self, images: torch.Tensor) -> Features:
        return Features([self.second(self.first(images))], self.levels)


class Points(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inputs = (Level(8, 4),)

    def forward(self, features: Features, targets: None = None) -> dict[str, torch.Tensor]:
        return {"boxes": features.maps[0]}

    def decode_boxes(self, raw: dict[str, torch.Tensor]) -> torch.Tensor:
        return raw["boxes"].flatten(2)


class Nothing(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inputs = self.levels = (Level(8, 4),)

    def forward(self, features: Features) -> Features:
        return features


def test_memory_of_a_chain_by_hand() -> None:
    detector = zoo.Detector(Chain(), None, Nothing(), Points())
    images = torch.zeros(1, 3, 64, 64)
    first, second = 8 * 32 * 32 * 4, 8 * 16 * 16 * 4
    assert peak_bytes(without_data(detector), images.to("meta")) == first + second
    assert peak_bytes(detector, images) >= first + second  # kernels may take more for themselves
    # Each convolution keeps its input.
    assert saved_bytes(without_data(detector), images.to("meta")) == images.nbytes + first
    assert saved_bytes(detector, images) == images.nbytes + first


def test_a_network_of_ones_own_is_measured() -> None:
    cost = measure(zoo.Detector(Chain(), None, Nothing(), Points()), (64, 64))
    assert [one.name for one in cost.stages] == ["backbone.first", "backbone.second", "neck", "head"]
    assert cost.gflops == 2 * (3 * 9 * 8 * 32 * 32 + 8 * 9 * 8 * 16 * 16) / 1e9
    levels = (Level(8, 8),)
    backbone = CSPBackbone(nn.Conv2d(3, 8, 2, 2), [nn.Conv2d(8, 8, 2, 2) for _ in range(4)], (8,) * 4, (8,))
    neck = Nothing()
    neck.inputs = neck.levels = levels
    assert measure(zoo.Detector(backbone, neck, neck, AnchorFreeHead(levels, 1)), (64, 64)).gflops > 0
