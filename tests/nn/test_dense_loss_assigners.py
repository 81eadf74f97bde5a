"""The loss of the anchor-free head with each assigner: one training step, and what an assigner without anchors says."""

from __future__ import annotations

import pytest
import torch

from finespot import zoo
from finespot.errors import FineSpotError
from finespot.structures import Targets

NAMES = (
    "task_aligned",
    "dynamic",
    "simota",
    "dynamic_soft",
    "atss(topk=5)",
    "max_iou",
    "rfla",
    "nwd_ranked",
    "simd(least=0.01)",
)


def network() -> zoo.Detector:
    torch.manual_seed(0)
    return zoo.build(zoo.architecture("yolo11n", classes=3)).train()


def targets() -> Targets:
    boxes = [[4.0, 4, 40, 34], [60, 30, 66, 37], [20, 60, 44, 81], [64, 64, 96, 96]]
    return Targets(
        torch.tensor(boxes),
        torch.tensor([0, 1, 2, -1]),
        torch.tensor([0, 0, 1, 1]),
        torch.tensor([False] * 3 + [True]),
        2,
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_a_step_with_each_assigner(name: str) -> None:
    model, images = network(), torch.rand(2, 3, 96, 96, generator=torch.Generator().manual_seed(1))
    model.head.set_loss(assigner=name)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)
    values = []
    for _ in range(2):
        terms = model.loss(model(images), targets())
        assert all(bool(value.isfinite()) for value in terms.terms.values())
        assert int(terms.counts["positives"]) > 0
        assert int(terms.counts["targets"]) == 3
        optimizer.zero_grad()
        terms.total.backward()
        assert all(bool(p.grad.isfinite().all()) for p in model.parameters() if p.grad is not None)
        optimizer.step()
        values.append(terms.total.item())
    assert values[0] != values[1]


def test_points_between_bear_no_class_loss() -> None:
    model = network().eval()
    with torch.no_grad():
        raw = model(torch.rand(2, 3, 96, 96, generator=torch.Generator().manual_seed(1)))
    losses = {}
    for negative in (0.5, 0.1):
        model.head.set_loss(assigner=f"max_iou(negative={negative})")
        losses[negative] = float(model.loss(raw, targets()).terms["cls"])
    assert losses[0.1] < losses[0.5]


def test_anchor_ratio_says_that_it_needs_anchors() -> None:
    model = network()
    model.head.set_loss(assigner="anchor_ratio")
    with pytest.raises(FineSpotError, match="assigner: 'anchor_ratio' needs a head with anchors on every cell"):
        model.loss(model(torch.rand(2, 3, 96, 96)), targets())
