"""LRS-DETR: parameters and operations of the released code, what its published form keeps, pictures of any size."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from torch import nn

from finespot import zoo
from finespot.errors import FineSpotError
from finespot.structures import Features
from finespot.training.choice import own_recipe
from finespot.training.optimizer import parameter_groups
from finespot.training.recipe import load_recipe
from finespot.zoo.lrs_detr import published_prior

GOLDEN = json.loads((Path(__file__).parent / "data" / "lrs_detr.json").read_text())
CLASSES, SIDE = 3, 640
UNUSED = ["neck.enhance.mix.kernel.gate.unused.weight", "neck.enhance.mix.kernel.gate.unused.bias"]
# Channels of the batch norms that the released code does not fold: of depth-wise, entry and project convolutions in 4
# modules, and of the decoder's 3 inputs.
UNFOLDED = 4 * (192 + 96 + 192) + 3 * 256


def on_meta(name: str = "lrs-detr-b", classes: int = CLASSES, **options) -> zoo.Detector:
    with torch.device("meta"):
        return zoo.build(zoo.architecture(name, classes, **options))


def build(name: str = "lrs-detr-b", **options) -> zoo.Detector:
    torch.manual_seed(0)
    return zoo.build(zoo.architecture(name, CLASSES, **options))


def pictures(size: tuple[int, int], batch: int = 1) -> torch.Tensor:
    return torch.rand(batch, 3, *size, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("classes", [10, pytest.param(80, marks=pytest.mark.slow)])
def test_parameters(classes: int) -> None:
    want, fused = GOLDEN["parameters"][str(classes)], GOLDEN["parameters_fused"][str(classes)]
    published, ours = on_meta("lrs-detr-b-published", classes), on_meta("lrs-detr-b", classes)
    assert zoo.count_parameters(published) == want
    assert zoo.count_parameters(ours) == want - GOLDEN["unused"]
    assert zoo.count_parameters(published.fused()) == fused
    # A batch norm has two values a channel, the bias that it becomes in ours has one.
    assert zoo.count_parameters(ours.fused()) == fused - GOLDEN["unused"] - UNFOLDED
    assert zoo.count_parameters(on_meta("lrs-detr-b-p2", classes)) == GOLDEN["p2"][str(classes)]
    if classes == 10:
        assert (want, fused) == (15_817_058, 15_607_330)
        assert (want - GOLDEN["unused"], fused - GOLDEN["unused"]) == (15_814_498, 15_604_770)
        assert zoo.count_parameters(ours.head) == GOLDEN["head"]


@pytest.mark.slow
@pytest.mark.parametrize("classes", [10, 80])
def test_gflops_by_thop(classes: int) -> None:
    """thop sees modules alone: not the projections of torch's attention, but layer norms, pooling, upsampling and one
    softmax, which our form of its rule leaves out.
    """
    detector = on_meta("lrs-detr-b-published", classes)
    projections = 3 * 4 * 300 * 2 * 256**2
    norms = 8 * 256 * (8400 + 9 * 300 + 2 * 400)
    upsampled = 2 * (256 * 40**2 + 128 * 80**2)
    pooled = 2 * 2 * 128 * (80**2 + 1)
    softmax = 2 * 25 * 8 * 16 * (3 * 16 - 1)
    apart = (norms + upsampled + pooled + softmax - projections) / 1e9
    gflops = zoo.count_gflops(detector, (SIDE, SIDE), "thop") + apart
    assert gflops == pytest.approx(GOLDEN["gflops"][str(classes)], abs=5.1e-4)
    fused = zoo.count_gflops(detector.fused(), (SIDE, SIDE), "thop") + apart
    assert fused == pytest.approx(GOLDEN["gflops_fused"][str(classes)], abs=5.1e-4)


@pytest.mark.slow
def test_gflops_with_attention() -> None:
    """What an input of 640 truly needs beside the layers; a transform is no product, its matrices are."""
    detector = on_meta(classes=10).fused()
    layers = zoo.count_gflops(detector, (SIDE, SIDE), "thop")
    backbone = 2 * (16 + 64) * (1600**2 + 3 * 400**2)
    windows = 2 * 2 * 36 * 16**2 * 256
    decoder = 3 * 2 * 2 * 300**2 * 256
    counted = zoo.count_gflops(detector, (SIDE, SIDE))
    assert counted == pytest.approx(layers + (backbone + windows + decoder) / 1e9, abs=1e-6)
    assert counted == pytest.approx(67.77, abs=5e-3)
    matrices = zoo.count_gflops(on_meta(classes=10, spectrum="matrix").fused(), (SIDE, SIDE))
    assert matrices == pytest.approx(counted + 14 * 2 * 128 * 80**3 / 1e9, abs=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "parameters", "costs"),
    [
        ("lrs-detr-b-published", 15_607_330, (68.41, 67.02, 68.75, 67.77)),
        pytest.param("lrs-detr-b", 15_602_082, (68.41, 67.00, 68.75, 67.77), marks=pytest.mark.full),
        pytest.param("lrs-detr-b-p2", 17_480_770, (131.90, 126.94, 131.84, 127.71), marks=pytest.mark.full),
    ],
)
def test_costs_of_the_page(name: str, parameters: int, costs: tuple[float, ...]) -> None:
    forms = [on_meta(name, 10), on_meta(name, 10).fused()]
    assert zoo.count_parameters(forms[1]) == parameters
    counted = [zoo.count_gflops(one, (SIDE, SIDE), *rule) for rule in (("thop",), ()) for one in forms]
    assert counted == pytest.approx(costs, abs=5e-3)


def test_published_form_keeps_what_never_learns_and_where_scores_start() -> None:
    published, ours = on_meta("lrs-detr-b-published"), on_meta()
    frozen = [key for key, p in published.named_parameters() if not p.requires_grad]
    assert frozen == [*UNUSED, "head.denoising.padding"]
    assert sum(published.get_parameter(key).numel() for key in UNUSED) == GOLDEN["unused"]
    assert published.state_dict().keys() - ours.state_dict().keys() == set(UNUSED)
    assert [published_prior(classes) for classes in (80, 10)] == pytest.approx([0.01, 0.36], abs=1e-3)


@pytest.mark.slow
def test_class_scores_start_where_they_should() -> None:
    for name, logit in (("lrs-detr-b", -math.log(99)), ("lrs-detr-b-published", -math.log(99) * CLASSES / 80)):
        head = build(name).head
        for layer in (head.selection.scores, *head.class_layers):
            assert layer.bias.tolist() == pytest.approx([logit] * CLASSES)


@pytest.mark.slow
def test_batch_norms_have_the_released_constants_and_are_folded_as_there() -> None:
    """12 of the backbone and 3 before the decoder stay; cut as ours are, the 4 of the entries are 3 each."""
    published = on_meta("lrs-detr-b-published")
    norms = [m for m in published.modules() if isinstance(m, nn.BatchNorm2d)]
    assert {(norm.eps, norm.momentum) for norm in norms} == {(1e-3, 0.03)}
    left = {key: m for key, m in published.fused().named_modules() if isinstance(m, nn.BatchNorm2d)}
    assert len(left) == 15 + 4 * 2
    assert sum(m.num_features for m in left.values()) == UNFOLDED
    assert {".".join(key.split(".")[:2]) for key in left} == {"backbone.stage4", "backbone.stage5", "head.project"}
    assert not any(isinstance(m, nn.BatchNorm2d) for m in on_meta().fused().modules())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["lrs-detr-b", "lrs-detr-b-p2"])
@pytest.mark.parametrize("size", [(32, 32), (32, 96), (128, 512), (160, 96)])
def test_pictures_of_any_size(name: str, size: tuple[int, int]) -> None:
    """Sides at which the released code stops or mixes up its cells, and fewer cells than queries."""
    detector = build(name).eval()
    strides = [4, 8, 16, 32] if name.endswith("-p2") else [8, 16, 32]
    with torch.no_grad():
        features: Features = detector.neck(detector.backbone(pictures(size)))
        raw = detector.head(features)
    assert [level.stride for level in detector.head.inputs] == strides
    assert [tuple(x.shape[1:]) for x in features.maps] == [(256, size[0] // s, size[1] // s) for s in strides]
    cells = sum(size[0] * size[1] // s**2 for s in strides)
    assert raw["scores"].shape == (1, CLASSES, min(cells, 300))
    assert all(torch.isfinite(value).all() for value in (raw["boxes"], raw["scores"]))


@pytest.mark.slow
def test_options_of_the_architecture() -> None:
    detector = on_meta(queries=7, denoising=0, layers=2)
    assert (len(detector.head.layers), detector.head.denoising, detector.head.selection.queries) == (2, None, 7)
    assert len(on_meta().head.layers) == 3
    assert on_meta(spectrum="matrix").neck.enhance.mix.kernel.gate.spectrum == "matrix"
    assert on_meta().neck.enhance.mix.kernel.gate.spectrum == "fft"
    for options, message in (
        ({"spectrum": "wavelet"}, "unknown form of the spectrum 'wavelet'"),
        ({"layers": 0}, "expected layers to be a number of 1 or more"),
        ({"published": "no"}, "expected published to be true or false but got no"),
        ({"windows": 8}, "unknown lrs-detr option 'windows'"),
        ({"p2": True, "neck": "hybrid_encoder"}, "the option p2 has no effect, as the neck is exchanged"),
        ({"spectrum": "fft", "neck": "hybrid_encoder"}, "the option spectrum has no effect"),
        ({"published": True, "neck": "hybrid_encoder", "head": "anchor_free"}, "the option published has no effect"),
    ):
        with pytest.raises(FineSpotError, match=message):
            on_meta(**options)


def test_parts_are_exchanged() -> None:
    assert type(on_meta(neck="hybrid_encoder").neck).__name__ == "HybridEncoder"
    assert type(on_meta(backbone="resnet_vd").backbone).__name__ == "ResNetVD"
    with torch.device("meta"):
        other = zoo.build(zoo.architecture("rtdetr-r18", CLASSES, backbone="dfenet", neck="sefp"))
    assert [level.stride for level in other.backbone.levels] == [8, 16, 32]
    assert [level.stride for level in other.neck.levels] == [16, 32]


def test_names_recipe_and_weights_that_do_not_decay() -> None:
    for name in ("lrs-detr-b", "lrs-detr-b-published", "lrs-detr-b-p2"):
        assert name in zoo.names()
        assert zoo.name_of(zoo.architecture(name)) == name
        assert own_recipe(name) == "lrs-detr"
    recipe = load_recipe("lrs-detr")
    assert (recipe.epochs, recipe.batch, recipe.nominal_batch, recipe.clip) == (300, 8, 8, pytest.approx(0.1 * 8))
    assert (recipe.optimizer.lr, recipe.optimizer.weight_decay, recipe.schedule.final) == (1e-4, 1e-4, 1.0)
    assert recipe.schedule.warmup_epochs * math.ceil(6471 / recipe.batch) == pytest.approx(2000, rel=0.02)
    detector = on_meta()
    names = {id(p): name for name, p in detector.named_parameters()}
    kept = {names[id(p)].split(".")[-1] for p in parameter_groups(detector)["norm"]}
    assert kept == {"weight", "position", "branches", "alpha", "beta"}
    assert {names[id(p)].split(".")[-1] for p in parameter_groups(detector)["weight"]} == {"weight"}


@pytest.mark.parametrize(
    "kind",
    [pytest.param(torch.bfloat16, marks=pytest.mark.slow), pytest.param(torch.float16, marks=pytest.mark.full)],
)
def test_a_step_in_half_precision(kind: torch.dtype, make_targets) -> None:
    """The released transform stops there."""
    detector, size = build("lrs-detr-b-published").train(), (64, 96)
    nn.init.ones_(detector.neck.enhance.mix.kernel.gate.alpha)
    truth = make_targets([3, 1], size, CLASSES)
    with torch.autocast("cpu", kind):
        terms = detector.loss(detector(pictures(size, 2), truth), truth)
    terms.total.backward()
    without = [key for key, p in detector.named_parameters() if p.grad is None]
    assert sorted(without) == sorted([*UNUSED, "head.denoising.padding"])
    assert all(torch.isfinite(p.grad).all() for p in detector.parameters() if p.grad is not None)
