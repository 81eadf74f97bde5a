"""Advice: each line where it must be given and where it must not, and the numbers that it names."""

from __future__ import annotations

import pytest
from stats_factory import dataset, squares

from finespot.data import stats
from finespot.data.dataset import Dataset
from finespot.data.stats import Advice
from finespot.structures import Tiling


def advice(topic: str, *datasets: Dataset, imgsz: int = 640, tiling: Tiling | None = None) -> Advice | None:
    """The line about a topic, if there is one."""
    found = stats.advise(stats.measure(datasets, imgsz, tiling))
    assert len({one.topic for one in found}) == len(found)
    return next((one for one in found if one.topic == topic), None)


def given(topic: str, *datasets: Dataset, imgsz: int = 640, tiling: Tiling | None = None) -> tuple[str, str]:
    line = advice(topic, *datasets, imgsz=imgsz, tiling=tiling)
    assert line is not None, f"no advice on {topic}"
    return line.text, line.reason


@pytest.mark.parametrize(
    ("side", "size", "imgsz", "said"),
    [
        (10, (1280, 1280), 640, "take --imgsz 1536"),  # 5 px at the network, 12 wanted
        (12, (640, 640), 640, None),
        (23, (640, 640), 640, None),
        (40, (640, 640), 640, "--imgsz 192 would do"),
        (6, (640, 640), 640, "take --imgsz 1280, and ask again with it; beyond the pictures' own 640 px"),
        (3, (640, 640), 640, "no whole picture will do (--imgsz 2560)"),
        (11.9, (640, 640), 640, "take --imgsz 672"),
    ],
)
def test_image_size(side: float, size: tuple[int, int], imgsz: int, said: str | None) -> None:
    line = advice("image size", squares(side, 20, size=size), imgsz=imgsz)
    assert (line is None) == (said is None)
    if line is not None and said is not None:
        assert line.text.startswith(said)
        assert f"{side * imgsz / size[0]:.1f} px" in line.reason


def test_image_size_looks_at_the_tenth_percentile_too() -> None:
    """Half of the objects are large, but two in ten have 4 px: 8 are wanted."""
    small = [((10 * k, 0, 10 * k + 4, 4), 0, False) for k in range(2)]
    large = [((50 * k, 50, 50 * k + 40, 90), 0, False) for k in range(8)]
    assert given("image size", dataset([((640, 640), small + large)], 1))[0].startswith("take --imgsz 1280")


@pytest.mark.parametrize(
    ("side", "length", "said"),
    [
        (6, 640, "take --slice 320"),
        (16, 640, None),
        (12, 640, None),
        (40, 3000, "--slice 2112 would do"),
        (40, 640, "whole pictures at --imgsz 224 would do"),
    ],
)
def test_tile_size(side: float, length: int, said: str | None) -> None:
    line = advice("tile size", squares(side, 20, size=(length, length)), tiling=Tiling(640, 0.5))
    assert (line is None) == (said is None)
    assert line is None or (said is not None and line.text.startswith(said))


@pytest.mark.parametrize(
    ("small", "side", "p2"), [(24, 15, False), (25, 15, True), (4, 7, False), (5, 7, True), (100, 16, False)]
)
def test_finest_level(small: int, side: float, p2: bool) -> None:
    boxes = [((17 * k, 0, 17 * k + side, side), 0, False) for k in range(small)]
    boxes += [((21 * k, 100, 21 * k + 20, 120), 0, False) for k in range(100 - small)]
    text, reason = given("finest level", dataset([((3000, 3000), boxes)], 1), imgsz=3008)
    assert ("P2 level (stride 4)" in text) == p2
    assert f"{small if side < 16 else 0:.1f}% of the objects are below 16 px" in reason


def test_tiles_where_large_pictures_hide_objects() -> None:
    text, reason = given("tiles", squares(20, 30, size=(3000, 4000)))
    assert "--slice 640 --overlap 0.1 at --imgsz 640" in text
    assert "4000 px long" in reason
    assert "at most 20 px" in reason


