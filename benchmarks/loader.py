"""The training loader alone: CPU milliseconds per mosaic picture, by stage, without workers.

    python -m benchmarks.loader [--data .data/hit-uav] [--imgsz 640] [--pictures 200] [--rounds 5] [--json FILE]

Stages are functions of finespot.data.augment that are timed from outside: decode (open and decode the four pictures),
truth (look up, warp and filter the boxes), draw (resample the four pictures to where they end up), color (hue,
saturation, value); rest is what remains of the time of a batch (random numbers, flips, copying to the batch).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest import mock

from benchmarks.report import arguments, data_file, publish, spread, table
from finespot.data import Augment, TrainLoader, open_dataset
from finespot.data.augment import compose
from finespot.data.dataset import Dataset
from finespot.data.pictures import Pictures

STAGES: dict[str, list[tuple[Any, str]]] = {
    "decode": [(Pictures, "__getitem__")],
    "truth": [(Dataset, "annotations"), (compose, "warp_truth")],
    "draw": [(compose, "render")],
    "color": [(compose, "adjust")],
}


def timed(function: Callable[..., Any], spent: dict[str, float], stage: str) -> Callable[..., Any]:
    def wrapper(*given: Any, **named: Any) -> Any:
        start = time.process_time()
        try:
            return function(*given, **named)
        finally:
            spent[stage] += time.process_time() - start

    return wrapper


def measure(loader: TrainLoader, augment: Augment, epoch: int, batches: int) -> dict[str, float]:
    """CPU milliseconds per picture by stage over the first `batches` batches of an epoch."""
    spent = dict.fromkeys(STAGES, 0.0)
    with ExitStack() as stack:
        for stage, places in STAGES.items():
            for owner, name in places:
                stack.enter_context(mock.patch.object(owner, name, timed(getattr(owner, name), spent, stage)))
        start = time.process_time()
        pictures = 0
        for number, batch in enumerate(loader.epoch(epoch, augment), start=1):
            pictures += len(batch)
            if number == batches:
                break
        whole = time.process_time() - start
    spent.update(rest=whole - sum(spent.values()), total=whole)
    return {stage: 1000 * seconds / pictures for stage, seconds in spent.items()}


def main() -> None:
    parser = arguments(__doc__, rounds=5)
    parser.add_argument("--data", type=Path, default=Path(".data/hit-uav"), help="YOLO data set folder")
    parser.add_argument("--imgsz", type=int, default=640)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--pictures", type=int, default=200, help="pictures per round")
    parser.add_argument("--cache", choices=["ram"], help="keep decoded pictures in memory")
    options = parser.parse_args()
    dataset = open_dataset(data_file(options.data), "train")
    loader = TrainLoader(dataset, imgsz=options.imgsz, batch=options.batch, cache=options.cache)
    batches = max(options.pictures // options.batch, 1)
    kinds = {"mosaic": Augment(), "no mosaic": Augment(mosaic=0.0)}
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in kinds}
    for turn in range(1 + options.rounds):
        for name, augment in kinds.items():
            once = measure(loader, augment, turn, batches)
            if turn:
                runs[name].append(once)
    result = {name: {stage: spread(one[stage] for one in taken) for stage in taken[0]} for name, taken in runs.items()}
    stages = list(result["mosaic"])
    print(table(["CPU ms per picture", *kinds], [[stage, *(result[k][stage] for k in kinds)] for stage in stages]))
    settings = {name: getattr(options, name) for name in ("imgsz", "batch", "pictures", "cache")}
    publish({"benchmark": "loader", "settings": settings, "ms": result}, options.json, "pillow", "simplejpeg")


if __name__ == "__main__":
    main()
