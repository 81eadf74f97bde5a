"""Each named suppression against recorded values and against a plain loop over all pairs."""

from __future__ import annotations

import json
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from slow_nms import ORACLES, iou

from finespot import registry
from finespot.boxes import Kept, decay, fusion, suppression, suppressor, union
from finespot.boxes.greedy import fixed_point
from finespot.boxes.match import match_table
from finespot.errors import FineSpotError

GOLDEN = json.loads((Path(__file__).parent / "data" / "nms_golden.json").read_text())
BOXES, SCORES = np.array(GOLDEN["boxes"]), np.array(GOLDEN["scores"])
ROW = {tuple(box): row for row, box in enumerate(BOXES.astype(np.float32).tolist())}


def golden(text, threshold=0.5, **options) -> Kept:
    return suppressor(text)(BOXES, SCORES, np.zeros(len(SCORES), int), threshold=threshold, **options)


def rows(kept: Kept) -> list[int]:
    return [ROW[tuple(box)] for box in kept.boxes.tolist()]


@pytest.mark.parametrize(
    ("text", "threshold", "key"),
    [
        ("greedy", 0.5, "greedy_iou_0.5"),
        ("greedy", 0.3, "greedy_iou_0.3"),
        ("diou", 0.5, "greedy_diou_0.5"),
        ("nwd", 0.8, "greedy_nwd_C12.8_thr0.8"),
        ("ios", 0.5, "greedy_ios_0.5"),
        ("cluster", 0.5, "cluster_iou_0.5"),
    ],
)
def test_golden_choices(text, threshold, key) -> None:
    kept = golden(text, threshold)
    assert rows(kept) == GOLDEN[key]
    assert kept.scores.tolist() == SCORES[GOLDEN[key]].tolist()


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("soft(method=linear)", "soft_linear_thr0.5"),
        ("soft", "soft_gaussian_sigma0.5"),
        ("matrix", "matrix_gaussian_sigma2"),
        ("matrix(kernel=linear)", "matrix_linear"),
    ],
)
def test_golden_scores(text, key) -> None:
    # Recorded in the order of the old scores for matrix, of the new ones for soft.
    expected = sorted(GOLDEN[key], key=lambda pair: -pair[1])
    kept = golden(text)
    assert rows(kept) == [row for row, _ in expected]
    np.testing.assert_allclose(kept.scores, [score for _, score in expected], rtol=0, atol=1e-9)


def test_golden_fusion() -> None:
    expected = sorted(GOLDEN["wbf_one_model_iou0.55"], key=lambda one: -one["avg_score"])
    kept = golden("weighted", 0.55)
    np.testing.assert_allclose(kept.boxes, [one["box"] for one in expected], atol=1e-5)
    np.testing.assert_allclose(kept.scores, [one["avg_score"] for one in expected], atol=1e-9)
    best = golden("weighted(conf_type=max)", 0.55)
    np.testing.assert_array_equal(best.scores, sorted((SCORES[one["members"][0]] for one in expected), reverse=True))


def test_golden_rounds_of_cluster() -> None:
    order = np.argsort(-SCORES, kind="stable")
    pairs = [(i, j) for i in range(len(order)) for j in range(i + 1, len(order)) if iou(*BOXES[order[[i, j]]]) > 0.5]
    gone, rounds = fixed_point(tuple(np.array(pairs).T), len(order))
    assert order[~gone].tolist() == GOLDEN["cluster_iou_0.5"]
    assert rounds == GOLDEN["cluster_iterations"]


