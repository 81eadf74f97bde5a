"""Dividing data sets: groups stay together, shares come near the wish, and a seed decides."""

from __future__ import annotations

import os
from collections import defaultdict
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_format import make_plain, row

from finespot.data import open_dataset
from finespot.data.convert import convert
from finespot.data.convert.pool import Pool
from finespot.data.dataset import Rows
from finespot.data.split import Grouping, assign, divide, group_pictures, parse_ratios
from finespot.errors import FineSpotError
from finespot.structures import Classes

SHARED = Path(__file__).parents[3] / "shared" / "data"
THREE = {"train": 0.7, "val": 0.2, "test": 0.1}


def pool(paths: list[str], labels: list[list[int]] | None = None, groups: list[str] | None = None) -> Pool:
    """Pictures with a box of each label, -2 standing for an ignored object."""
    labels = labels or [[0]] * len(paths)
    flat = np.array([label for one in labels for label in one], np.int64)
    boxes = np.tile(np.array([[0, 0, 5, 5]], np.float32), (len(flat), 1))
    rows = Rows(
        starts=np.cumsum([0, *map(len, labels)]),
        boxes=boxes,
        labels=np.maximum(flat, -1) % 3 if len(flat) else flat,
        ignore=flat < 0,
        area=np.full(len(flat), 25.0),
        ids=np.arange(len(flat)),
    )
    sizes = [(9, 9)] * len(paths)
    classes = Classes(("car", "bus", "boat"))
    return Pool(classes, paths, sizes, list(paths), groups or list(paths), [None] * len(paths), rows)


def split_of(divided: list[tuple[str, Pool]]) -> dict[str, str]:
    return {path: name for name, part in divided for path in part.paths}


def divided(source: Pool, ratios: dict[str, float] = THREE, **options: object) -> dict[str, str]:
    return split_of(divide([("all", source)], ratios, **options)[0])  # type: ignore[arg-type]


def test_ratios() -> None:
    assert parse_ratios(["train=0.7,val=0.2", "test=0.1"]) == THREE
    assert parse_ratios(["a=1"]) == {"a": 1.0}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train=0.7,val=0.2"], "expected ratios that add up to 1 but got 0.9"),
        (["train"], "expected ratios as train=0.8 but got 'train'"),
        (["train=x"], "expected ratios as train=0.8"),
        (["train=1,val=0"], "expected each split once, with a share above 0 up to 1, but got 'val=0'"),
        (["train=0.5,train=0.5"], "expected each split once"),
        (["train=nan"], "expected each split once"),
        (["=1"], "expected each split once"),
        ([""], "expected ratios as train=0.8"),
    ],
)
def test_ratios_that_are_none(words: list[str], message: str) -> None:
    with pytest.raises(FineSpotError, match=message):
        parse_ratios(words)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"by": "flight"}, "unknown grouping 'flight'"),
        ({"by": "prefix", "gap": -1}, "expected a gap of 0 or more"),
        ({"by": "video", "gap": 3}, "a gap has no effect with group-by video"),
        ({"by": "none", "gap": 3}, "a gap has no effect with group-by none"),
    ],
)
def test_groupings_that_are_none(options: dict[str, object], message: str) -> None:
    with pytest.raises(FineSpotError, match=message):
        Grouping(**options)  # type: ignore[arg-type]


def test_the_same_on_every_machine() -> None:
    """The names and their splits were written down once; a change here changes everybody's splits."""
    source = pool([f"/somewhere/set/{number:02}x.jpg" for number in range(20)], [[n % 3] * (n % 4) for n in range(20)])
    places = divided(source, seed=0, grouping=Grouping("file"))
    assert "".join(places[path][1] for path in source.paths) == "rraraerrrrarrerarrrr"
    moved = pool(
        [path.replace("somewhere", "else/where") for path in source.paths], [[n % 3] * (n % 4) for n in range(20)]
    )
    assert list(divided(moved, seed=0, grouping=Grouping("file")).values()) == list(places.values())
    assert divided(source, seed=1, grouping=Grouping("file")) != places


def test_order_of_reading_does_not_matter() -> None:
    paths = [f"/d/{number:03}x.jpg" for number in range(60)]
    labels = [[n % 3] * (n % 4) for n in range(60)]
    order = np.random.default_rng(0).permutation(60).tolist()
    shuffled = pool([paths[n] for n in order], [labels[n] for n in order])
    assert divided(shuffled) == divided(pool(paths, labels))


