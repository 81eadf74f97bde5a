"""Hungarian matching against a measured case, all permutations and its rules one by one."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from finespot import registry
from finespot.assigners import Hungarian
from finespot.assigners.hungarian import solve
from finespot.boxes.normalized import to_shares
from finespot.errors import FineSpotError
from finespot.structures import Targets

GOLDEN = json.loads((Path(__file__).parent / "data" / "hungarian.json").read_text())
EXTENT = torch.tensor([[64.0, 64, 64, 64]], dtype=torch.float64)


def truth(boxes, labels, image=None, batch: int = 1, ignore=()) -> Targets:
    flags = torch.tensor([row in ignore for row in range(len(boxes))], dtype=torch.bool)
    rows = torch.tensor(image if image is not None else [0] * len(boxes), dtype=torch.int64)
    return Targets(torch.as_tensor(boxes).reshape(-1, 4), torch.tensor(labels, dtype=torch.int64), rows, flags, batch)


def scene() -> tuple[torch.Tensor, torch.Tensor, Targets]:
    """Probabilities (1, 1, classes, Q), shares (1, 1, Q, 4), targets; in double precision."""
    scores = torch.tensor(GOLDEN["scores"], dtype=torch.float64).T[None, None]
    boxes = to_shares(torch.tensor(GOLDEN["boxes"], dtype=torch.float64), EXTENT)[None, None]
    return scores, boxes, truth(torch.tensor(GOLDEN["targets"], dtype=torch.float64), GOLDEN["labels"])


def test_golden_costs_and_matching() -> None:
    scores, boxes, targets = scene()
    assigner = Hungarian()
    cost = assigner.cost(scores[0], boxes[0], targets, torch.arange(4), EXTENT, (64, 64))[0].T
    assert torch.allclose(cost, torch.tensor(GOLDEN["cost"], dtype=torch.float64), rtol=0, atol=1e-6)
    matches = assigner(scores, boxes, targets, EXTENT)
    pairs = sorted(zip(matches.query.tolist(), matches.target.tolist()))
    assert pairs == sorted(map(tuple, GOLDEN["match"]))
    assert sum(float(cost[q, t]) for q, t in pairs) == pytest.approx(GOLDEN["total"], abs=1e-5)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(st.integers(0, 5), st.integers(0, 6), st.integers(0, 10**6), st.booleans())
def test_no_other_matching_is_cheaper(targets: int, queries: int, seed: int, ties: bool) -> None:
    draw = np.random.default_rng(seed)
    cost = draw.integers(-3, 4, (targets, queries)).astype(float) if ties else draw.normal(size=(targets, queries))
    rows, columns = solve(cost)
    assert len(rows) == len(set(rows.tolist())) == len(set(columns.tolist())) == min(targets, queries)
    table = cost if targets <= queries else cost.T
    best = min(
        sum(table[i, j] for i, j in enumerate(chosen))
        for chosen in itertools.permutations(range(table.shape[1]), table.shape[0])
    )
    assert cost[rows, columns].sum() == pytest.approx(best)


def test_looking_at_near_queries_only_loses_nothing() -> None:
    draw = np.random.default_rng(3)
    cost = draw.random((7, 200)) + draw.random(200)  # all targets want the same few queries
    whole = solve(np.vstack((cost, np.zeros((193, 200)))))
    rows, columns = solve(cost)
    assert cost[rows, columns].sum() == pytest.approx(cost[whole[0][:7], whole[1][:7]].sum())


def test_layers_and_pictures_are_matched_by_themselves() -> None:
    draw = torch.Generator().manual_seed(0)
    scores = torch.rand(3, 2, 4, 9, generator=draw)
    boxes = torch.rand(3, 2, 9, 4, generator=draw) * 0.5 + 0.1
    pixels = torch.rand(5, 2, generator=draw) * 30
    extent = torch.tensor([[64.0, 32, 64, 32]])
    # The middle picture is empty, and the last has an ignore region.
    targets = truth(torch.cat((pixels, pixels + 9), 1), [0, 1, 2, 3, -1], [0, 0, 0, 2, 2], 3, ignore=(4,))
    found = Hungarian()(scores, boxes, targets, extent)
    assert found.picture.bincount(minlength=3).tolist() == [6, 0, 2]
    assert sorted(found.target.tolist()) == [0, 0, 1, 1, 2, 2, 3, 3]
    for picture, layer in itertools.product(range(3), range(2)):
        one = slice(picture, picture + 1), slice(layer, layer + 1)
        mine = targets.image == picture
        part = truth(
            targets.boxes[mine], targets.labels[mine].tolist(), ignore=targets.ignore[mine].nonzero().flatten().tolist()
        )
        alone = Hungarian()(scores[one], boxes[one], part, extent)
        here = (found.picture == picture) & (found.layer == layer)
        assert torch.equal(found.query[here], alone.query)
        assert torch.equal(found.target[here], mine.nonzero().flatten()[alone.target])


def test_more_objects_than_queries_leave_some_without() -> None:
    scores, boxes, targets = scene()
    found = Hungarian()(scores[..., :2], boxes[:, :, :2], targets, EXTENT)
    assert sorted(found.query.tolist()) == [0, 1]
    assert len(set(found.target.tolist())) == 2


def test_broken_predictions_attract_nobody() -> None:
    scores, boxes, targets = scene()
    want = Hungarian()(scores, boxes, targets, EXTENT)
    broken = boxes.clone()
    spare = next(q for q in range(10) if q not in want.query.tolist())
    broken[0, 0, spare] = float("nan")
    got = Hungarian()(scores, broken, targets, EXTENT)
    assert torch.equal(got.query, want.query)
    assert Hungarian()(scores, torch.full_like(boxes, float("inf")), targets, EXTENT).target.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    "option", ["cls=0", "l1=0", "box=0", "alpha=0.9", "gamma=0.5", "similarity=iou"], ids=lambda option: option
)
def test_every_option_changes_the_cost(option: str) -> None:
    scores, boxes, targets = scene()
    chosen = registry.make("assigner", f"hungarian({option})")
    rows = torch.arange(4)
    own = Hungarian().cost(scores[0], boxes[0], targets, rows, EXTENT, (64, 64))
    assert (chosen.cost(scores[0], boxes[0], targets, rows, EXTENT, (64, 64)) - own).abs().max() > 0.05


def test_an_unknown_similarity_is_refused() -> None:
    with pytest.raises(FineSpotError, match=r"unknown box loss 'gious'.*giou"):
        Hungarian(similarity="gious")


def test_a_similarity_that_cannot_be_made_is_refused_when_it_is_chosen() -> None:
    with pytest.raises(FineSpotError, match="unknown option of the box loss 'nwd' 'constat'"):
        Hungarian(similarity="nwd(constat=3)")
    with pytest.raises(FineSpotError, match="constant above 0"):
        Hungarian(similarity="nwd(constant=0)")
