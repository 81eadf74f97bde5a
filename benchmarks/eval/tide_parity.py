"""Are FineSpot's kinds of errors and their costs those of TIDE's own program (tidecv), and what does each take?

    .peers/run -m benchmarks.eval.tide_parity [--sets 200] [--rounds 3] [--json FILE]

Equality: `--sets` small random data sets, of which every second one lies on a coarse grid with few scores, so that
overlaps and scores tie everywhere; crowds, ignore regions of one class and of any, pictures without objects or without
detections, thresholds and limits vary. Compared are AP, dAP of every kind, progressive and special ones, AP by class
and at ten thresholds, and counts. A set without any object or detection, and one of which a repair leaves nothing, are
left out: there tidecv divides by zero.

Time: one set of 50 pictures with 40 objects and 200 detections each, one thread, in turns. tidecv is given its tables
each time, as it leaves marks in them.
"""

from __future__ import annotations

import contextlib
import io
from typing import Any

import numpy as np

from benchmarks.peers.peer import pinned, require_environment
from benchmarks.report import arguments, publish, ratio, spread, table, take_turns
from finespot.metrics import ErrorAnalysis, Regions, Results, Truth, tide
from finespot.structures import Classes

SIDE = 24


def small_set(seed: int) -> tuple[Truth, Results, dict[str, Any]]:
    """Up to six pictures of four classes, and the settings to judge them with."""
    random = np.random.default_rng(seed)
    objects, found = int(random.integers(0, 40)), int(random.integers(1, 120))
    grid = seed % 2 == 0

    def boxes(count: int) -> np.ndarray:
        corners, sides = random.uniform(0, 18, (count, 2)), random.uniform(1, 8, (count, 2))
        whole = np.concatenate([corners, sides], axis=1)
        return np.round(whole / 2) * 2 if grid else whole

    object_boxes, found_boxes = boxes(objects), boxes(found)
    copies = random.integers(0, max(objects, 1), found)
    if objects:
        near = object_boxes[copies] + random.normal(0, 0.7, (found, 4)) * (0.0 if grid else 1.0)
        near[:, 2:] = np.maximum(near[:, 2:], 0.5)
        found_boxes = np.where(random.random((found, 1)) < 0.6, near, found_boxes)
    image, label = random.integers(0, 6, objects), random.integers(0, 4, objects)
    found_image, found_label = random.integers(0, 6, found), random.integers(0, 4, found)
    if objects:
        found_image = np.where(random.random(found) < 0.7, image[copies], found_image)
        found_label = np.where(random.random(found) < 0.7, label[copies], found_label)
    regions = int(random.integers(0, 4))
    truth = Truth(
        image_ids=(40, 7, 12, 3, 25, 9),
        classes=Classes(("a", "b", "c", "d"), (4, 1, 3, 2)),
        image=image,
        label=label,
        boxes=object_boxes,
        area=object_boxes[:, 2] * object_boxes[:, 3],
        crowd=random.random(objects) < 0.1,
        ids=np.arange(1, objects + 1),
        regions=Regions(random.integers(0, 6, regions), boxes(regions)),
    )
    scores = random.choice([0.1, 0.3, 0.5, 0.9], found) if grid else random.random(found)
    settings = {
        "pos": float(random.choice([0.5, 0.75, 0.4])),
        "bg": float(random.choice([0.1, 0.25])),
        "max_dets": int(random.choice([5, 100])),
    }
    return truth, Results(found_image, found_label, found_boxes, scores), settings


def timed_set(pictures: int = 50, objects: int = 40, found: int = 200) -> tuple[Truth, Results]:
    """Objects of 6 to 60 px in 10 classes, each detected about five times with jitter."""
    random = np.random.default_rng(0)
    image = np.repeat(np.arange(pictures), objects)
    boxes = np.concatenate([random.uniform(0, 1300, (len(image), 2)), random.uniform(6, 60, (len(image), 2))], axis=1)
    label = random.integers(0, 10, len(image))
    truth = Truth(
        image_ids=tuple(range(pictures)),
        classes=Classes(tuple("abcdefghij")),
        image=image,
        label=label,
        boxes=boxes,
        area=boxes[:, 2] * boxes[:, 3],
        crowd=random.random(len(image)) < 0.02,
        ids=np.arange(1, len(image) + 1),
    )
    copies = np.repeat(np.arange(pictures), found) * objects + random.integers(0, objects, pictures * found)
    near = boxes[copies] + random.normal(0, 3, (len(copies), 4)) * [1, 1, 0, 0]
    guess = np.where(random.random(len(copies)) < 0.8, label[copies], random.integers(0, 10, len(copies)))
    return truth, Results(image[copies], guess, near, random.random(len(copies)))


