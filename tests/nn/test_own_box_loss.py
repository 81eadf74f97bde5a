"""A head's own box loss: chosen at its construction, exchanged by a choice, one term beside the others."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from finespot.nn.heads import AnchorFreeHead
from finespot.structures import Features, Level, Targets

LEVELS = (Level(8, 4), Level(8, 8))


def head(box_loss: str | None = None) -> AnchorFreeHead:
    torch.manual_seed(0)
    return AnchorFreeHead(LEVELS, 2, box_loss=box_loss)


def terms(one: AnchorFreeHead) -> dict[str, float]:
    draw = torch.Generator().manual_seed(1)
    maps = [torch.randn(2, 8, 64 // level.stride, 64 // level.stride, generator=draw) for level in LEVELS]
    boxes = torch.tensor([[4.0, 4, 14, 12], [30, 30, 37, 39], [8, 20, 40, 60]])
    targets = Targets(boxes, torch.tensor([0, 1, 1]), torch.tensor([0, 0, 1]), torch.zeros(3, dtype=torch.bool), 2)
    found = one.loss(one(Features(maps, LEVELS)), targets)
    return {name: value.item() for name, value in found.terms.items()}


def test_halves_of_two_losses_are_weighted_as_each_and_the_other_terms_stay() -> None:
    ciou, nwd, blend = (terms(head(text)) for text in ("ciou", "nwd", "ciou*0.5+nwd*0.5"))
    assert ciou["box"] != pytest.approx(nwd["box"], rel=1e-3)
    assert blend["box"] == pytest.approx((ciou["box"] + nwd["box"]) / 2, rel=1e-5)
    for name in ("cls", "dfl"):
        assert blend[name] == ciou[name] == nwd[name] > 0


def test_it_stays_until_another_is_chosen() -> None:
    one = head("nwd")
    before = terms(one)
    one.set_loss(gains={"dfl": 1.0})
    assert terms(one)["box"] == before["box"]
    one.set_loss(box_loss="ciou")
    assert terms(one)["box"] == terms(head())["box"] != before["box"]


def test_boxes_that_agree_have_finite_gradients() -> None:
    one = head("ciou*0.5+nwd*0.5")
    boxes = torch.tensor([[4.0, 4, 14, 12]], requires_grad=True)
    loss: Tensor = one.criterion.box_loss(boxes, boxes.detach(), stride=torch.ones(1), image_size=(64, 64))
    loss.sum().backward()
    assert torch.isfinite(boxes.grad).all()
