"""The head of YOLOX and its loss: decoding, scores, and each term by hand on a few points."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from finespot.assigners import Assignment
from finespot.errors import FineSpotError
from finespot.nn.heads import DecoupledHead, YOLOXLoss
from finespot.nn.heads.yolox_loss import decode, encode
from finespot.structures import Features, Level, LossTerms, Targets

LEVELS = (Level(8, 8), Level(16, 16))
CLASSES = 3
SIZE = (32, 64)


def features(levels: tuple[Level, ...] = LEVELS, batch: int = 2) -> Features:
    draw = torch.Generator().manual_seed(0)
    maps = [torch.randn(batch, x.channels, SIZE[0] // x.stride, SIZE[1] // x.stride, generator=draw) for x in levels]
    return Features(maps, levels)


def targets(boxes: list[list[float]], labels: list[int], ignore: list[bool], image: list[int]) -> Targets:
    places = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    numbers = torch.tensor([labels, image], dtype=torch.int64)
    return Targets(places, numbers[0], numbers[1], torch.tensor(ignore, dtype=torch.bool), batch=2)


TRUTH = targets([[4, 4, 14, 20], [30, 8, 38, 30]], [2, 0], [False, False], [0, 1])


class Fixed:
    """Points 3 and 9 for the object of the first picture, 2 for that of the second, at weights 0.8, 0.4 and 0.6."""

    def __init__(self, ignored: tuple[int, ...] = ()) -> None:
        self.ignored = ignored

    def __call__(self, predictions, truth, candidates) -> Assignment:
        rows, points = torch.tensor([3, 9, len(candidates) + 2]), torch.tensor(self.ignored, dtype=torch.int64)
        return Assignment(
            rows,
            torch.tensor([0, 0, 1]),
            torch.tensor([0.8, 0.4, 0.6]),
            torch.tensor([2, 1]),
            points,
            torch.ones_like(points),
        )


def head(**options) -> DecoupledHead:
    torch.manual_seed(1)
    return DecoupledHead(LEVELS, CLASSES, **options)


def loss(closing: bool = False, ignored: tuple[int, ...] = (), **choice) -> tuple[LossTerms, dict[str, torch.Tensor]]:
    one = head()
    one.set_loss(assigner=Fixed(ignored), **choice)
    one.criterion.closing = closing
    raw = one(features())
    raw = {key: value.detach().requires_grad_(key != "anchors") for key, value in raw.items()}
    return one.loss(raw, TRUTH), raw


def positives(raw: dict[str, torch.Tensor], key: str) -> torch.Tensor:
    return torch.stack((raw[key][0, :, 3], raw[key][0, :, 9], raw[key][1, :, 2]))


def test_raw_outputs() -> None:
    raw = head()(features())
    points = 4 * 8 + 2 * 4
    assert {key: tuple(value.shape) for key, value in raw.items()} == {
        "boxes": (2, 4, points),
        "objectness": (2, 1, points),
        "scores": (2, CLASSES, points),
        "anchors": (1, points, 3),
    }


def test_widths_and_separable_convolutions() -> None:
    narrow = head(width=12)
    assert narrow.stems["p3"].conv.out_channels == 8  # the level has no more
    assert narrow.stems["p4"].conv.out_channels == narrow.box_branches["p4"].first.conv.out_channels == 12
    assert {part.conv.out_channels for part in head().stems.values()} == {8}
    assert head(depthwise=True).class_branches["p3"].first.spatial.conv.groups == 8


def test_first_scores_are_one_in_a_hundred() -> None:
    one = head()
    for name in ("p3", "p4"):
        for bias in (one.class_branches[name].predict.bias, one.objectness[name].bias):
            assert torch.sigmoid(bias).tolist() == pytest.approx([0.01] * len(bias))


def test_centers_are_measured_from_the_corner_of_a_cell() -> None:
    one = head()
    raw = one(features())
    raw["boxes"] = torch.zeros_like(raw["boxes"])
    raw["boxes"][0, :, 10] = torch.tensor([0.25, -0.5, math.log(2), 0.0])
    boxes = one.decode_boxes(raw)
    # Point 10 is column 2, row 1 at stride 8: center (2.25, 0.5) * 8, sides 16 and 8.
    assert boxes[0, 10].tolist() == pytest.approx([10, 0, 26, 8])
    assert boxes[1, 33].tolist() == pytest.approx([8, -8, 24, 8])  # column 1, row 0 at stride 16


def test_encode_inverts_decode() -> None:
    draw = torch.Generator().manual_seed(4)
    values = torch.randn(50, 4, generator=draw)
    anchors = torch.rand(50, 3, generator=draw) * 30 + 1
    assert torch.allclose(encode(decode(values, anchors), anchors), values, atol=1e-4)
    assert torch.isfinite(encode(torch.zeros(1, 4), anchors[:1])).all()


def test_huge_sides_stay_finite() -> None:
    values = torch.full((1, 4), 1000.0, requires_grad=True)
    boxes = decode(values, torch.tensor([[4.0, 4.0, 8.0]]))
    boxes.sum().backward()
    assert torch.isfinite(boxes).all()
    assert torch.isfinite(values.grad).all()


def test_score_is_the_product_of_class_and_objectness() -> None:
    one = head()
    raw = one(features())
    raw["objectness"][0, 0, 5], raw["scores"][0, 1, 5] = 1.0, 2.0
    want = (torch.sigmoid(torch.tensor(1.0)) * torch.sigmoid(torch.tensor(2.0))).item()
    found = one.select({key: value.detach() for key, value in raw.items()}, conf=0.5)
    assert found[0][1].tolist() == pytest.approx([want])
    assert found[0][2].tolist() == [1]
    assert found[0][0][0].tolist() == pytest.approx(one.decode_boxes(raw)[0, 5].tolist())
    assert len(found[1][1]) == 0


def test_class_rows() -> None:
    one, state = head(), head().state_dict()
    assert {state[name].shape[0] for name in one.class_rows()} == {CLASSES}
    other = DecoupledHead(LEVELS, CLASSES + 2).state_dict()
    assert {name for name in state if state[name].shape != other[name].shape} == set(one.class_rows())


def test_terms_by_hand() -> None:
    terms, raw = loss()
    with torch.no_grad():
        boxes = decode(positives(raw, "boxes"), raw["anchors"][0, [3, 9, 2]])
        aim = TRUTH.boxes[[0, 0, 1]]
        low, high = torch.maximum(boxes[:, :2], aim[:, :2]), torch.minimum(boxes[:, 2:], aim[:, 2:])
        shared = (high - low).clamp(min=0).prod(1)
        union = (boxes[:, 2:] - boxes[:, :2]).prod(1) + (aim[:, 2:] - aim[:, :2]).prod(1) - shared
        want_box = 5 * (1 - (shared / union) ** 2).sum() / 3
        wanted = torch.zeros_like(raw["objectness"])
        wanted[0, 0, 3] = wanted[0, 0, 9] = wanted[1, 0, 2] = 1
        want_obj = F.binary_cross_entropy_with_logits(raw["objectness"], wanted, reduction="sum") / 3
        classes = torch.tensor([[0, 0, 0.8], [0, 0, 0.4], [0.6, 0, 0]])
        want_cls = F.binary_cross_entropy_with_logits(positives(raw, "scores"), classes, reduction="sum") / 3
    assert terms.terms["box"].item() == pytest.approx(want_box.item(), rel=1e-5)
    assert terms.terms["obj"].item() == pytest.approx(want_obj.item(), rel=1e-5)
    assert terms.terms["cls"].item() == pytest.approx(want_cls.item(), rel=1e-5)
    assert terms.terms["l1"].item() == 0
    assert {key: int(terms.counts[key]) for key in ("targets", "positives", "starved")} == {
        "targets": 2,
        "positives": 3,
        "starved": 0,
    }


def test_raw_errors_count_in_the_closing_epochs_only() -> None:
    terms, raw = loss(closing=True)
    # Points 3, 9 and 2 are cells (3, 0), (1, 1) and (2, 0) at stride 8.
    aim = torch.tensor(
        [
            [9 / 8 - 3, 12 / 8 - 0, math.log(10 / 8), math.log(16 / 8)],
            [9 / 8 - 1, 12 / 8 - 1, math.log(10 / 8), math.log(16 / 8)],
            [34 / 8 - 2, 19 / 8 - 0, math.log(8 / 8), math.log(22 / 8)],
        ]
    )
    assert terms.terms["l1"].item() == pytest.approx((positives(raw, "boxes") - aim).abs().sum().item() / 3, rel=1e-5)
    doubled, _ = loss(closing=True, gains={"l1": 2})
    assert doubled.terms["l1"].item() == pytest.approx(2 * terms.terms["l1"].item())


@pytest.mark.parametrize("gain", ["box", "obj", "cls"])
def test_gains(gain: str) -> None:
    plain, _ = loss()
    changed, _ = loss(gains={gain: 3 * YOLOXLoss.GAINS[gain]})
    for name, value in plain.terms.items():
        assert changed.terms[name].item() == pytest.approx((3 if name == gain else 1) * value.item())
    with pytest.raises(FineSpotError, match="dfl"):
        head().set_loss(gains={"dfl": 1})


def test_another_box_loss_and_assigner() -> None:
    plain, other = loss()[0], loss(box_loss="giou")[0]
    assert other.terms["box"].item() != pytest.approx(plain.terms["box"].item())
    assert other.terms["obj"].item() == pytest.approx(plain.terms["obj"].item())
    one = head()
    raw = one(features())
    found = []
    for assigner in ("simota", "simota(radius=0.6)", "task_aligned"):
        one.set_loss(assigner=assigner)
        found.append(one.loss(raw, TRUTH).total.item())
    assert len(set(found)) == 3


def test_objectness_is_silent_in_ignore_regions() -> None:
    terms, raw = loss(ignored=(20, 21))
    terms.total.backward()
    still = (raw["objectness"].grad[:, 0] == 0).nonzero().tolist()
    assert still == [[0, 20], [0, 21]]  # whatever class the region has
    assert terms.terms["obj"].item() < loss()[0].terms["obj"].item()


def test_an_ignore_region_takes_no_point_and_silences_those_inside() -> None:
    one = head()
    truth = targets([[4, 4, 14, 20], [32, 0, 64, 32]], [2, -1], [False, True], [0, 0])
    raw = {key: value.detach().requires_grad_(key != "anchors") for key, value in one(features()).items()}
    terms = one.loss(raw, truth)
    terms.total.backward()
    inside = (raw["anchors"][0, :, 0] > 32).nonzero().squeeze(1)
    assert raw["objectness"].grad[0, 0, inside].abs().sum() == 0
    assert raw["boxes"].grad[0][:, inside].abs().sum() == 0
    assert (raw["objectness"].grad[1, 0] != 0).all()
    assert int(terms.counts["targets"]) == 1


def test_a_batch_without_objects() -> None:
    one = head()
    one.criterion.closing = True
    empty = targets([], [], [], [])
    terms = one.loss(one(features()), empty)
    terms.total.backward()
    assert all(torch.isfinite(value) for value in terms.terms.values())
    assert all(torch.isfinite(p.grad).all() for p in one.parameters())
    assert terms.terms["box"].item() == terms.terms["cls"].item() == terms.terms["l1"].item() == 0


def test_float32_inside_autocast() -> None:
    one = head()
    raw = one(features())
    with torch.autocast("cpu", torch.bfloat16):
        inside = one.loss(raw, TRUTH)
    assert {value.dtype for value in inside.terms.values()} == {torch.float32}
    assert inside.total.item() == pytest.approx(one.loss(raw, TRUTH).total.item())
