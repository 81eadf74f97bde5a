"""State dicts of released RTMDet files, in both namings, to ours and back: keys, copies, colors, recognition."""

from __future__ import annotations

from types import ModuleType

import pytest
import torch
from torch import Tensor

from finespot import zoo
from finespot.errors import FineSpotError
from finespot.structures import Architecture
from finespot.weights.foreign import mmdetection_rtmdet, mmyolo_rtmdet
from finespot.weights.foreign.layout import from_file, skeleton, to_file

ENTRIES = {"tiny": 476, "s": 512, "m": 692, "l": 872, "x": 1052}
NAMINGS = (mmdetection_rtmdet, mmyolo_rtmdet)
both = pytest.mark.parametrize("naming", NAMINGS, ids=["mmdetection", "mmyolo"])


def file_of(naming: ModuleType, architecture: Architecture) -> dict[str, Tensor]:
    """An official state dict without values."""
    return to_file(skeleton(architecture).state_dict(), naming.entries(architecture))


@pytest.mark.slow
@both
@pytest.mark.parametrize("size", ENTRIES)
def test_every_size_is_named_and_recognized(size: str, naming: ModuleType) -> None:
    architecture = zoo.architecture(f"rtmdet-{size}", classes=7)
    listed = list(naming.entries(architecture))
    assert len({entry.key for entry in listed}) == len(listed) == ENTRIES[size]
    assert {name for entry in listed for name in entry.ours} == set(skeleton(architecture).state_dict())
    found = naming.recognize(file_of(naming, architecture))
    # mmdetection's l and x have exponents, mmyolo's have not; tiny, s and m are alike.
    other = naming is mmyolo_rtmdet and size in ("l", "x")
    assert found == Architecture("rtmdet", size, 7, {"exp": False} if other else {})


def test_keys_and_shapes() -> None:
    architecture = zoo.architecture("rtmdet-s")
    one, other = (file_of(naming, architecture) for naming in NAMINGS)
    for theirs in (one, other):
        assert next(iter(theirs)) == "backbone.stem.0.conv.weight"
        assert theirs["backbone.stem.0.conv.weight"].shape == (16, 3, 3, 3)
        assert theirs["backbone.stage2.1.blocks.1.conv2.depthwise_conv.conv.weight"].shape == (64, 1, 5, 5)
        assert theirs["backbone.stage4.1.conv2.conv.weight"].shape == (512, 1024, 1, 1)
        assert theirs["backbone.stage4.2.attention.fc.bias"].shape == (512,)
    assert one["neck.reduce_layers.0.conv.weight"].shape == (256, 512, 1, 1)
    assert one["neck.top_down_blocks.1.main_conv.conv.weight"].shape == (64, 256, 1, 1)
    assert one["bbox_head.cls_convs.2.1.conv.weight"].shape == (128, 128, 3, 3)
    assert other["neck.reduce_layers.2.conv.weight"].shape == (256, 512, 1, 1)
    assert other["neck.top_down_layers.0.1.conv.weight"].shape == (128, 256, 1, 1)
    assert other["bbox_head.head_module.rtm_reg.1.bias"].shape == (4,)


@pytest.mark.slow
@both
def test_there_and_back_is_exact(naming: ModuleType) -> None:
    architecture = zoo.architecture("rtmdet-tiny", classes=3)
    shapes = skeleton(architecture).state_dict()
    ours = {key: torch.rand(value.shape).to(value.dtype) for key, value in shapes.items()}
    theirs = to_file(ours, naming.entries(architecture))
    again = from_file(theirs, naming.entries(architecture), architecture)
    assert set(again) == set(ours)
    assert all(torch.equal(again[key], ours[key]) for key in ours)
    stem = "backbone.stem.0.conv.weight"
    assert torch.equal(theirs[stem].flip(1), ours["backbone.stem.first.conv.weight"])


@pytest.mark.slow
def test_kernels_that_are_not_shared_are_refused() -> None:
    architecture = zoo.architecture("rtmdet-tiny", classes=2)
    theirs = to_file(zoo.build(architecture).state_dict(), mmdetection_rtmdet.entries(architecture))
    copies = [theirs[f"bbox_head.cls_convs.{level}.1.conv.weight"] for level in range(3)]
    assert torch.equal(copies[0], copies[1])
    assert torch.equal(copies[0], copies[2])
    theirs["bbox_head.cls_convs.2.1.conv.weight"] = copies[2] + 1
    with pytest.raises(FineSpotError, match="expected a copy"):
        from_file(theirs, mmdetection_rtmdet.entries(architecture), architecture)


@pytest.mark.slow
def test_the_namings_are_told_apart() -> None:
    files = [file_of(naming, zoo.architecture("rtmdet-tiny")) for naming in NAMINGS]
    for naming, own, other in zip(NAMINGS, files, reversed(files)):
        assert naming.recognize(own) is not None
        assert naming.recognize(other) is None
        assert naming.recognize({}) is None
    odd = {**files[0], "backbone.stem.2.conv.weight": torch.zeros(20, 12, 3, 3)}
    with pytest.raises(FineSpotError, match="20 channels behind the stem"):
        mmdetection_rtmdet.recognize(odd)


def test_pictures_are_placed_and_normalized() -> None:
    assert (mmdetection_rtmdet.FIT, mmyolo_rtmdet.FIT) == ("corner", "center")
    wanted = zoo.normalization_of(zoo.architecture("rtmdet-s"))
    assert all(wanted == naming.NORMALIZATION for naming in NAMINGS)


@both
def test_networks_that_were_never_released_are_refused(naming: ModuleType) -> None:
    with pytest.raises(FineSpotError, match="rtmdet-s-p2 is not a released RTMDet"):
        list(naming.entries(zoo.architecture("rtmdet-s-p2")))
    with pytest.raises(FineSpotError, match=r"rtmdet-s \(head=anchor_free\) is not a released RTMDet"):
        list(naming.entries(zoo.architecture("rtmdet-s", head="anchor_free")))
