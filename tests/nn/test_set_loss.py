"""The set loss: its terms by hand, normalizers, ignore regions, empty batches, choices that fit and do not."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from finespot.assigners import Hungarian
from finespot.boxes.normalized import to_corners, to_shares
from finespot.boxes.overlap import iou_family
from finespot.errors import FineSpotError
from finespot.losses import varifocal
from finespot.nn.heads import AnchorFreeHead, RTDETRHead, SetLoss
from finespot.structures import Level, Targets

CLASSES, QUERIES, EXTENT = 3, 6, torch.tensor([[96.0, 64, 96, 64]])
VARIFOCAL = json.loads((Path(__file__).parent / "data" / "varifocal.json").read_text())


def targets(ignore: bool = False, label: int = -1) -> Targets:
    boxes = [[4.0, 4, 30, 24], [50, 10, 58, 20], [20, 20, 28, 31]]
    labels, image, flags = [0, 1, 2], [0, 0, 1], [False] * 3
    if ignore:
        boxes, labels, image, flags = [*boxes, [30.0, 0, 96, 64]], [*labels, label], [*image, 1], [*flags, True]
    return Targets(torch.tensor(boxes), torch.tensor(labels), torch.tensor(image), torch.tensor(flags), 2)


def empty() -> Targets:
    one = targets()
    return Targets(one.boxes[:0], one.labels[:0], one.image[:0], one.ignore[:0], 2)


def raw(layers: int = 0, denoising: bool = False, seed: int = 0) -> dict[str, torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)

    def boxes(*shape: int) -> torch.Tensor:
        return torch.rand(*shape, 4, generator=draw) * 0.4 + 0.2

    def scores(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=draw) - 2

    made = {"boxes": boxes(2, QUERIES), "scores": scores(2, CLASSES, QUERIES), "extent": EXTENT}
    if layers:
        made["auxiliary_boxes"] = boxes(2, layers, QUERIES)
        made["auxiliary_scores"] = scores(2, layers, CLASSES, QUERIES)
    if denoising:
        made["denoising_boxes"] = boxes(2, 2, 8)
        made["denoising_scores"] = scores(2, 2, CLASSES, 8)
        made["denoising_targets"] = torch.tensor([[0, 1, -1, -1] * 2, [2, -1, -1, -1] * 2])
    return made


def by_hand(boxes: torch.Tensor, logits: torch.Tensor, truth: Targets, pairs) -> tuple[float, float, float]:
    """Class, l1 and GIoU losses, unweighted sums, of pairs (picture, query, target)."""
    quality, positive = torch.zeros_like(logits), torch.zeros_like(logits, dtype=torch.bool)
    l1 = giou = 0.0
    for picture, query, target in pairs:
        pixels, aim = to_corners(boxes[picture, query], EXTENT)[0], truth.boxes[target]
        place = picture, int(truth.labels[target]), query
        quality[place], positive[place] = iou_family(pixels, aim), True
        l1 += float((boxes[picture, query] - to_shares(aim, EXTENT)[0]).abs().sum())
        giou += 1 - float(iou_family(pixels, aim, "giou"))
    p = logits.sigmoid()
    weight = torch.where(positive, quality, 0.75 * p**2)
    return float((weight * F.binary_cross_entropy(p, quality, reduction="none")).sum()), l1, giou


def pairs_of(one: dict[str, torch.Tensor], truth: Targets) -> list[tuple[int, int, int]]:
    found = Hungarian()(one["scores"][:, None].sigmoid(), one["boxes"][:, None], truth, EXTENT)
    return list(zip(found.picture.tolist(), found.query.tolist(), found.target.tolist()))


def test_varifocal_golden() -> None:
    logits, quality = (torch.tensor(column, dtype=torch.float64) for column in list(zip(*VARIFOCAL))[:2])
    want = torch.tensor([value for _, _, value in VARIFOCAL], dtype=torch.float64)
    assert torch.allclose(varifocal(logits, quality, quality > 0), want, rtol=0, atol=1e-6)


def test_a_positive_of_quality_zero_costs_nothing() -> None:
    zero = torch.zeros(1)
    assert varifocal(torch.tensor([-3.0]), zero, zero == 0).item() == 0


def test_terms_of_the_last_layer_by_hand() -> None:
    one, truth = raw(), targets()
    cls, l1, giou = by_hand(one["boxes"], one["scores"], truth, pairs_of(one, truth))
    terms = SetLoss()(one, truth, 8).terms
    assert terms["cls"].item() == pytest.approx(cls / 3, rel=1e-4)
    assert terms["l1"].item() == pytest.approx(5 * l1 / 3, rel=1e-4)
    assert terms["box"].item() == pytest.approx(2 * giou / 3, rel=1e-4)
    assert terms["auxiliary"] == terms["denoising"] == 0


def test_auxiliary_layers_are_matched_by_themselves() -> None:
    one, truth = raw(layers=3), targets()
    want = 0.0
    for layer in range(3):
        alone = {"boxes": one["auxiliary_boxes"][:, layer], "scores": one["auxiliary_scores"][:, layer]}
        cls, l1, giou = by_hand(alone["boxes"], alone["scores"], truth, pairs_of(alone, truth))
        want += (cls + 5 * l1 + 2 * giou) / 3
    assert SetLoss()(one, truth, 8).terms["auxiliary"].item() == pytest.approx(want, rel=1e-4)


def test_denoising_knows_its_pairs_and_is_divided_by_its_positives() -> None:
    one, truth = raw(denoising=True), targets()
    pairs = [(0, 0, 0), (0, 1, 1), (0, 4, 0), (0, 5, 1), (1, 0, 2), (1, 4, 2)]
    want = 0.0
    for layer in range(2):
        boxes, scores = one["denoising_boxes"][:, layer], one["denoising_scores"][:, layer]
        cls, l1, giou = by_hand(boxes, scores, truth, pairs)
        want += (cls + 5 * l1 + 2 * giou) / 6
    assert SetLoss()(one, truth, 8).terms["denoising"].item() == pytest.approx(want, rel=1e-4)


@pytest.mark.parametrize(("gain", "term"), [("cls", "cls"), ("l1", "l1"), ("box", "box")])
def test_gains_scale_their_term_everywhere(gain: str, term: str) -> None:
    one, truth = raw(layers=2, denoising=True), targets()
    own, none, double = (
        SetLoss(gains=gains)(one, truth, 8).terms for gains in ({}, {gain: 0.0}, {gain: 2 * SetLoss.GAINS[gain]})
    )
    assert double[term].item() == pytest.approx(2 * own[term].item())
    for name in ("auxiliary", "denoising"):
        assert double[name].item() == pytest.approx(2 * own[name].item() - none[name].item(), rel=1e-4)


def test_counts() -> None:
    found = SetLoss()(raw(layers=2), targets(), 8).counts
    assert (int(found["targets"]), int(found["positives"]), int(found["starved"])) == (3, 3, 0)
    one = raw()
    one["boxes"], one["scores"] = one["boxes"][:, :1], one["scores"][..., :1]
    found = SetLoss()(one, targets(), 8).counts
    assert (int(found["targets"]), int(found["positives"]), int(found["starved"])) == (3, 2, 1)


@pytest.mark.parametrize("truth", [empty(), replace(targets(), ignore=torch.ones(3, dtype=torch.bool))])
def test_batches_without_objects(truth: Targets) -> None:
    one = raw(layers=2)
    for value in (one["boxes"], one["scores"], one["auxiliary_boxes"], one["auxiliary_scores"]):
        value.requires_grad_()
    found = SetLoss()(one, truth, 8)
    assert found.terms["l1"] == found.terms["box"] == 0
    assert found.terms["cls"] > 0
    found.total.backward()
    assert torch.isfinite(one["scores"].grad).all()
    assert one["boxes"].grad.abs().sum() == 0


@pytest.mark.parametrize("label", [-1, 1])
def test_queries_in_ignore_regions_bear_no_class_loss(label: int) -> None:
    one, truth = raw(layers=1), targets(ignore=True, label=label)
    one["boxes"][1, 0], one["boxes"][1, 1] = torch.tensor([0.3, 0.4, 0.1, 0.2]), torch.tensor([0.8, 0.5, 0.1, 0.1])
    one["auxiliary_boxes"][1, 0, 2] = torch.tensor([0.9, 0.9, 0.02, 0.02])
    for key in ("scores", "auxiliary_scores"):
        one[key].requires_grad_()
    found = SetLoss()(one, truth, 8)
    found.total.backward()
    matched = {(picture, query) for picture, query, _ in pairs_of({k: v.detach() for k, v in one.items()}, truth)}
    centers = to_corners(one["boxes"], EXTENT).unflatten(-1, (2, 2)).mean(-2)
    for picture in range(2):
        for query in range(QUERIES):
            x, y = centers[picture, query].tolist()
            free = picture == 1 and 30 < x < 96 and 0 < y < 64 and (picture, query) not in matched
            silent = one["scores"].grad[picture, :, query] == 0
            assert silent.tolist() == [free and label in (-1, c) for c in range(CLASSES)]
    assert (one["auxiliary_scores"].grad[1, 0, :, 2] == 0).any()
    assert int(found.counts["targets"]) == 3


def test_another_box_loss_is_told_pixels_and_the_finest_stride() -> None:
    seen = {}

    def watching(pred, target, *, stride, image_size):
        seen.update(pred=pred, target=target, stride=stride, image_size=image_size)
        return (pred - target).abs().sum(1)

    one, truth = raw(), targets()
    found = SetLoss(box_loss=watching)(one, truth, 4)
    assert seen["image_size"] == (64, 96)
    assert seen["stride"].tolist() == [4.0] * 3
    assert seen["target"].max() == 58
    assert found.terms["box"].item() == pytest.approx(2 * (seen["pred"] - seen["target"]).abs().sum().item() / 3)
    assert SetLoss(box_loss="ciou")(one, truth, 8).terms["box"] != SetLoss()(one, truth, 8).terms["box"]


def test_another_cost_changes_the_matching() -> None:
    one, truth = raw(seed=4), targets()
    by_class = SetLoss(assigner="hungarian(cls=100, l1=0, box=0)")(one, truth, 8)
    assert by_class.terms["l1"] > SetLoss(assigner="hungarian(cls=0)")(one, truth, 8).terms["l1"]


def test_half_precision_is_computed_in_full() -> None:
    one, truth = raw(layers=1), targets()
    half = {key: value.bfloat16() if "scores" in key else value for key, value in one.items()}
    with torch.autocast("cpu", torch.bfloat16):
        found = SetLoss()(half, truth, 8)
    assert all(value.dtype == torch.float32 for value in found.terms.values())


def test_assigners_of_the_other_kind_are_refused() -> None:
    levels = (Level(8, 8), Level(8, 16))
    with pytest.raises(FineSpotError, match=r"predicts a set, but 'task_aligned\(topk=5\)' assigns points.*hungarian"):
        RTDETRHead(levels, 2, width=16, heads=2, layers=1).set_loss(assigner="task_aligned(topk=5)")
    with pytest.raises(FineSpotError, match=r"predicts points, but 'hungarian' assigns a set.*task_aligned"):
        AnchorFreeHead(levels, 2).set_loss(assigner="hungarian")
    with pytest.raises(FineSpotError, match="unknown loss gain 'dfl'"):
        SetLoss(gains={"dfl": 1.0})


def test_with_several_processes_losses_are_divided_by_their_mean_of_objects(monkeypatch) -> None:
    def two_processes(values: torch.Tensor, operation: object) -> None:
        values += torch.tensor([5.0, 14.0])  # of the other one

    own = SetLoss()(raw(layers=1, denoising=True), targets(), 8).terms
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
    monkeypatch.setattr(torch.distributed, "all_reduce", two_processes)
    shared = SetLoss()(raw(layers=1, denoising=True), targets(), 8).terms
    for name, value in own.items():
        mean, alone = ((6 + 14) / 2, 6) if name == "denoising" else ((3 + 5) / 2, 3)
        assert shared[name].item() == pytest.approx(value.item() * alone / mean)
