"""GPViT files: every tensor, both ways, recognition, errors."""

from __future__ import annotations

import pytest
import torch

from finespot import zoo
from finespot.errors import FineSpotError
from finespot.nn.backbones import GPViT, GPViTAdapter
from finespot.weights.foreign import gpvit, mmdetection_retinanet
from finespot.weights.foreign.layout import from_file, skeleton, to_file

SIZES = ["l1", *(pytest.param(size, marks=pytest.mark.slow) for size in ("l2", "l3", "l4"))]


@pytest.mark.slow
@pytest.mark.parametrize("size", SIZES)
def test_the_map_names_every_tensor_once(size: str) -> None:
    architecture = zoo.architecture(f"gpvit-{size}", 4)
    listed = list(gpvit.entries(architecture))
    ours = [name for entry in listed for name in entry.ours]
    assert len(set(ours)) == len(ours)
    assert set(ours) == set(skeleton(architecture).state_dict())
    keys = {entry.key for entry in listed}
    assert len(keys) == len(listed)
    assert {
        "backbone.pos_embed",
        "backbone.layers.0.attns.1.get_v.weight",
        "backbone.layers.1.un_group_layer.ffn.layers.0.0.weight",
        "backbone.layers.10.mixer.layers.0.patch_mixer.3.bias",
        "backbone.interactions.3.extra_extractors.1.ffn.dwconv.dwconv.weight",
        "backbone.spm.stem.7.running_var",
        "backbone.ad_norm4.weight",
        "neck.lateral_convs.0.bn.weight",
        "neck.fpn_convs.4.conv.weight",
        "bbox_head.retina_cls.bias",
    } <= keys
    assert ("backbone.patch_embed.convs.0.weight" in keys) == (size != "l1")


@pytest.mark.slow
def test_recognition() -> None:
    architecture = zoo.architecture("gpvit-l1", 4)
    theirs = to_file(skeleton(architecture).state_dict(), gpvit.entries(architecture))
    assert theirs["backbone.layers.0.qkv.weight"].shape == (648, 216)
    assert gpvit.recognize(theirs) == architecture
    assert mmdetection_retinanet.recognize(theirs) is None
    assert gpvit.recognize({key: value for key, value in theirs.items() if "level_embed" not in key}) is None
    assert gpvit.recognize({}) is None


@pytest.mark.slow
def test_there_and_back_is_exact() -> None:
    architecture = zoo.architecture("gpvit-l1", 4)
    ours = zoo.build(architecture).state_dict()
    again = from_file(to_file(ours, gpvit.entries(architecture)), gpvit.entries(architecture), architecture)
    assert set(again) == set(ours)
    assert all(torch.equal(again[key], value) for key, value in ours.items())


def test_backbones_by_themselves() -> None:
    with torch.device("meta"):
        plain, fine = GPViT("l1"), GPViTAdapter("l1", (4, 8, 16, 32))
    for backbone, entries, own in (
        (plain, gpvit.plain_entries(plain), "ln1.weight"),
        (fine, gpvit.adapter_entries(fine), "ad_norm1.weight"),
    ):
        listed = list(entries)
        assert {name for entry in listed for name in entry.ours} == set(backbone.state_dict())
        assert own in {entry.key for entry in listed}


def test_other_networks_are_refused() -> None:
    with pytest.raises(FineSpotError, match="retinanet-r50 is not a GPViT with its detection adapter"):
        list(gpvit.entries(zoo.architecture("retinanet-r50")))
