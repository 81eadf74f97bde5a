"""The nearest points of each group, counted out on grids and searched among all."""

from __future__ import annotations

import torch
from assigner_scenes import anchored, loose, points
from hypothesis import given, settings
from hypothesis import strategies as st

from finespot.assigners.groups import groups_of
from finespot.assigners.inside import points_inside
from finespot.assigners.nearest import nearest_points
from finespot.structures import Candidates

# Quarter pixels fall on centers and halfway between them often, and outside the picture.
coordinate = st.integers(-80, 480).map(lambda quarter: quarter / 4)


def slow(middles: torch.Tensor, candidates: Candidates, count: int, scale: torch.Tensor) -> list[tuple[int, int]]:
    groups, found = groups_of(candidates), []
    for target in range(len(middles)):
        away = ((candidates.centers - middles[target]) / scale[target]).square().sum(1)
        for group in range(len(groups)):
            mine = away[groups.of_point == group]
            bound = mine.sort().values[:count][-1]
            found += [(target, int(p)) for p in ((away <= bound * (1 + 1e-6)) & (groups.of_point == group)).nonzero()]
    return sorted(found)


@settings(deadline=None, max_examples=40)
@given(
    middles=st.lists(st.tuples(coordinate, coordinate), max_size=4),
    count=st.integers(1, 9),
    flat=st.sampled_from([(1.0, 1.0), (40.0, 2.0), (0.3, 9.0)]),
    anchors=st.booleans(),
)
def test_both_ways_agree_with_the_definition(
    middles: list[tuple[float, float]], count: int, flat: tuple[float, float], anchors: bool
) -> None:
    where = torch.tensor(middles).reshape(-1, 2)
    scale = torch.tensor(flat).expand(len(where), 2)
    ordered = anchored((16, 32)) if anchors else points((8, 32))
    for candidates in (ordered, loose(ordered)):
        target, point = nearest_points(where, candidates, count, scale)
        assert list(zip(target.tolist(), point.tolist())) == slow(where, candidates, count, scale)


def test_a_box_for_each_group() -> None:
    ordered = anchored((8, 16))
    draw = torch.Generator().manual_seed(0)
    low = torch.rand(5, 4, 2, generator=draw) * 60
    boxes = torch.cat((low, low + 5 + 30 * torch.rand(5, 4, 2, generator=draw)), 2)
    group = groups_of(ordered).of_point
    want = [
        (t, p)
        for t in range(5)
        for p, (x, y) in enumerate(ordered.centers.tolist())
        if boxes[t, group[p], 0] < x < boxes[t, group[p], 2] and boxes[t, group[p], 1] < y < boxes[t, group[p], 3]
    ]
    for candidates in (ordered, loose(ordered)):
        box, point = points_inside(boxes, candidates)
        assert sorted(zip(box.tolist(), point.tolist())) == want
