"""How much memory does the evaluation of a large set take, from files and from detections that are in memory?

    python -m benchmarks.eval.memory [--sets million] [--json FILE]

`million` has 1,000,000 detections in 20,000 pictures, `ai-tod` 4,205,400 in 14,018 (300 a picture on average, 1,500 at
most). `files` is what `finespot score` does with two COCO files, `coco-eval` the same in the shape of pycocotools,
`memory` starts with `Detections` and `Annotations`, one a picture, as a validation in training does. Each runs in a
process of its own; the peak is that of its program (VmHWM, since getrusage also counts what the process had before it
loaded the program), with what it had after its imports and its input beside it.
"""

from __future__ import annotations

import contextlib
import io
import json
import time
from itertools import pairwise
from typing import Any

import numpy as np

from benchmarks.eval.sets import SETS, tables, write
from benchmarks.eval.speed import FOLDER
from benchmarks.report import arguments, peak_rss_mib, publish, run_alone, table
from finespot.boxes import xywh_to_xyxy
from finespot.metrics import Results, Truth, evaluate, score
from finespot.structures import Annotations, Detections

WAYS = ("files", "coco-eval", "memory")
LIMIT_MIB = 2048


def files(name: str, protocol: str) -> float | None:
    return score(*write(name, FOLDER), protocol).values["AP"]


def coco_eval(name: str, protocol: str) -> float | None:
    from finespot.metrics.coco_eval import COCO, COCOeval

    truth_file, results_file = write(name, FOLDER)
    truth = COCO(truth_file)
    one = COCOeval(truth, truth.loadRes(results_file))
    if protocol == "ai-tod":
        one.params.maxDets = [1, 100, 1500]
    one.evaluate()
    one.accumulate()
    with contextlib.redirect_stdout(io.StringIO()):
        one.summarize()
    return float(one.eval["precision"][..., 0, 2].mean())


def pictures(name: str) -> tuple[Truth, list[Annotations], list[Detections]]:
    """The set as one object a picture, boxes in float32."""
    truth, results = tables(SETS[name])
    size = (1600, 1600)
    edges = np.arange(len(truth.image_ids) + 1)
    objects, found = np.searchsorted(truth.image, edges), np.searchsorted(results.image, edges)
    object_boxes, boxes = (xywh_to_xyxy(one.boxes.astype(np.float32)) for one in (truth, results))
    annotations = [
        Annotations(object_boxes[a:b], truth.label[a:b], size, ignore=truth.crowd[a:b]) for a, b in pairwise(objects)
    ]
    scores = results.scores.astype(np.float32)
    detections = [
        Detections(boxes[a:b], scores[a:b], results.label[a:b], size, truth.classes) for a, b in pairwise(found)
    ]
    return truth, annotations, detections


def alone(name: str, way: str) -> dict[str, Any]:
    protocol = "ai-tod" if name == "ai-tod" else "coco"
    if way == "memory":
        source, annotations, detections = pictures(name)
        before, start = peak_rss_mib(), time.process_time()
        truth = Truth.from_annotations(annotations, source.classes, source.image_ids)
        value = evaluate(truth, Results.from_detections(detections, truth), protocol).values["AP"]
    else:
        before, start = peak_rss_mib(), time.process_time()
        value = {"files": files, "coco-eval": coco_eval}[way](name, protocol)
    return {"ap": value, "cpu_s": time.process_time() - start, "before_mib": before, "peak_mib": peak_rss_mib()}


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--sets", nargs="+", choices=list(SETS), default=["million"])
    parser.add_argument("--alone", nargs=2, metavar=("SET", "WAY"), help="run once and print the figures as JSON")
    options = parser.parse_args()
    if options.alone:
        print(json.dumps(alone(*options.alone)))
        return
    for name in options.sets:
        write(name, FOLDER)
    rows = [
        {"set": name, "way": way, **run_alone("benchmarks.eval.memory", "--alone", name, way)}
        for name in options.sets
        for way in WAYS
    ]
    cells = [
        [
            row["set"],
            row["way"],
            f"{row['ap']:.6f}",
            f"{row['cpu_s']:.2f}",
            f"{row['before_mib']:.0f}",
            f"{row['peak_mib']:.0f}",
            "yes" if row["peak_mib"] < LIMIT_MIB else "NO",
        ]
        for row in rows
    ]
    print(table(["set", "way", "AP", "CPU s", "MiB before", "peak MiB", f"below {LIMIT_MIB} MiB"], cells))
    publish({"benchmark": "eval_memory", "limit_mib": LIMIT_MIB, "rows": rows}, options.json)


if __name__ == "__main__":
    main()
