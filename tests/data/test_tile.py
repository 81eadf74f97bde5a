"""Cutting into tiles: windows, truth at the borders, what is kept."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from memory_factory import CLASSES, OBJECT, made

from finespot.data import Dataset, open_dataset
from finespot.data.tiles import TINYPERSON_VISIBLE, Border, tile_dataset, tinyperson_windows
from finespot.data.tiles.grid import regular_windows, shifted_windows
from finespot.data.tiles.tile import Tiled
from finespot.errors import FineSpotError
from finespot.structures import Tiling

GOLDEN: dict[str, list[list[int]]] = json.loads(
    (Path(__file__).parent / "golden" / "tinyperson_windows.json").read_text()
)
HIT_UAV = Path(__file__).parents[3] / "shared" / "data" / "hit-uav"


def truth_of(tiled: Tiled, name: str) -> list[tuple[list[float], int, bool]]:
    data = tiled.dataset
    index = next(i for i in range(len(data)) if data.image_id(i) == name)
    one = data.annotations(index)
    return list(zip(one.boxes.tolist(), one.labels.tolist(), one.ignore.tolist()))


@pytest.mark.parametrize("key", GOLDEN)
def test_tinyperson_windows_are_those_of_its_program(key: str) -> None:
    width, height = map(int, key.rpartition("_")[2].split("x"))
    fixed, least = key.startswith("fixed"), "least" in key
    cut = tinyperson_windows((height, width), fixed_size=fixed, least_pieces=least)
    assert [list(window) for window in cut] == GOLDEN[key]


def test_tinyperson_cuts_a_picture_below_its_overlap_too() -> None:
    assert tinyperson_windows((40, 30)) == [(0, 0, 30, 40)]


def test_tinyperson_rule_keeps_by_the_root_of_the_share_and_drops() -> None:
    """sqrt(0.5) is above 0.7, sqrt(0.48) is not; windows meet at x 590 to 640."""
    rows = [((630.0, 10.0, 650.0, 20.0), 0, False), ((630.4, 30.0, 650.4, 40.0), 0, False)]
    tiled = tile_dataset(made([((512, 1230), rows)]), tinyperson_windows, border=Border(TINYPERSON_VISIBLE, "drop"))
    assert [box for box, _, _ in truth_of(tiled, "p0__0_0")] == [[630, 10, 640, 20]]
    assert len(truth_of(tiled, "p0__590_0")) == 2


@settings(max_examples=50, deadline=None)
@given(st.integers(20, 300), st.integers(20, 300), st.integers(32, 120), st.sampled_from([0, 0.2, 0.5]), st.data())
def test_shifted_windows(height: int, width: int, side: int, overlap: float, data: Any) -> None:
    tiling = Tiling(side, overlap)
    step = side - int(np.ceil(side * overlap - 1e-9))
    shares = st.floats(-0.5, 0.5, exclude_max=True)
    shift = data.draw(st.one_of(st.just((0.0, 0.0)), st.tuples(shares, shares)))
    windows = shifted_windows((height, width), tiling, shift)
    assert len(windows) == len(regular_windows((height, width), tiling))
    assert len(set(windows)) == len(windows)
    seen = np.zeros((height, width), bool)
    for x1, y1, x2, y2 in windows:
        assert (x2 - x1, y2 - y1) == (min(side, width), min(side, height))
        assert 0 <= x1 < x2 <= width
        assert 0 <= y1 < y2 <= height
        seen[y1:y2, x1:x2] = True
    assert seen[seen.any(1)][:, seen.any(0)].all(), "no gaps"
    assert seen.all() or shift != (0, 0)
    assert (~seen.any(1)).sum() <= step / 2 + 1
    for one, following in pairwise(windows):
        if one[1] == following[1]:
            assert 0 < following[0] - one[0] <= step, "neighbors overlap at least as asked"


@pytest.mark.parametrize(
    ("shift", "starts"), [(0.0, [0, 25, 50, 75, 100]), (0.48, [12, 37, 62, 87, 100]), (-0.4, [0, 15, 40, 65, 90])]
)
def test_shifts_move_all_windows(shift: float, starts: list[int]) -> None:
    assert [x for x, *_ in shifted_windows((32, 132), Tiling(32, 0.0), (shift, 0.0))] == starts
    assert [y for _, y, *_ in shifted_windows((132, 32), Tiling(32, 0.0), (0.0, shift))] == starts


@pytest.mark.parametrize(
    ("border", "left", "right"),
    [
        (Border(0.4), [([90, 10, 100, 20], 1, False)], [([0, 10, 10, 20], 1, False)]),
        (Border(0.5), [([90, 10, 100, 20], 1, False)], [([0, 10, 10, 20], 1, False)]),
        (Border(0.51), [([90, 10, 100, 20], 1, True)], [([0, 10, 10, 20], 1, True)]),
        (Border(0.51, "drop"), [], []),
    ],
)
def test_objects_at_a_border(border: Border, left: list[Any], right: list[Any]) -> None:
    tiled = tile_dataset(made([((100, 200), [OBJECT])]), Tiling(100, 0.0), border=border)
    assert truth_of(tiled, "p0__0_0") == left
    assert truth_of(tiled, "p0__100_0") == right


@pytest.mark.parametrize("border", [Border(), Border(cut="drop")])
def test_ignore_regions_stay_however_little_shows(border: Border) -> None:
    rows = [((0.0, 0.0, 101.0, 50.0), -1, True), ((99.0, 60.0, 180.0, 90.0), 0, True)]
    tiled = tile_dataset(made([((100, 200), rows)]), Tiling(100, 0.0), border=border)
    assert truth_of(tiled, "p0__0_0") == [([0, 0, 100, 50], -1, True), ([99, 60, 100, 90], 0, True)]
    assert truth_of(tiled, "p0__100_0") == [([0, 0, 1, 50], -1, True), ([0, 60, 80, 90], 0, True)]


def test_strips_that_no_label_file_can_hold_are_no_regions() -> None:
    rows = [((0.0, 0.0, 100.04, 50.0), -1, True), ((0.0, 50.0, 100.06, 90.0), -1, True)]
    tiled = tile_dataset(made([((100, 200), rows)]), Tiling(100, 0.0))
    (box, label, ignore) = truth_of(tiled, "p0__100_0")[0]
    assert len(truth_of(tiled, "p0__100_0")) == 1
    assert box == pytest.approx([0, 50, 0.06, 90], abs=1e-4)
    assert (label, ignore) == (-1, True)


def test_area_attributes_ids_and_groups_follow() -> None:
    data = made([((100, 200), [OBJECT, ((0.0, 0.0, 8.0, 8.0), 0, False)])], groups=["video"])
    tiles = tile_dataset(data, Tiling(100, 0.0)).dataset
    left, right = tiles.annotations(0), tiles.annotations(1)
    assert left.area.tolist() == [40, 80]
    assert right.area.tolist() == [40]
    assert left.attributes["occlusion"].tolist() == [0, 1]
    assert right.attributes["occlusion"].tolist() == [0]
    assert [*left.ids, *right.ids] == [1, 2, 3]
    assert {tiles.group(0), tiles.group(1)} == {"video"}
    assert tiles.classes == CLASSES


def test_tiles_keep_the_group_of_their_picture() -> None:
    tiles = tile_dataset(made([((100, 200), [OBJECT])] * 2), Tiling(100, 0.0)).dataset
    assert [tiles.group(i) for i in range(4)] == ["/pictures/0.png"] * 2 + ["/pictures/1.png"] * 2


def test_windows_of_windows_nest() -> None:
    data = made([((100, 200), [OBJECT]), ((50, 60), [])], windows=[(590, 40, 790, 140), None])
    tiled = tile_dataset(data, Tiling(100, 0.0))
    tiles = tiled.dataset
    assert [tiles.window(i) for i in range(3)] == [(590, 40, 690, 140), (690, 40, 790, 140), None]
    assert [tiles.size(i) for i in range(3)] == [(100, 100), (100, 100), (50, 60)]
    assert [tiles.image_id(i) for i in range(3)] == ["p0__0_0", "p0__100_0", "p1__0_0"]
    assert [(one.picture, one.window) for one in tiled.origins] == [
        (0, (0, 0, 100, 100)),
        (0, (100, 0, 200, 100)),
        (1, (0, 0, 60, 50)),
    ]


@pytest.mark.parametrize(("share", "kept"), [(0.0, 0), (0.25, 2), (1.0, 8)])
def test_tiles_without_objects_are_thinned_out(share: float, kept: int) -> None:
    region = ((10.0, 10.0, 20.0, 20.0), -1, True)
    data = made([((100, 300), [((10.0, 10.0, 20.0, 20.0), 0, False)])] + [((100, 300), [region])] * 2)
    tiled = tile_dataset(data, Tiling(100, 0.0), keep_empty=share)
    assert len(tiled.dataset) == 1 + kept
    assert tiled.dataset.image_id(0) == "p0__0_0"
    assert tiled.dataset.notes[0] == (f"3 pictures cut into 9 tiles: 1 with objects, and {kept} of the 8 without kept")
    places = [(one.picture, one.window[1], one.window[0]) for one in tiled.origins]
    assert places == sorted(places)


def test_the_seed_decides_which_empty_tiles_stay() -> None:
    def stay(seed: int) -> list[int | str]:
        tiles = tile_dataset(made([((100, 2000), [])]), Tiling(100, 0.0), keep_empty=0.3, seed=seed).dataset
        return [tiles.image_id(i) for i in range(len(tiles))]

    assert stay(0) == stay(0) != stay(1)


def test_notes_say_what_was_lost() -> None:
    rows = [OBJECT, ((0.0, 50.0, 200.0, 90.0), 0, False)]
    assert tile_dataset(made([((100, 200), rows)]), Tiling(100, 0.0), border=Border(0.6)).dataset.notes[1:] == [
        "4 times an object shows less than 0.6 of itself in a tile: an ignore region there",
        "2 objects show so much of themselves in no tile: too large for these tiles, or for their overlap",
    ]
    assert tile_dataset(made([((100, 200), rows)]), Tiling(100, 0.0)).dataset.notes[1:] == []
    dropped = tile_dataset(made([((100, 200), rows[:1])]), Tiling(100, 0.5), border=Border(0.6, "drop")).dataset.notes
    assert dropped[1:] == ["2 times an object shows less than 0.6 of itself in a tile: left out there"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda: Border(0), "min_visible: expected a share from 0.01 to 1 but got 0"),
        (lambda: Border(1.1), "min_visible: expected"),
        (lambda: Border(cut="keep"), "cut: unknown treatment of cut objects 'keep'; did you mean"),
        (
            lambda: tile_dataset(made([]), Tiling(100), keep_empty=2),
            "keep_empty: expected a share from 0 to 1 but got 2",
        ),
    ],
)
def test_settings_out_of_range(change: Callable[[], object], message: str) -> None:
    with pytest.raises(FineSpotError, match=message):
        change()


@st.composite
def data_sets(draw: st.DrawFn) -> Dataset:
    pictures = []
    for _ in range(draw(st.integers(1, 3))):
        height, width = draw(st.integers(20, 150)), draw(st.integers(20, 150))
        rows = []
        for _ in range(draw(st.integers(0, 6))):
            x, y = draw(st.floats(0, width - 1)), draw(st.floats(0, height - 1))
            w, h = draw(st.floats(0.5, 60)), draw(st.floats(0.5, 60))
            ignore = draw(st.booleans())
            label = draw(st.integers(-1 if ignore else 0, 1))
            rows.append(((x, y, min(x + w, width), min(y + h, height)), label, ignore))
        pictures.append(((height, width), rows))
    return made(pictures)


@settings(max_examples=50, deadline=None)
@given(
    data_sets(),
    st.integers(32, 90),
    st.sampled_from([0.0, 0.2, 0.6]),
    st.floats(0.05, 1),
    st.sampled_from(["ignore", "drop"]),
)
def test_equals_the_rule_applied_box_by_box(data: Dataset, side: int, overlap: float, visible: float, cut: str) -> None:
    tiled = tile_dataset(data, Tiling(side, overlap), border=Border(visible, cut))
    tiles, number = tiled.dataset, 0
    for index in range(len(data)):
        truth = data.annotations(index)
        for x1, y1, x2, y2 in regular_windows(data.size(index), Tiling(side, overlap)):
            expected = []
            for (a1, b1, a2, b2), label, ignore in zip(truth.boxes.tolist(), truth.labels, truth.ignore):
                inner = [max(a1, x1) - x1, max(b1, y1) - y1, min(a2, x2) - x1, min(b2, y2) - y1]
                w, h = inner[2] - inner[0], inner[3] - inner[1]
                if w <= 0 or h <= 0:
                    continue
                whole = not ignore and w * h / ((a2 - a1) * (b2 - b1)) >= visible
                if whole or (min(w, h) >= 0.051 and (ignore or cut == "ignore")):
                    expected.append((inner, label, not whole))
                elif min(w, h) >= 0.049 and (ignore or cut == "ignore"):
                    return  # too near to the thickness at which strips are left out to tell
            got = tiles.annotations(number)
            assert tiles.size(number) == (y2 - y1, x2 - x1)
            assert got.labels.tolist() == [label for _, label, _ in expected]
            assert got.ignore.tolist() == [ignore for _, _, ignore in expected]
            np.testing.assert_allclose(got.boxes, np.array([box for box, _, _ in expected]).reshape(-1, 4), atol=1e-4)
            number += 1
    assert number == len(tiles)


@pytest.mark.slow
@pytest.mark.skipif(not HIT_UAV.is_dir(), reason="needs the whole data set")
def test_every_object_no_larger_than_the_overlap_lies_whole_in_a_tile() -> None:
    data = open_dataset(f"hit-uav:{HIT_UAV}", "val")
    tiled = tile_dataset(data, Tiling(256, 0.25), border=Border(1.0, "drop"))
    whole = {
        (origin.picture, label, *(box + origin.window[:2] * 2).round(2).tolist())
        for i, origin in enumerate(tiled.origins)
        for box, label, ignore in zip(*tiled.dataset.columns(i))
        if not ignore
    }
    count = 0
    for i in range(len(data)):
        for box, label, ignore in zip(*data.columns(i)):
            if not ignore and (box[2:] - box[:2]).max() <= 64:
                assert (i, label, *box.round(2).tolist()) in whole
                count += 1
    assert count > 2000