def test_tiles_where_a_larger_input_would_do_too() -> None:
    one = squares(24, 30, size=(1500, 2000))
    assert given("image size", one)[0].startswith("take --imgsz 1024")
    assert "--slice 640 --overlap 0.1 " in given("tiles", one)[0]


@pytest.mark.parametrize(
    ("side", "size"),
    [(100, (3000, 4000)), (6, (640, 640)), (11, (640, 900))],
    ids=["seen whole", "as large as the input", "hardly larger"],
)
def test_no_tiles_where_they_do_not_help(side: float, size: tuple[int, int]) -> None:
    assert advice("tiles", squares(side, 30, size=size)) is None


def test_tiles_enlarge_where_objects_need_it() -> None:
    assert "--slice 320 " in given("tiles", squares(6, 30, size=(3000, 4000)))[0]
    assert "--slice 128 " in given("tiles", squares(1, 30, size=(640, 640)))[0]


def test_tiles_grow_for_large_objects_among_small_ones() -> None:
    boxes = [((30 * k, 0, 30 * k + 20, 20), 0, False) for k in range(98)]
    boxes += [((300 * k, 100, 300 * k + 230, 330), 0, False) for k in range(4)]
    text, _ = given("tiles", dataset([((3000, 4000), boxes)], 1))
    assert "--slice 928 --overlap 0.25 " in text
    thin = [((30 * k, 0, 30 * k + 12, 12), 0, False) for k in range(98)] + boxes[98:]
    long_ones = [((x1, y1, x1 + 600, y2), label, no) for (x1, y1, _, y2), label, no in thin[98:]]
    text, _ = given("tiles", dataset([((3000, 4000), thin[:98] + long_ones)], 1))
    assert "--slice 640 --overlap 0.5 " in text
    assert "look at whole pictures too" in text


def test_overlap_of_the_chosen_tiles() -> None:
    # Tiles of 0 to 640 and 576 to 1216: the second square reaches from 550 to 650.
    boxes = [((x, 0, x + 100, 100), 0, False) for x in (0, 550, 700)]
    pictures = dataset([((2000, 2000), boxes)], 1)
    text, reason = given("overlap", pictures, tiling=Tiling(640, 0.1))
    assert text == "take --overlap 0.2"
    assert "neighbors share 64 px: 1 of 3 objects lie whole in no tile" in reason
    assert advice("overlap", pictures, tiling=Tiling(640, 0.2)) is None
    assert advice("overlap", squares(400, 4, size=(2000, 2000)), tiling=Tiling(640, 0.5)) is None


def test_vanishing_objects() -> None:
    text, reason = given("vanishing objects", squares(1.9, 10))
    assert "drop_small" in text
    assert reason.startswith("100.0% of the objects are below 2 px")
    assert advice("vanishing objects", squares(2, 10)) is None


def test_nwd_constant_is_the_mean_side_at_the_network() -> None:
    one = dataset([((1280, 1280), [((0, 0, 20, 20), 0, False), ((50, 50, 90, 140), 0, False)])], 1)
    assert given("NWD", one)[0] == "take the constant C = 20.0 px"  # (20 + 60) / 2, halved
    assert advice("NWD", dataset([((640, 640), [])])) is None


def test_anchors() -> None:
    text, reason = given("anchors", squares(3, 10))
    assert text.endswith("3 a level from stride 4 on: 3,3")
    assert "those of YOLOv5 match 0.00%" in reason
    assert "these 100.00%" in reason
    assert "100.0% are at most 2.5 px wide or 3.25 px high" in reason
    assert "found on" not in reason
    text, reason = given("anchors", squares(20, 10))
    assert "can keep the usual ones" in text
    assert "match 100.00%" in reason
    assert advice("anchors", dataset([((640, 640), [])])) is None


