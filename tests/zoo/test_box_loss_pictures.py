"""What a box loss is told by each head: all positives of the batch in one call, in pixels, with their pictures."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from finespot import zoo
from finespot.losses.pairs import cost_of_pairs
from finespot.structures import Targets

NAMES = [
    "yolov5n",
    "yolov8n",
    "yolox-nano",
    *(pytest.param(name, marks=pytest.mark.slow) for name in ("rtmdet-tiny", "rtdetr-r18", "retinanet-r50")),
]
# No two targets have the same area, so that a pair tells its target.
BOXES = torch.tensor([[10.0, 10, 22, 20], [40, 8, 100, 90], [60, 60, 75, 80], [8, 30, 120, 120], [30, 30, 62, 58]])
IMAGE = torch.tensor([0, 0, 1, 1, 2])


def truth() -> Targets:
    return Targets(BOXES, torch.zeros(5, dtype=torch.long), IMAGE, torch.zeros(5, dtype=torch.bool), 3)


@pytest.mark.parametrize("name", NAMES)
def test_pairs_come_at_once_in_pixels_with_their_picture(name: str) -> None:
    calls: list[tuple[Tensor, Tensor, Tensor]] = []

    def watching(pred: Tensor, target: Tensor, *, stride: Tensor, image_size: Any, picture: Tensor) -> Tensor:
        calls.append((target, stride, picture))
        assert image_size == (128, 128)
        return (pred - target).abs().mean(1)

    torch.manual_seed(0)
    detector = zoo.build(zoo.architecture(name, 2)).train()
    detector.head.set_loss(box_loss=watching)
    detector.loss(detector(torch.rand(3, 3, 128, 128), truth()), truth())
    # Queries that are matched and queries that are denoised are two sets.
    assert len(calls) == (2 if name.startswith("rtdetr") else 1)
    for target, stride, picture in calls:
        which = (target[:, None] == BOXES).all(2).float().argmax(1)
        assert torch.equal(target, BOXES[which])
        assert torch.equal(picture, IMAGE[which])
        assert set(picture.tolist()) == {0, 1, 2}
        assert name.startswith("rtdetr") or len(set(stride.tolist())) > 1


@pytest.mark.parametrize("name", ["yolov5n", "yolox-nano", "yolov8n", "yolo11n"])
def test_ranges_of_sal_in_its_hosts(name: str) -> None:
    torch.manual_seed(0)
    detector = zoo.build(zoo.architecture(name, 2)).train()
    raw = detector(torch.rand(3, 3, 128, 128))
    found = {}
    for kind in ("batch", "image", "fixed", "ema"):
        detector.head.set_loss(box_loss=f"sal(range={kind})")
        terms = detector.loss(raw, truth()).terms
        found[kind] = terms["box"].item()
        assert torch.isfinite(terms["box"])
    assert found["ema"] == found["batch"]  # the first batch sets the range
    assert len(set(found.values())) == 3


def test_only_losses_that_ask_are_told() -> None:
    def plain(pred: Tensor, target: Tensor, *, stride: Tensor, image_size: Any) -> Tensor:
        return (pred - target).abs().sum(1)

    class Asking(torch.nn.Module):
        def forward(self, pred: Tensor, target: Tensor, *, stride: Tensor, image_size: Any, picture: Tensor) -> Tensor:
            return picture.float()

    told: dict[str, Any] = {"stride": torch.ones(2), "image_size": (8, 8), "picture": torch.tensor([1, 0])}
    pair = torch.zeros(2, 4), torch.ones(2, 4)
    assert cost_of_pairs(plain, *pair, **told).tolist() == [4, 4]
    assert cost_of_pairs(Asking(), *pair, **told).tolist() == [1, 0]
