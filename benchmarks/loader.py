"""The training loader alone: CPU milliseconds per picture and pictures a second of a core, by stage and cache.

    python -m benchmarks.loader [--data .data/hit-uav] [--imgsz 640] [--tile 0] [--cache none ram disk]
                                [--pictures 200] [--rounds 5] [--json FILE]

Without workers. The caches take turns, and are full before the first counted round. Stages are functions of
finespot.data.augment that are timed from outside: decode (open and decode the four pictures, or get them from the
cache), truth (look up, warp and filter the boxes), draw (resample the four pictures to where they end up), color (hue,
saturation, value); rest is what remains of the time of a batch (random numbers, flips, copying to the batch).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock

from benchmarks.report import arguments, data_file, publish, spread, table
from finespot.data import Augment, TileSettings, TrainLoader, open_dataset
from finespot.data.augment import compose
from finespot.data.dataset import Dataset
from finespot.data.pictures import Pictures

STAGES: dict[str, list[tuple[Any, str]]] = {
    "decode": [(Pictures, "__getitem__")],
    "truth": [(Dataset, "columns"), (compose, "warp_truth")],
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
    parser.add_argument("--tile", type=int, default=0, help="side of tiles to cut pictures into; 0: whole pictures")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--pictures", type=int, default=200, help="pictures per round")
    parser.add_argument("--cache", choices=["none", "ram", "disk"], nargs="+", default=["none", "ram", "disk"])
    options = parser.parse_args()
    dataset = open_dataset(data_file(options.data), "train")
    kinds = {"mosaic": Augment(), "no mosaic": Augment(mosaic=0.0)}
    with TemporaryDirectory() as folder:
        loaders = {cache: make_loader(dataset, options, cache, Path(folder)) for cache in options.cache}
        runs = measure_in_turns(loaders, kinds, options.rounds, max(options.pictures // options.batch, 1))
    stages = list(next(iter(runs.values()))[0])
    ms = {side: {stage: spread(one[stage] for one in taken) for stage in stages} for side, taken in runs.items()}
    rate = {
        side: {stage: spread(1000 / max(one[stage], 1e-3) for one in taken) for stage in stages}
        for side, taken in runs.items()
    }
    for head, figures in (("CPU ms per picture", ms), ("pictures/s of a core", rate)):
        print(table([head, *runs], [[stage, *(figures[side][stage] for side in runs)] for stage in stages]))
        print()
    settings = {name: getattr(options, name) for name in ("imgsz", "tile", "batch", "pictures", "cache")}
    result = {"benchmark": "loader", "settings": settings, "ms": ms, "pictures_per_second": rate}
    publish(result, options.json, "pillow", "simplejpeg")


def make_loader(dataset: Dataset, options: Any, cache: str, folder: Path) -> TrainLoader:
    return TrainLoader(
        dataset,
        imgsz=options.imgsz,
        batch=options.batch,
        cache=None if cache == "none" else cache,
        cache_folder=folder,
        tile=TileSettings(size=options.tile or None),
    )


def measure_in_turns(
    loaders: dict[str, TrainLoader], kinds: dict[str, Augment], rounds: int, batches: int
) -> dict[str, list[dict[str, float]]]:
    """The stages of each round for each cache and kind of picture; the first round is not counted."""
    runs: dict[str, list[dict[str, float]]] = {f"{cache}, {kind}": [] for kind in kinds for cache in loaders}
    for turn in range(1 + rounds):
        for kind, augment in kinds.items():
            for cache, loader in loaders.items():
                # Each round takes the same epoch, so that no cache meets a picture for the first time in it.
                once = measure(loader, augment, 0, batches)
                if turn:
                    runs[f"{cache}, {kind}"].append(once)
    return runs


if __name__ == "__main__":
    main()
