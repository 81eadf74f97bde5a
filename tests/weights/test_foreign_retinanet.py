"""RetinaNet files of torchvision and mmdetection: every tensor, both ways, older names, recognition, errors."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from finespot import zoo
from finespot.errors import FineSpotError
from finespot.structures import Architecture
from finespot.weights.foreign import mmdetection_retinanet, torchvision_retinanet
from finespot.weights.foreign.layout import from_file, skeleton, to_file

GOLDEN = json.loads((Path(__file__).parents[1] / "zoo" / "data" / "retinanet.json").read_text())
FORMS = [
    (zoo.architecture("retinanet-r50", 4), torchvision_retinanet),
    (zoo.architecture("retinanet-r50-v2", 4), torchvision_retinanet),
    (zoo.architecture("retinanet-r50", 4, form="mmdetection"), mmdetection_retinanet),
]


def shapes(architecture: Architecture, module) -> dict[str, Tensor]:
    """A file without values."""
    return to_file(skeleton(architecture).state_dict(), module.entries(architecture))


@pytest.mark.slow
@pytest.mark.parametrize(("architecture", "module"), FORMS)
def test_the_map_names_every_tensor_once(architecture: Architecture, module) -> None:
    listed = list(module.entries(architecture))
    ours = [name for entry in listed for name in entry.ours]
    assert len(set(ours)) == len(ours)
    assert set(ours) == set(skeleton(architecture).state_dict())
    assert len({entry.key for entry in listed}) == len(listed)


@pytest.mark.parametrize(("name", "count"), GOLDEN["entries"].items())
def test_entries_of_the_published_files(name: str, count: int) -> None:
    keys = [entry.key for entry in torchvision_retinanet.entries(zoo.architecture(name))]
    assert len(keys) == count
    assert keys[0] == "backbone.body.conv1.weight"
    assert "backbone.body.layer4.0.downsample.1.running_var" in keys
    assert "backbone.fpn.layer_blocks.2.0.bias" in keys
    assert keys[-1] == "head.regression_head.bbox_reg.bias"


@pytest.mark.slow
@pytest.mark.parametrize(("architecture", "module"), FORMS)
def test_there_and_back_is_exact(architecture: Architecture, module) -> None:
    ours = zoo.build(architecture).state_dict()
    again = from_file(to_file(ours, module.entries(architecture)), module.entries(architecture), architecture)
    assert set(again) == set(ours)
    assert all(torch.equal(again[key], value) for key, value in ours.items())


@pytest.mark.slow
@pytest.mark.parametrize(("architecture", "module"), FORMS)
def test_networks_are_recognized(architecture: Architecture, module) -> None:
    assert module.recognize(shapes(architecture, module)) == architecture
    others = {torchvision_retinanet, mmdetection_retinanet} - {module}
    assert [other.recognize(shapes(architecture, module)) for other in others] == [None]
    assert module.recognize({"model.0.conv.weight": torch.zeros(1)}) is None


@pytest.mark.slow
def test_older_names_are_read() -> None:
    architecture = zoo.architecture("retinanet-r50", 91)
    new = shapes(architecture, torchvision_retinanet)
    old = {}
    for key, value in new.items():
        if "num_batches_tracked" in key:
            continue
        for part in ("inner_blocks", "layer_blocks"):
            for i in range(3):
                key = key.replace(f"{part}.{i}.0.", f"{part}.{i}.")
        for i in range(4):
            key = key.replace(f"_head.conv.{i}.0.", f"_head.conv.{2 * i}#")
        old[key.replace("#", ".")] = value
    assert "head.classification_head.conv.6.weight" in old
    assert "backbone.fpn.inner_blocks.2.bias" in old
    assert set(torchvision_retinanet.renamed(old)) == {key for key in new if "num_batches_tracked" not in key}
    # Frozen batch norm and 91 classes: the official file.
    assert torchvision_retinanet.recognize(old) == zoo.architecture("retinanet-r50", 91, norm_eps=0.0)
    for known in (new, shapes(zoo.architecture("retinanet-r50-v2", 4), torchvision_retinanet)):
        assert list(torchvision_retinanet.renamed(known)) == list(known)


@pytest.mark.slow
def test_frozen_batch_norm_has_no_counters() -> None:
    architecture = zoo.architecture("retinanet-r50", 4)
    ours = zoo.build(architecture).state_dict()
    theirs = to_file(ours, torchvision_retinanet.entries(architecture))
    frozen = {key: value for key, value in theirs.items() if "num_batches_tracked" not in key}
    again = from_file(frozen, torchvision_retinanet.entries(architecture), architecture)
    assert all(torch.equal(again[key], value) for key, value in ours.items())


def test_other_networks_are_refused() -> None:
    with pytest.raises(FineSpotError, match="yolov8n is not one of torchvision's RetinaNets"):
        list(torchvision_retinanet.entries(zoo.architecture("yolov8n")))
    with pytest.raises(FineSpotError, match="retinanet-r50 is not of mmdetection's form"):
        list(mmdetection_retinanet.entries(zoo.architecture("retinanet-r50")))
