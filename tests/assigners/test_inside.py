"""Pairs of boxes and points inside: counted out on grids, and tested one by one."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from finespot.assigners.inside import points_inside
from finespot.boxes.geometry import at_least
from finespot.nn.heads.points import make_anchors
from finespot.structures import Candidates

SIZE, STRIDES = (96, 160), (8, 16, 32)
# Quarter pixels fall on centers and edges often.
coordinate = st.integers(-40, 800).map(lambda quarter: quarter / 4)


def grid(strides: tuple[int, ...] = STRIDES) -> Candidates:
    sizes = [(SIZE[0] // s, SIZE[1] // s) for s in strides]
    anchors = make_anchors(sizes, strides, torch.device("cpu"))[0]
    return Candidates(anchors[:, :2], anchors[:, 2], tuple((s, *size) for s, size in zip(strides, sizes)))


def slow(boxes: torch.Tensor, candidates: Candidates) -> list[tuple[int, int]]:
    return [
        (i, j)
        for i, (x1, y1, x2, y2) in enumerate(boxes.tolist())
        for j, (x, y) in enumerate(candidates.centers.tolist())
        if x1 < x < x2 and y1 < y < y2
    ]


@settings(deadline=None, max_examples=60)
@given(corners=st.lists(st.tuples(coordinate, coordinate, coordinate, coordinate), max_size=6))
def test_both_ways_agree_with_the_definition(corners: list[tuple[float, float, float, float]]) -> None:
    boxes = torch.tensor([[min(a, c), min(b, d), max(a, c), max(b, d)] for a, b, c, d in corners]).reshape(-1, 4)
    ordered = grid()
    loose = Candidates(ordered.centers, ordered.strides)
    for candidates in (ordered, loose):
        box, point = points_inside(boxes, candidates)
        assert list(zip(box.tolist(), point.tolist())) == slow(boxes, candidates)


def test_many_boxes_over_loose_points_are_taken_in_shares(monkeypatch) -> None:
    monkeypatch.setattr("finespot.assigners.inside._CHUNK", 700)
    ordered = grid()
    corners = torch.rand(50, 2, generator=torch.Generator().manual_seed(0)) * 90
    boxes = torch.cat((corners, corners + 20), 1)
    got = points_inside(boxes, Candidates(ordered.centers, ordered.strides))
    assert all(torch.equal(a, b) for a, b in zip(got, points_inside(boxes, ordered)))


def test_widened_touches_short_sides_only() -> None:
    boxes = torch.tensor([[10.1, 20.2, 12.3, 90.7], [0.0, 0.0, 16.0, 16.0]])
    got = at_least(boxes, 16.0)
    assert torch.allclose(got[0], torch.tensor([3.2, 20.2, 19.2, 90.7]))
    assert torch.equal(got[1], boxes[1])
    assert torch.equal(got[0, 1::2], boxes[0, 1::2])
