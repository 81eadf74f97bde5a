"""Every registered box loss: gradients against differences, and finite values for boxes of all kinds."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from finespot import registry
from finespot.boxes.geometry import extent, hull, iou
from finespot.boxes.overlap import iou_family
from finespot.losses import box_loss

NAMES = registry.names("box_loss")
TYPED = [*NAMES, "eiou(gamma=0.5)", "powerful_v2(detach_q=false)", "inner(over=nwd,ratio=0.7)", "ciou*0.5+nwd*0.5"]
STEP = 1e-6


def cost(text: str, pred: Tensor, target: Tensor) -> Tensor:
    loss = box_loss(text)
    if isinstance(loss, nn.Module):
        loss.eval()
    return loss(pred, target, stride=torch.full((len(pred),), 8.0), image_size=(640, 480))


def frozen(text: str, start: Tensor, target: Tensor) -> Callable[[Tensor], Tensor]:
    """The loss as a function of the prediction, with what bears no gradient kept as it is at `start`."""
    width, height = hull(start, target)

    def wise(pred: Tensor) -> Tensor:
        one, other = extent(pred), extent(target)
        apart = (one.x - other.x).square() + (one.y - other.y).square()
        return (1 - iou(pred, target)) * torch.exp(apart / (width.square() + height.square()))

    def aspect(pred: Tensor) -> Tensor:
        one, other = extent(pred), extent(target)
        return 4 / math.pi**2 * ((one.width / one.height).atan() - (other.width / other.height).atan()).square()

    if text in ("wise_v1", "wise_v3"):
        gain = cost(text, start, target) / wise(start)
        return lambda pred: gain * wise(pred)
    if text in ("ciou", "ciou*0.5+nwd*0.5"):
        alpha = aspect(start) / (1 - iou(start, target) + aspect(start))
        if text == "ciou":
            return lambda pred: 1 - iou_family(pred, target, "diou") + alpha * aspect(pred)
        return lambda pred: frozen("ciou", start, target)(pred) / 2 + cost("nwd", pred, target) / 2
    if text == "powerful_v2":
        weight = cost(text, start, target) / cost("powerful_v1", start, target)
        return lambda pred: weight * cost("powerful_v1", pred, target)
    if text == "eiou(gamma=0.5)":
        weight = iou(start, target).sqrt()
        return lambda pred: weight * cost("eiou", pred, target)
    return lambda pred: cost(text, pred, target)


@pytest.mark.slow
@pytest.mark.parametrize("text", TYPED)
@settings(deadline=None, max_examples=10)
@given(seed=st.integers(0, 10**6), side=st.sampled_from([2.0, 12.0, 200.0]), spread=st.sampled_from([0.1, 0.5, 2.0]))
def test_gradient_is_that_of_differences(text: str, seed: int, side: float, spread: float) -> None:
    draw = torch.Generator().manual_seed(seed)
    centers, sides = torch.rand(2, 5, 2, generator=draw, dtype=torch.float64).unbind(0)
    target = torch.cat((50 * centers, 50 * centers + side * (0.5 + sides)), 1)
    moved = spread * side * (torch.rand(5, 4, generator=draw, dtype=torch.float64) - 0.5)
    moved[:, 2:] = moved[:, 2:] / 2 + moved[:, :2]
    pred = target + moved
    assume(not near_a_kink(pred, target))
    pred.requires_grad_()
    cost(text, pred, target).sum().backward()
    function = frozen(text, pred.detach(), target)
    steps = STEP * torch.eye(4, dtype=torch.float64)
    wanted = [(function(pred.detach() + step) - function(pred.detach() - step)) / (2 * STEP) for step in steps]
    assert torch.allclose(pred.grad, torch.stack(wanted, 1), rtol=1e-5, atol=1e-7)


def near_a_kink(pred: Tensor, target: Tensor) -> bool:
    """Whether an edge of one box lies on an edge of the other, or sides or the range of Focaler-IoU just agree."""
    kinks = []
    for scale in (1.0, 0.7, 1.2):
        (x1, y1, x2, y2), (X1, Y1, X2, Y2) = (
            torch.stack((e.x - s * e.width, e.y - s * e.height, e.x + s * e.width, e.y + s * e.height))
            for e, s in ((extent(pred), scale / 2), (extent(target), scale / 2))
        )
        kinks += [x1 - X1, x2 - X2, x1 - X2, x2 - X1, y1 - Y1, y2 - Y2, y1 - Y2, y2 - Y1]
    one, other = extent(pred), extent(target)
    kinks += [one.width - other.width, one.height - other.height, one.x - other.x, one.y - other.y]
    kinks += [iou(pred, target) - 0.95]
    return bool((torch.stack(kinks).abs() < 1e-4).any())


# These add their constants as the released YOLOv8 does, and then can divide by 0 where corners are swapped.
UNSWAPPED = ("iou", "giou", "diou", "ciou", "inner", "focaler", "ciou*0.5+nwd*0.5")


@pytest.mark.slow
@pytest.mark.parametrize("text", TYPED)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_finite_for_boxes_of_all_kinds(text: str, dtype: torch.dtype) -> None:
    corners = torch.tensor([0.0, 1e-7, 1e-3, 2e-3, 3, 20, 24, 1e5], dtype=dtype)
    along = torch.cartesian_prod(corners, corners)
    if text in UNSWAPPED:
        along = along[along[:, 0] <= along[:, 1]]
    # All pairs of intervals in x, without length and swapped ones included; in y a few.
    for low, high in ((0.0, 0.0), (0.0, 1e-3), (3.0, 20.0), (0.0, 1e5), (5.0, 5.0 if text in UNSWAPPED else 2.0)):
        across = torch.tensor([low, high], dtype=dtype).expand_as(along)
        boxes = torch.stack((along, across), 2).flatten(1)
        for shift in (0.0, 1.0):
            pred = boxes.repeat_interleave(len(boxes), 0).requires_grad_()
            target = boxes.repeat(len(boxes), 1) + shift * torch.tensor([0, 1, 0, 1], dtype=dtype)
            loss = box_loss(text)(pred, target, stride=torch.ones(len(pred)), image_size=(64, 64))
            loss.sum().backward()
            assert loss.dtype == dtype
            assert torch.isfinite(loss).all()
            assert torch.isfinite(pred.grad).all()


@pytest.mark.parametrize("text", TYPED)
def test_equal_boxes_cost_nothing_and_are_left_alone(text: str) -> None:
    boxes = torch.tensor([[10.0, 10, 13, 13], [0, 0, 4096, 4096], [5, 5, 6, 30]], requires_grad=True)
    loss = cost(text, boxes, boxes.detach())
    loss.sum().backward()
    assert loss.tolist() == pytest.approx([0, 0, 0], abs=1e-5)
    assert torch.isfinite(boxes.grad).all()
    # Roots have no slope at 0; the others' lowest point is a kink of the overlap.
    if text in ("nwd", "gcd", "dotd", "simd", "kld"):
        assert not boxes.grad.any()


@pytest.mark.parametrize("text", TYPED)
def test_no_pairs(text: str) -> None:
    pred = torch.zeros(0, 4, requires_grad=True)
    loss = box_loss(text)(pred, torch.zeros(0, 4), stride=torch.zeros(0), image_size=(64, 64))
    assert loss.shape == (0,)
    loss.sum().backward()
    assert pred.grad.shape == (0, 4)


@pytest.mark.parametrize("text", TYPED)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_coarse_boxes_are_compared_in_float32(text: str, dtype: torch.dtype) -> None:
    # The areas are beyond float16, the coordinates exact in both.
    pred = torch.tensor([[0.0, 0, 512, 512], [8, 8, 12, 11]], dtype=dtype, requires_grad=True)
    target = torch.tensor([[32.0, 0, 512, 480], [9, 8, 12, 12]], dtype=dtype)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = box_loss(text)(pred, target, stride=torch.ones(2), image_size=(64, 64))
    loss.sum().backward()
    assert loss.dtype == torch.float32
    plain = box_loss(text)(pred.detach().float(), target.float(), stride=torch.ones(2), image_size=(64, 64))
    assert torch.equal(loss, plain)
    assert torch.isfinite(pred.grad).all()


IN_PIXELS = {"nwd", "safit", "dotd", "mpd"}


@pytest.mark.parametrize("text", sorted(IN_PIXELS))
def test_constants_in_pixels(text: str) -> None:
    pred, target = torch.tensor([[10.0, 10, 14, 15]]), torch.tensor([[12.0, 11, 16, 15]])
    assert cost(text, 4 * pred, 4 * target).item() != pytest.approx(cost(text, pred, target).item(), rel=1e-4)


@pytest.mark.parametrize("text", sorted(set(NAMES) - IN_PIXELS))
def test_the_others_know_no_scale(text: str) -> None:
    pred, target = torch.tensor([[10.0, 10, 14, 15]]), torch.tensor([[12.0, 11, 16, 15]])
    assert cost(text, 4 * pred, 4 * target).item() == pytest.approx(cost(text, pred, target).item(), rel=1e-5)