def peer_numbers(truth: Truth, results: Results, *, pos: float, bg: float, max_dets: int) -> dict[str, float]:
    """What tidecv makes of the same tables, by flat names."""
    from tidecv import TIDE, Data

    gt, dt = Data("truth", max_dets=max_dets), Data("results", max_dets=max_dets)
    for key in truth.image_ids:
        gt.add_image(key, str(key))
    for label, name in enumerate(truth.classes):
        gt.add_class(label, name)
    for image, label, box, crowd in zip(truth.image, truth.label, truth.boxes.tolist(), truth.crowd):
        add = gt.add_ignore_region if crowd else gt.add_ground_truth
        add(truth.image_ids[image], int(label), box)
    for image, box in zip(truth.regions.image, truth.regions.boxes.tolist()):
        gt.add_ignore_region(truth.image_ids[image], -1, box)
    for image, label, box, score in zip(results.image, results.label, results.boxes.tolist(), results.scores.tolist()):
        dt.add_detection(truth.image_ids[image], int(label), score, box)
    judge = TIDE(pos_threshold=pos, background_threshold=bg, mode=TIDE.BOX)
    # It shows its progress.
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        run = judge.evaluate(gt, dt)
        parts = {
            "main": run.fix_main_errors(),
            "progressive": run.fix_main_errors(progressive=True),
            "special": run.fix_special_errors(),
            "count": run.count_errors(),
        }
        per_class = {
            f"ap {truth.classes[label]}": one.get_ap()
            for label, one in run.ap_data.objs.items()
            if not one.is_empty() and label >= 0
        }
        at = {
            f"ap at {overlap}": judge.evaluate(gt, dt, pos_threshold=overlap, use_for_errors=False).ap
            for overlap in TIDE.COCO_THRESHOLDS
        }
    flat = {f"{part} {kind.short_name}": value for part, values in parts.items() for kind, value in values.items()}
    return {"ap": run.ap, **flat, **per_class, **at}


def our_numbers(found: ErrorAnalysis) -> dict[str, float | None]:
    """The same names for ours."""
    parts = {"main": found.dap, "progressive": found.progressive, "special": found.special, "count": found.counts}
    return {
        "ap": found.ap,
        **{f"{part} {kind}": value for part, values in parts.items() for kind, value in values.items()},
        **{f"ap {name}": value for name, value in found.ap_per_class.items()},
        **{f"ap at {overlap}": value for overlap, value in found.ap_per_threshold.items()},
    }


def compare(sets: int) -> dict[str, Any]:
    """The largest difference over all sets, and what it is a difference of."""
    worst, name, compared, left_out = 0.0, "", 0, 0
    for seed in range(sets):
        truth, results, settings = small_set(seed)
        try:
            theirs = peer_numbers(truth, results, **settings)
        except ZeroDivisionError:
            left_out += 1
            continue
        ours = our_numbers(tide(truth, results, **settings))
        if ours.keys() != theirs.keys():
            raise SystemExit(f"set {seed}: only one side has {sorted(ours.keys() ^ theirs.keys())}")
        compared += len(ours)
        for key, value in theirs.items():
            mine = ours[key]
            difference = float("inf") if mine is None else abs(mine - value)
            if difference > worst:
                worst, name = difference, f"{key} of set {seed}"
    return {"sets": sets - left_out, "left_out": left_out, "numbers": compared, "worst": worst, "of": name}


def main() -> None:
    parser = arguments(__doc__, rounds=3)
    parser.add_argument("--sets", type=int, default=200, help="random data sets to compare (default 200)")
    options = parser.parse_args()
    require_environment()
    equal = compare(options.sets)
    print(
        f"{equal['numbers']} numbers of {equal['sets']} sets ({equal['left_out']} left out); "
        f"largest difference {equal['worst']:.1e} ({equal['of'] or 'none'})"
    )
    truth, results = timed_set()
    settings = {"pos": 0.5, "bg": 0.1, "max_dets": 200}
    sides = {
        "finespot": lambda: tide(truth, results, **settings),
        "tidecv": lambda: peer_numbers(truth, results, **settings),
    }
    with pinned():
        taken = take_turns(sides, options.rounds, warm_up=1)
    print(table(("side", f"CPU s for {len(results)} detections"), [(name, spread(taken[name])) for name in sides]))
    times = ratio(taken["tidecv"], taken["finespot"])
    print(f"tidecv takes {times} times as long")
    publish(
        {"equality": equal, "seconds": {name: spread(taken[name]) for name in sides}, "ratio": times},
        options.json,
        "tidecv",
        "pycocotools",
    )


if __name__ == "__main__":
    main()
