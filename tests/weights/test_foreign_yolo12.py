"""State dicts of YOLO12 files to ours and back: keys, order, exact values, the residuals of the large sizes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from finespot import zoo
from finespot.errors import FineSpotError
from finespot.weights.foreign.yolo import entries, from_yolo, to_yolo

GOLDEN = json.loads((Path(__file__).parents[1] / "zoo" / "data" / "yolo12.json").read_text())
NORM = ("weight", "bias", "running_mean", "running_var")


def shapes(name: str, classes: int = 80) -> dict[str, torch.Tensor]:
    with torch.device("meta"):
        return zoo.build(zoo.architecture(name, classes)).state_dict()


def recorded(name: str) -> list[tuple[str, tuple[int, ...]]]:
    found: list[tuple[str, tuple[int, ...]]] = []
    for key, shape in GOLDEN["state_dict"][name]:
        prefix = key.removesuffix(".conv+bn")
        if prefix == key:
            found.append((key, tuple(shape)))
            continue
        found.append((f"{prefix}.conv.weight", tuple(shape)))
        found += [(f"{prefix}.bn.{part}", (shape[0],)) for part in NORM]
        found.append((f"{prefix}.bn.num_batches_tracked", ()))
    return found


@pytest.mark.slow
def test_keys_shapes_and_order() -> None:
    ours = {key: torch.zeros(value.shape) for key, value in shapes("yolo12n").items()}
    theirs = to_yolo(ours, zoo.architecture("yolo12n"))
    assert [(key, tuple(value.shape)) for key, value in theirs.items()] == recorded("yolo12n")


@pytest.mark.parametrize("size", ["n", *(pytest.param(size, marks=pytest.mark.slow) for size in "smlx")])
def test_the_map_names_every_tensor(size: str) -> None:
    for suffix in ("", "-p2"):
        architecture = zoo.architecture(f"yolo12{size}{suffix}", classes=2)
        found = list(entries(architecture))
        assert {key for entry in found for key in entry.ours} == set(shapes(f"yolo12{size}{suffix}", 2))
        if not suffix:
            assert len(found) == GOLDEN["counts"][f"yolo12{size}"]["entries"]


@pytest.mark.parametrize("name", ["yolo12n-p2", pytest.param("yolo12l", marks=pytest.mark.slow)])
def test_there_and_back_is_exact(name: str) -> None:
    architecture = zoo.architecture(name, classes=3)
    ours = {key: torch.rand(value.shape).to(value.dtype) for key, value in shapes(name, 3).items()}
    theirs = to_yolo(ours, architecture)
    again = from_yolo(theirs, architecture)
    assert set(again) == set(ours)
    # Batch counters of a fork's branches are one number in the file.
    assert all(torch.equal(again[key], ours[key]) for key in ours if not key.endswith("num_batches_tracked"))
    if name == "yolo12l":
        assert torch.equal(theirs["model.6.gamma"], ours["backbone.stage4.block.scale"])


@pytest.mark.slow
def test_a_file_of_another_size_is_refused() -> None:
    theirs = to_yolo(
        {key: torch.zeros(value.shape) for key, value in shapes("yolo12n", 2).items()}, zoo.architecture("yolo12n", 2)
    )
    with pytest.raises(FineSpotError):
        from_yolo(theirs, zoo.architecture("yolo12s", 2))
    with pytest.raises(FineSpotError):
        from_yolo(theirs, zoo.architecture("yolo11n", 2))
