"""Assignment by IoU with anchor boxes against a count by hand."""

from __future__ import annotations

import pytest
import torch

from finespot.assigners import DensePredictions, MaxIoU
from finespot.boxes.overlap import pairwise_iou
from finespot.errors import FineSpotError
from finespot.nn.heads.points import candidates_of, make_anchors
from finespot.structures import Candidates, Targets

NOTHING = DensePredictions(torch.zeros(2, 0, 4), torch.zeros(2, 0, 3))


def points() -> Candidates:
    anchors = make_anchors(
        [(8, 8), (4, 4)], [8, 16], torch.device("cpu"), 0.0, [[(16, 16), (24, 12)], [(32, 32), (48, 24)]]
    )
    return candidates_of(anchors, [8, 16], 2, 0.0)


def targets_of(boxes: list[list[float]], image: list[int], ignore: list[bool] | None = None) -> Targets:
    flags = torch.tensor(ignore or [False] * len(boxes), dtype=torch.bool)
    labels = torch.where(flags, -1, 0)
    return Targets(torch.tensor(boxes).reshape(-1, 4), labels, torch.tensor(image, dtype=torch.int64), flags, 2)


def table(candidates: Candidates, boxes: torch.Tensor) -> torch.Tensor:
    half = candidates.sizes / 2
    return pairwise_iou(boxes, torch.cat((candidates.centers - half, candidates.centers + half), 1))


def test_thresholds() -> None:
    candidates, targets = points(), targets_of([[12, 12, 30, 30], [14, 10, 40, 24]], [1, 1])
    found = MaxIoU()(NOTHING, targets, candidates)
    iou, best = table(candidates, targets.boxes).max(0)
    positive = (iou >= 0.5).nonzero().squeeze(1)
    assert found.rows.tolist() == (positive + len(candidates)).tolist()
    assert found.targets.tolist() == best[positive].tolist()
    assert found.weights.unique().tolist() == [1.0]
    assert found.positives.tolist() == torch.bincount(best[positive], minlength=2).tolist()
    between = ((iou >= 0.4) & (iou < 0.5)).nonzero().squeeze(1)
    assert found.ignored_rows.tolist() == (between + len(candidates)).tolist()
    assert set(found.ignored_labels.tolist()) <= {-1}


def test_every_target_keeps_its_best_anchors_all_of_equal_ones() -> None:
    candidates, targets = points(), targets_of([[30, 30, 34, 34]], [0])
    iou = table(candidates, targets.boxes)[0]
    best = (iou == iou.max()).nonzero().squeeze(1)
    assert MaxIoU()(NOTHING, targets, candidates).rows.tolist() == best.tolist()
    assert len(MaxIoU(least=0.3)(NOTHING, targets, candidates).rows) == 0


def test_what_no_anchor_overlaps_gets_none() -> None:
    found = MaxIoU(positive=0.0, negative=0.0)(
        NOTHING, targets_of([[500, 500, 520, 520], [20, 20, 20, 20]], [0, 1]), points()
    )
    assert found.positives.tolist() == [0, 0]
    assert len(found.ignored_rows) == 0


def test_negatives_in_ignore_regions() -> None:
    candidates = points()
    found = MaxIoU()(NOTHING, targets_of([[4, 4, 20, 20]], [0], [True]), candidates)
    inside = ((candidates.centers > 4) & (candidates.centers < 20)).all(1).nonzero().squeeze(1)
    assert sorted(found.ignored_rows.tolist()) == inside.tolist()
    assert found.positives.tolist() == [0]


def test_a_head_without_anchors_is_refused() -> None:
    plain = candidates_of(make_anchors([(4, 4)], [8], torch.device("cpu")), [8])
    with pytest.raises(FineSpotError, match="points with anchor boxes"):
        MaxIoU()(NOTHING, targets_of([], []), plain)
    with pytest.raises(FineSpotError, match="negative <= positive"):
        MaxIoU(positive=0.3)
