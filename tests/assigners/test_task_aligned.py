"""Task-aligned assignment against a dense slow twin, and its rules one by one."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from finespot import registry
from finespot.assigners import DensePredictions, TaskAligned
from finespot.assigners.task_aligned import least_side
from finespot.boxes.overlap import iou_family
from finespot.errors import FineSpotError
from finespot.nn.heads.points import make_anchors
from finespot.structures import Candidates, Targets

SIZE, STRIDES, CLASSES = (64, 96), (8, 16, 32), 3


def grid(strides: tuple[int, ...] = STRIDES) -> Candidates:
    sizes = [(SIZE[0] // s, SIZE[1] // s) for s in strides]
    anchors = make_anchors(sizes, strides, torch.device("cpu"))[0]
    return Candidates(anchors[:, :2], anchors[:, 2], tuple((s, *size) for s, size in zip(strides, sizes)))


def truth(boxes: list[list[float]], labels: list[int], image: list[int], batch: int, ignore=()) -> Targets:
    flags = torch.zeros(len(boxes), dtype=torch.bool)
    flags[list(ignore)] = True
    return Targets(
        torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4),
        torch.tensor(labels, dtype=torch.int64),
        torch.tensor(image, dtype=torch.int64),
        flags,
        batch,
    )


def random_case(seed: int, batch: int, per_picture: int, ignore: bool) -> tuple[DensePredictions, Targets, Candidates]:
    draw = torch.Generator().manual_seed(seed)
    points = grid()
    spread = torch.tensor([-1.0, -1, 1, 1]) * (4 + 20 * torch.rand(batch, len(points), 4, generator=draw))
    boxes = torch.cat((points.centers, points.centers), 1) + spread
    count = batch * per_picture
    low = torch.rand(count, 2, generator=draw) * torch.tensor([80.0, 50])
    sides = torch.rand(count, 2, generator=draw) * 40 + 2
    targets = Targets(
        torch.cat((low, low + sides), 1),
        torch.randint(0, CLASSES, (count,), generator=draw),
        torch.arange(batch).repeat_interleave(per_picture),
        (torch.rand(count, generator=draw) < 0.3) if ignore else torch.zeros(count, dtype=torch.bool),
        batch,
    )
    return DensePredictions(boxes, torch.rand(batch, len(points), CLASSES, generator=draw)), targets, points


def slow_assignment(
    predictions: DensePredictions, targets: Targets, points: Candidates, topk: int
) -> dict[int, tuple[int, float]]:
    """Row -> (target, weight), by loops over targets and points."""
    wanted: dict[int, list[tuple[float, int, float]]] = {}
    inside: dict[int, list[tuple[float, int, float]]] = {}
    for t in range(len(targets.boxes)):
        if targets.ignore[t]:
            continue
        x1, y1, x2, y2 = targets.boxes[t].tolist()
        (cx, w), (cy, h) = ((x1 + x2) / 2, max(x2 - x1, 16)), ((y1 + y2) / 2, max(y2 - y1, 16))
        image, label, scored = int(targets.image[t]), int(targets.labels[t]), []
        for p, (x, y) in enumerate(points.centers.tolist()):
            if not (abs(x - cx) < w / 2 and abs(y - cy) < h / 2):
                continue
            overlap = max(float(iou_family(predictions.all_boxes[image, p], targets.boxes[t], "ciou")), 0.0)
            metric = float(predictions.all_scores[image, p, label]) ** 0.5 * overlap**6
            scored.append((-metric, (x - cx) ** 2 + (y - cy) ** 2, p, overlap))
            inside.setdefault(image * len(points) + p, []).append((overlap, -t, metric))
        for falling, _, p, overlap in sorted(scored)[:topk]:
            metric = -falling
            wanted.setdefault(image * len(points) + p, []).append((overlap, -t, metric))
    # A contested point goes to the target that it overlaps most, of all that it lies inside, wanting or not.
    kept = {row: wish[0] if len(wish) == 1 else max(inside[row]) for row, wish in wanted.items()}
    found = {}
    for row, (_, t, metric) in kept.items():
        own = [(o, m) for o, u, m in kept.values() if u == t]
        found[row] = (-t, metric * max(o for o, _ in own) / (max(m for _, m in own) + 1e-9))
    return found


@settings(deadline=None, max_examples=15)
@given(
    seed=st.integers(0, 999),
    batch=st.integers(1, 2),
    per_picture=st.integers(0, 9),
    ignore=st.booleans(),
    topk=st.sampled_from([1, 3, 10]),
)
def test_agrees_with_loops_over_everything(seed: int, batch: int, per_picture: int, ignore: bool, topk: int) -> None:
    predictions, targets, points = random_case(seed, batch, per_picture, ignore)
    got = TaskAligned(topk=topk)(predictions, targets, points)
    want = slow_assignment(predictions, targets, points, topk)
    assert got.rows.tolist() == sorted(want)
    assert got.targets.tolist() == [want[row][0] for row in got.rows.tolist()]
    assert got.weights.tolist() == pytest.approx([want[row][1] for row in got.rows.tolist()], rel=1e-3, abs=1e-6)
    counts = [sum(t == target and weight > 0 for target, weight in want.values()) for t in range(len(targets.boxes))]
    assert got.positives.tolist() == counts


def test_loose_points_give_the_same() -> None:
    predictions, targets, points = random_case(3, 2, 4, False)
    loose = Candidates(points.centers, points.strides)
    first, second = TaskAligned()(predictions, targets, points), TaskAligned()(predictions, targets, loose)
    assert torch.equal(first.rows, second.rows)
    assert torch.equal(first.weights, second.weights)


def test_topk_limits_the_points_of_a_target() -> None:
    predictions, targets, points = random_case(1, 1, 1, False)
    many, few = TaskAligned()(predictions, targets, points), TaskAligned(topk=2)(predictions, targets, points)
    assert len(many.rows) > 2
    assert len(few.rows) == 2
    assert int(few.positives) == 2


def test_alpha_and_beta_weigh_score_and_overlap() -> None:
    points = grid()
    target = truth([[0, 0, 48, 48]], [0], [0], 1)
    boxes = torch.tensor([0.0, 0, 48, 48]).repeat(1, len(points), 1)
    scores = torch.full((1, len(points), CLASSES), 0.1)
    boxes[0, 0] = torch.tensor([0.0, 0, 40, 48])  # fits less
    scores[0, 0] = 0.9  # but is surer
    predictions = DensePredictions(boxes, scores)
    sure = TaskAligned(topk=1, alpha=1.0, beta=1.0)(predictions, target, points)
    tight = TaskAligned(topk=1, alpha=0.1, beta=9.0)(predictions, target, points)
    assert sure.rows.tolist() == [0]
    assert tight.rows.tolist() != [0]


def test_a_tiny_target_between_centers_still_has_points() -> None:
    points = grid()
    target = truth([[7.0, 7.0, 9.0, 9.0]], [0], [0], 1)  # no center of any level lies inside
    boxes = torch.cat((points.centers - 3, points.centers + 3), 1)[None]
    found = TaskAligned()(DensePredictions(boxes, torch.full((1, len(points), CLASSES), 0.5)), target, points)
    assert int(found.positives) == int((found.weights > 0).sum()) > 0


def test_a_target_that_no_prediction_overlaps_starves() -> None:
    points = grid()
    targets = truth([[0, 0, 20, 20], [40, 0, 60, 20]], [0, 1], [0, 0], 1)
    boxes = torch.tensor([40.0, 0, 60, 20]).repeat(1, len(points), 1)
    found = TaskAligned()(DensePredictions(boxes, torch.full((1, len(points), CLASSES), 0.5)), targets, points)
    assert found.positives.tolist()[0] == 0
    assert found.positives.tolist()[1] > 0


def test_of_points_that_do_not_overlap_the_nearest_are_taken() -> None:
    points = grid((8,))
    target = truth([[21, 21, 60, 60]], [0], [0], 1)
    nowhere = torch.tensor([500.0, 500, 510, 510]).repeat(1, len(points), 1)
    found = TaskAligned(topk=3)(DensePredictions(nowhere, torch.ones(1, len(points), CLASSES)), target, points)
    # The center is (40.5, 40.5); of (36, 44) and (44, 36), as far away, both come before (44, 44)'s opposite (36, 36).
    assert sorted(points.centers[found.rows].tolist()) == [[36, 44], [44, 36], [44, 44]]
    assert found.weights.tolist() == [0, 0, 0]
    assert found.positives.tolist() == [0]


def test_the_least_side_is_an_option() -> None:
    predictions, _, points = random_case(2, 1, 1, False)
    target = truth([[40.0, 32, 42, 34]], [0], [0], 1)
    taken = {side: len(TaskAligned(min_side=side)(predictions, target, points).rows) for side in (None, "s0", "s1", 40)}
    assert taken[None] < taken["s0"] < taken["s1"] < taken[40]
    assert registry.make("assigner", "task_aligned(min_side=null)") == TaskAligned(min_side=None)
    with pytest.raises(FineSpotError, match="min_side: expected s0, s1, null or pixels but got s7"):
        registry.make("assigner", "task_aligned(min_side=s7)")


def test_ignore_regions_take_no_points_and_name_the_negative_ones() -> None:
    predictions, targets, points = random_case(5, 1, 1, False)
    region = torch.tensor([[0.0, 0, 96, 64]])
    for label in (-1, 2):
        joined = Targets(
            torch.cat((targets.boxes, region)),
            torch.cat((targets.labels, torch.tensor([label]))),
            torch.tensor([0, 0]),
            torch.tensor([False, True]),
            1,
        )
        found = TaskAligned()(predictions, joined, points)
        assert torch.equal(found.rows, TaskAligned()(predictions, targets, points).rows)
        assert set(found.targets.tolist()) == {0}
        assert found.positives.tolist()[1] == 0
        assert set(found.ignored_labels.tolist()) == {label}
        # A point of weight 0 is a negative one, and bears no loss in the region.
        above = found.rows[found.weights > 0]
        assert 0 < len(above) < len(found.rows)
        assert sorted([*found.ignored_rows.tolist(), *above.tolist()]) == list(range(len(points)))


def test_the_least_side_is_the_second_stride() -> None:
    assert least_side(grid()) == 16
    assert least_side(grid((4, 8, 16, 32))) == 8
    assert least_side(grid((8,))) == 8
    points = grid()
    assert least_side(Candidates(points.centers, points.strides)) == 16


def test_crowded_and_empty_pictures() -> None:
    predictions, targets, points = random_case(9, 2, 3000, False)
    found = TaskAligned()(predictions, targets, points)
    assert len(found.rows.unique()) == len(found.rows) <= 2 * len(points)
    none = TaskAligned()(predictions, truth([], [], [], 2), points)
    assert len(none.rows) == len(none.positives) == len(none.ignored_rows) == 0


def test_is_known_by_name() -> None:
    assert registry.build("assigner", "task_aligned", topk=4) == TaskAligned(topk=4)
