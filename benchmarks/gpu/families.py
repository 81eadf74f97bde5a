"""Which family finds small objects best at equal cost? A job of the GPU queue (see run.py).

    python -m benchmarks.gpu.families --data .data/hit-uav --work .data/gpu/families --json FILE [--minutes 6]

Each model is trained from scratch by the recipe of its family for the same time: one epoch is timed, and as many are
run as fit. Runs that are cut short go on at the next call; what is finished is not done again. The result holds AP,
AP50 and AP_small of each on val, with epochs, seconds an epoch and GFLOPs.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import torch

import finespot
from benchmarks.gpu.train import find_run, is_finished, summarize
from benchmarks.report import arguments, publish, table
from finespot import zoo
from finespot.writers import write_atomic

MODELS = [
    "yolov5s",
    "yolov8s",
    "yolo11s",
    "yolo12s",
    "yolo11s-p2",
    "yolox-s",
    "rtmdet-s",
    "rtdetr-r18",
    "lrs-detr-b",
    "retinanet-r50",
    "gpvit-l1",
    "yolo-sod",
]


def keys(options: Any) -> dict[str, Any]:
    return {"imgsz": options.imgsz, "batch": options.batch, "device": options.device, "patience": 0}


def epochs_in(model: str, options: Any) -> int:
    """How many epochs fit in the minutes, from the quicker of two (the first warms up)."""
    folder = options.work / model / "timed"
    result = finespot.train(model, f"hit-uav:{options.data}", project=folder, epochs=2, **keys(options))
    seconds = summarize(result.folder)["seconds_per_epoch"].low
    return max(2, int(options.minutes * 60 / seconds))


def learned(model: str, options: Any) -> dict[str, Any]:
    """Train, or go on, and say what came of it."""
    folder, plan = find_run(options.work / model / "run"), options.work / model / "plan.json"
    if folder is None:
        if not plan.is_file():
            plan.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(plan, json.dumps({"epochs": epochs_in(model, options)}))
        epochs = json.loads(plan.read_text())["epochs"]
        data, project = f"hit-uav:{options.data}", options.work / model / "run"
        folder = finespot.train(model, data, project=project, epochs=epochs, **keys(options)).folder
    elif not is_finished(folder):
        folder = finespot.train(resume=folder, device=options.device).folder
    found = summarize(folder)
    with torch.device("meta"):
        detector = zoo.build(zoo.architecture(model))
    values = found["metrics"][0]["values"]
    return {
        "model": model,
        "gflops": zoo.count_gflops(detector, (options.imgsz, options.imgsz)),
        **{key: values.get(key) for key in ("AP", "AP50", "AP_small")},
        "epochs": found["epochs"],
        "seconds_per_epoch": found["seconds_per_epoch"],
    }


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--data", type=Path, default=Path(".data/hit-uav"))
    parser.add_argument("--work", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--minutes", type=float, default=6.0, help="training time of each model")
    parser.add_argument("--imgsz", type=int, default=640)
    parser.add_argument("--batch", type=int, default=16)
    options = parser.parse_args()
    start, rows = time.perf_counter(), []
    for model in options.models:
        rows.append(learned(model, options))
        print(f"{model}: AP {rows[-1]['AP']}, {time.perf_counter() - start:.0f} s so far", flush=True)
    scores = ("AP", "AP50", "AP_small")
    cells = [
        [r["model"], f"{r['gflops']:.1f}", str(r["epochs"]), *(f"{r[key] or 0:.3f}" for key in scores)] for r in rows
    ]
    print(table(["model", "GFLOPs", "epochs", *scores], cells))
    publish({"benchmark": "gpu_families", "minutes": options.minutes, "rows": rows}, options.json, "lightning-fabric")


if __name__ == "__main__":
    main()