def test_anchors_say_that_they_come_from_a_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("finespot.data.stats.anchors.SAMPLE", 4)
    assert "found on 4 of them" in given("anchors", squares(3, 10))[1]


@pytest.mark.parametrize(("count", "wanted"), [(200, None), (201, 400), (400, 600)])
def test_max_det(count: int, wanted: int | None) -> None:
    line = advice("max-det", squares(10, count))
    assert (line is None) == (wanted is None)
    assert line is None or line.text == f"take --max-det {wanted}"
    assert line is None or f"up to {count} objects" in line.reason


@pytest.mark.parametrize(("count", "fires"), [(100, False), (101, True)])
def test_evaluation(count: int, fires: bool) -> None:
    line = advice("evaluation", squares(10, count, pictures=3))
    assert (line is not None) == fires
    assert line is None or "3 times there are more objects, up to 101" in line.reason


@pytest.mark.parametrize(("count", "wanted"), [(250, None), (251, 400)])
def test_queries(count: int, wanted: int | None) -> None:
    line = advice("queries", squares(10, count))
    assert (line is None) == (wanted is None)
    assert line is None or f"{wanted} queries" in line.text


def test_queries_of_tiles() -> None:
    one = squares(10, 2500)
    assert "the pictures hold up to 2500" in given("queries", one)[1]
    assert advice("queries", one, tiling=Tiling(128, 0.1)) is None
    assert "the tiles hold up to" in given("queries", one, tiling=Tiling(320, 0.1))[1]


def test_crowding() -> None:
    pair = [((0, 0, 20, 20), 0, False), ((1, 0, 21, 20), 0, False)]
    apart = [((40 * k, 100, 40 * k + 20, 120), 0, False) for k in range(8)]
    _, reason = given("crowding", dataset([((640, 640), pair + apart)], 2))
    assert reason.startswith("20.0% of the objects")
    assert "delete 1 of the 10 objects" in reason
    other_class = [pair[0], (pair[1][0], 1, False)]
    assert "delete 0 of the 10 objects" in given("crowding", dataset([((640, 640), other_class + apart)], 2))[1]
    assert advice("crowding", dataset([((640, 640), apart)], 2)) is None


def counts(*by_class: int, split: str = "train") -> Dataset:
    boxes = [
        ((30.0 * k, 30.0 * label, 30.0 * k + 20, 30.0 * label + 20), label, False)
        for label, count in enumerate(by_class)
        for k in range(count)
    ]
    return dataset([((30 * len(by_class), 30 * max(by_class)), boxes)], len(by_class), split)


def test_class_balance() -> None:
    assert given("class balance", counts(200, 10))[1] == "class0 has 200 objects, class1 10: 20 to 1"
    assert advice("class balance", counts(200, 11)) is None
    assert advice("class balance", counts(200, 0)) is None
    assert advice("class balance", dataset([((640, 640), [])])) is None


def test_rare_classes() -> None:
    assert given("rare classes", counts(120, 99, 1))[0] == "label more of class1 (99), class2 (1)"
    assert advice("rare classes", counts(120, 100, 0)) is None


def test_absent_classes() -> None:
    reason = given("absent classes", counts(5, 0, 0), counts(1, 2, 0, split="val"))[1]
    assert reason == "no object to learn from: class1 (2 in other splits), class2"
    assert advice("absent classes", counts(5, 1, 1)) is None


def test_empty_ground() -> None:
    # One square of 80 px in a picture of 640 px fills one of 64 patches.
    assert given("empty ground", squares(80, 1))[1].startswith("no object reaches into 98% ")
    assert advice("empty ground", squares(79, 64)) is None
    assert advice("empty ground", dataset([((640, 640), [])])) is None


def test_learning_follows_from_train_and_limits_from_all() -> None:
    train, val = squares(20, 5), squares(3, 300, split="val")
    assert advice("image size", train, val) is None
    assert given("max-det", train, val)[0] == "take --max-det 500"
    assert given("NWD", train, val)[0] == "take the constant C = 20.0 px"
