"""Cores part the map, windows show them and their halo, gathering is exact."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from finespot.errors import FineSpotError
from finespot.nn.windows import UNIT, Grid, gather, shifted, widened

UNITS = st.integers(1, 12).map(lambda n: n * UNIT)


@st.composite
def grids(draw: st.DrawFn) -> Grid:
    halo = draw(st.integers(0, 3)) * UNIT
    core = (halo + draw(UNITS), halo + draw(UNITS))
    shift = tuple(draw(st.integers(0, side // UNIT - 1)) * UNIT - halo for side in core)
    return Grid((draw(UNITS), draw(UNITS)), core, halo, shift)


@settings(max_examples=60, deadline=None)
@given(grids())
def test_cores_part_the_map_and_windows_hold_their_core_and_halo(grid: Grid) -> None:
    origins, cores = grid.places(torch.device("cpu"))
    rows, columns = grid.size
    assert len(origins) == len(cores) == grid.cores
    assert (origins % UNIT == 0).all()
    assert len({tuple(one) for one in origins.tolist()}) == len(origins)
    assert (origins >= 0).all()
    high = origins + torch.tensor(grid.window).flip(0)
    assert (high <= torch.tensor([columns, rows])).all()
    # Inside the map a window shows the halo on every side, at its border as much as there is.
    inner = torch.stack([cores[:, 0].clamp(min=0), cores[:, 1].clamp(min=0)], 1)
    outer = torch.stack([cores[:, 2].clamp(max=columns), cores[:, 3].clamp(max=rows)], 1)
    assert (origins <= (inner - grid.halo).clamp(min=0)).all()
    assert (high >= torch.minimum(outer + grid.halo, torch.tensor([columns, rows]))).all()
    y, x = torch.meshgrid(torch.arange(-3, rows + 3), torch.arange(-3, columns + 3), indexing="ij")
    for offset in (0.0, 0.5):
        points = torch.stack((x.flatten(), y.flatten()), 1) + offset
        inside = (points[:, None] >= cores[:, :2]).all(2) & (points[:, None] < cores[:, 2:]).all(2)
        assert (inside.sum(1) == 1).all()
        assert torch.equal(inside.int().argmax(1), grid.core_of(points))


@settings(max_examples=40, deadline=None)
@given(grids(), st.integers(0, 100))
def test_putting_the_cores_back_gives_the_map(grid: Grid, seed: int) -> None:
    x = torch.randn(2, 3, *grid.size, generator=torch.Generator().manual_seed(seed))
    origins, cores = grid.places(x.device)
    picture = torch.arange(2).repeat_interleave(grid.cores)
    windows = gather(x, picture, origins.repeat(2, 1), grid.window)
    assert windows.shape == (2 * grid.cores, 3, *grid.window)
    back = torch.full_like(x, math.nan)
    limit = torch.tensor([grid.size[1], grid.size[0]] * 2)
    for number, window in enumerate(windows):
        b, (left, top) = int(picture[number]), origins[number % grid.cores].tolist()
        x1, y1, x2, y2 = cores[number % grid.cores].clamp(min=0).minimum(limit).long().tolist()
        back[b, :, y1:y2, x1:x2] = window[:, y1 - top : y2 - top, x1 - left : x2 - left]
    assert torch.equal(back, x)
    largest = grid.largest(x[:, :1])
    for number in range(grid.cores):
        x1, y1, x2, y2 = cores[number].clamp(min=0).minimum(limit).long().tolist()
        assert torch.equal(largest[:, number], x[:, 0, y1:y2, x1:x2].amax((1, 2)))


def test_gathering_passes_gradients_on() -> None:
    x = torch.zeros(1, 1, 8, 8, requires_grad=True)
    picture, origins = torch.zeros(2, dtype=torch.int64), torch.tensor([[0, 0], [4, 0]])
    gather(x, picture, origins, (8, 4)).sum().backward()
    assert (x.grad == 1).all()
    assert gather(x, picture[:0], origins[:0], (8, 4)).shape == (0, 1, 8, 4)


@pytest.mark.parametrize(
    ("size", "window", "shape"),
    [
        # The network's input over 8, the windows and how many of them, of the released networks.
        ((192, 192), (24, 24), (8, 8)),
        ((108, 192), (16, 24), (7, 8)),
        ((136, 240), (20, 32), (7, 8)),
        ((88, 160), (12, 20), (8, 8)),
        ((144, 256), (20, 32), (8, 8)),
        ((96, 96), (12, 12), (8, 8)),
    ],
)
def test_published_windows(size: tuple[int, int], window: tuple[int, int], shape: tuple[int, int]) -> None:
    grid = Grid.published(size, 8)
    assert (grid.window, grid.shape) == (window, shape)
    turned = Grid.published(size[::-1], 8)
    assert (turned.window[::-1], turned.shape[::-1]) == (window, shape)


def test_published_windows_move_onto_what_fires_also_when_the_picture_is_turned() -> None:
    active = torch.zeros(1, 1, 108, 192, dtype=torch.bool)
    active[..., 9:12, 9:12] = True
    active[..., 104:108, 100:103] = True
    numbers = torch.tensor([0, 6 * 8 + 4])
    moved = shifted(Grid.published((108, 192), 8), torch.zeros(2, dtype=torch.int64), numbers, active)
    # Nine free rows of 16 above, but of 24 columns twelve behind, and the map begins there; the lowest ends with it.
    assert moved.tolist() == [[0, 9], [79, 92]]
    # Where coarser maps are cut at the same places: by fewer, so that what fires stays inside.
    whole = shifted(Grid.published((108, 192), 8), torch.zeros(2, dtype=torch.int64), numbers, active, unit=4)
    assert whole.tolist() == [[0, 8], [80, 92]]
    turned = torch.tensor([0, 4 * 7 + 6])
    grid = Grid.published((192, 108), 8)
    again = shifted(grid, torch.zeros(2, dtype=torch.int64), turned, active.transpose(2, 3))
    assert again.flip(1).tolist() == moved.tolist()


@pytest.mark.parametrize(
    "change", [{"core": (30, 32)}, {"halo": 3}, {"size": (90, 64)}, {"core": (0, 4)}, {"shift": (28, 0)}]
)
def test_lengths_off_the_unit_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(FineSpotError, match="windows: expected a map, cores, a halo and a shift of multiples of 4"):
        Grid(**{"size": (64, 64), "core": (32, 32), "halo": 4, **change})


def test_cores_reach_over_a_border_where_nothing_runs_behind_it() -> None:
    grid = Grid((12, 24), (4, 8))
    picks = torch.zeros(2, 3, 3, dtype=torch.bool)
    picks[0, 1, 1] = picks[0, 1, 2] = picks[1] = True
    picture, number = torch.tensor([0, 0, 1]), torch.tensor([4, 5, 4])
    cores = grid.places(picks.device).cores[number]
    assert cores[0].tolist() == [8, 4, 16, 8]
    wide = widened(cores, picks, picture, number, 2)
    assert wide.tolist() == [[6, 2, 16, 10], [16, 2, math.inf, 10], [8, 4, 16, 8]]
    # At the border of the map nothing is behind.
    assert widened(cores[:0], picks, picture[:0], number[:0], 2).shape == (0, 4)
