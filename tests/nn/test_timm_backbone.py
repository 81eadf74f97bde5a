"""Backbones of timm: levels, errors, weights fetched only where wanted. A stand-in shows what timm is asked for."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from finespot import weights, zoo
from finespot.errors import FineSpotError
from finespot.nn.backbones import nothing_fetched
from finespot.registry import make
from finespot.structures import Classes, Level

STRIDES, WIDTHS = (2, 4, 8, 8, 16, 32), (4, 4, 6, 8, 10, 12)


class Network(nn.Module):
    """What timm gives for `features_only`: a map of each reduction."""

    def __init__(self, output_fmt: str) -> None:
        super().__init__()
        self.steps = nn.ModuleList([nn.Conv2d(3, c, s, s) for c, s in zip(WIDTHS, STRIDES)])
        self.feature_info = SimpleNamespace(channels=lambda: list(WIDTHS), reduction=lambda: list(STRIDES))
        self.output_fmt = output_fmt

    def forward(self, images: Tensor) -> list[Tensor]:
        maps = [step(images) for step in self.steps]
        return [x.permute(0, 2, 3, 1) for x in maps] if self.output_fmt == "NHWC" else maps


@pytest.fixture
def asked(monkeypatch) -> list[tuple[str, bool]]:
    calls: list[tuple[str, bool]] = []

    def create_model(name: str, *, features_only: bool, pretrained: bool) -> Network:
        assert features_only
        calls.append((name, pretrained))
        if name == "headless":
            raise RuntimeError("features_only not implemented")
        return Network("NHWC" if name == "last" else "NCHW")

    known = ["net", "net.in1k", "last", "fixed", "headless"]
    timm = ModuleType("timm")
    timm.create_model, timm.is_model, timm.list_models = create_model, known.__contains__, known.copy
    fixed = SimpleNamespace(fixed_input_size=True, input_size=(3, 224, 224))
    timm.models = SimpleNamespace(get_pretrained_cfg=lambda name: fixed if name == "fixed" else None)
    monkeypatch.setitem(sys.modules, "timm", timm)
    return calls


@pytest.mark.parametrize("name", ["net", "last"])
def test_the_deepest_map_of_each_stride(asked, name: str) -> None:
    backbone = make("backbone", f"timm(name={name})", strides=(8, 16, 32))
    assert backbone.levels == (Level(8, 8), Level(10, 16), Level(12, 32))
    with torch.no_grad():
        found = backbone(torch.rand(2, 3, 64, 96))
    assert [tuple(x.shape) for x in found.maps] == [(2, 8, 8, 12), (2, 10, 4, 6), (2, 12, 2, 3)]
    assert found.levels == backbone.levels
    assert asked == [(name, False)]


def test_a_yolo_takes_its_levels(asked) -> None:
    detector = zoo.build(zoo.architecture("yolo11n", 2, backbone="timm(name=net)")).eval()
    with torch.no_grad():
        assert detector(torch.rand(1, 3, 64, 64))["scores"].shape == (1, 2, 84)


def test_weights_are_fetched_for_a_start_only(asked, tmp_path) -> None:
    architecture = zoo.architecture("yolo11n", 2, backbone="timm(name=net.in1k, pretrained=true)")
    detector = zoo.build(architecture)
    assert asked.pop() == ("net.in1k", True)
    card = weights.Card(architecture=architecture, classes=Classes(("a", "b")), imgsz=64)
    weights.load(weights.save(tmp_path / "w.safetensors", detector, card))
    assert asked.pop() == ("net.in1k", False)
    with torch.device("meta"):
        zoo.build(architecture)
    assert asked.pop() == ("net.in1k", False)
    with nothing_fetched():
        zoo.build(architecture)
    zoo.build(architecture)
    assert [fetched for _, fetched in asked] == [False, True]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("timm(name=nit)", "unknown network of timm 'nit'; did you mean net"),
        ("timm(name=fixed)", "pictures of one size only .224 x 224."),
        ("timm(name=headless)", "cannot make 'headless' as a backbone .features_only not"),
        ("timm", "wants 'name'"),
    ],
)
def test_what_cannot_be_a_backbone(asked, text: str, message: str) -> None:
    with pytest.raises(FineSpotError, match=message):
        make("backbone", text, strides=(8, 16))


def test_a_stride_that_the_network_lacks(asked) -> None:
    with pytest.raises(FineSpotError, match="strides 32, 64 but timm's 'net' has 2, 4, 8, 16, 32"):
        make("backbone", "timm(name=net)", strides=(32, 64))


def test_timm_is_an_extra(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(FineSpotError, match=r"needs the package 'timm'.*pip install 'finespot\[timm\]'"):
        make("backbone", "timm(name=net)")


@pytest.mark.parametrize(
    "failure",
    [ModuleNotFoundError("No module named 'torchvision'", name="torchvision"), RuntimeError("no nms")],
)
def test_a_torchvision_that_does_not_fit_is_said(monkeypatch, tmp_path, failure: Exception) -> None:
    kind = type(failure).__name__
    more = ", name='torchvision'" if isinstance(failure, ImportError) else ""
    (tmp_path / "timm.py").write_text(f"raise {kind}({str(failure)!r}{more})\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "timm", raising=False)
    with pytest.raises(FineSpotError, match=r"needs a torchvision that fits torch .*same index as torch"):
        make("backbone", "timm(name=net)")


def test_a_network_of_timm() -> None:
    pytest.importorskip("timm")
    backbone = make("backbone", "timm(name=resnet18)", strides=(8, 16, 32)).eval()
    assert backbone.levels == (Level(128, 8), Level(256, 16), Level(512, 32))
    with torch.no_grad():
        found = backbone(torch.rand(1, 3, 64, 96))
    assert [tuple(x.shape[1:]) for x in found.maps] == [(128, 8, 12), (256, 4, 6), (512, 2, 3)]
