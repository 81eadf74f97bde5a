"""The RetinaNet loss against sums worked out by hand, its ignore regions, its choices."""

from __future__ import annotations

import math

import pytest
import torch

from finespot.assigners import Assignment
from finespot.errors import FineSpotError
from finespot.nn.heads import RetinaHead
from finespot.nn.heads.deltas import boxes_of
from finespot.nn.heads.rows import Rows
from finespot.structures import Features, Level, Targets

LEVELS = (Level(8, 8), Level(8, 16))
SIZE = (64, 96)
# Focal loss of a logit of 0: alpha for positives, 1 - alpha for the rest, times 0.5^2 times ln 2.
POSITIVE, NEGATIVE = 0.25 * 0.25 * math.log(2), 0.75 * 0.25 * math.log(2)
CLASSES = 2


def targets_of(*pictures: list[tuple[float, ...]], ignore: tuple[int, ...] = ()) -> Targets:
    rows = [(*row, i) for i, picture in enumerate(pictures) for row in picture]
    table = torch.tensor(rows).reshape(-1, 6)
    flags = torch.zeros(len(rows), dtype=torch.bool)
    flags[list(ignore)] = True
    return Targets(table[:, :4], table[:, 4].long(), table[:, 5].long(), flags, len(pictures))


def flat(batch: int, **options: object) -> tuple[RetinaHead, dict[str, torch.Tensor]]:
    """A head and an output of zeros: every anchor predicts itself, every class one half."""
    head = RetinaHead(LEVELS, CLASSES, **options)
    maps = [torch.zeros(batch, 8, SIZE[0] // level.stride, SIZE[1] // level.stride) for level in LEVELS]
    raw = head(Features(maps, LEVELS))
    return head, {
        key: value if key == "anchors" else torch.zeros_like(value).requires_grad_() for key, value in raw.items()
    }


def overlaps(raw: dict[str, torch.Tensor], box: tuple[float, ...]) -> list[float]:
    found = []
    for x, y, _, w, h in raw["anchors"][0].tolist():
        right, left = min(box[2], x + w / 2), max(box[0], x - w / 2)
        shared = max(right - left, 0) * max(min(box[3], y + h / 2) - max(box[1], y - h / 2), 0)
        found.append(shared / (w * h + (box[2] - box[0]) * (box[3] - box[1]) - shared))
    return found


def test_terms_by_hand() -> None:
    box = (20.0, 14.0, 56.0, 44.0, 1.0)
    head, raw = flat(2)
    terms = head.loss(raw, targets_of([box], [])).terms
    iou = overlaps(raw, box)
    positive, unsure = [i for i, v in enumerate(iou) if v >= 0.5], sum(0.4 <= v < 0.5 for v in iou)
    assert len(positive) > 1
    assert unsure > 1
    count = len(iou)
    cls = CLASSES * NEGATIVE * (count - len(positive) - unsure) + (POSITIVE + NEGATIVE) * len(positive)
    empty = CLASSES * NEGATIVE * count
    assert terms["cls"].item() == pytest.approx((cls / len(positive) + empty) / 2, rel=1e-5)
    cost = 0.0
    for i in positive:
        x, y, _, w, h = raw["anchors"][0, i].tolist()
        cost += abs(38 - x) / w + abs(29 - y) / h + abs(math.log(36 / w)) + abs(math.log(30 / h))
    assert terms["box"].item() == pytest.approx(cost / len(positive) / 2, rel=1e-5)


def test_a_box_loss_of_decoded_boxes() -> None:
    box = (20.0, 14.0, 56.0, 44.0, 1.0)
    chosen, raw = flat(1)
    chosen.set_loss(box_loss="iou", gains={"box": 2.0})
    iou = [value for value in overlaps(raw, box) if value >= 0.5]
    want = 2 * sum(1 - value for value in iou) / len(iou)
    assert chosen.loss(raw, targets_of([box])).terms["box"].item() == pytest.approx(want, rel=1e-4)


def test_the_second_version_has_giou_of_its_own() -> None:
    head, _ = flat(1, box_loss="giou")
    assert head.criterion.box_loss.similarity.keywords == {"kind": "giou"}
    head.set_loss(box_loss="diou")
    assert head.criterion.box_loss.similarity.keywords == {"kind": "diou"}
    assert flat(1)[0].criterion.box_loss is None


def test_the_best_anchor_answers_for_a_small_target() -> None:
    box = (30.0, 30.0, 36.0, 35.0, 0.0)
    head, raw = flat(1)
    found = head.loss(raw, targets_of([box]))
    most = max(overlaps(raw, box))
    assert most < 0.4
    assert int(found.counts["positives"]) == sum(value == pytest.approx(most, rel=1e-6) for value in overlaps(raw, box))
    head.set_loss(assigner="max_iou(least=0.4)")
    assert int(head.loss(raw, targets_of([box])).counts["starved"]) == 1


def test_negatives_in_ignore_regions_cost_nothing() -> None:
    region = (0.0, 0.0, 96.0, 64.0)
    head, raw = flat(1)
    free = head.loss(raw, targets_of([])).terms["cls"].item()
    one_class = head.loss(raw, targets_of([(*region, 1.0)], ignore=(0,))).terms["cls"].item()
    every_class = head.loss(raw, targets_of([(*region, -1.0)], ignore=(0,))).terms["cls"].item()
    # Anchors of the first row and column have their center on the region's edge, which is outside.
    points = raw["anchors"][0]
    inside = int(((points[:, 0] > 0) & (points[:, 1] > 0)).sum())
    assert free - one_class == pytest.approx(inside * NEGATIVE, rel=1e-4)
    assert free - every_class == pytest.approx(2 * inside * NEGATIVE, rel=1e-4)


@pytest.mark.parametrize(
    "pictures", [([], []), ([(5.0, 5.0, 5.0, 5.0, 0.0)], []), ([(0.0, 0.0, 96.0, 64.0, 0.0)] * 3, [])]
)
@pytest.mark.parametrize("box_loss", [None, "ciou"])
def test_gradients_are_finite(pictures: tuple[list[tuple[float, ...]], ...], box_loss: str | None) -> None:
    head, raw = flat(2, box_loss=box_loss)
    head.loss(raw, targets_of(*pictures)).total.backward()
    for key in ("boxes", "scores"):
        assert raw[key].grad is None or torch.isfinite(raw[key].grad).all()


def test_another_assigner() -> None:
    head, raw = flat(1)
    head.set_loss(assigner="task_aligned(topk=3)")
    found = head.loss(raw, targets_of([(20.0, 14.0, 56.0, 44.0, 1.0)]))
    assert 0 < int(found.counts["positives"]) <= 3
    assert torch.isfinite(found.total)


class Fixed:
    """Anchors 10 and 20 for the only target, with these weights."""

    def __init__(self, *weights: float) -> None:
        self.weights = torch.tensor(weights)

    def __call__(self, predictions, truth, candidates) -> Assignment:
        rows = torch.tensor([10, 20][: len(self.weights)])
        none = rows[:0]
        return Assignment(rows, torch.zeros_like(rows), self.weights, rows[:1] * 0 + 1, none, none)


def test_boxes_count_by_the_weights_of_the_assigner() -> None:
    target = targets_of([(20.0, 14.0, 56.0, 44.0, 1.0)])
    terms = {}
    for weights in ((1.0,), (1.0, 0.0), (0.5,)):
        head, raw = flat(1)
        head.set_loss(assigner=Fixed(*weights))
        terms[weights] = head.loss(raw, target).terms
    # A point of weight 0 is a negative one: it neither costs as a box nor counts as a positive.
    for name in ("box", "cls"):
        assert terms[1.0, 0.0][name].item() == pytest.approx(terms[1.0,][name].item())
    assert terms[0.5,]["box"].item() == pytest.approx(terms[1.0,]["box"].item() / 2)


def test_float32_inside_autocast() -> None:
    head, raw = flat(1)
    targets = targets_of([(20.0, 14.0, 56.0, 44.0, 1.0)])
    halves = {key: value.detach().bfloat16() if key != "anchors" else value for key, value in raw.items()}
    with torch.autocast("cpu", torch.bfloat16):
        terms = head.loss(halves, targets).terms
    want = head.loss(raw, targets).terms
    for name, value in terms.items():
        assert value.dtype == torch.float32
        assert value.item() == pytest.approx(want[name].item(), rel=1e-5)


def test_a_gain_that_does_not_exist_is_refused() -> None:
    head, _ = flat(1)
    with pytest.raises(FineSpotError, match="unknown loss gain 'dfl'"):
        head.set_loss(gains={"dfl": 1.0})


def test_decoded_boxes_are_what_the_assigner_sees() -> None:
    head, raw = flat(1)
    shifted = {**raw, "boxes": torch.randn(raw["boxes"].shape, generator=torch.Generator().manual_seed(0))}
    rows = torch.tensor([0, 17, 400])
    seen = Rows(shifted, head.strides(), boxes_of, 0.0, 9)
    assert torch.equal(seen.boxes(rows), boxes_of(shifted["boxes"][0].T[rows], raw["anchors"][0][rows]))
    assert seen.class_scores(rows).shape == (3, CLASSES)
    assert seen.scores(rows, torch.tensor([0, 1, 0])).tolist() == [0.5, 0.5, 0.5]
