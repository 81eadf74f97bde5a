"""The L1 term of the heads: by hand in each head's own units, its gain, its epochs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from finespot.assigners import Assignment
from finespot.errors import FineSpotError
from finespot.nn.heads import AnchorBasedHead, AnchorFreeHead, DecoupledHead, RTDETRHead, SharedConvHead, anchor_loss
from finespot.nn.heads.anchor_loss import AnchorLoss
from finespot.nn.heads.dense import DenseHead
from finespot.nn.heads.dense_loss import DenseLoss
from finespot.nn.heads.retina_loss import RetinaLoss
from finespot.nn.heads.rtmdet_loss import RTMDetLoss
from finespot.nn.heads.set_loss import SetLoss
from finespot.nn.heads.yolox_loss import YOLOXLoss
from finespot.structures import Features, Level, LossTerms, Targets

LEVELS = (Level(6, 8), Level(6, 16))
BOXES = torch.tensor([[4.0, 2, 20, 26], [30, 10, 44, 22]])
TRUTH = Targets(BOXES, torch.tensor([1, 0]), torch.tensor([0, 1]), torch.zeros(2, dtype=torch.bool), 2)
WEIGHTS = torch.tensor([0.8, 0.4, 0.6])
HEADS = {
    "anchor_based": AnchorBasedHead,
    "anchor_free": AnchorFreeHead,
    "shared_conv": SharedConvHead,
    "decoupled": DecoupledHead,
}


class Fixed:
    """Gives the first target points 3 and a coarse one, the second target point 2 of its picture."""

    def __init__(self, points: int, coarse: int) -> None:
        self.rows = torch.tensor([3, coarse, points + 2])

    def __call__(self, *given: Any) -> Assignment:
        none = torch.zeros(0, dtype=torch.long)
        return Assignment(self.rows, torch.tensor([0, 0, 1]), WEIGHTS, torch.tensor([2, 1]), none, none)


def made(kind: str, **options: Any) -> tuple[DenseHead, dict[str, Tensor]]:
    torch.manual_seed(0)
    head = HEADS[kind](LEVELS, 2, **options)
    draw = torch.Generator().manual_seed(1)
    features = Features([torch.randn(2, 6, 8, 8, generator=draw), torch.randn(2, 6, 4, 4, generator=draw)], LEVELS)
    raw = head(features)
    drawn = torch.randn(raw["boxes"].shape, generator=draw)
    return head, {**raw, "boxes": drawn.requires_grad_()}


def loss(kind: str, closing: bool = False, **choice: Any) -> tuple[LossTerms, dict[str, Tensor], list[int]]:
    """The loss, the raw output, and which rows are positive."""
    options = {"exp": True} if choice.pop("exp", False) else {}
    head, raw = made(kind, **options)
    points = raw["boxes"].shape[2]
    assigner = Fixed(points, points - 5)
    head.set_loss(assigner=assigner, **choice)
    head.criterion.closing = closing
    return head.loss(raw, TRUTH), raw, assigner.rows.tolist()


def by_point(raw: dict[str, Tensor], rows: list[int]) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Raw box values, anchor and box of each positive."""
    points = raw["boxes"].shape[2]
    return [
        (raw["boxes"].detach()[row // points, :, row % points], raw["anchors"][0, row % points], BOXES[t])
        for row, t in zip(rows, (0, 0, 1))
    ]


def sides(anchor: Tensor, box: Tensor) -> list[float]:
    """Distances to left, top, right, bottom in strides."""
    x, y, stride = anchor[:3].tolist()
    left, top, right, bottom = box.tolist()
    return [(x - left) / stride, (y - top) / stride, (right - x) / stride, (bottom - y) / stride]


def test_distances_of_the_anchor_free_head() -> None:
    terms, raw, rows = loss("anchor_free", gains={"l1": 2.0})
    want = 0.0
    for weight, (values, anchor, box) in zip(WEIGHTS.tolist(), by_point(raw, rows)):
        for side, aim in zip(values.view(4, 16), sides(anchor, box)):
            mean = sum(i * share for i, share in enumerate(torch.softmax(side, 0).tolist()))
            want += weight * abs(mean - min(max(aim, 0), 15))
    assert terms.terms["l1"].item() == pytest.approx(2 * want / 1.8, rel=1e-5)
    assert set(terms.terms) == {"box", "cls", "dfl", "l1"}


@pytest.mark.parametrize("exp", [False, True])
def test_distances_of_the_shared_head(exp: bool) -> None:
    terms, raw, rows = loss("shared_conv", exp=exp, gains={"l1": 3.0})
    want = 0.0
    for weight, (values, anchor, box) in zip(WEIGHTS.tolist(), by_point(raw, rows)):
        reach = values.exp() if exp else values
        want += weight * (reach - torch.tensor(sides(anchor, box))).abs().sum().item()
    assert terms.terms["l1"].item() == pytest.approx(3 * want / 1.8, rel=1e-5)


def test_offsets_and_roots_of_the_anchor_based_head() -> None:
    """In each level the weighted mean; the levels add up, scaled to three of them."""
    terms, raw, rows = loss("anchor_based", gains={"l1": 0.05})
    cost = []
    for values, anchor, box in by_point(raw, rows):
        x, y, stride, width, height = anchor.tolist()
        left, top, right, bottom = box.tolist()
        aim = [
            ((left + right) / 2 - x) / stride + 1,
            ((top + bottom) / 2 - y) / stride + 1,
            ((right - left) / width) ** 0.5,
            ((bottom - top) / height) ** 0.5,
        ]
        aim = [min(max(one, 0), 2) for one in aim]
        cost.append((2 * torch.sigmoid(values) - torch.tensor(aim)).abs().sum().item())
    fine = (0.8 * cost[0] + 0.6 * cost[2]) / 1.4
    coarse = 0.4 * cost[1] / 1
    assert terms.terms["l1"].item() == pytest.approx(0.05 * (fine + coarse) * 3 / 2, rel=1e-5)


def test_encoding_of_the_anchor_based_head_undoes_its_decoding() -> None:
    draw = torch.Generator().manual_seed(0)
    values = 2 * torch.randn(50, 4, generator=draw)
    anchors = torch.cat((torch.rand(50, 2, generator=draw) * 90, torch.rand(50, 3, generator=draw) * 30 + 4), 1)
    found = anchor_loss.encode(anchor_loss.decode(values, anchors), anchors)
    assert torch.allclose(found, 2 * torch.sigmoid(values), atol=1e-4)
    nothing = anchor_loss.encode(torch.tensor([[500.0, 4, 500, 4]]), torch.tensor([[4.0, 4, 8, 10, 13]]))
    assert nothing.tolist() == [[2, 1, 0, 0]]


@pytest.mark.parametrize("kind", HEADS)
def test_epochs(kind: str) -> None:
    gains = {"l1": 1.0}
    always = [loss(kind, closing, gains=gains, l1_epochs="all")[0].terms["l1"].item() for closing in (False, True)]
    late = [loss(kind, closing, gains=gains, l1_epochs="closing")[0].terms["l1"].item() for closing in (False, True)]
    assert always[0] > 0
    assert always == [always[0]] * 2
    assert late == [0, always[0]]
    own = [loss(kind, closing, gains=gains)[0].terms["l1"].item() for closing in (False, True)]
    assert own == (late if kind == "decoupled" else always)


@pytest.mark.parametrize("kind", ["anchor_based", "anchor_free", "shared_conv"])
def test_it_is_off_where_nobody_asks_for_it(kind: str) -> None:
    plain, asked = loss(kind)[0], loss(kind, gains={"l1": 1.0})[0]
    assert "l1" not in plain.terms
    assert all(value.item() == asked.terms[name].item() for name, value in plain.terms.items())


@pytest.mark.parametrize("kind", HEADS)
def test_it_pulls_boxes_that_lie_apart(kind: str) -> None:
    """Where the squared overlap is blind."""
    far = replace(TRUTH, boxes=torch.tensor([[59.0, 58, 62, 61], [1, 58, 4, 62]]))
    head, raw = made(kind)
    with torch.no_grad():  # small boxes about the cells, none of which reaches its target
        raw["boxes"].zero_()
        if kind == "anchor_free":
            raw["boxes"][:, ::16] = 9
    points = raw["boxes"].shape[2]
    assigner = Fixed(points, points - 16)
    for term, moved in (("box", 0), ("l1", 3)):
        head.set_loss(assigner=assigner, gains={"l1": 1.0}, box_loss="iou2", l1_epochs="all")
        raw["boxes"].grad = None
        head.loss(raw, far).terms[term].backward()
        grads = [raw["boxes"].grad[row // points, :, row % points] for row in assigner.rows.tolist()]
        assert all(grad.isfinite().all() for grad in grads)
        assert sum(bool(grad.any()) for grad in grads) == moved


def test_a_batch_without_objects() -> None:
    none = Targets(
        torch.zeros(0, 4), torch.zeros(0, dtype=torch.long), torch.zeros(0, dtype=torch.long), torch.zeros(0).bool(), 2
    )
    for kind in HEADS:
        head, raw = made(kind)
        head.set_loss(gains={"l1": 1.0}, l1_epochs="all")
        terms = head.loss(raw, none)
        terms.total.backward()
        assert terms.terms["l1"].item() == 0


def test_a_set_loss_can_wait_too() -> None:
    torch.manual_seed(0)
    head = RTDETRHead((Level(8, 8), Level(8, 16)), 2, width=16, heads=2, layers=2, queries=20)
    draw = torch.Generator().manual_seed(1)
    features = Features([torch.randn(2, 8, 8, 8, generator=draw), torch.randn(2, 8, 4, 4, generator=draw)], LEVELS)
    raw = head.eval()(features)
    found = {}
    for epochs in ("all", "closing"):
        head.set_loss(l1_epochs=epochs)
        found[epochs] = head.loss(raw, TRUTH).terms
    assert found["all"]["l1"].item() > 0
    assert found["closing"]["l1"].item() == 0
    assert found["closing"]["box"].item() == found["all"]["box"].item()


def test_errors() -> None:
    with pytest.raises(FineSpotError, match="unknown epochs of the L1 term 'often'"):
        YOLOXLoss(l1_epochs="often")  # type: ignore[arg-type]
    for kind in (AnchorLoss, DenseLoss, RTMDetLoss):
        with pytest.raises(FineSpotError, match=r"l1_epochs: this loss has no L1 term .* give it a gain too"):
            kind(l1_epochs="all")
    with pytest.raises(FineSpotError, match=r"l1_epochs: this loss has no L1 term .* leave it out"):
        RetinaLoss(l1_epochs="all")
    assert SetLoss(l1_epochs="closing").l1_epochs == "closing"
