"""The relay SARL in networks: what it adds to each host, and how trained weights take it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from finespot import weights, zoo
from finespot.nn.relays import SARL
from finespot.structures import Architecture, Classes
from finespot.training.recipe import load_recipe
from finespot.training.tasks.detect import Detect

OTHERS = ("yolov8n", "yolov5n", "yolox-nano", "yolo12n", "rtmdet-tiny", "rtdetr-r18", "retinanet-r50", "gpvit-l1")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "added"),
    [("yolov5s", 541_090), ("yolox-s", 541_090), ("yolox-s-p2", 556_399), ("yolov5n", 141_722), ("yolox-m", 1_200_046)],
)
def test_in_its_hosts(name: str, added: int) -> None:
    def parameters(**options: Any) -> int:
        with torch.device("meta"):
            return sum(p.numel() for p in zoo.build(zoo.architecture(name, 8, **options)).parameters())

    assert parameters(relay="sarl") - parameters() == added
    assert parameters(relay="sarl(enhancement=false)") < parameters(relay="sarl")


@pytest.mark.slow
def test_operations_in_a_host() -> None:
    def gflops(**options: Any) -> float:
        return zoo.count_gflops(zoo.build(zoo.architecture("yolov5s", 8, **options)), (640, 640))

    # Twice the 0.447 G multiplications of its convolutions.
    assert gflops(relay="sarl") - gflops() == pytest.approx(2 * 0.447, abs=0.02)


@pytest.mark.parametrize("name", ["yolo11n", *(pytest.param(name, marks=pytest.mark.slow) for name in OTHERS)])
def test_every_family_takes_it(name: str) -> None:
    torch.manual_seed(0)
    detector = zoo.build(zoo.architecture(name, 3, relay="sarl(gamma_init=0.1)")).eval()
    picture = torch.rand(1, 3, 64, 96)
    with torch.no_grad():
        plain, fused = detector(picture)["scores"], detector.fused()(picture)["scores"]
    assert torch.isfinite(plain).all()
    if detector.head.suppress:  # queries of nearly equal rank change places by rounding
        assert torch.allclose(plain, fused, atol=1e-3)
    assert detector.relay.levels == detector.backbone.levels


@pytest.mark.slow
def test_trained_weights_take_it_without_a_change_of_predictions() -> None:
    """`finespot train hit-uav-n options.relay=sarl` begins where the weights are."""
    model, card = weights.load("hit-uav-n")
    said: list[str] = []
    recipe = load_recipe("default", ["model=hit-uav-n", "options.relay=sarl"])
    tuned = Detect(recipe, Classes(card.classes.names), said.append).model.eval()
    assert isinstance(tuned.relay, SARL)
    assert tuned.architecture.options["relay"] == "sarl"
    new = {name for name, _ in tuned.named_parameters() if name.startswith("relay.")}
    assert new
    assert "are not in the file" in said[0]
    assert "start anew" not in said[0]
    picture = torch.rand(1, 3, 96, 128, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        before, after = model.eval()(picture), tuned(picture)
    assert all(torch.equal(before[key], after[key]) for key in before)


@pytest.mark.slow
def test_a_file_with_a_relay_is_read_back(tmp_path: Path) -> None:
    architecture = zoo.architecture("yolo11n", 2, relay="sarl(reduction=8, gamma_init=0.5)")
    model = zoo.build(architecture).eval()
    card = weights.Card(architecture=architecture, classes=Classes(("a", "b")))
    again, read = weights.load(weights.save(tmp_path / "w.safetensors", model, card, half=False))
    assert read.architecture == Architecture("yolo11", "n", 2, {"relay": "sarl(reduction=8, gamma_init=0.5)"})
    assert read.own_parts() == []
    picture = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(model(picture)["boxes"], again.eval()(picture)["boxes"])
