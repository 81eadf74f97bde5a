"""GPViT: published counts and operations, pictures of any sides, training as a whole."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from finespot import zoo
from finespot.errors import FineSpotError
from finespot.nn.backbones import GPViT, GPViTAdapter
from finespot.nn.backbones.gpvit_adapter import Injector
from finespot.nn.layers.deformable_attention import CellAttention
from finespot.nn.layers.strips import LocalBlock
from finespot.structures import Level
from finespot.training.optimizer import parameter_groups

GOLDEN = json.loads((Path(__file__).parent / "data" / "gpvit.json").read_text())
SIZES = [size if size == "l1" else pytest.param(size, marks=pytest.mark.slow) for size in GOLDEN["counts"]]


def gflops(module: nn.Module, side: int) -> float:
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        module.eval().requires_grad_(False)(torch.empty(1, 3, side, side, device="meta"))
    return counter.get_total_flops() / 1e9


@pytest.mark.slow
@pytest.mark.parametrize("size", SIZES)
def test_parameters(size: str) -> None:
    want = GOLDEN["counts"][size]
    with torch.device("meta"):
        detector = zoo.build(zoo.architecture(f"gpvit-{size}", 80))
        plain, fine = GPViT(size), GPViTAdapter(size, (4, 8, 16, 32))
    assert zoo.count_parameters(plain) == want["plain"]
    assert zoo.count_parameters(detector.backbone) == want["three_levels"]
    assert zoo.count_parameters(fine) == want["four_levels"]
    assert zoo.count_parameters(detector) == want["total"]
    if "neck" in want:
        assert zoo.count_parameters(detector.neck) == want["neck"]
    assert zoo.count_parameters(detector.head) == 6_463_220


@pytest.mark.slow
@pytest.mark.parametrize("size", SIZES)
def test_operations(size: str) -> None:
    with torch.device("meta"):
        plain, adapted = GPViT(size), GPViTAdapter(size)
    assert gflops(plain, 224) == pytest.approx(GOLDEN["gflops"]["plain_224"][size], abs=0.05)
    if size in GOLDEN["gflops"]["three_levels_640"]:
        assert gflops(adapted, 640) == pytest.approx(GOLDEN["gflops"]["three_levels_640"][size], abs=0.05)


def test_names_and_options() -> None:
    with torch.device("meta"):
        usual, other = (zoo.build(zoo.architecture("gpvit-l1", 2, **options)) for options in ({}, {"drop_path": 0.4}))
    rates = [
        [block.drop.rate for block in one.backbone.trunk.blocks if isinstance(block, LocalBlock)]
        for one in (usual, other)
    ]
    assert rates[0][-1] == pytest.approx(0.1)
    assert rates[1] == pytest.approx([4 * rate for rate in rates[0]])
    assert rates[0][0] == 0
    assert (usual.neck.from_backbone, usual.neck.extra_relu, usual.head.spread) == (False, False, False)
    assert zoo.normalization_of(zoo.architecture("gpvit-l2")).mean == (0.485, 0.456, 0.406)


@pytest.mark.slow
def test_batch_norm_is_folded_where_a_convolution_stands_before_it() -> None:
    with torch.device("meta"):
        twin = zoo.build(zoo.architecture("gpvit-l1", 2)).fused()
    left = [name for name, m in twin.named_modules() if isinstance(m, nn.BatchNorm2d)]
    # Of a sum of two maps.
    assert left == [f"backbone.norms.{level}" for level in ("p3", "p4", "p5")]


def test_codes_tokens_and_gammas_do_not_decay() -> None:
    with torch.device("meta"):
        detector = zoo.build(zoo.architecture("gpvit-l1", 2))
    names = {id(p): name for name, p in detector.named_parameters()}
    groups = {kind: [names[id(p)] for p in members] for kind, members in parameter_groups(detector).items()}
    kept = {name.split(".")[-1] for name in groups["norm"]}
    assert kept == {"weight", "positions", "tokens", "level_codes", "gamma"}
    assert {name.split(".")[-1] for name in groups["weight"]} == {"weight"}


def test_wrong_options_are_refused() -> None:
    with pytest.raises(FineSpotError, match="unknown size of the gpvit 'l9'"):
        GPViT("l9")
    with pytest.raises(FineSpotError, match=r"strides out of \(4, 8, 16, 32\) but got \(2,\)"):
        GPViTAdapter("l1", (2,))


def test_any_sides_of_32() -> None:
    torch.manual_seed(0)
    backbone = GPViTAdapter("l1", (4, 8, 16, 32)).eval()
    assert backbone.levels == tuple(Level(216, stride) for stride in (4, 8, 16, 32))
    with torch.no_grad():
        found = backbone(torch.rand(2, 3, 32, 96))
    assert [tuple(x.shape[2:]) for x in found.maps] == [(8, 24), (4, 12), (2, 6), (1, 3)]


@pytest.mark.slow
@pytest.mark.parametrize("size", [(96, 352), pytest.param((160, 192), marks=pytest.mark.full)])
def test_training_and_inference(size: tuple[int, int], make_targets) -> None:
    torch.manual_seed(0)
    detector = zoo.build(zoo.architecture("gpvit-l1", 3, drop_path=0.0)).train()
    for module in detector.modules():
        # The adapter starts without a say, and with places that depend on no query: nothing would flow back there.
        if isinstance(module, Injector):
            nn.init.constant_(module.gamma, 0.1)
        elif isinstance(module, CellAttention):
            nn.init.normal_(module.offsets.weight, std=0.01)
            nn.init.normal_(module.weights.weight, std=0.01)
    pictures = torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(1))
    targets = make_targets([12, 0], size, 3)
    terms = detector.loss(detector(pictures, targets), targets)
    terms.total.backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in detector.parameters())
    assert [key for key, p in detector.named_parameters() if not bool(p.grad.abs().sum() > 0)] == []
    detector.eval()
    twin = detector.fused()
    with torch.no_grad():
        raw, again = detector(pictures), twin(pictures)
    assert all(torch.allclose(raw[key], again[key], rtol=0, atol=1e-4) for key in raw)