def agree(text, boxes, scores, labels, threshold) -> None:
    kept = suppressor(text)(boxes, scores, labels, threshold=threshold)
    expected = ORACLES[text](boxes, scores, labels, threshold)
    assert len(kept.boxes) == len(expected[0])
    if expected[2] is None:
        kept = kept._replace(labels=None)
    if "matrix" in text or "weighted" in text:  # sums and powers in another order: the last bit may differ, and ties
        np.testing.assert_allclose(kept.scores, expected[1], rtol=1e-9)
        kept, expected = (canonical(*one) for one in (kept, expected))
    if expected[2] is not None:
        np.testing.assert_array_equal(kept[2], expected[2])
    np.testing.assert_allclose(kept[0], expected[0], rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(kept[1], expected[1], rtol=1e-9)


def canonical(boxes, scores, labels):
    labels = np.zeros(len(scores)) if labels is None else labels
    order = np.lexsort((labels, *np.round(boxes.astype(np.float64), 3).T, np.round(scores, 9)))
    return boxes[order], scores[order], labels[order]


@pytest.mark.slow
@pytest.mark.parametrize("text", ORACLES)
@settings(max_examples=60, deadline=None)
@given(st.data())
def test_equals_the_loop_on_a_grid_of_ties(text, data) -> None:
    # Whole coordinates and few score values: equal boxes, equal scores, exact thresholds, zero sides.
    count = data.draw(st.integers(0, 14))
    number = st.integers(0, 9)
    drawn = data.draw(st.lists(st.tuples(number, number, number, number), min_size=count, max_size=count))
    boxes = np.array(drawn, np.float64).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    scores = np.array(data.draw(st.lists(st.integers(0, 4), min_size=count, max_size=count)), np.float64) / 4
    labels = np.array(data.draw(st.lists(st.sampled_from([-1, 0, 7]), min_size=count, max_size=count)), np.int64)
    agree(text, boxes, scores, labels, data.draw(st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.7, 0.75, 1.0])))