@pytest.mark.slow
@settings(max_examples=50, deadline=None)
@given(
    names=st.lists(st.tuples(st.sampled_from("abcdef"), st.integers(0, 60)), min_size=12, max_size=60, unique=True),
    gap=st.none() | st.integers(0, 9),
    seed=st.integers(0, 3),
)
def test_neighboring_frames_never_straddle(names: list[tuple[str, int]], gap: int | None, seed: int) -> None:
    source = pool([f"/d/{prefix}_{number:03}.jpg" for prefix, number in names])
    grouping = Grouping("prefix", gap)
    if len(set(group_pictures(source, ["/d"] * len(names), grouping, 2)[0])) < 2:
        with pytest.raises(FineSpotError, match="expected at least 2 groups"):
            divided(source, {"train": 0.6, "val": 0.4}, seed=seed, grouping=grouping)
        return
    places = divided(source, {"train": 0.6, "val": 0.4}, seed=seed, grouping=grouping)
    for one, (prefix, number) in zip(source.paths, names):
        for other, (prefix2, number2) in zip(source.paths, names):
            if prefix == prefix2 and (gap is None or abs(number - number2) <= gap):
                assert places[one] == places[other]
    assert set(places.values()) == {"train", "val"}


@pytest.mark.slow
@settings(max_examples=50, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 6), min_size=8, max_size=40),
    labels=st.data(),
    ratios=st.sampled_from([THREE, {"train": 0.5, "val": 0.5}, {"train": 0.9, "val": 0.1}]),
)
def test_groups_stay_whole_and_shares_come_near(
    sizes: list[int], labels: st.DataObject, ratios: dict[str, float]
) -> None:
    paths = [f"/d/g{group}/{number}.jpg" for group, size in enumerate(sizes) for number in range(size)]
    some = st.lists(st.integers(-2, 2), max_size=4)
    drawn = labels.draw(st.lists(some, min_size=len(paths), max_size=len(paths)))
    source = pool(paths, drawn, [os.path.dirname(path) for path in paths])
    parts, _ = divide([("all", source)], ratios, grouping=Grouping("video")) if max(sizes) > 1 else divide(
        [("all", source)], ratios, grouping=Grouping("file")
    )  # fmt: skip
    seen: dict[str, set[str]] = defaultdict(set)
    for name, part in parts:
        assert len(part)
        for path in part.paths:
            seen[os.path.dirname(path)].add(name)
    assert all(len(names) == 1 for names in seen.values())
    assert sum(len(part) for _, part in parts) == len(paths)
    assert sum(len(part.rows.labels) for _, part in parts) == len(source.rows.labels)
    assert [list(part.paths) for _, part in parts] == [sorted(part.paths, key=paths.index) for _, part in parts]


def test_many_small_groups_reach_the_wish_in_every_class() -> None:
    random = np.random.default_rng(0)
    paths = [f"/d/v{video}/{frame}.jpg" for video in range(120) for frame in range(int(random.integers(1, 9)))]
    labels = [random.choice(3, size=int(random.integers(0, 12)), p=[0.7, 0.25, 0.05]).tolist() for _ in paths]
    source = pool(paths, labels, [os.path.dirname(path) for path in paths])
    parts, notes = divide([("all", source)], THREE, grouping=Grouping("video"))
    assert notes == ["grouped by video: 120 groups"]
    totals = np.bincount(source.rows.labels, minlength=3)
    for name, part in parts:
        assert len(part) / len(source) == pytest.approx(THREE[name], abs=0.005)
        shares = np.bincount(part.rows.labels, minlength=3) / totals
        np.testing.assert_allclose(shares, THREE[name], atol=0.02)


def test_assignment_is_no_worse_than_the_best_of_few_groups() -> None:
    """All ways to place seven groups are tried."""
    random = np.random.default_rng(3)
    ratios = [0.6, 0.4]
    for _ in range(20):
        raw = random.integers(1, 20, (7, 3)).astype(float)
        shares = raw / raw.sum(axis=0)
        weights = [{-1: float(one[0]), 0: float(one[1]), 1: float(one[2])} for one in shares]
        places = np.array(assign([str(k) for k in range(7)], weights, ratios))

        def distance(chosen: np.ndarray, shares: np.ndarray = shares) -> float:
            off = shares[chosen].sum(axis=0) - 0.6
            return float(2 * (off[0] ** 2 + 0.5 * off[1] ** 2 + 0.5 * off[2] ** 2))

        every = [np.array([code >> k & 1 for k in range(7)], bool) for code in range(1, 127)]
        assert distance(places == 0) <= min(map(distance, every)) + 0.02


FLIGHTS = [f"f{flight}_{k}.jpg" for flight in range(8) for k in range(5)]


