"""The RetinaNet head: anchors, their places on maps of any sides, decoding, rows of classes."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from finespot.errors import FineSpotError
from finespot.nn.heads import RetinaHead
from finespot.nn.heads.deltas import boxes_of, deltas_of
from finespot.nn.heads.points import candidates_of, input_size
from finespot.nn.heads.retina_anchors import anchors_of
from finespot.structures import Features, Level

GOLDEN = json.loads((Path(__file__).parents[1] / "zoo" / "data" / "retinanet.json").read_text())
LEVELS = tuple(Level(32, stride) for stride in (8, 16, 32, 64, 128))


def maps(size: tuple[int, int], width: int = 32, levels=LEVELS) -> Features:
    draw = torch.Generator().manual_seed(0)
    shapes = [(-(-size[0] // level.stride), -(-size[1] // level.stride)) for level in levels]
    return Features([torch.randn(1, width, *shape, generator=draw) for shape in shapes], levels)


def made(**options: object) -> RetinaHead:
    torch.manual_seed(0)
    return RetinaHead(LEVELS, 3, **options).eval()


def test_rounded_anchors_are_the_published_ones() -> None:
    assert [(w / 2, h / 2) for w, h in anchors_of(8)] == [tuple(pair) for pair in GOLDEN["anchors_of_stride_8"]]
    for level, sizes in zip(LEVELS, GOLDEN["sizes"]):
        squares = anchors_of(level.stride)[3:6]
        assert squares == [(2.0 * round(size / 2), 2.0 * round(size / 2)) for size in sizes]


def test_plain_anchors_keep_area_and_ratio() -> None:
    found = np.array(anchors_of(16, scale=2.0, rounded=False))
    areas = [(32 * 2 ** (i / 3)) ** 2 for i in range(3)]
    assert np.allclose(found.prod(1), areas * 3)
    assert np.allclose(found[:, 1] / found[:, 0], np.repeat([0.5, 1, 2], 3))


def test_a_small_scale_rounds_no_anchor_away() -> None:
    assert min(min(pair) for pair in anchors_of(8, scale=0.1)) == 2.0


def test_points_are_ordered_level_anchor_row_column() -> None:
    head, size = made(), (256, 128)
    with torch.no_grad():
        raw = head(maps(size))
    points = raw["anchors"][0]
    assert points.shape == (9 * sum(256 // s * 128 // s for s in (8, 16, 32, 64, 128)), 5)
    rows, columns = 256 // 8, 128 // 8
    first = points[: 9 * rows * columns].view(9, rows, columns, 5)
    assert first[4, 2, 3].tolist() == [24.0, 16.0, 8.0, 40.0, 40.0]
    assert first[0, 0, 0].tolist() == [0.0, 0.0, 8.0, 46.0, 22.0]
    assert input_size(raw["anchors"], 0.0) == size


def test_values_belong_to_their_anchor_and_cell() -> None:
    head, features = made(), maps((96, 352))
    with torch.no_grad():
        raw = head(features)
        x = features.maps[1]
        logits, deltas = head.classify(head.class_tower(x)), head.regress(head.box_tower(x))
    begin = 9 * features.maps[0].shape[2] * features.maps[0].shape[3]
    rows, columns = x.shape[2:]
    for anchor, row, column in ((0, 0, 0), (5, 2, 7), (8, 5, 21)):
        n = begin + (anchor * rows + row) * columns + column
        assert torch.equal(raw["scores"][0, :, n], logits[0, anchor * 3 : anchor * 3 + 3, row, column])
        assert torch.equal(raw["boxes"][0, :, n], deltas[0, anchor * 4 : anchor * 4 + 4, row, column])


@pytest.mark.parametrize("size", [(96, 352), (160, 192)])
def test_cells_of_coarse_levels_are_spread_over_the_picture(size: tuple[int, int]) -> None:
    spread, even = made(), made(spread=False)
    with torch.no_grad():
        a, b = spread(maps(size))["anchors"], even(maps(size))["anchors"]
    for stride in (8, 16, 32, 64, 128):
        rows, columns = -(-size[0] // stride), -(-size[1] // stride)
        for points, down, right in ((a, size[0] // rows, size[1] // columns), (b, stride, stride)):
            level = points[0, points[0, :, 2] == stride].view(9, rows, columns, 5)
            assert level[0, :, 0, 1].tolist() == [float(i * down) for i in range(rows)]
            assert level[8, 0, :, 0].tolist() == [float(i * right) for i in range(columns)]
    assert torch.equal(a[..., 2:], b[..., 2:])
    assert input_size(a, 0.0) == input_size(b, 0.0) == size


def test_candidates_say_whether_the_points_are_grids() -> None:
    strides = [level.stride for level in LEVELS]
    with torch.no_grad():
        spread, even = made()(maps((96, 352)))["anchors"], made(spread=False)(maps((96, 352)))["anchors"]
    assert candidates_of(spread, strides, 9, 0.0).grids == ()
    found = candidates_of(even, strides, 9, 0.0)
    assert found.grids[::9] == ((8, 12, 44), (16, 6, 22), (32, 3, 11), (64, 2, 6), (128, 1, 3))
    assert len(found.grids) == 45
    assert found.sizes is not None
    assert sum(rows * columns for _, rows, columns in found.grids) == len(found)


def test_decoding_follows_the_formula_and_limits_growth() -> None:
    head = made()
    raw = {
        "boxes": torch.tensor([[0.5, -0.25, math.log(2), 9.0]]).unsqueeze(2),
        "anchors": torch.tensor([[[40.0, 80.0, 8.0, 20.0, 10.0]]]),
    }
    tall = 10 * 1000 / 16
    want = [50 - 20, 77.5 - tall / 2, 50 + 20, 77.5 + tall / 2]
    assert head.decode_boxes(raw)[0, 0].tolist() == pytest.approx(want, rel=1e-6)


@given(
    st.lists(st.floats(-200, 200), min_size=2, max_size=2),
    st.lists(st.floats(0.5, 300), min_size=2, max_size=2),
    st.lists(st.floats(8, 500), min_size=2, max_size=2),
)
def test_deltas_go_round(center: list[float], side: list[float], anchor: list[float]) -> None:
    middle, sides = torch.tensor([center]), torch.tensor([side])
    box = torch.cat((middle - sides / 2, middle + sides / 2), 1)
    place = torch.tensor([[16.0, 24.0, 8.0, *anchor]])
    assert torch.allclose(boxes_of(deltas_of(box, place), place), box, rtol=0, atol=2e-3)


def test_an_empty_target_has_finite_deltas() -> None:
    point = torch.tensor([[5.0, 5.0, 5.0, 5.0]])
    assert torch.isfinite(deltas_of(point, torch.tensor([[0.0, 0.0, 8.0, 32.0, 32.0]]))).all()


def test_start_values() -> None:
    head = made(group_norm=True)
    assert head.classify.bias.unique().tolist() == pytest.approx([-math.log(99)])
    assert head.regress.bias.abs().sum() == 0
    assert head.class_tower[0].conv.bias is None
    assert head.classify.weight.std().item() == pytest.approx(0.01, rel=0.1)


def test_rows_of_classes() -> None:
    head = made()
    parameters = dict(head.named_parameters())
    assert {parameters[name].shape[0] for name in head.class_rows()} == {head.class_repeats * 3}


def test_levels_of_different_width_are_refused() -> None:
    with pytest.raises(FineSpotError, match="levels of one width but got 32, 64"):
        RetinaHead((Level(32, 8), Level(64, 16)), 2)
    with pytest.raises(FineSpotError, match="anchor_scale above 0"):
        made(anchor_scale=0.0)
