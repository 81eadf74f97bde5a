"""Every assigner on one scene of four targets, against results that agree with the released codes.

The scene: 64 x 64 pixels, strides 8 and 16. A (3 x 3 pixels) holds no center and lies inside C, D (4 x 3) is at the
edge, B and C overlap. See data/README.md.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from assigner_scenes import points, truth

from finespot import registry
from finespot.assigners import (
    ATSS,
    RFLA,
    AnchorRatio,
    Assignment,
    DensePredictions,
    Dynamic,
    NWDRanked,
    SimOTA,
    TaskAligned,
)
from finespot.assigners.atss import thresholds
from finespot.assigners.groups import groups_of
from finespot.nn.heads.points import candidates_of, make_anchors

GOLDEN = json.loads((Path(__file__).parent / "data" / "assigner_golden.json").read_text())
SCENE = GOLDEN["scene"]
POINTS = points((8, 16), (64, 64))
TARGETS = truth([one["box"] for one in SCENE["gt"]], [one["cls"] for one in SCENE["gt"]])
SCORES = torch.tensor(SCENE["pred_scores"])
PREDICTIONS = DensePredictions(torch.tensor(SCENE["pred_boxes"])[None], SCORES[None])


def owners(found: Assignment) -> dict[str, int]:
    assert found.rows.tolist() == sorted(set(found.rows.tolist()))
    return {str(row): target for row, target in zip(found.rows.tolist(), found.targets.tolist())}


def test_the_scene_is_that_of_the_golden_file() -> None:
    assert torch.equal(torch.cat((POINTS.centers, POINTS.strides[:, None]), 1), torch.tensor(SCENE["cells"]))


@pytest.mark.parametrize(
    ("name", "assigner"),
    [
        ("tal_topk10_a0_5_b6", TaskAligned(min_side=None)),
        ("tal_min_side_8", TaskAligned(min_side="s0")),
        ("tal_min_side_8", TaskAligned(min_side=8)),
        ("tal_min_side_16", TaskAligned()),
        ("tal_min_side_16", TaskAligned(min_side="s1")),
        ("tal_tiny_floor3_qmin0_1", Dynamic()),
    ],
)
def test_task_aligned_and_its_floor(name: str, assigner: TaskAligned | Dynamic) -> None:
    want, found = GOLDEN[name], assigner(PREDICTIONS, TARGETS, POINTS)
    assert owners(found) == want["assigned"]
    assert torch.bincount(found.targets, minlength=4).tolist() == want["positives"]
    scores = [want["target_score"][str(row)] for row in found.rows.tolist()]
    assert found.weights.tolist() == pytest.approx(scores, abs=1e-6)
    assert found.positives.sum() == (found.weights > 0).sum()


def test_simota() -> None:
    want, assigner = GOLDEN["simota_r1_5_k10"], SimOTA()
    joint = (SCORES * torch.tensor(SCENE["objectness"])[:, None])[None]
    predictions = DensePredictions(PREDICTIONS.all_boxes, joint)
    rows = assigner.region(TARGETS.boxes, POINTS)[1]
    assert len(rows.unique()) == want["num_candidates"]
    assert assigner.dynamic_k(predictions, TARGETS, torch.arange(4), rows, 80).tolist() == want["dynamic_k"]
    found = assigner(predictions, TARGETS, POINTS)
    assert owners(found) == want["assigned"]
    assert found.weights.tolist() == pytest.approx([want["iou"][str(row)] for row in found.rows.tolist()], abs=1e-6)


def test_atss() -> None:
    want, assigner = GOLDEN["atss_k9"], ATSS(scale=2)
    near, _, similarity = assigner.compared(TARGETS.boxes, POINTS)
    assert thresholds(near, similarity, 4).tolist() == pytest.approx(want["threshold"], abs=1e-6)
    found = assigner(PREDICTIONS, TARGETS, POINTS)
    assert owners(found) == want["assigned"]
    assert set(found.weights.tolist()) == {1.0}


def test_nwd_ranked() -> None:
    want, found = GOLDEN["nwd_rka_k2_C12_7"], NWDRanked()(PREDICTIONS, TARGETS, POINTS)
    assert owners(found) == want["positive"]
    assert found.ignored_rows.tolist() == want["ignored"]
    assert set(found.ignored_labels.tolist()) == {-1}


def test_rfla() -> None:
    want = GOLDEN["rfla_kld_k3_1_ratio0_9"]
    sides = RFLA().prior_sizes(POINTS, groups_of(POINTS))[:, 0]
    assert sides.tolist() == [SCENE["rf_side"]["8"], SCENE["rf_side"]["16"]]
    assert owners(RFLA(second=0)(PREDICTIONS, TARGETS, POINTS)) == want["step1"]
    found = RFLA()(PREDICTIONS, TARGETS, POINTS)
    assert owners(found) == want["final"]
    assert found.ignored_rows.tolist() == want["ignored"]


def test_anchor_ratio() -> None:
    anchors = [SCENE["yolov5_anchors"]["8"], SCENE["yolov5_anchors"]["16"]]
    where = candidates_of(make_anchors([(8, 8), (4, 4)], (8, 16), torch.device("cpu"), 0.5, anchors), (8, 16), 3)
    found = AnchorRatio()(PREDICTIONS, TARGETS, where)
    rows = []
    for row, target in zip(found.rows.tolist(), found.targets.tolist()):
        stride, start, wide = (8, 0, 8) if row < 192 else (16, 192, 4)
        anchor, cell = divmod(row - start, wide * wide)
        rows.append([stride, anchor, target, cell % wide, cell // wide])
    assert sorted(rows) == GOLDEN["yolov5_anchor_t4"]
    assert found.positives.tolist() == [0, 12, 15, 0]


def test_all_names_are_known() -> None:
    known = {"task_aligned", "dynamic", "simota", "dynamic_soft", "atss", "anchor_ratio", "max_iou", "rfla"}
    assert known | {"nwd_ranked", "simd"} <= set(registry.names("assigner"))