@pytest.mark.parametrize(
    ("names", "groups", "said"),
    [
        (FLIGHTS, None, "grouped by file name without number: 8 groups"),
        ([f"DJI_{k:04}.jpg" for k in range(40)], None, "grouped by file: names without their numbers make 1 group,"),
        ([f"{k:012}.jpg" for k in range(40)], None, "grouped by file: names without their numbers make 1 group,"),
        ([f"{k}x.jpg" for k in range(40)], None, "grouped by file: names without their numbers make 40 groups"),
        (FLIGHTS, [str(k // 4) for k in range(40)], "grouped by video, which the data set names: 10 groups"),
    ],
)
def test_auto_says_what_it_took(names: list[str], groups: list[str] | None, said: str) -> None:
    source = pool([f"/d/{name}" for name in names], groups=groups)
    _, notes = divide([("all", source)], {"train": 0.75, "val": 0.25})
    assert notes[0].startswith(said)


def test_a_gap_means_prefix() -> None:
    source = pool([f"/d/f_{k:03}.jpg" for k in (1, 2, 3, 9, 10, 20, 30, 31)])
    _, notes = divide([("all", source)], {"train": 0.5, "val": 0.5}, grouping=Grouping(gap=1))
    assert notes[0] == "grouped by file name without number: 4 groups, numbers at most 1 apart"


def test_windows_of_a_file_stay_together_unless_told_otherwise() -> None:
    paths = [f"/d/{number // 4}x.jpg" for number in range(40)]
    tiles = pool(paths)
    windows = [(k % 4, 0, 9, 9) for k in range(40)]
    tiles = Pool(**{**vars(tiles), "windows": windows})
    for by, straddle in (("file", False), ("auto", False), ("none", True)):
        parts, _ = divide([("all", tiles)], {"train": 0.5, "val": 0.5}, grouping=Grouping(by))
        assert bool(set(parts[0][1].paths) & set(parts[1][1].paths)) == straddle


def test_frames_of_one_flight_in_two_official_splits_come_together() -> None:
    train = pool([f"/d/images/train/f{flight}_{k:03}.jpg" for flight in range(6) for k in (1, 3, 5)])
    val = pool([f"/d/images/val/f{flight}_{k:03}.jpg" for flight in range(6) for k in (2, 4)])
    parts, notes = divide([("train", train), ("val", val)], {"train": 0.7, "val": 0.3})
    assert notes[0] == "grouped by file name without number: 6 groups"
    flights = [{os.path.basename(path)[:2] for path in part.paths} for _, part in parts]
    assert not flights[0] & flights[1]


def test_folders_tell_sequences_with_equal_names_apart() -> None:
    source = pool([f"/d/seq{sequence}/img{k:06}.jpg" for sequence in range(6) for k in range(5)])
    _, notes = divide([("all", source)], {"train": 0.5, "val": 0.5}, grouping=Grouping("prefix"))
    assert notes == ["grouped by file name without number: 6 groups"]


def test_what_cannot_be_divided() -> None:
    flight = pool([f"/d/f_{k}.jpg" for k in range(9)])
    with pytest.raises(FineSpotError, match="expected at least 2 groups for 2 splits but got 1; group by file"):
        divide([("all", flight)], {"train": 0.5, "val": 0.5}, grouping=Grouping("prefix"))
    with pytest.raises(FineSpotError, match="this data set names no videos"):
        divide([("all", flight)], {"train": 0.5, "val": 0.5}, grouping=Grouping("video"))


def test_what_came_of_it_is_said() -> None:
    source = pool([f"/d/{k}x.jpg" for k in range(3)], [[0], [0], [1]], ["v", "v", "w"])
    _, notes = divide([("all", source)], {"train": 0.9, "val": 0.1}, grouping=Grouping("video"))
    assert notes[1:] == [
        "train has 67% of the pictures, not 90%: groups are not divided",
        "train has no object of bus",
        "val has 33% of the pictures, not 10%: groups are not divided",
        "val has no object of car",
    ]


def test_a_small_split_gets_something_of_few_groups() -> None:
    source = pool([f"/d/{k}x.jpg" for k in range(3)])
    assert sorted(divided(source).values()) == ["test", "train", "val"]


def test_divided_on_disk(tmp_path: Path) -> None:
    pictures = {f"f{flight}_{k}.png": [row(k, 1, k + 9, 9, flight % 2)] for flight in range(10) for k in range(3)}
    source = make_plain(tmp_path / "s", {"train": pictures, "val": {"g0_1.png": [row(1, 1, 8, 8)]}})

    def divider(parts):
        return divide(parts, {"train": 0.8, "val": 0.2}, seed=5)

    conversion = convert(f"plain_format:Plain:{source}", f"coco:{tmp_path / 'out'}", divide=divider, verb=("split",))
    assert sum(one.pictures for one in conversion.written.values()) == 31
    assert conversion.written["val"].objects == {"car": 3, "bus": 3}
    val = open_dataset(f"coco:{tmp_path / 'out'}", "val")
    assert len({os.path.basename(val.path(index)).split("_")[0] for index in range(len(val))}) == 2


@pytest.mark.slow
@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the shared data")
def test_flights_of_a_real_set_stay_together() -> None:
    parts = [(split, Pool.of(open_dataset(f"hit-uav:{SHARED / 'hit-uav'}", split))) for split in ("train", "val")]
    new, _ = divide(parts, THREE, grouping=Grouping("prefix", 5))
    frames: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for name, part in new:
        for path in part.paths:
            prefix, _, number = os.path.splitext(os.path.basename(path))[0].rpartition("_")
            frames[prefix].append((int(number), name))
    for sequence in frames.values():
        sequence.sort()
        for (one, split), (other, split2) in pairwise(sequence):
            assert split == split2 or other - one > 5
    for name, part in new:
        assert len(part) / 1333 == pytest.approx(THREE[name], abs=0.01)
