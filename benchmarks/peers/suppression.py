"""Suppression of many boxes: is FineSpot's result identical to torchvision's, and what does each cost?

    .peers/run -m benchmarks.peers.suppression [--rounds 5] [--json FILE]

Sets: `clustered` with 5,000 and 50,000 boxes (10 classes, 10 jittered copies per object, IoU 0.7), and `identical`,
50,000 boxes of one class that almost coincide in 50 heaps: the worst case for anything quadratic. Both sides get
the arrays in their own kind (numpy, torch) and take turns, one thread, CPU seconds. Peak memory is measured in a
process of its own per side, as growth over the imports and the input.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.peers.peer import pinned, require_environment
from benchmarks.report import arguments, peak_rss_mib, publish, ratio, run_alone, spread, table, take_turns

IOU = 0.7
SIDES = ("finespot", "torchvision")
Arrays = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]]


def clustered(count: int, copies: int = 10, classes: int = 10, seed: int = 0) -> Arrays:
    """Objects of 8 to 80 px spread over a picture of 4,000 px, each predicted `copies` times with jitter."""
    random = np.random.default_rng(seed)
    objects = count // copies
    centers = random.uniform(0, 4000, (objects, 2))
    sides = random.uniform(8, 80, (objects, 2))
    labels = random.integers(0, classes, objects).repeat(copies)
    centers = centers.repeat(copies, 0) + random.normal(0, 0.12, (count, 2)) * sides.repeat(copies, 0)
    sides = sides.repeat(copies, 0) * random.uniform(0.8, 1.2, (count, 2))
    boxes = np.hstack([centers - sides / 2, centers + sides / 2]).astype(np.float32)
    return boxes, random.permutation(np.linspace(0.05, 0.95, count)).astype(np.float32), labels.astype(np.int64)


def identical(count: int, heaps: int = 50, seed: int = 0) -> Arrays:
    """One class, `heaps` heaps of boxes that differ by less than a pixel."""
    random = np.random.default_rng(seed)
    heap = np.arange(count) % heaps
    corners = np.stack([heap % 10 * 200.0, heap // 10 * 200.0], 1) + random.uniform(0, 0.5, (count, 2))
    boxes = np.hstack([corners, corners + 100 + random.uniform(0, 0.5, (count, 2))]).astype(np.float32)
    scores = random.permutation(np.linspace(0.05, 0.95, count)).astype(np.float32)
    return boxes, scores, np.zeros(count, np.int64)


SETS: dict[str, Callable[[int], Arrays]] = {"clustered": clustered, "identical": identical}
DEFAULT = ("clustered:5000", "clustered:50000", "identical:50000")


def call(side: str, arrays: Arrays) -> Callable[[], NDArray[np.int64]]:
    """The suppression of one side on its own kind of arrays; kept rows by falling score."""
    if side == "finespot":
        from finespot.boxes.suppression import nms

        return lambda: nms(*arrays, IOU)
    import torch
    from torchvision.ops import batched_nms

    boxes, scores, labels = (torch.from_numpy(array) for array in arrays)
    return lambda: batched_nms(boxes, scores, labels, IOU).numpy()


def make(name: str) -> Arrays:
    kind, _, count = name.partition(":")
    return SETS[kind](int(count))


def memory(name: str, side: str) -> dict[str, float]:
    """Peak growth in MiB of one call, after imports, input and a first small call."""
    arrays = make(name)
    call(side, clustered(1000))()
    before = peak_rss_mib()
    call(side, arrays)()
    return {"mib": peak_rss_mib() - before}


def compare(name: str, rounds: int) -> dict[str, Any]:
    arrays = make(name)
    calls = {side: call(side, arrays) for side in SIDES}
    kept = {side: one() for side, one in calls.items()}
    taken = take_turns(calls, rounds, warm_up=1)
    return {
        "set": name,
        "identical": bool(np.array_equal(*kept.values())),
        "kept": {side: len(rows) for side, rows in kept.items()},
        "cpu_s": {side: spread(values) for side, values in taken.items()},
        "ratio": ratio(taken["torchvision"], taken["finespot"]),
        "peak_mib": {
            side: round(run_alone("benchmarks.peers.suppression", "--memory", name, side)["mib"], 1) for side in SIDES
        },
    }


def main() -> None:
    parser = arguments(__doc__, rounds=5)
    parser.add_argument("--sets", nargs="+", default=DEFAULT, help="kind:count, kinds clustered and identical")
    parser.add_argument("--memory", nargs=2, metavar=("SET", "SIDE"), help="only print the peak memory of one side")
    options = parser.parse_args()
    require_environment()
    with pinned():
        if options.memory:
            print(json.dumps(memory(*options.memory)))
            return
        rows = [compare(name, options.rounds) for name in options.sets]
    head = ["set", "kept", "same", "finespot CPU s", "torchvision CPU s", "torchvision / finespot", "peak MiB"]
    cells = [
        [
            row["set"],
            row["kept"]["finespot"],
            "yes" if row["identical"] else f"NO ({row['kept']['torchvision']})",
            *(row["cpu_s"][side] for side in SIDES),
            row["ratio"],
            " / ".join(str(row["peak_mib"][side]) for side in SIDES),
        ]
        for row in rows
    ]
    print(table(head, cells))
    publish({"benchmark": "suppression", "iou": IOU, "rows": rows}, options.json, "torchvision")


if __name__ == "__main__":
    main()
