"""The floor for tiny boxes: its guarantee on random and real scenes, its rules and options."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from assigner_scenes import CLASSES, points, random_predictions, random_targets, scene, truth
from hypothesis import given, settings
from hypothesis import strategies as st

from finespot import registry
from finespot.assigners import Assignment, DensePredictions, Dynamic, Predictions, TaskAligned
from finespot.structures import Candidates, Targets


def check_guarantee(found: Assignment, targets: Targets, candidates: Candidates, finest: int) -> int:
    """No target starves next to a cell that it could be given; returns how many starve."""
    owner = dict(zip(found.rows.tolist(), found.targets.tolist()))
    sides = (targets.boxes[:, 2:] - targets.boxes[:, :2]).amin(1)
    starved = ((found.positives == 0) & ~targets.ignore).nonzero().squeeze(1).tolist()
    for target in starved:
        middle = (targets.boxes[target, :2] + targets.boxes[target, 2:]) / 2
        near = ((candidates.centers - middle).abs().amax(1) < 1.5 * finest - 1e-3) & (candidates.strides == finest)
        for point in near.nonzero().squeeze(1).tolist():
            holder = owner.get(int(targets.image[target]) * len(candidates) + point)
            assert holder is not None
            assert sides[holder] < finest or found.positives[holder] == 1
    return len(starved)


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 9999),
    per_picture=st.integers(0, 40),
    most=st.sampled_from([4.0, 12.0, 60.0]),
    floor=st.integers(1, 6),
    ignore=st.booleans(),
)
def test_the_guarantee_on_random_scenes(seed: int, per_picture: int, most: float, floor: int, ignore: bool) -> None:
    draw, candidates = torch.Generator().manual_seed(seed), points()
    targets = random_targets(draw, 2, per_picture, ignore, most=most)
    predictions = random_predictions(draw, 2, candidates)
    found = Dynamic(floor=floor)(predictions, targets, candidates)
    check_guarantee(found, targets, candidates, 8)
    assert (found.weights >= 0.1 - 1e-6).all()
    assert found.rows.tolist() == sorted(set(found.rows.tolist()))


@pytest.mark.parametrize("strides", [(4, 8, 16, 32), (8, 16, 32)])
def test_the_guarantee_on_real_labels(samples: Path, strides: tuple[int, ...]) -> None:
    boxes, labels, image = [], [], []
    files = sorted((samples / "labels").glob("*/*.txt"))
    for number, file in enumerate(files):
        for label, x, y, w, h in (map(float, line.split()) for line in file.read_text().splitlines()):
            # A quarter of the side, as from far above, so that most are tiny.
            boxes.append([160 * (x - w / 2), 128 * (y - h / 2), 160 * (x + w / 2), 128 * (y + h / 2)])
            labels.append(int(label) % CLASSES)
            image.append(number)
    targets = truth(boxes, labels, image, len(files))
    candidates = points(strides, (128, 160))
    predictions = random_predictions(torch.Generator().manual_seed(0), len(files), candidates)
    assert len(boxes) > 100
    found = Dynamic()(predictions, targets, candidates)
    starved = check_guarantee(found, targets, candidates, strides[0])
    before = TaskAligned(min_side=None)(predictions, targets, candidates)
    assert starved < len(boxes) / 20
    assert starved < int((before.positives == 0).sum())


def test_a_tiny_target_inside_a_large_one_gets_its_cells() -> None:
    candidates = points((8,))
    targets = truth([[0, 0, 64, 64], [30.0, 30, 33, 33]], [0, 1])
    large = torch.tensor([0.0, 0, 64, 64]).repeat(1, len(candidates), 1)
    predictions = DensePredictions(large, torch.full((1, len(candidates), CLASSES), 0.5))
    assert TaskAligned(topk=99)(predictions, targets, candidates).positives.tolist()[1] == 0
    found = Dynamic(topk=99, floor=4)(predictions, targets, candidates)
    assert found.positives.tolist() == [60, 4]
    # The four centers about (31.5, 31.5).
    assert sorted(candidates.centers[found.rows[found.targets == 1]].tolist()) == [
        [28, 28],
        [28, 36],
        [36, 28],
        [36, 36],
    ]


def test_the_last_cell_of_a_target_is_not_taken_nor_those_of_another_tiny_one() -> None:
    candidates = points((8,), (8, 8))  # one cell, at (4, 4)
    one = random_predictions(torch.Generator().manual_seed(0), 1, candidates)
    found = Dynamic()(one, truth([[0, 0, 8.5, 8.5], [3.0, 3, 5, 5]]), candidates)
    assert sorted(found.positives.tolist()) == [0, 1]
    found = Dynamic()(one, truth([[3.0, 3, 5, 5], [3, 3, 5.5, 5]]), candidates)
    assert sorted(found.positives.tolist()) == [0, 1]


def test_a_larger_target_without_a_cell_is_given_one() -> None:
    candidates = points((8,))
    # Inside the first, which overlaps every cell more; its sides are above the stride.
    targets = truth([[0, 0, 64, 64], [20.0, 20, 30, 30]])
    large = torch.tensor([0.0, 0, 64, 64]).repeat(1, len(candidates), 1)
    predictions = DensePredictions(large, torch.full((1, len(candidates), CLASSES), 0.5))
    assert Dynamic(topk=99, floor=0)(predictions, targets, candidates).positives.tolist() == [64, 0]
    assert Dynamic(topk=99)(predictions, targets, candidates).positives.tolist() == [63, 1]


def test_without_a_floor_it_is_task_alignment_without_widening() -> None:
    predictions, targets, candidates = scene(4, 2, 12, True)
    plain, found = (
        TaskAligned(min_side=None)(predictions, targets, candidates),
        Dynamic(floor=0)(predictions, targets, candidates),
    )
    assert torch.equal(plain.rows, found.rows)
    assert torch.equal(plain.weights, found.weights)


def test_each_option_has_an_effect() -> None:
    predictions, targets, candidates = scene(8, 2, 12)

    def of(text: str) -> Assignment:
        made = registry.make("assigner", text)
        check: Predictions = predictions
        found: Assignment = made(check, targets, candidates)
        return found

    plain = of("dynamic")
    assert len(of("dynamic(topk=2)").rows) < len(plain.rows)
    for text in ("dynamic(alpha=2)", "dynamic(beta=1)"):
        assert not torch.equal(of(text).weights, plain.weights)
    assert len(of("dynamic(floor=1)").rows) < len(plain.rows) < len(of("dynamic(floor=6)").rows)
    assert float(of("dynamic(q_min=0.3)").weights.min()) == pytest.approx(0.3)
    tiny = (targets.boxes[:, 2:] - targets.boxes[:, :2]).amin(1) < 8
    for similarity in ("nwd", "safit"):
        found = of(f"dynamic(overlap={similarity})")
        assert float(found.weights[tiny[found.targets]].mean()) > float(plain.weights[tiny[plain.targets]].mean())
        assert not torch.equal(of(f"dynamic(overlap={similarity},constant=4)").weights, found.weights)