def scene(count, seed, side=200.0, classes=3, spread=0.6, low=1.0):
    """Boxes of very different sizes and shapes, several near each object."""
    random = np.random.default_rng(seed)
    objects = -(-count // 5)
    size = np.exp(random.normal(2.5, spread, (objects, 2))).repeat(5, 0)[:count] + low
    center = random.uniform(0, side, (objects, 2)).repeat(5, 0)[:count] + random.normal(0, 0.2, (count, 2)) * size
    size *= np.exp(random.normal(0, 0.2, (count, 2)))
    boxes = np.hstack([center - size / 2, center + size / 2]).astype(np.float32).astype(np.float64)
    return boxes, random.permutation(np.linspace(0.01, 0.99, count)), random.integers(0, classes, count)


@pytest.mark.parametrize("text", ORACLES)
@pytest.mark.parametrize("dense", [0, 96], ids=["sweep", "default"])
def test_equals_the_loop_in_scenes(monkeypatch, text, dense) -> None:
    monkeypatch.setattr(suppression, "_DENSE", dense)
    monkeypatch.setattr(suppression, "_CHUNK", 300)
    for seed, threshold, spread in ((0, 0.1, 0.5), (1, 0.5, 1.5), (2, 0.8, 0.2)):
        agree(text, *scene(120, seed, spread=spread), threshold)


@pytest.mark.parametrize("text", [text for text in ORACLES if "nmm" in text or "ios" in text])
def test_piles_are_settled_from_the_top(monkeypatch, text) -> None:
    for module in (suppression, union):
        monkeypatch.setattr(module, "PAIR_BUDGET", 100)
        monkeypatch.setattr(module, "SMALLEST_HEAD", 8)
    monkeypatch.setattr(suppression, "_DENSE", 0)
    for seed, threshold, side in ((0, 0.1, 40.0), (1, 0.5, 20.0), (2, 0.8, 10.0)):
        agree(text, *scene(120, seed, side=side), threshold)


def test_a_large_box_does_not_widen_the_search_of_the_others() -> None:
    boxes, scores, labels = scene(20_000, 3, side=4000.0)
    boxes[:3] = [0, 0, 4000, 4000]
    table = match_table(suppression.Ranked.build(boxes, scores, labels, 0.5, None), 0.5, "ios")
    near = table.within(suppression.CenterSearch.build(table, np.arange(len(boxes))))
    assert near.total < 20 * len(boxes)


@pytest.mark.parametrize("rounds", [0, 1, 3])
def test_soft_takes_what_rounds_leave_one_by_one(monkeypatch, rounds) -> None:
    monkeypatch.setattr(decay, "_ROUNDS", rounds)
    for text in ("soft", "soft(method=linear)"):
        agree(text, *scene(120, 4, side=40.0), 0.3)


@pytest.mark.parametrize("rounds", [9, 10, 11])
@pytest.mark.parametrize(("text", "threshold"), [("soft", 0.5), ("soft(method=linear)", 0.01)])
def test_soft_where_the_last_round_takes_the_last_link(monkeypatch, text, threshold, rounds) -> None:
    """A chain of 11 boxes, of whose 10 pairs each round takes one: as the same one by one."""
    place, found = np.arange(11), []
    x, scores = place * 9.5, 0.99 * 0.96**place
    boxes = np.stack([x, np.zeros_like(x), x + 10, np.full_like(x, 10)], axis=1)
    for most in (rounds, 0):
        monkeypatch.setattr(decay, "_ROUNDS", most)
        found.append(suppressor(text)(boxes, scores, np.zeros(len(boxes), int), threshold=threshold))
    np.testing.assert_array_equal(found[0].boxes, found[1].boxes)
    np.testing.assert_array_equal(found[0].scores, found[1].scores)


def test_soft_of_a_long_chain() -> None:
    """Each box overlaps the next one a little, which is worse: a round settles one, and the next is lowered once."""
    count = 5000
    x = np.arange(count) * 9.75
    boxes, scores = np.stack([x, np.zeros_like(x), x + 10, np.full_like(x, 10)], axis=1), 0.999 ** np.arange(count)
    kept = suppressor("soft")(boxes, scores, np.zeros(count, int), threshold=0.5)
    np.testing.assert_array_equal(kept.boxes, boxes)
    lowered = np.exp(-((0.25 / 19.75) ** 2) / 0.5)
    np.testing.assert_allclose(kept.scores, scores * np.where(np.arange(count), lowered, 1.0), rtol=1e-6)


def test_soft_looks_up_piles_box_by_box(monkeypatch) -> None:
    monkeypatch.setattr(decay, "_PAIR_BUDGET", 50)
    for text in ("soft", "soft(method=linear)"):
        agree(text, *scene(120, 4, side=20.0), 0.3)


@pytest.mark.parametrize("text", ["weighted", "weighted(metric=ios)", "weighted(conf_type=max)"])
@pytest.mark.parametrize("largest", [0, 3, 20])
def test_heaps_in_steps_are_fused_as_box_by_box(monkeypatch, text, largest) -> None:
    """To the last digit, whichever heaps go which way; also where there are too many pairs to find heaps."""
    for seed, threshold, side in ((0, 0.0, 400.0), (1, 0.3, 200.0), (2, 0.5, 60.0), (3, 0.9, 200.0)):
        boxes, scores, labels = scene(300, seed, side=side)
        scores[::7] = 0
        with monkeypatch.context() as patch:
            patch.setattr(fusion, "_CHUNK", 50)
            want = suppressor(text)(boxes, scores, labels, threshold=threshold)
            patch.setattr(fusion, "_LARGEST", largest)
            some = suppressor(text)(boxes, scores, labels, threshold=threshold)
            patch.setattr(decay, "_PAIR_BUDGET", 10)
            alone = suppressor(text)(boxes, scores, labels, threshold=threshold)
        for one in (some, alone):
            for column, other in zip(want, one):
                np.testing.assert_array_equal(column, other)


def test_heaps_are_those_whose_hulls_do_not_meet() -> None:
    """Two slanted rows of boxes: neither meets the other's boxes, but its hull."""
    x = np.arange(6.0)[:, None] * 8
    row = np.hstack([x, x, x + 10, x + 10])
    apart = np.array([[30, 2, 38, 10], [100, 2, 108, 10], [107, 9, 115, 17]])
    boxes = np.vstack([row, apart]).astype(np.float32)
    ranked = suppression.Ranked.build(boxes, np.linspace(1, 0.1, len(boxes)), np.zeros(len(boxes), int), 0.5, None)
    assert fusion._heaps(ranked).tolist() == [0] * 7 + [1] * 2
    other = suppression.Ranked.build(boxes, np.linspace(1, 0.1, len(boxes)), [0] * 6 + [1] * 3, 0.5, None)
    assert fusion._heaps(other).tolist() == [0] * 6 + [1] + [2] * 2


def test_cluster_equals_greedy_without_a_cap_of_rounds() -> None:
    # Every box overlaps the next one only: each round settles one more box.
    x = np.arange(1500, dtype=np.float32) * 3
    boxes = np.stack([x, np.zeros_like(x), x + 10, np.full_like(x, 10)], axis=1)
    kept = suppressor("cluster")(boxes, np.linspace(1, 0.1, 1500), np.zeros(1500, int), threshold=0.5)
    np.testing.assert_array_equal(kept.boxes, boxes[::2])
    boxes, scores, labels = scene(3000, 5, side=400.0)
    for one, other in zip(*(suppressor(t)(boxes, scores, labels, threshold=0.4) for t in ("cluster", "greedy"))):
        np.testing.assert_array_equal(one, other)


def test_fused_boxes_may_move_away_from_their_members() -> None:
    """The grid follows a fused box, also where it crosses cells and sizes."""
    start = np.array([0, 0, 8, 8], np.float64)
    boxes = np.array([start + np.array([k, 0, 1.6 * k, 0.4 * k]) for k in range(40)])
    scores, labels = np.linspace(0.5, 0.49, 40), np.zeros(40, int)
    for threshold in (0.0, 0.05, 0.3, 0.6):
        agree("weighted", boxes, scores, labels, threshold)


@pytest.mark.parametrize("text", ["greedy", *ORACLES])
def test_every_choice_limits_ranks_and_keeps_kinds(text) -> None:
    choice = suppressor(text)
    boxes, scores, labels = scene(300, 7)
    full = choice(boxes, scores.astype(np.float32), labels, threshold=0.5)
    assert full.boxes.dtype == full.scores.dtype == np.float32
    assert full.labels.dtype == labels.dtype
    assert (np.diff(full.scores) <= 0).all()
    for limit in (0, 1, 9):
        few = choice(boxes, scores.astype(np.float32), labels, threshold=0.5, max_det=limit)
        for one, other in zip(few, full):
            np.testing.assert_array_equal(one, other[:limit])
    empty = choice(np.zeros((0, 4)), [], np.zeros(0, int), threshold=0.5)
    assert [len(column) for column in empty] == [0, 0, 0]
    for arguments, words in (
        (([[0, 0, 1, np.nan]], [1.0], [0], 0.5), "NaN"),
        (([[0, 0, 1, 1]], [1.0, 2.0], [0], 0.5), "as many boxes"),
        (([[0, 0, 1, 1]], [1.0], [0], 1.5), "iou: expected a threshold"),
    ):
        with pytest.raises(FineSpotError, match=words):
            choice(*arguments[:3], threshold=arguments[3])


@pytest.mark.parametrize("text", ["greedy", *(text for text in ORACLES if "agnostic" not in text)])
def test_classes_are_apart_also_at_far_coordinates(text) -> None:
    boxes, scores, labels = scene(200, 8)
    far = (boxes + 3e5).astype(np.float32).astype(np.float64)
    together = suppressor(text)(far, scores, labels, threshold=0.5)
    for label in range(3):
        own = labels == label
        alone = suppressor(text)(far[own], scores[own], labels[own], threshold=0.5)
        np.testing.assert_array_equal(together.boxes[together.labels == label], alone.boxes)
        np.testing.assert_array_equal(together.scores[together.labels == label], alone.scores)


@pytest.mark.parametrize("text", ["greedy", *(text for text in ORACLES if "agnostic" not in text)])
def test_classes_are_apart_where_an_offset_of_4096_px_would_join_them(text) -> None:
    """Moved by 4096 px a class, all three would lie on one place."""
    corner = 4096.0 * np.array([2, 1, 0])[:, None] + 10
    boxes, scores = np.hstack([corner, corner, corner + 20, corner + 20]), np.array([0.9, 0.8, 0.7])
    kept = suppressor(text)(boxes, scores, np.arange(3), threshold=0.5)
    assert kept.labels.tolist() == [0, 1, 2]
    np.testing.assert_allclose(kept.scores, scores)
    np.testing.assert_array_equal(kept.boxes, boxes)


def test_options_have_effects() -> None:
    def count(text, threshold=0.5) -> int:
        return len(golden(text, threshold).boxes)

    assert count("nwd(constant=12.8)", 0.8) < count("nwd(constant=1)", 0.8)
    assert golden("soft(sigma=0.1)").scores.sum() < golden("soft(sigma=0.9)").scores.sum()
    assert count("soft(floor=0.2)") < count("soft")
    assert golden("matrix(sigma=9)").scores.sum() < golden("matrix").scores.sum()
    # What takes a threshold depends on it, and nothing else does.
    for text in ("greedy", *ORACLES):
        low, high = golden(text, 0.05), golden(text, 0.9)
        assert suppressor(text).thresholded == (low.scores.tolist() != high.scores.tolist())


def test_exact_doubles_divide_nothing_by_zero() -> None:
    with np.errstate(all="raise"):
        kept = suppressor("matrix(kernel=linear)")([[0, 0, 9, 9]] * 3, [0.9, 0.8, 0.7], [0, 0, 0], threshold=0.5)
    assert kept.scores.tolist() == [0.9, 0, 0]
    fused = suppressor("weighted")([[0, 0, 9, 9]] * 2, [0.0, 0.0], [0, 0], threshold=0.5)
    assert (fused.boxes.tolist(), fused.scores.tolist()) == ([[0, 0, 9, 9]], [0])
    with pytest.raises(FineSpotError, match="scores of 0 or more"):
        suppressor("weighted")([[0, 0, 9, 9]], [-0.5], [0], threshold=0.5)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("gredy", "unknown nms 'gredy'; did you mean greedy"),
        ("soft(sigm=1)", "unknown option of the nms 'soft' 'sigm'; did you mean sigma"),
        ("greedy(x=1)", "unknown option of the nms 'greedy' 'x'"),
        ("soft(sigma=0)", "nms: expected a number above 0 for sigma of 'soft' but got 0"),
        ("soft(sigma=1e999)", "sigma"),
        ("soft(sigma=wide)", "nms 'soft': expected sigma to be a number or null but got 'wide'"),
        ("greedy(metric=x)", "expected iou or ios for metric of 'greedy'"),
        ("soft(floor=2)", "above 0 up to 1 for floor"),
        ("soft(method=cubic)", "expected gaussian or linear for method of 'soft' but got cubic"),
        ("soft(method=linear, sigma=1)", "sigma has no effect on 'soft'"),
        ("matrix(kernel=linear, sigma=1)", "sigma has no effect on 'matrix'"),
        ("nwd(constant=true)", "nms 'nwd': expected constant to be a number but got 'True'"),
        ("weighted(conf_type=sum)", "expected avg or max"),
        ("soft(", r"expected 'name' or 'name\(key=value"),
        ("no.module:Name", "cannot import the nms"),
    ],
)
def test_says_what_is_wrong(text, words) -> None:
    with pytest.raises(FineSpotError, match=words):
        suppressor(text)


