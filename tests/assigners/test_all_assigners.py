"""What holds for every assigner: valid rows, any order of targets, ignore regions, no targets, halves, loose points."""

from __future__ import annotations

import pytest
import torch
from assigner_scenes import CLASSES, anchored, loose, points, random_predictions, scene, take, truth
from hypothesis import given, settings
from hypothesis import strategies as st

from finespot import registry
from finespot.assigners import Assigner, Assignment, DensePredictions, ignored_points
from finespot.errors import FineSpotError
from finespot.structures import Candidates, Targets

NAMES = (
    "task_aligned",
    "dynamic",
    "simota",
    "dynamic_soft",
    "atss",
    "max_iou",
    "rfla",
    "nwd_ranked",
    "simd",
    "anchor_ratio",
)
HARD = ("atss", "max_iou", "rfla", "nwd_ranked", "simd", "anchor_ratio")
# Of the targets that want a point the last one gets it.
ORDERED = ("rfla", "nwd_ranked")


def made(name: str) -> Assigner:
    # The thresholds of SimD leave most random boxes without a prior.
    chosen: Assigner = registry.make("assigner", "simd(least=0.001)" if name == "simd" else name)
    return chosen


def where(name: str) -> Candidates:
    return anchored() if name == "anchor_ratio" else points()


