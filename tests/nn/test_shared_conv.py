"""The head of RTMDet and its loss: shared kernels, both decodings, and each term by hand on a few points."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from finespot.assigners import Assignment
from finespot.errors import FineSpotError
from finespot.nn.heads import RTMDetLoss, SharedConvHead
from finespot.structures import Features, Level, LossTerms, Targets

LEVELS = (Level(8, 8), Level(8, 16))
CLASSES = 3
SIZE = (32, 64)
POINTS = 4 * 8 + 2 * 4


def features() -> Features:
    draw = torch.Generator().manual_seed(0)
    maps = [torch.randn(2, x.channels, SIZE[0] // x.stride, SIZE[1] // x.stride, generator=draw) for x in LEVELS]
    return Features(maps, LEVELS)


def targets(boxes: list[list[float]], labels: list[int], ignore: list[bool], image: list[int]) -> Targets:
    places = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    numbers = torch.tensor([labels, image], dtype=torch.int64)
    return Targets(places, numbers[0], numbers[1], torch.tensor(ignore, dtype=torch.bool), batch=2)


TRUTH = targets([[4, 4, 14, 20], [30, 8, 38, 30]], [2, 0], [False, False], [0, 1])
ROWS = torch.tensor([3, 9, POINTS + 2])


class Fixed:
    """Points 3 and 9 for the object of the first picture, 2 for that of the second, at weights 0.8, 0.4 and 0.6."""

    def __init__(self, ignored: tuple[int, ...] = (), label: int = -1) -> None:
        self.ignored, self.label = ignored, label

    def __call__(self, predictions, truth, candidates) -> Assignment:
        points = torch.tensor(self.ignored, dtype=torch.int64)
        return Assignment(
            ROWS,
            torch.tensor([0, 0, 1]),
            torch.tensor([0.8, 0.4, 0.6]),
            torch.tensor([2, 1]),
            points,
            torch.full_like(points, self.label),
        )


def head(**options) -> SharedConvHead:
    torch.manual_seed(1)
    return SharedConvHead(LEVELS, CLASSES, **options)


def loss(exp: bool = False, assigner: object | None = None, **choice) -> tuple[LossTerms, dict[str, torch.Tensor]]:
    one = head(exp=exp)
    one.set_loss(assigner=assigner or Fixed(), **choice)
    raw = {key: value.detach().requires_grad_(key != "anchors") for key, value in one(features()).items()}
    return one.loss(raw, TRUTH), raw


def test_raw_outputs_and_points_at_corners() -> None:
    raw = head()(features())
    assert {key: tuple(value.shape) for key, value in raw.items()} == {
        "boxes": (2, 4, POINTS),
        "scores": (2, CLASSES, POINTS),
        "anchors": (1, POINTS, 3),
    }
    assert raw["anchors"][0, [0, 10, 33]].tolist() == [[0, 0, 8], [16, 8, 8], [16, 0, 16]]


def test_kernels_are_shared_and_norms_are_not() -> None:
    one = head()
    one.class_branch.norms["p4"][0].weight.data.zero_()
    before = one(features())["scores"]
    one.class_branch.convs[0].weight.data *= -1
    after = one(features())["scores"]
    assert not torch.equal(before[..., :32], after[..., :32])
    assert torch.equal(before[..., 32:], after[..., 32:])  # zero times whatever the kernels give
    kernels = [m for m in one.modules() if isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3)]
    assert len(kernels) == 4
    assert sum(isinstance(m, nn.BatchNorm2d) for m in one.modules()) == 8


def test_levels_of_different_widths_are_refused() -> None:
    with pytest.raises(FineSpotError, match="one width but got 8, 16 channels"):
        SharedConvHead((Level(8, 8), Level(16, 16)), 2)


def test_width_is_chosen() -> None:
    assert head(width=12).box_branch.convs[1].weight.shape == (12, 12, 3, 3)
    assert head().box_branch.convs[1].weight.shape == (8, 8, 3, 3)


@pytest.mark.parametrize("exp", [False, True])
def test_start(exp: bool) -> None:
    one = head(exp=exp)
    raw = one(features())
    assert torch.sigmoid(raw["scores"]).mean().item() == pytest.approx(0.01, rel=0.05)
    # One stride to each side.
    boxes = one.decode_boxes(raw)[0]
    assert (boxes[10] - torch.tensor([8.0, 0, 24, 16])).abs().max() < 2
    assert one.class_branch.convs[1].weight.std().item() == pytest.approx(0.01, rel=0.2)


def test_both_decodings() -> None:
    anchors = torch.tensor([[16.0, 8.0, 8.0]])
    values = torch.tensor([[1.0, 0.5, 2.0, 0.0]])
    assert head(exp=False).decode(values, anchors)[0].tolist() == [8, 4, 32, 8]
    want = [16 - 8 * math.e, 8 - 8 * math.exp(0.5), 16 + 8 * math.exp(2), 16]
    assert head(exp=True).decode(values, anchors)[0].tolist() == pytest.approx(want)
    assert torch.isfinite(head(exp=True).decode(1000 * values, anchors)).all()


def test_selected_boxes_never_have_swapped_corners() -> None:
    one = head()
    raw = {key: value.detach() for key, value in one(features()).items()}
    raw["boxes"].fill_(-1.0)
    raw["scores"][0, 1, 10] = 4.0
    ((boxes, scores, labels), _) = one.select(raw, conf=0.5)
    assert boxes.tolist() == [[8, 0, 24, 16]]
    assert labels.tolist() == [1]
    assert scores.tolist() == pytest.approx([1 / (1 + math.exp(-4))])


def test_a_point_may_lie_outside_its_box() -> None:
    values = torch.tensor([[-1.0, -1.0, 3.0, 2.0]])
    assert head().decode(values, torch.tensor([[16.0, 8.0, 8.0]]))[0].tolist() == [24, 16, 40, 24]


@pytest.mark.parametrize("exp", [False, True])
def test_terms_by_hand(exp: bool) -> None:
    terms, raw = loss(exp)
    weights, aim = torch.tensor([0.8, 0.4, 0.6]), TRUTH.boxes[[0, 0, 1]]
    with torch.no_grad():
        values = torch.stack((raw["boxes"][0, :, 3], raw["boxes"][0, :, 9], raw["boxes"][1, :, 2]))
        points = raw["anchors"][0, [3, 9, 2]]
        reach = (values.exp() if exp else values) * points[:, 2:]
        boxes = torch.cat((points[:, :2] - reach[:, :2], points[:, :2] + reach[:, 2:]), 1)
        shared = (
            (torch.minimum(boxes[:, 2:], aim[:, 2:]) - torch.maximum(boxes[:, :2], aim[:, :2])).clamp(min=0).prod(1)
        )
        hull = (torch.maximum(boxes[:, 2:], aim[:, 2:]) - torch.minimum(boxes[:, :2], aim[:, :2])).prod(1)
        union = (boxes[:, 2:] - boxes[:, :2]).prod(1) + (aim[:, 2:] - aim[:, :2]).prod(1) - shared
        want_box = 2 * ((1 - shared / union + (hull - union) / hull) * weights).sum() / 1.8
        quality = torch.zeros_like(raw["scores"])
        quality[0, 2, 3], quality[0, 2, 9], quality[1, 0, 2] = weights
        entropy = F.binary_cross_entropy_with_logits(raw["scores"], quality, reduction="none")
        want_cls = ((torch.sigmoid(raw["scores"]) - quality) ** 2 * entropy).sum() / 1.8
    assert terms.terms["box"].item() == pytest.approx(want_box.item(), rel=1e-4)
    assert terms.terms["cls"].item() == pytest.approx(want_cls.item(), rel=1e-4)
    assert int(terms.counts["positives"]) == 3


def test_the_divisor_is_at_least_one() -> None:
    class Poor(Fixed):
        def __call__(self, *given) -> Assignment:
            found = super().__call__(*given)
            return Assignment(
                found.rows, found.targets, found.weights / 10, found.positives, found.ignored_rows, found.ignored_labels
            )

    plain, poor = loss()[0].terms["box"].item(), loss(assigner=Poor())[0].terms["box"].item()
    assert poor == pytest.approx(plain * 1.8 / 10)


@pytest.mark.parametrize("gain", ["box", "cls"])
def test_gains(gain: str) -> None:
    plain, changed = loss()[0], loss(gains={gain: 3 * RTMDetLoss.GAINS[gain]})[0]
    for name, value in plain.terms.items():
        assert changed.terms[name].item() == pytest.approx((3 if name == gain else 1) * value.item())
    with pytest.raises(FineSpotError, match="obj"):
        head().set_loss(gains={"obj": 1})


def test_another_box_loss_and_assigner() -> None:
    plain, other = loss()[0], loss(box_loss="iou2")[0]
    assert other.terms["box"].item() != pytest.approx(plain.terms["box"].item())
    assert other.terms["cls"].item() == pytest.approx(plain.terms["cls"].item())
    one = head()
    raw = one(features())
    found = []
    for assigner in ("dynamic_soft", "simota", "task_aligned"):
        one.set_loss(assigner=assigner)
        found.append(one.loss(raw, TRUTH).total.item())
    assert len(set(found)) == 3


@pytest.mark.parametrize(("label", "silent"), [(-1, [0, 1, 2]), (1, [1])])
def test_classes_are_silent_in_ignore_regions(label: int, silent: list[int]) -> None:
    terms, raw = loss(assigner=Fixed((20,), label))
    terms.total.backward()
    assert (raw["scores"].grad == 0).nonzero().tolist() == [[0, c, 20] for c in silent]


def test_a_batch_without_objects() -> None:
    one = head()
    terms = one.loss(one(features()), targets([], [], [], []))
    terms.total.backward()
    assert terms.terms["box"].item() == 0
    assert terms.terms["cls"].item() > 0
    assert all(torch.isfinite(p.grad).all() for p in one.parameters())


def test_class_rows() -> None:
    one, state = head(), head().state_dict()
    assert {state[name].shape[0] for name in one.class_rows()} == {CLASSES}
    other = SharedConvHead(LEVELS, CLASSES + 2).state_dict()
    assert {name for name in state if state[name].shape != other[name].shape} == set(one.class_rows())


def test_float32_inside_autocast() -> None:
    one = head()
    raw = one(features())
    with torch.autocast("cpu", torch.bfloat16):
        inside = one.loss(raw, TRUTH)
    assert {value.dtype for value in inside.terms.values()} == {torch.float32}
    assert inside.total.item() == pytest.approx(one.loss(raw, TRUTH).total.item())
