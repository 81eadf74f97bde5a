"""ESOD's released networks: counts and operations, the relay's options, what the dense form learns."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from finespot import zoo
from finespot.errors import FineSpotError
from finespot.nn.heads import AnchorFreeHead
from finespot.nn.relays import Seeker
from finespot.structures import Architecture, Features, LossTerms, Targets

GOLDEN = json.loads((Path(__file__).parent / "data" / "esod.json").read_text())
SIZES = [size if size == "s" else pytest.param(size, marks=pytest.mark.slow) for size in "smlx"]


def on_meta(name: str, classes: int = 10, **options: object) -> zoo.Detector:
    with torch.device("meta"):
        return zoo.build(zoo.architecture(name, classes, **options))


def small(**options: object) -> zoo.Detector:
    torch.manual_seed(0)
    return zoo.build(zoo.architecture("esod-yolov5s", 3, **options))


def dense(**options: object) -> zoo.Detector:
    return small(windows="none", **options)


def test_names() -> None:
    names = ["esod-yolov5s", "esod-yolov5m", "esod-yolov5l", "esod-yolov5x"]
    hosts = ["esod-yolov8m", "esod-retinanet-r50", "esod-rtmdet-m"]
    assert zoo.ESOD.names() == [*names, *(f"{name}-published" for name in (*names, *hosts))]
    assert zoo.name_of(zoo.architecture("esod-yolov5m", 3)) == "esod-yolov5m"
    with pytest.raises(FineSpotError, match=r"unknown model 'esod-yolov5n'; did you mean esod-yolov"):
        zoo.architecture("esod-yolov5n")
    with pytest.raises(FineSpotError, match="unknown esod option 'p2'"):
        zoo.build(zoo.architecture("esod-yolov5s", 3, p2=True))


@pytest.mark.parametrize("size", SIZES)
def test_parameters_are_those_of_the_released_networks(size: str) -> None:
    want = GOLDEN["parameters"][size]
    assert zoo.count_parameters(on_meta(f"esod-yolov5{size}")) == want["esod"]
    vanilla = on_meta(f"esod-yolov5{size}", relay=None)
    assert vanilla.relay is None
    assert zoo.count_parameters(vanilla) == want["esod"] - want["seeker"]
    if "vanilla" in want:
        assert zoo.count_parameters(vanilla) == want["vanilla"]


@pytest.mark.parametrize(
    ("name", "count", "vanilla"),
    [
        ("esod-retinanet-r50-published", 30_059_464, 29_971_399),
        ("esod-rtmdet-m-published", 35_815_696, 35_782_671),
        ("esod-yolov8m-published", 44_544_376, 44_511_351),
        ("esod-yolov5m-published", 35_842_600, 35_809_575),
    ],
)
def test_parameters_on_other_hosts_are_those_of_the_released_networks(name: str, count: int, vanilla: int) -> None:
    detector = on_meta(name)
    assert zoo.count_parameters(detector) == count
    assert zoo.count_parameters(detector) - zoo.count_parameters(detector.relay) == vanilla


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "stem", "tail", "head", "whole"),
    [
        # MFLOP for each cell of stride 8, as measured of the released networks; GFLOPs at 1536 x 864 without seeker.
        # Batch norm, of which the first two keep some, is counted there.
        ("esod-retinanet-r50-published", 4.665, 7.822, 3.299, 327.3),
        ("esod-rtmdet-m-published", 2.622, 4.993, 4.233, 245.7),
        ("esod-yolov5s-published", 0.864, 1.672, 1.888, 91.7),
    ],
)
def test_operations_of_the_parts_on_other_hosts(name: str, stem: float, tail: float, head: float, whole: float) -> None:
    costs = zoo.window_costs(on_meta(name), (864, 1536))
    cells = 108 * 192 / 1000
    assert (costs.picture - costs.seeker) / cells == pytest.approx(stem, rel=0.011)
    assert costs.whole / cells == pytest.approx(tail + head, rel=0.011)
    assert costs.dense == pytest.approx(whole, rel=0.011)


def test_parameters_of_the_networks_for_other_sets() -> None:
    want = GOLDEN["others"]
    assert zoo.count_parameters(on_meta("esod-yolov5m", 3, relay="seeker(form=pooled)")) == want["uavdt"]
    assert zoo.count_parameters(on_meta("esod-yolov5m", 1)) == want["tinyperson"]
    assert zoo.count_parameters(on_meta("esod-yolov5m").head) == want["head_10"]


@pytest.mark.slow
@pytest.mark.parametrize("size", "smlx")
def test_operations_are_those_of_the_released_networks(size: str) -> None:
    """Of the network without a seeker, whole; of the seeker the original counts batch norm too, which ours does not."""
    want = GOLDEN["gflops_1536x864"][size]
    vanilla = zoo.count_gflops(on_meta(f"esod-yolov5{size}", relay=None), (864, 1536))
    assert vanilla == pytest.approx(want, abs=0.051)
    seeker = zoo.count_gflops(on_meta(f"esod-yolov5{size}"), (864, 1536)) - vanilla
    channels = {"s": 128, "m": 192, "l": 256, "x": 320}[size]
    assert 1e3 * seeker / (108 * 192) == pytest.approx(2 * channels * (169 + 1) / 1e6, rel=1e-6)


@pytest.mark.slow
def test_operations_by_part() -> None:
    cost = zoo.measure(on_meta("esod-yolov5m"), (1536, 1536))
    by_cell = {one.name: 1e3 * one.gflops / 192**2 for one in cost.stages}
    want = GOLDEN["mflop_per_cell_m"]
    assert sum(by_cell[f"backbone.{part}"] for part in ("stem", "stage2", "stage3")) == pytest.approx(
        want["stem"], abs=6e-4
    )
    assert by_cell["head"] == pytest.approx(want["head"], abs=6e-4)
    assert cost.parameters_fused < cost.parameters


@pytest.mark.slow
def test_the_map_comes_out_beside_the_heads_output() -> None:
    detector, plain = dense().eval(), small(relay=None).eval()
    plain.load_state_dict({k: v for k, v in detector.state_dict().items() if not k.startswith("relay.")})
    images = torch.rand(2, 3, 96, 160, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        raw, without = detector(images), plain(images)
    assert raw["heat"].shape == (2, 1, 12, 20)
    assert set(raw) == {*without, "heat"}
    # In the dense form detection does not look at the map.
    assert all(torch.equal(raw[key], without[key]) for key in without)


def test_the_pooled_form_is_another_network() -> None:
    detector = small(relay="seeker(form=pooled)")
    assert isinstance(detector.relay, Seeker)
    assert "relay.context.entry.conv.weight" in detector.state_dict()
    assert zoo.name_of(detector.architecture) == "esod-yolov5s (relay=seeker(form=pooled))"


def test_pools_are_smaller_than_the_hosts() -> None:
    detector = on_meta("esod-yolov5s")
    assert detector.backbone.stage5.pool.pool.kernel_size == 3
    assert on_meta("yolov5s-v5").backbone.stage5.pool.pool.kernel_size == 5


@pytest.mark.slow
def test_detection_teaches_the_stages_before_the_seeker_but_not_the_seeker(make_targets) -> None:
    detector, size = dense().train(), (96, 160)
    raw = detector(torch.rand(2, 3, *size))
    targets = make_targets([30, 30], size, 3)
    terms = detector.loss(raw, targets)
    assert terms.terms.keys() == {"box", "obj", "cls", "heat"}
    assert "targets" in terms.counts
    detection = detector.head.loss(raw, targets).total
    detection.backward(retain_graph=True)
    assert all(p.grad is None for p in detector.relay.parameters())
    assert all(bool(p.grad.abs().sum() > 0) for p in detector.backbone.parameters())
    detector.zero_grad()
    terms.terms["heat"].backward()
    assert all(bool(p.grad.abs().sum() > 0) for p in detector.relay.parameters())
    taught = {name.split(".")[0] for name, p in detector.backbone.named_parameters() if p.grad is not None}
    assert taught == {"stem", "stage2", "stage3"}
    assert all(p.grad is None for part in (detector.neck, detector.head) for p in part.parameters())


def test_content_and_shapes_reach_the_seeker(make_targets) -> None:
    detector, size = dense().train(), (64, 96)
    raw, targets = detector(torch.rand(2, 3, *size)), make_targets([3, 3], size, 3)
    usual = detector.loss(raw, targets)
    content = torch.tensor([[0.0, 0, 96, 32], [0, 0, 96, 64]])
    shapes = torch.zeros(2, 1, *size, dtype=torch.bool)
    shapes[:, :, ::16] = True
    for options in ({"content": content}, {"shapes": shapes}):
        found = detector.loss(raw, targets, **options)
        assert found.terms["heat"] != usual.terms["heat"]
        assert all(found.terms[key] == usual.terms[key] for key in ("box", "obj", "cls"))


def test_a_relay_without_a_loss_is_asked_for_none(make_targets) -> None:
    class Marker(nn.Module):
        def __init__(self, levels: tuple[object, ...]) -> None:
            super().__init__()
            self.inputs = self.levels = levels

        def forward(self, features: Features) -> Features:
            return Features(features.maps, features.levels, auxiliary={"mean": features.maps[0].mean()})

    plain = small(relay=None)
    detector = zoo.Detector(plain.backbone, Marker(plain.backbone.levels), plain.neck, plain.head)
    raw = detector(torch.rand(1, 3, 64, 64))
    assert raw["mean"].ndim == 0
    assert not detector.relay_learns
    assert detector.loss(raw, make_targets([3], (64, 64), 3)).terms.keys() == {"box", "obj", "cls"}


def test_any_network_takes_a_seeker(make_targets) -> None:
    torch.manual_seed(0)
    detector = zoo.build(zoo.architecture("yolov8n", 3, relay="seeker(loss=focal_dice)")).train()
    assert isinstance(detector.head, AnchorFreeHead)
    terms = detector.loss(detector(torch.rand(2, 3, 64, 96)), make_targets([5, 5], (64, 96), 3))
    assert {"box", "cls", "dfl", "heat"} == terms.terms.keys()
    terms.total.backward()
    assert all(p.grad is not None for p in detector.relay.parameters())


def test_a_relay_of_ones_own_learns_too(make_targets) -> None:
    class Reader(nn.Module):
        """Learns the number of objects from the mean of the finest map."""

        def __init__(self, levels: tuple[object, ...]) -> None:
            super().__init__()
            self.inputs = self.levels = levels
            self.scale = nn.Parameter(torch.ones(()))

        def forward(self, features: Features) -> Features:
            found = self.scale * features.maps[0].mean((1, 2, 3))
            return Features(features.maps, features.levels, auxiliary={"number": found})

        def loss(
            self, raw: dict[str, Tensor], targets: Targets, content: Tensor | None, shapes: Tensor | None
        ) -> LossTerms:
            wanted = torch.bincount(targets.image, minlength=targets.batch)
            return LossTerms({"number": (raw["number"] - wanted).square().mean()}, {"counted": wanted.sum()})

    plain = small(relay=None)
    detector = zoo.Detector(plain.backbone, Reader(plain.backbone.levels), plain.neck, plain.head)
    found = detector.loss(detector(torch.rand(2, 3, 64, 64)), make_targets([3, 4], (64, 64), 3))
    assert found.counts["counted"] == found.counts["targets"] == 7
    found.terms["number"].backward()
    assert detector.relay.scale.grad != 0


def test_anchors_are_an_option() -> None:
    anchors = [[[4, 5], [6, 7]], [[9, 9], [12, 16]], [[30, 20], [40, 60.5]]]
    detector = on_meta("esod-yolov5s", 5, anchors=anchors)
    assert detector.head.objectness["p4"].out_channels == 2
    assert zoo.head_takes(Architecture("esod", "yolov5s", 5), "anchors")
    with pytest.raises(FineSpotError, match="the option anchors has no effect, as the head is exchanged"):
        on_meta("esod-yolov5s", 5, anchors=anchors, head="anchor_free")