def check(name: str, found: Assignment, targets: Targets, candidates: Candidates) -> None:
    count, rows, chosen = len(targets.boxes), found.rows, found.targets
    assert rows.shape == chosen.shape == found.weights.shape
    assert found.ignored_rows.shape == found.ignored_labels.shape
    pairs = list(zip(rows.tolist(), chosen.tolist()))
    assert pairs == sorted(set(pairs))
    if name != "anchor_ratio":
        assert rows.tolist() == sorted(set(rows.tolist()))
    assert torch.equal(targets.image[chosen], rows // len(candidates))
    assert not targets.ignore[chosen].any()
    assert ((found.weights >= 0) & (found.weights <= 1)).all()
    if name in HARD:
        assert (found.weights == 1).all()
    assert torch.equal(found.positives, torch.bincount(chosen[found.weights > 0], minlength=count))
    above = rows[found.weights > 0]
    assert not set(above.tolist()) & set(found.ignored_rows.tolist())
    in_regions = dict.fromkeys(zip(*(one.tolist() for one in ignored_points(targets, candidates, above))))
    given_ = list(zip(found.ignored_rows.tolist(), found.ignored_labels.tolist()))
    assert given_[: len(in_regions)] == list(in_regions) or set(in_regions) <= set(given_)
    assert {label for pair in given_ if pair not in in_regions for label in pair[1:]} <= {-1}


def same(a: Assignment, b: Assignment) -> bool:
    names = ("rows", "targets", "weights", "positives", "ignored_rows", "ignored_labels")
    return all(torch.equal(getattr(a, name), getattr(b, name)) for name in names)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
@settings(deadline=None, max_examples=12)
@given(seed=st.integers(0, 9999), batch=st.integers(1, 3), per_picture=st.integers(0, 12), ignore=st.booleans())
def test_assignments_are_valid(name: str, seed: int, batch: int, per_picture: int, ignore: bool) -> None:
    predictions, targets, candidates = scene(seed, batch, per_picture, ignore, where(name))
    check(name, made(name)(predictions, targets, candidates), targets, candidates)


@pytest.mark.parametrize("name", NAMES)
def test_the_order_of_targets_does_not_matter(name: str) -> None:
    for seed in range(4):
        predictions, targets, candidates = scene(seed, 2, 10, True, where(name))
        order = torch.cat(
            [torch.randperm(10, generator=torch.Generator().manual_seed(seed)) + 10 * i for i in range(2)]
        )
        first, second = (
            made(name)(predictions, targets, candidates),
            made(name)(predictions, take(targets, order), candidates),
        )
        assert torch.equal(first.rows, second.rows)
        assert sorted(first.ignored_rows.tolist()) == sorted(second.ignored_rows.tolist())
        if name in ORDERED:
            continue
        above = first.weights > 0  # Of several targets that do not overlap a point, the first one has it.
        kept, chosen = second.rows[above].tolist(), order[second.targets[above]].tolist()
        assert sorted(zip(first.rows[above].tolist(), first.targets[above].tolist())) == sorted(zip(kept, chosen))
        assert torch.allclose(first.weights, second.weights, atol=1e-6)
        assert torch.equal(first.positives[order], second.positives)


@pytest.mark.parametrize("name", NAMES)
def test_ignore_regions_only_take_losses_away(name: str) -> None:
    predictions, targets, candidates = scene(7, 1, 4, False, where(name))
    alone = made(name)(predictions, targets, candidates)
    region = torch.tensor([[0.0, 0, 96, 64]])
    for label in (-1, 2):
        joined = Targets(
            torch.cat((region, targets.boxes)),
            torch.cat((torch.tensor([label]), targets.labels)),
            torch.zeros(5, dtype=torch.int64),
            torch.tensor([True, False, False, False, False]),
            1,
        )
        found = made(name)(predictions, joined, candidates)
        assert torch.equal(found.rows, alone.rows)
        assert torch.equal(found.targets, alone.targets + 1)
        assert found.positives.tolist() == [0, *alone.positives.tolist()]
        negative = set(range(len(candidates))) - set(found.rows[found.weights > 0].tolist())
        assert {
            row for row, one in zip(found.ignored_rows.tolist(), found.ignored_labels.tolist()) if one == label
        } == (negative if label == 2 else negative | set(alone.ignored_rows.tolist()))


@pytest.mark.parametrize("name", NAMES)
def test_no_targets_and_one_target(name: str) -> None:
    candidates = where(name)
    predictions = random_predictions(torch.Generator().manual_seed(0), 2, candidates)
    for nothing in (truth([], batch=2), truth([[0, 0, 20, 20]], [-1], batch=2, ignore=[0])):
        found = made(name)(predictions, nothing, candidates)
        assert len(found.rows) == len(found.weights) == int(found.positives.sum()) == 0
    one = truth([[30.0, 20, 46, 36]], [1], [1], 2)
    found = made(name)(predictions, one, candidates)
    check(name, found, one, candidates)
    assert int(found.positives) > 0
    assert set((found.rows // len(candidates)).tolist()) == {1}


@pytest.mark.parametrize("name", NAMES)
def test_halves_are_read_as_they_are(name: str) -> None:
    predictions, targets, candidates = scene(3, 2, 8, False, where(name))
    halves = DensePredictions(predictions.all_boxes.half(), predictions.all_scores.half())
    found = made(name)(halves, targets, candidates)
    exact = DensePredictions(halves.all_boxes.float(), halves.all_scores.float())
    assert found.weights.dtype == torch.float32
    assert same(found, made(name)(exact, targets, candidates))


@pytest.mark.parametrize("name", [name for name in NAMES if name != "anchor_ratio"])
@pytest.mark.parametrize("anchors", [False, True])
def test_loose_points_and_anchors_give_the_same(name: str, anchors: bool) -> None:
    for seed in range(3):
        candidates = anchored() if anchors else points()
        predictions, targets, _ = scene(seed, 2, 8, True, candidates)
        found = made(name)(predictions, targets, candidates)
        assert len(found.rows)
        assert same(found, made(name)(predictions, targets, loose(candidates)))


@pytest.mark.parametrize(
    "name",
    [name for name in NAMES if name not in ("task_aligned", "dynamic", "simota", "dynamic_soft", "anchor_ratio")],
)
def test_anchors_of_the_head_are_the_priors(name: str) -> None:
    predictions, targets, candidates = scene(5, 1, 8, False, anchored())
    found = made(name)(predictions, targets, candidates)
    stretched = Candidates(
        candidates.centers, candidates.strides, candidates.grids, candidates.sizes * torch.tensor([1.6, 0.7])
    )
    assert not same(found, made(name)(predictions, targets, stretched))


@pytest.mark.parametrize("name", [name for name in NAMES if name != "anchor_ratio"])
def test_points_at_the_corners_of_cells(name: str) -> None:
    candidates = points(offset=0.0)
    predictions, targets, _ = scene(5, 1, 8, False, candidates)
    found = made(name)(predictions, targets, candidates)
    check(name, found, targets, candidates)
    assert same(found, made(name)(predictions, targets, loose(candidates)))


@pytest.mark.parametrize("name", NAMES)
def test_tables_taken_in_shares_change_nothing(name: str, monkeypatch) -> None:
    predictions, targets, candidates = scene(11, 2, 12, False, where(name))
    whole = made(name)(predictions, targets, candidates)
    monkeypatch.setattr("finespot.assigners.dynamic_k._TABLE", 300)
    monkeypatch.setattr("finespot.assigners.dynamic_k._SHARE", 7)
    monkeypatch.setattr("finespot.assigners.inside._CHUNK", 300)
    monkeypatch.setattr("finespot.assigners.nearest._CHUNK", 300)
    assert same(whole, made(name)(predictions, targets, candidates))
    if name != "anchor_ratio":
        assert same(whole, made(name)(predictions, targets, loose(candidates)))


@pytest.mark.parametrize("name", [name for name in NAMES if name != "anchor_ratio"])
def test_targets_of_no_size_and_outside_the_picture(name: str) -> None:
    candidates = points()
    predictions = random_predictions(torch.Generator().manual_seed(0), 1, candidates)
    targets = truth([[20.0, 20, 20, 20], [-60, -60, -50, -50], [40, 30, 40.2, 50], [-500, -500, 900, 900]])
    check(name, made(name)(predictions, targets, candidates), targets, candidates)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("task_aligned(topk=0)", "topk: expected a whole number of 1 or more but got 0"),
        ("task_aligned(alpha=-1)", "alpha: expected a number of 0 or more but got -1"),
        ("dynamic(q_min=2)", "q_min: expected a number from 0 to 1 but got 2"),
        ("dynamic(overlap=gcd)", "unknown overlap 'gcd'"),
        ("dynamic(constant=3)", "constant: expected no constant for overlap=ciou"),
        ("simota(radius=0)", "radius: expected a number above 0 but got 0"),
        ("simota(topk=2.5)", "assigner 'simota': expected topk to be a whole number"),
        ("dynamic_soft(radius=true)", "assigner 'dynamic_soft': expected radius to be a number but got 'True'"),
        ("atss(reach=1)", "assigner 'atss': expected reach to be true or false but got '1'"),
        ("atss(overlap=giou)", "unknown overlap 'giou'"),
        ("max_iou(negative=0.6)", "negative: expected a number from 0 to 0.5 but got 0.6"),
        ("rfla(field=resnet18)", "field: expected resnet50 or a number of strides but got resnet18"),
        ("rfla(similarity=nwd)", "unknown similarity 'nwd'"),
        ("nwd_ranked(negative=0)", "negative: expected a number from 1e-06 to 1 but got 0"),
        ("simd(m=0)", "m: expected a number above 0 but got 0"),
        ("anchor_ratio(ratio=1)", "ratio: expected a number above 1 but got 1"),
    ],
)
def test_options_that_make_no_sense(text: str, message: str) -> None:
    with pytest.raises(FineSpotError) as caught:
        registry.make("assigner", text)
    assert str(caught.value).startswith(message)


def test_class_scores_decide_where_boxes_are_equal() -> None:
    """One class likely at half of the points: assigners that read scores take these."""
    candidates = points((8,))
    boxes = torch.tensor([16.0, 16, 48, 48]).repeat(1, len(candidates), 1)
    scores = torch.full((1, len(candidates), CLASSES), 0.2)
    likely = candidates.centers[:, 0] > 32
    scores[0, likely, 1] = 0.9
    targets = truth([[16.0, 16, 48, 48]], [1])
    for name in ("task_aligned(topk=4)", "dynamic(topk=4)", "simota(topk=4,radius=2)", "dynamic_soft(topk=4)"):
        found = registry.make("assigner", name)(DensePredictions(boxes, scores), targets, candidates)
        assert len(found.rows) == 4
        assert likely[found.rows].all()
