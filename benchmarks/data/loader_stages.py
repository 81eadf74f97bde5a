"""CPU milliseconds per training picture by stage of the loader: one thread, no workers, best of several epochs.

    python benchmarks/data/loader_stages.py hit-uav:FOLDER val

The stages are measured inside the loader's own calls; "rest" is random numbers, stacking and bookkeeping.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import time
from collections import Counter
from typing import Any

import torch

from finespot.data import Augment, TrainLoader, open_dataset
from finespot.data.augment import compose
from finespot.data.pictures import Pictures

STAGES = (
    (Pictures, "__getitem__", "open and decode"),
    (compose, "render", "resample to canvas"),
    (compose, "warp_truth", "boxes"),
    (compose, "paste_small", "copy-paste"),
    (compose, "blend", "mixup"),
    (compose, "adjust", "color"),
)
SETTINGS = {
    "mosaic": Augment(),
    "no mosaic": Augment().closed(),
    "rotated": Augment(degrees=10),
    "copy-paste": Augment(copy_paste=1),
    "mixup": Augment(mixup=1),
    "letterbox": Augment.off(),
}


def watch(owner: Any, name: str, label: str, spent: Counter[str]) -> None:
    """Replace a function by one that adds up its CPU time."""
    plain = getattr(owner, name)

    @functools.wraps(plain)
    def timed(*args: Any, **options: Any) -> Any:
        start = time.process_time()
        try:
            return plain(*args, **options)
        finally:
            spent[label] += time.process_time() - start

    setattr(owner, name, timed)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("split")
    parser.add_argument("--imgsz", type=int, default=640)
    parser.add_argument("--batches", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=6)
    parser.add_argument("--cache", choices=["ram"])
    options = parser.parse_args()
    torch.set_num_threads(1)
    spent: Counter[str] = Counter()
    for stage in STAGES:
        watch(*stage, spent)
    loader = TrainLoader(open_dataset(options.data, options.split), imgsz=options.imgsz, batch=8, cache=options.cache)
    for name, augment in SETTINGS.items():
        best: dict[str, float] = {}
        for epoch in range(options.repeats):
            spent.clear()
            start = time.process_time()
            count = sum(len(batch) for batch in itertools.islice(loader.epoch(epoch, augment), options.batches))
            whole = time.process_time() - start
            run = {label: value / count * 1e3 for label, value in spent.items()}
            run["rest"] = whole / count * 1e3 - sum(run.values())
            run["all"] = whole / count * 1e3
            best = run if not best or run["all"] < best["all"] else best
        print(f"{name:11s} {best.pop('all'):6.2f} ms: " + ", ".join(f"{key} {best[key]:.2f}" for key in best))


if __name__ == "__main__":
    main()
