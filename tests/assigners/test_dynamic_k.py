"""SimOTA and dynamic soft labels against loops over everything; their options."""

from __future__ import annotations

import math

import pytest
import torch
from assigner_scenes import points, scene, truth

from finespot import registry
from finespot.assigners import Assignment, DensePredictions, DynamicSoft, SimOTA
from finespot.boxes.geometry import iou
from finespot.structures import Candidates, Targets


def logs(value: float) -> float:
    return max(math.log(value), -100.0) if value > 0 else -100.0


def matched(cost: dict[tuple[int, int], float], count: dict[int, int]) -> dict[int, int]:
    """Point -> target: each target's cheapest points; contested points to the cheapest target of all."""
    takers: dict[int, list[int]] = {}
    for target, number in count.items():
        mine = sorted((c, p) for (t, p), c in cost.items() if t == target)
        for _, point in mine[:number]:
            takers.setdefault(point, []).append(target)
    cheapest = {p: min((c, t) for (t, q), c in cost.items() if q == p)[1] for p in takers}
    return {p: mine[0] if len(mine) == 1 else cheapest[p] for p, mine in takers.items()}


def slow(kind: str, predictions: DensePredictions, targets: Targets, candidates: Candidates) -> dict[int, int]:
    """One picture's point -> target."""
    centers, strides = candidates.centers.tolist(), candidates.strides.tolist()
    boxes, cost, count = targets.boxes.tolist(), {}, {}
    inside, owned = set(), set()
    for t, (x1, y1, x2, y2) in enumerate(boxes):
        cx, cy = (x1 + x2) / 2, (y1 + y2) / 2
        for p, ((x, y), s) in enumerate(zip(centers, strides)):
            if kind == "simota" and max(abs(x - cx), abs(y - cy)) < 1.5 * s:
                owned.add((t, p))
            if kind == "dynamic_soft" and x1 < x < x2 and y1 < y < y2:
                inside.add(p)
    valid = sorted({p for _, p in owned} | inside)
    for t, (x1, y1, x2, y2) in enumerate(boxes):
        label, overlaps = int(targets.labels[t]), []
        for p in valid:
            y = float(iou(predictions.all_boxes[0, p], targets.boxes[t]))
            overlaps.append(y)
            scores = predictions.all_scores[0, p].tolist()
            if kind == "simota":
                if (t, p) in owned:
                    roots = [math.sqrt(one) for one in scores]
                    entropy = -sum(logs(q) if c == label else logs(1 - q) for c, q in enumerate(roots))
                    cost[t, p] = entropy - 3 * math.log(y + 1e-8)
                continue
            entropy = 0.0
            for c, q in enumerate(scores):
                aim = y if c == label else 0.0
                entropy -= (aim * logs(q) + (1 - aim) * logs(1 - q)) * (aim - q) ** 2
            away = math.dist(centers[p], ((x1 + x2) / 2, (y1 + y2) / 2)) / strides[p]
            cost[t, p] = entropy - 3 * math.log(y + 1e-7) + 10 ** (away - 3)
        top = 10 if kind == "simota" else 13
        count[t] = max(int(sum(sorted(overlaps, reverse=True)[:top])), 1)
    return matched(cost, count)


@pytest.mark.parametrize("kind", ["simota", "dynamic_soft"])
@pytest.mark.parametrize("seed", range(6))
def test_agrees_with_loops_over_everything(kind: str, seed: int) -> None:
    predictions, targets, candidates = scene(seed, 1, 9)
    if seed % 2:  # well fitting predictions, so that targets take several points
        aim = targets.boxes[torch.arange(len(candidates)) % 9]
        predictions = DensePredictions(aim[None] + 0.5 * torch.sin(predictions.all_boxes), predictions.all_scores)
    found: Assignment = registry.make("assigner", kind)(predictions, targets, candidates)
    want = slow(kind, predictions, targets, candidates)
    assert dict(zip(found.rows.tolist(), found.targets.tolist())) == want
    overlap = iou(predictions.all_boxes[0, found.rows], targets.boxes[found.targets])
    assert found.weights.tolist() == pytest.approx(overlap.tolist(), abs=1e-6)


def test_the_number_of_points_grows_with_the_fit() -> None:
    candidates = points((8,))
    target = truth([[20.0, 20, 60, 60]])
    scores = torch.full((1, len(candidates), 3), 0.5)
    for made in (SimOTA(radius=3), DynamicSoft()):
        numbers = []
        for shift in (30.0, 10.0, 0.0):
            boxes = (target.boxes[0] + shift).repeat(1, len(candidates), 1)
            numbers.append(len(made(DensePredictions(boxes, scores), target, candidates).rows))
        assert numbers == [1, 3 if isinstance(made, SimOTA) else 5, made.topk]


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("simota(radius=0.7)", "simota"),
        ("simota(topk=1)", "simota"),
        ("simota(iou_weight=0)", "simota"),
        ("dynamic_soft(topk=1)", "dynamic_soft"),
        ("dynamic_soft(iou_weight=0)", "dynamic_soft"),
        ("dynamic_soft(radius=0)", "dynamic_soft"),
    ],
)
def test_each_option_has_an_effect(text: str, plain: str) -> None:
    predictions, targets, candidates = scene(3, 1, 9)
    aim = targets.boxes[torch.arange(len(candidates)) % 9]
    fitting = DensePredictions(aim[None] + 2 * torch.sin(predictions.all_boxes), predictions.all_scores)
    one, other = (registry.make("assigner", name)(fitting, targets, candidates) for name in (text, plain))
    assert one.rows.tolist() != other.rows.tolist()


def test_a_target_without_points_takes_one_of_another_target_or_none() -> None:
    candidates = points((16,))
    predictions, _, _ = scene(0, 1, 1, False, candidates)
    between = [30.0, 30, 34, 34]  # centers are at 24 and 40
    alone = DynamicSoft()(predictions, truth([between]), candidates)
    assert alone.positives.tolist() == [0]
    beside = DynamicSoft()(predictions, truth([between, [0, 0, 90, 60]]), candidates)
    assert 0 in beside.targets.tolist()
