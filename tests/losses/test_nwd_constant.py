"""NWD in pixels of center and size: values, the blend with CIoU, and what its constant is."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from finespot.boxes.gaussian import nwd, squared_wasserstein
from finespot.losses import box_loss
from finespot.losses.distances import NWD_CONSTANT

# Prediction, truth, squared distance, NWD with the constant 12.8, and the value of the released YOLO11-ASS, which
# measures corners in cells of stride 4, 8 and 32 with the constant 1.
PAIRS = [
    ((10, 10, 22, 22), (11, 10, 23, 22), 1.0, 0.924849, (0.756155, 0.869572, 0.965665)),
    ((10, 10, 22, 22), (10, 10, 26, 22), 8.0, 0.801740, (0.606531, 0.778801, 0.939413)),
    ((10, 10, 22, 22), (14, 13, 26, 25), 25.0, 0.676634, (0.247204, 0.497196, 0.839715)),
    ((100, 100, 180, 180), (104, 103, 184, 183), 25.0, 0.676634, (0.247204, 0.497196, 0.839715)),
]


def boxes(*rows: tuple[float, ...]) -> Tensor:
    return torch.tensor(rows, dtype=torch.float32)


def cost(text: str, pred: Tensor, target: Tensor, stride: float = 8.0) -> Tensor:
    return box_loss(text)(pred, target, stride=torch.full((len(pred),), stride), image_size=(640, 640))


@pytest.mark.parametrize(("pred", "target", "square", "similarity", "released"), PAIRS)
def test_values(pred: tuple, target: tuple, square: float, similarity: float, released: tuple) -> None:
    one, other = boxes(pred), boxes(target)
    assert squared_wasserstein(one, other).item() == pytest.approx(square)
    assert nwd(one, other).item() == pytest.approx(similarity, abs=1e-6)
    for stride, theirs in zip((4, 8, 32), released):
        # The same pixels cost the same at every level; as released they did not.
        assert cost("nwd", one, other, stride).item() == pytest.approx(1 - similarity, abs=1e-6)
        (x1, y1, x2, y2), (u1, v1, u2, v2) = ([side / stride for side in box] for box in (pred, target))
        corners = (x1 - u1) ** 2 + (y1 - v1) ** 2 + ((x2 - u2) ** 2 + (y2 - v2) ** 2) / 4
        assert math.exp(-math.sqrt(corners)) == pytest.approx(theirs, abs=1e-6)
        assert abs(theirs - similarity) > 0.02


def test_the_blend_is_half_of_each() -> None:
    pred, target = (boxes(*(pair[side] for pair in PAIRS)) for side in (0, 1))
    half = (cost("ciou", pred, target) + cost("nwd", pred, target)) / 2
    assert torch.allclose(cost("ciou*0.5+nwd*0.5", pred, target), half)


def test_equal_boxes_have_finite_gradients() -> None:
    target = boxes((10, 10, 22, 22), (0, 0, 640, 640), (5, 5, 5, 5))
    pred = target.clone().requires_grad_()
    loss = cost("ciou*0.5+nwd(constant=auto)*0.5", pred, target)
    loss.sum().backward()
    assert loss[:2].tolist() == pytest.approx([0, 0], abs=1e-5)
    assert torch.isfinite(pred.grad).all()


def test_auto_is_the_usual_constant_where_nobody_knows_the_data() -> None:
    pred, target = boxes((10, 10, 22, 22)), boxes((14, 13, 26, 25))
    assert cost("nwd(constant=auto)", pred, target) == cost(f"nwd(constant={NWD_CONSTANT})", pred, target)
    assert cost("nwd(constant=auto)", pred, target) == cost("nwd", pred, target)
