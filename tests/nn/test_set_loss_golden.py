"""The set loss against figures on record of another implementation: pairs, terms of the last and the other layers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from finespot.assigners import Hungarian
from finespot.boxes.normalized import to_corners
from finespot.nn.heads import SetLoss
from finespot.structures import Targets

GOLDEN = json.loads((Path(__file__).parent / "data" / "set_loss.json").read_text())
EXTENT = torch.tensor([[640.0, 640, 640, 640]])


def wave(shape: tuple[int, ...], rate: float, phase: float, middle: float, height: float) -> Tensor:
    k = torch.arange(torch.Size(shape).numel(), dtype=torch.float64)
    return (middle + height * torch.sin(rate * k + phase)).view(shape).float()


def layers() -> tuple[Tensor, Tensor]:
    """Boxes (B, L, Q, 4) and logits (B, L, classes, Q) of the encoder and two layers."""
    boxes = torch.cat((wave((3, 2, 5, 2), 0.9, 0.1, 0.5, 0.3), wave((3, 2, 5, 2), 0.7, 0.3, 0.15, 0.1)), -1)
    return boxes.transpose(0, 1), wave((3, 2, 5, 3), 1.1, 0.4, 0, 2).permute(1, 0, 3, 2)


def raw() -> dict[str, Tensor]:
    boxes, logits = layers()
    return {
        "boxes": boxes[:, 2],
        "scores": logits[:, 2],
        "auxiliary_boxes": boxes[:, :2],
        "auxiliary_scores": logits[:, :2],
        "extent": EXTENT,
    }


def truth(count: int = 3) -> Targets:
    boxes = to_corners(torch.tensor(GOLDEN["truth"]), EXTENT[0])
    labels, image = torch.tensor(GOLDEN["labels"]), torch.tensor(GOLDEN["image"])
    return Targets(boxes[:count], labels[:count], image[:count], torch.zeros(count, dtype=torch.bool), 2)


def test_pairs_of_every_layer() -> None:
    boxes, logits = layers()
    found = Hungarian()(logits.sigmoid(), boxes, truth(), EXTENT)
    for layer, want in enumerate(GOLDEN["matches"]):
        own = found.layer == layer
        rows = torch.stack((found.picture[own], found.query[own], found.target[own]), 1)
        assert sorted(rows.tolist()) == want


def test_terms() -> None:
    terms = SetLoss()(raw(), truth(), 8).terms
    for name, want in GOLDEN["last"].items():
        assert terms[name].item() == pytest.approx(want, abs=2e-6)
    assert terms["auxiliary"].item() == pytest.approx(sum(GOLDEN["auxiliary"].values()), abs=1e-5)
    for name, want in GOLDEN["auxiliary"].items():
        gains = {key: gain if key == name else 0.0 for key, gain in SetLoss.GAINS.items()}
        alone = SetLoss(gains=gains)(raw(), truth(), 8).terms["auxiliary"]
        assert alone.item() == pytest.approx(want, abs=5e-6)


def test_a_batch_without_objects_has_the_same_loss_as_any_background() -> None:
    """The other implementation changes to a focal loss of exponent 1.5 there; ours stays with the varifocal one."""
    _, logits = layers()
    p = logits.sigmoid()
    background = F.binary_cross_entropy(p, torch.zeros_like(p), reduction="none")
    terms = SetLoss()(raw(), truth(0), 8).terms
    for name, part in (("cls", slice(2, 3)), ("auxiliary", slice(0, 2))):
        theirs, ours = ((0.75 * p**power * background)[:, part].sum().item() for power in (1.5, 2))
        assert theirs == pytest.approx(GOLDEN["empty"][name], rel=1e-5)
        assert terms[name].item() == pytest.approx(ours, rel=1e-5)
    assert terms["l1"] == terms["box"] == 0
