"""What each suppression costs: CPU milliseconds for 20,000 boxes, and how many boxes it leaves.

    python -m benchmarks.nms [--boxes 20000] [--classes 10] [--iou 0.5] [--max-det 0] [--nms greedy soft ...]
                             [--rounds 5] [--json FILE]

Objects of 4 to 40 px lie in a picture of 4,000 px, each found ten times with jitter. The choices take turns. Of what a
choice leaves, `--max-det 0` keeps all.
"""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import NDArray

from benchmarks.report import arguments, publish, spread, table, take_turns
from finespot import registry
from finespot.boxes import suppressor

FORMS = ("soft(method=linear)", "matrix(kernel=linear)")
Arrays = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]]


def scene(count: int, classes: int, seed: int = 0) -> Arrays:
    """Boxes, scores and labels: jittered copies, ten of each object."""
    random = np.random.default_rng(seed)
    objects = -(-count // 10)
    sides = random.uniform(4, 40, (objects, 2)).repeat(10, 0)[:count]
    centers = random.uniform(0, 4000, (objects, 2)).repeat(10, 0)[:count] + random.normal(0, 0.15, (count, 2)) * sides
    sides = sides * random.uniform(0.8, 1.2, (count, 2))
    boxes = np.hstack([centers - sides / 2, centers + sides / 2]).astype(np.float32)
    labels = random.integers(0, classes, objects).repeat(10)[:count]
    return boxes, random.permutation(np.linspace(0.01, 0.99, count)).astype(np.float32), labels


def main() -> None:
    parser = arguments(__doc__, rounds=5)
    parser.add_argument("--boxes", type=int, default=20_000)
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--iou", type=float, default=0.5, help="threshold of those that take one")
    parser.add_argument("--max-det", type=int, default=0)
    parser.add_argument("--nms", nargs="+", default=[*registry.names("nms"), *FORMS], help="names with their options")
    options = parser.parse_args()
    arrays = scene(options.boxes, options.classes)
    limits = {"threshold": options.iou, "max_det": options.max_det or None}
    calls = {name: partial(suppressor(name), *arrays, **limits) for name in options.nms}
    left = {name: len(call().boxes) for name, call in calls.items()}
    ms = {name: spread(taken, 1000) for name, taken in take_turns(calls, options.rounds, warm_up=1).items()}
    print(table(["nms", "CPU ms", "boxes left"], [[name, ms[name], left[name]] for name in calls]))
    settings = {name: getattr(options, name) for name in ("boxes", "classes", "iou", "max_det")}
    publish({"benchmark": "nms", "settings": settings, "ms": ms, "left": left}, options.json)


if __name__ == "__main__":
    main()
