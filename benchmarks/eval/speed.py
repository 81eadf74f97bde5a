"""How long does the evaluation take beside pycocotools, faster-coco-eval and hotcoco, and do the numbers agree?

    .peers/run -m benchmarks.eval.speed [--rounds 3] [--set visdrone-val] [--sides finespot hotcoco] [--json FILE]

The set is made from a seed (`benchmarks.eval.sets`) and read from the same two COCO files by all: five size ranges,
limits of 10, 100 and 500 detections. Each run has a process of its own with one thread, the sides take turns; CPU
seconds are counted from opening the files to the last number, imports excluded, and the peak memory is that of the
process. `finespot` is `evaluate`, `finespot-coco-eval` the same as a pycocotools script with one import changed. The
numbers compared are twelve of the arrays, as pycocotools prints them (AP at 100 detections, the rest at 500, AR at 10,
100 and 500): hotcoco and faster-coco-eval print another first line for these limits.
"""

from __future__ import annotations

import contextlib
import io
import json
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.eval.sets import SETS, write
from benchmarks.report import ROOT, arguments, peak_rss_mib, publish, ratio, run_alone, spread, table

FOLDER = ROOT / ".data" / "eval"
LIMITS = [10, 100, 500]
RANGES = {"all": [0, 1e10], "small": [0, 1024], "medium": [1024, 9216], "large": [9216, 1e10], "very tiny": [0, 256]}
Times = tuple[float, float, list[float]]


def finespot(truth_file: Path, results_file: Path) -> Times:
    from dataclasses import replace

    from finespot.metrics import AreaRange, Results, Row, Truth, evaluate, protocol

    coco = protocol("coco")
    rules = replace(
        coco,
        areas=tuple(AreaRange(name, low, high) for name, (low, high) in RANGES.items()),
        rows=(*coco.rows, Row("AP_vt", "AP", area="very tiny"), Row("AR_vt", "AR", area="very tiny")),
    ).with_max_dets(LIMITS)
    start = time.process_time()
    truth = Truth.read(truth_file)
    results = Results.read(results_file, truth)
    middle = time.process_time()
    report = evaluate(truth, results, rules)
    end = time.process_time()
    numbers = [-1.0 if value is None else value for value in report.values.values()][:12]
    return middle - start, end - middle, numbers


def as_pycocotools(coco: Any, coco_eval: Any) -> Callable[[Path, Path], Times]:
    """The usual script with the classes of one package."""

    def call(truth_file: Path, results_file: Path) -> Times:
        start = time.process_time()
        truth = coco(str(truth_file))
        results = truth.loadRes(str(results_file))
        middle = time.process_time()
        one = coco_eval(truth, results, "bbox")
        one.params.maxDets = LIMITS
        one.params.areaRng, one.params.areaRngLbl = list(RANGES.values()), list(RANGES)
        one.evaluate()
        one.accumulate()
        one.summarize()
        end = time.process_time()
        return middle - start, end - middle, twelve(one.eval)

    return call


def twelve(arrays: dict[str, Any]) -> list[float]:
    """The printed numbers, out of the arrays: `precision` (T, R, K, A, M) and `recall` (T, K, A, M)."""
    precision, recall = np.asarray(arrays["precision"]), np.asarray(arrays["recall"])
    slices = [precision[..., 0, 1], precision[0, ..., 0, 2], precision[5, ..., 0, 2]]
    slices += [precision[..., a, 2] for a in (1, 2, 3)]
    slices += [recall[..., 0, m] for m in range(3)] + [recall[..., a, 2] for a in (1, 2, 3)]
    return [float(one[one > -1].mean()) if (one > -1).any() else -1.0 for one in slices]


def _pycocotools() -> Callable[[Path, Path], Times]:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    return as_pycocotools(COCO, COCOeval)


def _faster_coco_eval() -> Callable[[Path, Path], Times]:
    from faster_coco_eval import COCO, COCOeval_faster

    return as_pycocotools(COCO, COCOeval_faster)


def _hotcoco() -> Callable[[Path, Path], Times]:
    from hotcoco import COCO, COCOeval

    return as_pycocotools(COCO, COCOeval)


def _finespot_coco_eval() -> Callable[[Path, Path], Times]:
    from finespot.metrics.coco_eval import COCO, COCOeval

    return as_pycocotools(COCO, COCOeval)


SIDES: dict[str, Callable[[], Callable[[Path, Path], Times]]] = {
    "finespot": lambda: finespot,
    "finespot-coco-eval": _finespot_coco_eval,
    "hotcoco": _hotcoco,
    "faster-coco-eval": _faster_coco_eval,
    "pycocotools": _pycocotools,
}


def alone(name: str, side: str) -> dict[str, Any]:
    files = write(name, FOLDER)
    call = SIDES[side]()
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        reading, evaluating, numbers = call(*files)
    return {"reading": reading, "evaluating": evaluating, "numbers": numbers, "peak_mib": peak_rss_mib()}


def main() -> None:
    parser = arguments(__doc__, rounds=3)
    parser.add_argument("--set", choices=list(SETS), default="visdrone-val")
    parser.add_argument("--sides", nargs="+", choices=list(SIDES), default=list(SIDES))
    parser.add_argument("--alone", choices=list(SIDES), help="run one side once and print its figures as JSON")
    options = parser.parse_args()
    if options.alone:
        print(json.dumps(alone(options.set, options.alone)))
        return
    write(options.set, FOLDER)
    runs: dict[str, list[dict[str, Any]]] = {side: [] for side in options.sides}
    for _ in range(options.rounds):
        for side in options.sides:
            runs[side].append(run_alone("benchmarks.eval.speed", "--set", options.set, "--alone", side))
    totals = {side: [one["reading"] + one["evaluating"] for one in some] for side, some in runs.items()}
    first, last = options.sides[0], options.sides[-1]
    reference = runs[last][0]["numbers"]
    rows = [
        {
            "side": side,
            "reading": spread(one["reading"] for one in some),
            "evaluating": spread(one["evaluating"] for one in some),
            "total": spread(totals[side]),
            "ratio": ratio(totals[side], totals[first]),
            "peak_mib": spread(one["peak_mib"] for one in some).median,
            "largest_difference": max(abs(a - b) for one in some for a, b in zip(one["numbers"], reference)),
        }
        for side, some in runs.items()
    ]
    head = ["side", "reading, CPU s", "evaluating, CPU s", "total", f"/ {first}", "peak MiB", f"differs from {last} by"]
    cells = [
        [
            row["side"],
            *(row[key] for key in ("reading", "evaluating", "total", "ratio")),
            f"{row['peak_mib']:.0f}",
            f"{row['largest_difference']:.1e}",
        ]
        for row in rows
    ]
    size = SETS[options.set]
    print(f"{options.set}: {size.pictures} pictures, {size.objects} objects, about {size.detections} detections")
    print(table(head, cells))
    result = {"benchmark": "eval_speed", "set": options.set, "numbers": reference, "rows": rows}
    publish(result, options.json, "pycocotools", "faster-coco-eval", "hotcoco")


if __name__ == "__main__":
    main()
