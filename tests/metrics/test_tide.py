"""Kinds of errors and their cost: the authors' numbers, a slow twin, sizes, and what is printed."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from slow_tide import KINDS, tide_slowly

from finespot.errors import FineSpotError
from finespot.metrics import Regions, Results, Truth, tide
from finespot.metrics.tide_plot import tide_bars
from finespot.structures import Annotations, Classes, Detections

DATA = Path(__file__).parent / "data/tide"
EXPECTED = json.loads((DATA / "expected.json").read_text())
FILES = {name: json.loads((DATA / f"{name}.json").read_text()) for name in ("gt", "dt")}
CLASSES = Classes(("car", "ship"))


def official(*, regions: bool = True) -> tuple[Truth, Results]:
    """The tables in file order, as the program was given them."""
    images, found = FILES["gt"]["images"], FILES["dt"]
    picture = {one["id"]: k for k, one in enumerate(images)}
    category = {one["id"]: k for k, one in enumerate(FILES["gt"]["categories"])}
    objects, free = list(FILES["gt"]["annotations"]), []
    for one in FILES["gt"]["ignore_regions"] if regions else ():
        size = images[picture[one["image_id"]]]
        box = one["bbox"] or [0, 0, size["width"], size["height"]]
        if one["category_id"] == -1:
            free.append((picture[one["image_id"]], box))
        else:
            objects.append({**one, "bbox": box, "area": box[2] * box[3], "iscrowd": 1})
    truth = Truth(
        image_ids=tuple(picture),
        classes=Classes(tuple(one["name"] for one in FILES["gt"]["categories"]), tuple(category)),
        image=np.array([picture[one["image_id"]] for one in objects]),
        label=np.array([category[one["category_id"]] for one in objects]),
        boxes=np.array([one["bbox"] for one in objects], float),
        area=np.array([one["area"] for one in objects], float),
        crowd=np.array([one["iscrowd"] for one in objects], bool),
        ids=np.arange(1, len(objects) + 1),
        regions=Regions(np.array([one[0] for one in free], int), np.array([one[1] for one in free]).reshape(-1, 4)),
        sizes=np.array([(one["height"], one["width"]) for one in images]),
    )
    results = Results(
        image=np.array([picture[one["image_id"]] for one in found]),
        label=np.array([category[one["category_id"]] for one in found]),
        boxes=np.array([one["bbox"] for one in found], float),
        scores=np.array([one["score"] for one in found]),
    )
    return truth, results


OPTIONS = {"default": {}, "no_ignore_regions": {}, "max_dets_300": {"max_dets": 300}, "pos75": {"pos": 0.75}}
OPTIONS["bg20"] = {"bg": 0.2}


@pytest.mark.parametrize("key", list(OPTIONS))
def test_official_numbers(key) -> None:
    result = tide(*official(regions=key != "no_ignore_regions"), **OPTIONS[key])
    expected = EXPECTED[key]
    assert result.ap == pytest.approx(expected["ap"], abs=1e-9)
    assert result.dap == pytest.approx(expected["main"], abs=1e-9)
    assert result.progressive == pytest.approx(expected["main_progressive"], abs=1e-9)
    assert result.special == pytest.approx(expected["special"], abs=1e-9)
    assert result.counts == expected["counts"]
    names = dict(zip(map(str, official()[0].classes.original_ids), official()[0].classes.names))
    per_class = {names[key]: value for key, value in expected["ap_per_class"].items()}
    assert result.ap_per_class == pytest.approx(per_class, abs=1e-9)
    # The program lists the class "any" of the ignore regions too.
    lost = {names[key]: count for key, count in expected["false_negatives_per_class"].items() if key != "-1"}
    assert result.not_found == lost


def test_files_keep_the_order_that_settles_ties() -> None:
    truth = Truth.read(DATA / "gt.json")
    found = Results.read(DATA / "dt.json", truth)
    assert list(truth.image_ids) != sorted(truth.image_ids)
    assert tide(truth, found).ap == pytest.approx(EXPECTED["no_ignore_regions"]["ap"], abs=1e-9)


def test_official_numbers_over_thresholds() -> None:
    result = tide(*official())
    values = {f"{100 * overlap:.0f}": value for overlap, value in result.ap_per_threshold.items()}
    assert values == pytest.approx(EXPECTED["ap_per_threshold"], abs=1e-9)
    assert result.ap_50_95 == pytest.approx(EXPECTED["ap_50_95"], abs=1e-9)
    assert result.dap == pytest.approx(EXPECTED["range_main"], abs=1e-9)
    assert tide(*official(), pos=0.75).ap_per_threshold == result.ap_per_threshold


@st.composite
def tables(draw) -> tuple[Truth, Results]:
    """Up to 3 pictures of 3 classes on a coarse grid, so that overlaps, scores and areas are often equal."""
    where = st.tuples(st.sampled_from([0, 0, 0, 1, 2]), st.sampled_from([0, 0, 1, 2]))
    side = st.sampled_from([4, 4, 2, 8, 5, 0])
    box = st.tuples(st.sampled_from([0, 2, 4, 20]), st.sampled_from([0, 0, 2, 20]), side, side)
    object_count, found_count = draw(st.integers(0, 8)), draw(st.integers(0, 16))
    flag, score = st.sampled_from([False] * 5 + [True]), st.sampled_from([0.5, 0.5, 0.2, 0.9])
    objects = draw(st.lists(st.tuples(where, box, flag), min_size=object_count, max_size=object_count))
    found = draw(st.lists(st.tuples(where, box, score), min_size=found_count, max_size=found_count))
    regions = draw(st.lists(st.tuples(st.integers(0, 2), box | st.just((0, 0, 24, 24))), max_size=2))
    boxes = np.array([one for _, one, _ in objects], float).reshape(-1, 4)
    truth = Truth(
        image_ids=(9, 3, 5),
        classes=Classes(("a", "b", "c")),
        image=np.array([one[0] for one, _, _ in objects], int),
        label=np.array([one[1] for one, _, _ in objects], int),
        boxes=boxes,
        area=boxes[:, 2] * boxes[:, 3] * draw(st.sampled_from([1.0, 0.5])),
        crowd=np.array([crowd for _, _, crowd in objects], bool),
        ids=np.arange(len(objects)),
        regions=Regions(
            np.array([k for k, _ in regions], int), np.array([b for _, b in regions], float).reshape(-1, 4)
        ),
        sizes=draw(st.sampled_from([None, np.full((3, 2), 24)])),
    )
    results = Results(
        image=np.array([one[0] for one, _, _ in found], int),
        label=np.array([one[1] for one, _, _ in found], int),
        boxes=np.array([one for _, one, _ in found], float).reshape(-1, 4),
        scores=np.array([score for _, _, score in found], float),
    )
    return truth, results


def close(value, other) -> bool:
    return value is other if value is None or other is None else abs(value - other) < 1e-9


def same(one: dict, other: dict) -> bool:
    return one.keys() == other.keys() and all(close(one[key], other[key]) for key in one)


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(tables(), st.sampled_from([(0.5, 0.1), (0.4, 0.4), (0.75, 0.25)]), st.sampled_from([2, 100]))
def test_equals_its_slow_twin(data, overlaps, limit) -> None:
    options = {"pos": overlaps[0], "bg": overlaps[1], "max_dets": limit, "sizes": (2, 4, 5)}
    result, (total, bins) = tide(*data, **options), tide_slowly(*data, **options)
    assert close(result.ap, total["ap"])
    assert result.counts == total["counts"]
    assert same(result.dap, total["main"])
    assert same(result.progressive, total["progressive"])
    assert same(result.special, total["special"])
    for one, slow in zip(result.sizes, bins, strict=True):
        assert close(one.ap, slow["ap"])
        assert (one.objects, one.counts) == (slow["objects"], slow["counts"])
        assert same(one.dap, slow["main"])
    assert close(result.ap_per_threshold[0.9], tide_slowly(*data, pos=0.9, max_dets=limit)[0]["ap"])


@pytest.mark.slow
@settings(max_examples=30, deadline=None)
@given(tables())
def test_bins_add_up_to_the_total(data) -> None:
    result = tide(*data, sizes=(2.5, 4, 5))
    for kind in KINDS:
        assert sum(one.counts[kind] for one in result.sizes) == result.counts[kind]
    assert sum(one.objects for one in result.sizes) == result.objects


def test_one_bin_of_all_sizes_is_the_total() -> None:
    truth, results = official()
    # The mean of a bin leaves out classes without an object, that of the total does not.
    present = np.unique(truth.label[~truth.crowd])
    results = results.select(np.isin(results.label, present))
    result = tide(truth, results, sizes=(1e4,))
    assert result.sizes[0].ap == result.ap
    assert result.sizes[0].dap == result.dap
    assert result.sizes[1].ap is None
    assert set(result.sizes[1].dap.values()) == {None}


def test_perfect_detections_have_no_errors() -> None:
    truth, _ = official(regions=False)
    truth = truth.select(~truth.crowd)
    results = Results(truth.image, truth.label, truth.boxes, np.ones(len(truth)))
    result = tide(truth, results, sizes=(8, 16, 32))
    assert result.ap == pytest.approx(100)
    assert set(result.counts.values()) == {0}
    for gains in (result.dap, result.progressive, result.special, *(one.dap for one in result.sizes)):
        assert set(gains.values()) == {0.0}


def scene(objects, found) -> tuple[Truth, Results]:
    """One picture of 100 x 100 from (box, label, ignore) and (box, label, score), boxes as corners."""
    boxes, labels, ignore = zip(*objects) if objects else ((), (), ())
    one = Annotations(np.array(boxes, np.float32), np.array(labels, int), (100, 100), ignore=np.array(ignore, bool))
    truth = Truth.from_annotations([one], CLASSES, [1])
    boxes, labels, scores = zip(*found) if found else ((), (), ())
    detections = Detections(np.array(boxes), np.array(scores), np.array(labels, int), (100, 100), CLASSES)
    return truth, Results.from_detections([detections], truth)


def box(x: float, y: float = 0, side: float = 10) -> list[float]:
    return [x, y, x + side, y + side]


def test_every_kind_once() -> None:
    objects = [(box(x), 0, False) for x in (0, 20, 40, 60, 80)]
    found = [
        (box(0), 0, 0.9),
        (box(1), 0, 0.8),  # second on the first object
        (box(20), 1, 0.9),  # wrong class
        (box(45), 0, 0.9),  # badly placed
        (box(65), 1, 0.9),  # both
        (box(0, 60), 0, 0.9),  # nothing there
    ]
    # Both does not help to find an object, so the fourth is missed as the fifth is.
    counts = dict.fromkeys(KINDS, 1) | {"Miss": 2}
    assert tide(*scene(objects, found)).counts == counts
    small = tide(*scene(objects, found), sizes=(10,)).sizes
    # A side of 10 belongs to 10 and more.
    assert (small[0].label, small[1].label) == ("0-10 px", "10+ px")
    assert (small[0].objects, small[1].objects) == (0, 5)
    assert small[1].counts == counts


def test_edges_of_the_overlap() -> None:
    half = [0, 0, 10, 5]
    found = [(box(0), 0, 0.9), (half, 0, 0.8)]
    # An overlap of just `pos` finds a free object, and is badly placed on one that is found already.
    assert tide(*scene([(box(0), 0, False)], [(half, 0, 0.8)])).ap == pytest.approx(100)
    counts = tide(*scene([(box(0), 0, False)], found)).counts
    assert (counts["Loc"], counts["Dupe"]) == (1, 0)
    assert tide(*scene([(box(0), 0, False)], found), pos=0.49).counts["Dupe"] == 1
    # Half of a detection in a region does not spare it.
    outside = [([20, 0, 30, 10], 0, 0.9)]
    assert tide(*scene([([20, 0, 30, 5], -1, True)], outside)).ap == 0
    assert tide(*scene([([20, 0, 30, 5.5], -1, True)], outside)).ap is None
    # `bg` itself is badly placed where the class is right and background where it is wrong.
    tenth = [([0, 0, 10, 1], label, 0.9) for label in (0, 1)]
    assert tide(*scene([(box(0), 0, False)], tenth)).counts == dict.fromkeys(KINDS, 0) | {"Loc": 1, "Bkg": 1}


def test_of_one_score_what_was_wrong_comes_first_after_a_repair() -> None:
    one = Annotations(np.array([box(0)], np.float32), np.array([0]), (100, 100))
    none = Annotations(np.zeros((0, 4), np.float32), np.zeros(0, int), (100, 100))
    truth = Truth.from_annotations([one, none], CLASSES, [1, 2])

    def found(label: int) -> Results:
        boxes = np.array([[0, 0, 10, 10], [50, 50, 10, 10]], float)
        return Results(np.array([0, 1]), np.array([label, 0]), boxes, np.array([0.5, 0.5]))

    # As it is the detections come by picture, so that the right one is first; a loss stays one where it is not clipped.
    right = tide(truth, found(0))
    assert right.ap == pytest.approx(100)
    assert right.special["FalseNeg"] == pytest.approx(-50)
    assert right.dap["Loc"] == 0
    # What one step mends stands behind the false one in the next.
    mended = tide(truth, found(1))
    assert mended.progressive == pytest.approx(dict.fromkeys(KINDS, 0.0) | {"Cls": 100, "Bkg": 50})


def test_an_error_belongs_to_the_size_of_its_object() -> None:
    # The detection has a side of 12, its object one of 20; the one on background is small.
    result = tide(
        *scene([(box(0, side=20), 0, False)], [(box(0, side=12), 0, 0.9), (box(50, side=4), 0, 0.5)]), sizes=(16,)
    )
    assert [one.counts["Loc"] for one in result.sizes] == [0, 1]
    assert [one.counts["Bkg"] for one in result.sizes] == [1, 0]
    # Mending the place makes a true positive of full precision: what is on background is of another bin.
    assert result.sizes[1].dap["Loc"] == pytest.approx(100)
    assert result.sizes[0].ap is None


def test_a_region_as_large_as_the_picture_takes_in_everything() -> None:
    objects, found = [([0, 0, 100, 100], -1, True)], [([90, 90, 150, 150], 0, 0.9)]
    truth, results = scene(objects, found)
    assert tide(truth, results).ap is None
    # Of unknown size, most of the detection lies outside the region.
    assert tide(replace(truth, sizes=None), results).ap == 0
    assert tide(truth, results).counts["Bkg"] == 1
    # A crowd of another class spares nothing.
    assert tide(*scene([([0, 0, 100, 100], 1, True)], found)).ap == 0
    assert tide(*scene([([0, 0, 100, 100], 0, True)], found)).ap is None


def test_nothing_at_all_and_nothing_found() -> None:
    empty = tide(*scene([], []), sizes=(8,))
    assert empty.ap is None
    assert empty.ap_50_95 is None
    assert set(empty.dap.values()) | set(empty.progressive.values()) | set(empty.special.values()) == {None}
    missed = tide(*scene([(box(0), 0, False)], []))
    assert (missed.ap, missed.counts["Miss"]) == (0, 1)
    # Without its missed objects nothing is left to be wrong.
    assert missed.dap == dict.fromkeys(KINDS, 0.0) | {"Miss": 100.0}
    assert missed.special == {"FalsePos": 0.0, "FalseNeg": 100.0}
    assert missed.progressive == missed.dap


def test_detections_of_unknown_classes_are_left_out() -> None:
    truth, results = official()
    strange = Results(np.zeros(200, int), np.full(200, -1), np.zeros((200, 4)), np.ones(200))
    both = Results(*(np.concatenate(pair) for pair in zip(columns(strange), columns(results))))
    assert tide(truth, both).to_json() == tide(truth, results).to_json()


def columns(results: Results):
    return results.image, results.label, results.boxes, results.scores


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pos": 1.0}, "pos: expected an overlap above 0 and below 1 but got 1.0"),
        ({"bg": 0.0}, r"bg: expected an overlap above 0 to pos \(0.5\) but got 0.0"),
        ({"bg": 0.6}, r"bg: expected .* but got 0.6"),
        ({"max_dets": 0}, "max_dets: expected a limit of 1 or more but got 0"),
        ({"sizes": (8, 8)}, "sizes: expected rising sides"),
        ({"sizes": (0, 8)}, "sizes: expected rising sides"),
        ({"sizes": (8, float("nan"))}, "sizes: expected rising sides"),
    ],
)
def test_impossible_settings_are_errors(options, message) -> None:
    with pytest.raises(FineSpotError, match=message):
        tide(*scene([], []), **options)


def test_json_holds_plain_values() -> None:
    result = tide(*official(), sizes=(8, 16, 32))
    written = json.loads(json.dumps(result.to_json(), allow_nan=False))
    assert written["counts"] == EXPECTED["default"]["counts"]
    assert written["main"] == result.dap
    assert written["special"] == result.special
    assert list(written["ap_per_threshold"]) == list(EXPECTED["ap_per_threshold"])
    assert [(one["low"], one["high"]) for one in written["sizes"]] == [(0, 8), (8, 16), (16, 32), (32, None)]
    assert (written["images"], written["objects"], written["ignore_regions"]) == (24, 199, 17)


def printed(result) -> str:
    console = Console(width=200, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(result.table())
    return console.export_text()


def test_table() -> None:
    text = printed(tide(*official(), sizes=(8, 16, 32)))
    assert "Loc       badly placed                     55  10.89    11.90" in text
    assert "16-32 px" in text
    assert "AP50 20.26  AP50-95 8.30" in text
    assert "24 images, 199 objects, 17 ignore regions, 368 detections" in text
    assert "at most 100 detections per image" in text
    assert "by size" not in printed(tide(*official()))
    assert "AP50 -" in printed(tide(*scene([], [])))


@pytest.mark.slow
def test_a_large_set_takes_seconds() -> None:
    random = np.random.default_rng(0)
    pictures, objects, count = 100, 70, 500
    image = np.repeat(np.arange(pictures), objects)
    boxes = np.concatenate([random.uniform(0, 1300, (len(image), 2)), random.uniform(6, 60, (len(image), 2))], axis=1)
    label = random.integers(0, 10, len(image))
    crowd = random.random(len(image)) < 0.02
    classes, ids = Classes(tuple("abcdefghij")), np.arange(1, len(image) + 1)
    truth = Truth(tuple(range(pictures)), classes, image, label, boxes, boxes[:, 2] * boxes[:, 3], crowd, ids)
    found = np.repeat(np.arange(pictures), count) * objects + random.integers(0, objects, pictures * count)
    near = boxes[found] + random.normal(0, 3, (len(found), 4)) * [1, 1, 0, 0]
    results = Results(image[found], random.integers(0, 10, len(found)), near, random.random(len(found)))
    start = time.process_time()
    assert tide(truth, results, max_dets=count, sizes=(8, 16, 32)).detections == 50_000
    assert time.process_time() - start < 10


@pytest.mark.slow
def test_plot(tmp_path) -> None:
    whole = tide_bars(tide(*official()), tmp_path / "whole.svg").read_text()
    assert "AP50 is 20.3, 24 images" in whole
    assert "errors by size" not in whole
    by_size = tide_bars(tide(*official(), sizes=(8, 16, 32)), tmp_path / "sizes.svg").read_text()
    for text in ("errors by size", "16-32 px", "55 objects", "Miss +26.1"):
        assert text in by_size
    assert "nothing to find" in tide_bars(tide(*scene([], []), sizes=(8,)), tmp_path / "empty.svg").read_text()
    with pytest.raises(FineSpotError, match="cannot draw a picture of this kind"):
        tide_bars(tide(*official()), tmp_path / "bars.doc")
