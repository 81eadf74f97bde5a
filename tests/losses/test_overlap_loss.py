"""Registered box losses."""

from __future__ import annotations

import pytest
import torch

from finespot import registry
from finespot.boxes.overlap import iou_family


@pytest.mark.parametrize("kind", ["iou", "giou", "diou", "ciou"])
def test_is_one_minus_the_overlap(kind: str) -> None:
    pred, target = torch.tensor([[0.0, 0, 10, 10], [5, 5, 9, 20]]), torch.tensor([[0.0, 0, 10, 10], [0, 0, 4, 4]])
    loss = registry.build("box_loss", kind)(pred, target, stride=torch.tensor([8.0, 8.0]), image_size=(64, 64))
    assert torch.equal(loss, 1 - iou_family(pred, target, kind))
    assert loss[0].item() == pytest.approx(0, abs=1e-6)


def test_kinds_are_known_by_name() -> None:
    assert {"iou", "giou", "diou", "ciou"} <= set(registry.names("box_loss"))
