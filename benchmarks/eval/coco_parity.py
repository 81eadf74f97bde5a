"""Are the numbers of FineSpot's `COCOeval` those of pycocotools, on random sets with random parameters?

    .peers/run -m benchmarks.eval.coco_parity [--sets 300] [--json FILE]

Each set is small and full of ties: whole-numbered boxes, few scores, areas on the edges of size ranges, crowds, an
annotation of id 0, pictures and categories without objects or detections. Parameters are drawn anew for each: parts of
the pictures and categories, size ranges with names, thresholds, recall points, limits, all categories as one. Compared
are the arrays of `eval`, `stats`, the printed lines, every entry of `evalImgs` and `ious`, and the same with
pycocotools' own data sets given to FineSpot's class.
"""

from __future__ import annotations

import contextlib
import io
from typing import Any

import numpy as np
from pycocotools import coco as their_coco
from pycocotools import cocoeval as their_eval

from benchmarks.report import arguments, publish
from finespot.metrics.coco_eval import COCO, COCOeval

Record = dict[str, Any]


def random_set(random: np.random.Generator) -> tuple[Record, list[Record]]:
    """A truth and at least one detection."""
    pictures = random.permutation(random.choice(1000, random.integers(1, 7), replace=False)).tolist()
    categories = random.permutation(random.choice(50, random.integers(1, 5), replace=False)).tolist()
    objects = []
    for number in random.permutation(random.integers(0, 60)):
        x, y, w, h = (int(one) for one in (*random.integers(0, 50, 2), *random.integers(0, 5, 2) * 8))
        objects.append(
            {
                "id": int(number),
                "image_id": int(random.choice(pictures)),
                "category_id": int(random.choice(categories)),
                "bbox": [x, y, w, h],
                "area": w * h * float(random.choice([1.0, 0.5])),
                "iscrowd": int(random.random() < 0.15),
            }
        )
    found = []
    for _ in range(random.integers(1, 120)):
        box = [int(one) for one in (*random.integers(0, 50, 2), *random.integers(0, 5, 2) * 8)]
        place = {"image_id": int(random.choice(pictures)), "category_id": int(random.choice([*categories, 99]))}
        if objects and random.random() < 0.8:
            one = objects[random.integers(len(objects))]
            box = [max(0, value + int(random.integers(-2, 3))) for value in one["bbox"]]
            place = {key: one[key] for key in place}
        found.append({**place, "bbox": box, "score": int(random.integers(0, 12)) / 12})
    truth = {
        "images": [{"id": key, "width": 100, "height": 100} for key in pictures],
        "categories": [{"id": key, "name": f"c{key}"} for key in categories],
        "annotations": objects,
    }
    return truth, found


def random_params(random: np.random.Generator, truth: Record) -> Record:
    """Values for some of the parameters; the rest stays as it is."""
    pictures, categories = ([one["id"] for one in truth[kind]] for kind in ("images", "categories"))
    edges = np.sort(random.choice([0, 32, 64, 128, 256, 576, 1024], 4)).tolist()
    choices: Record = {
        "imgIds": [random.permutation(pictures)[: random.integers(1, len(pictures) + 1)].tolist()],
        "catIds": [random.permutation(categories)[: random.integers(1, len(categories) + 1)].tolist()],
        "iouThrs": [np.array([0.5]), np.linspace(0.25, 0.75, 3), np.array([0.75, 0.5, 1.0])],
        "recThrs": [np.linspace(0, 1, 11), np.sort(random.random(7)), np.array([0.0, 0.5, 1.0, 1.1])],
        "maxDets": [[1, 5, 12], [100, 3, 10], [10, 100, 500], [2, 2, 7, 100]],
        "areaRng": [[[0, 1e10], edges[:2], edges[1:3], edges[2:]]],
        "useCats": [0],
    }
    drawn = {name: some[random.integers(len(some))] for name, some in choices.items() if random.random() < 0.4}
    if "areaRng" in drawn and random.random() < 0.5:
        drawn["areaRng"] = drawn["areaRng"][:3]
        drawn["areaRngLbl"] = ["all", "small", "tiny"]
    return drawn


def run(maker: Any, truth: Any, found: Any, params: Record) -> tuple[Any, str]:
    """The evaluation of one side, and the lines of its summary."""
    one = maker(truth, found, "bbox")
    for name, value in params.items():
        setattr(one.params, name, value)
    one.evaluate()
    one.accumulate()
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        one.summarize()
    return one, out.getvalue()


def difference(ours: Any, theirs: Any) -> float:
    """The largest difference of all numbers; infinite where the shapes or kinds differ."""
    if theirs is None or ours is None:
        return 0.0 if ours is theirs else float("inf")
    if isinstance(theirs, dict):
        return max((difference(ours[key], theirs[key]) for key in theirs), default=0.0)
    a, b = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
    if a.shape != b.shape:
        return float("inf")
    return float(np.abs(a - b).max(initial=0.0))


def compare(ours: tuple[Any, str], theirs: tuple[Any, str]) -> dict[str, float]:
    (a, a_lines), (b, b_lines) = ours, theirs
    rows = {key: difference(a.eval[key], b.eval[key]) for key in ("precision", "recall", "scores", "counts")}
    rows["stats"] = difference(a.stats, b.stats)
    rows["lines"] = 0.0 if a_lines == b_lines else float("inf")
    same_length = len(a.evalImgs) == len(b.evalImgs)
    cells = [difference(one, other) for one, other in zip(a.evalImgs, b.evalImgs)]
    rows["evalImgs"] = max(cells, default=0.0) if same_length else float("inf")
    rows["ious"] = difference(dict(a.ious), b.ious) if len(a.ious) == len(b.ious) else float("inf")
    return rows


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--sets", type=int, default=300)
    options = parser.parse_args()
    worst: dict[str, float] = {}
    for seed in range(options.sets):
        random = np.random.default_rng(seed)
        truth, found = random_set(random)
        params = random_params(random, truth)
        with contextlib.redirect_stdout(io.StringIO()):
            their_truth = their_coco.COCO()
            their_truth.dataset = truth
            their_truth.createIndex()
            their_found = their_truth.loadRes([dict(one) for one in found])
            theirs = run(their_eval.COCOeval, their_truth, their_found, params)
        our_truth = COCO(truth)
        for ours in (
            run(COCOeval, our_truth, our_truth.loadRes(found), params),
            run(COCOeval, their_truth, their_found, params),
        ):
            for key, value in compare(ours, theirs).items():
                worst[key] = max(worst.get(key, 0.0), value)
                if value > 1e-12:
                    raise SystemExit(f"set {seed}: {key} differs by {value} with {params}")
    print(f"{options.sets} random sets, largest difference: {worst}")
    publish(
        {"benchmark": "coco_parity", "sets": options.sets, "largest_difference": worst}, options.json, "pycocotools"
    )


if __name__ == "__main__":
    main()
