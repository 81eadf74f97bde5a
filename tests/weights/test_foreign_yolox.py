"""State dicts of released YOLOX files to ours and back: keys, colors, recognition, errors."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from finespot import zoo
from finespot.errors import FineSpotError
from finespot.structures import Architecture
from finespot.weights.foreign.layout import from_file, skeleton, to_file
from finespot.weights.foreign.yolox import FIT, NORMALIZATION, entries, recognize

ENTRIES = {"nano": 642, "tiny": 462, "s": 462, "m": 606, "l": 750, "x": 894}


def file_of(architecture: Architecture) -> dict[str, Tensor]:
    """An official state dict without values."""
    return to_file(skeleton(architecture).state_dict(), entries(architecture))


@pytest.mark.slow
@pytest.mark.parametrize("size", ENTRIES)
def test_every_size_is_named_and_recognized(size: str) -> None:
    architecture = zoo.architecture(f"yolox-{size}", classes=7)
    names = [name for entry in entries(architecture) for name in entry.ours]
    assert len(names) == ENTRIES[size]
    assert set(names) == set(skeleton(architecture).state_dict())
    assert recognize(file_of(architecture)) == Architecture("yolox", size, 7, {})


@pytest.mark.slow
def test_keys_and_shapes() -> None:
    theirs = file_of(zoo.architecture("yolox-s"))
    shapes = {key: tuple(value.shape) for key, value in theirs.items()}
    assert next(iter(shapes)) == "backbone.backbone.stem.conv.conv.weight"
    for key, shape in {
        "backbone.backbone.stem.conv.conv.weight": (32, 12, 3, 3),
        "backbone.backbone.dark3.1.m.2.conv2.bn.running_var": (64,),
        "backbone.backbone.dark5.1.conv2.conv.weight": (512, 1024, 1, 1),
        "backbone.backbone.dark5.2.conv3.conv.weight": (512, 512, 1, 1),
        "backbone.reduce_conv1.conv.weight": (128, 256, 1, 1),
        "backbone.bu_conv1.conv.weight": (256, 256, 3, 3),
        "backbone.C3_n4.m.0.conv1.conv.weight": (256, 256, 1, 1),
        "head.stems.2.conv.weight": (128, 512, 1, 1),
        "head.reg_convs.1.0.bn.num_batches_tracked": (),
        "head.cls_preds.0.weight": (80, 128, 1, 1),
        "head.obj_preds.2.bias": (1,),
    }.items():
        assert shapes[key] == shape
    nano = file_of(zoo.architecture("yolox-nano"))
    assert nano["backbone.backbone.dark2.0.dconv.conv.weight"].shape == (16, 1, 3, 3)
    assert nano["head.cls_convs.0.1.pconv.conv.weight"].shape == (64, 64, 1, 1)


@pytest.mark.slow
@pytest.mark.parametrize("size", ["nano", "tiny"])
def test_there_and_back_is_exact(size: str) -> None:
    architecture = zoo.architecture(f"yolox-{size}", classes=3)
    shapes = skeleton(architecture).state_dict()
    ours = {key: torch.rand(value.shape).to(value.dtype) for key, value in shapes.items()}
    again = from_file(to_file(ours, entries(architecture)), entries(architecture), architecture)
    assert set(again) == set(ours)
    assert all(torch.equal(again[key], ours[key]) for key in ours)


def test_the_stem_reads_rgb_where_theirs_reads_bgr() -> None:
    architecture = zoo.architecture("yolox-nano", classes=2)
    ours = zoo.build(architecture).state_dict()
    key, name = "backbone.backbone.stem.conv.conv.weight", "backbone.stem.conv.conv.weight"
    theirs = to_file(ours, entries(architecture))
    for block in range(4):
        assert torch.equal(theirs[key][:, 3 * block + 2], ours[name][:, 3 * block])
        assert torch.equal(theirs[key][:, 3 * block + 1], ours[name][:, 3 * block + 1])
    assert FIT == "corner"
    assert zoo.normalization_of(architecture) == NORMALIZATION


def test_other_files_are_not_recognized() -> None:
    theirs = file_of(zoo.architecture("yolox-nano"))
    assert recognize({}) is None
    assert recognize({key: value for key, value in theirs.items() if not key.startswith("head")}) is None
    odd = {**theirs, "backbone.backbone.stem.conv.conv.weight": torch.zeros(20, 12, 3, 3)}
    with pytest.raises(FineSpotError, match="20 channels behind the stem"):
        recognize(odd)


def test_networks_that_were_never_released_are_refused() -> None:
    with pytest.raises(FineSpotError, match="yolox-s-p2 is not a released YOLOX"):
        list(entries(zoo.architecture("yolox-s-p2")))
    with pytest.raises(FineSpotError, match=r"no place for \d+ tensors, first 'neck.out.p3.conv.weight'"):
        file_of(zoo.architecture("yolox-s", neck="lateral_pafpn(out_width=64)"))
