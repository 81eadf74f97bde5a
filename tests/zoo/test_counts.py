"""Parameters and operations of every registered network against the published ones, on torch's meta device."""

from __future__ import annotations

import pytest
import torch

from finespot import zoo

# Families of whose originals one file holds the figures; the others have a test of their own.
FAMILIES = ("yolov8", "yolo11")
NAMES = [name for family in zoo.families() if family.name in FAMILIES for name in family.names()]
SMALLEST = ("yolov8n", "yolo11n-p2")
QUICK = [name if name in SMALLEST else pytest.param(name, marks=pytest.mark.slow) for name in NAMES]


def build(name: str) -> zoo.Detector:
    with torch.device("meta"):
        return zoo.build(zoo.architecture(name))


@pytest.mark.parametrize(
    "name", [n if "n" in n[6:] or "s" in n[6:] else pytest.param(n, marks=pytest.mark.slow) for n in NAMES]
)
def test_parameters(name: str, golden) -> None:
    assert zoo.count_parameters(build(name)) == golden["counts"][name]["params"]


@pytest.mark.slow
@pytest.mark.parametrize("name", QUICK)
def test_fused_parameters(name: str, golden) -> None:
    assert zoo.count_parameters(build(name).fused()) == golden["counts"][name]["params_fused"]


@pytest.mark.slow
@pytest.mark.parametrize("name", QUICK)
def test_gflops(name: str, golden) -> None:
    published = golden["counts"][name]["gflops_counted"]
    detector = build(name)
    gflops = zoo.count_gflops(detector, (640, 640))
    assert zoo.count_gflops(detector.fused(), (640, 640)) == gflops
    if published is not None:  # YOLO11 with P2 exists nowhere else
        assert gflops == pytest.approx(published, abs=6e-5)


@pytest.mark.slow
def test_gflops_follow_the_size_and_leave_the_network_alone() -> None:
    detector = zoo.build(zoo.architecture("yolov8n", classes=3)).train()
    before = {name: value.clone() for name, value in detector.state_dict().items()}
    assert zoo.count_gflops(detector, (64, 128)) == pytest.approx(2 * zoo.count_gflops(detector, (64, 64)))
    assert detector.training
    assert all(torch.equal(value, before[name]) for name, value in detector.state_dict().items())
    assert {p.device.type for p in detector.parameters()} == {"cpu"}