class Best:
    """A suppression of a user's own: only the best box stays."""

    def __init__(self, count: int = 1) -> None:
        self.count = count

    def __call__(self, boxes, scores, labels, *, threshold, max_det=None):
        best = np.argsort(-scores, kind="stable")[: self.count]
        return boxes[best], scores[best], labels[best]


def test_a_choice_of_ones_own() -> None:
    assert len(golden(f"{__name__}:Best(count=2)")[0]) == 2


def test_registered_names() -> None:
    assert registry.names("nms") == ["cluster", "diou", "greedy", "ios", "matrix", "nmm", "nwd", "soft", "weighted"]


@pytest.mark.slow
def test_time_and_memory_of_20000_boxes() -> None:
    # Several times the measured time, so that a busy machine does not fail it; all pairs would take minutes.
    boxes, scores, labels = scene(20_000, 9, side=4000.0, classes=10)
    for text in (
        "diou",
        "ios",
        "nwd",
        "nmm",
        "nmm(transitive=true)",
        "nmm(metric=ios)",
        "cluster",
        "soft",
        "soft(method=linear)",
        "matrix",
        "weighted",
    ):
        started = time.process_time()
        suppressor(text)(boxes, scores, labels, threshold=0.5)
        assert time.process_time() - started < 2.0, text
    pile = scene(4000, 9, side=10.0, classes=1)
    tracemalloc.start()
    for text in ("soft", "matrix"):
        suppressor(text)(*pile, threshold=0.5, max_det=300)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 200 * 2**20
