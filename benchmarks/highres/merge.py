"""Merging tiles: what does each operator cost for very many boxes, and what do the peers' cost?

    python -m benchmarks.highres.merge [--boxes 20000 200000] [--rounds 3] [--json FILE]
    .peers/run -m benchmarks.highres.merge            # SAHI and supervision too, where they are installed

Objects of 4 to 40 px in ten classes lie in a picture of 4,000 px, each found ten times with jitter; the threshold is
0.5. `tiles` is all of `finespot.tiling.merge`: 640 px tiles, moving, clipping, the rule for tile edges, the operator.
SAHI's functions give groups of rows, ours boxes. What took longer than `--patience` seconds for a number of boxes is
left out for larger ones. One thread, CPU seconds. Bar: `tiles` takes a second at most for 200,000 boxes.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from typing import Any

import numpy as np

from benchmarks.nms import Arrays, scene
from benchmarks.report import arguments, publish, spread, table, take_turns
from finespot.boxes import suppressor
from finespot.structures import Classes, Placement, Tiling
from finespot.tiling import Part, merge, windows

SIDE, THRESHOLD = 4000, 0.5
MANY, LIMIT_S = 200_000, 1.0
OURS = ("greedy", "greedy(metric=ios)", "nmm", "nmm(metric=ios)", "nmm(transitive=true)", "soft", "weighted")
Calls = dict[str, Callable[[], Any]]


def ours(arrays: Arrays) -> Calls:
    """Each operator on all boxes, and the whole merge with the two that are asked to be quick."""
    calls: Calls = {f"finespot {name}": partial(suppressor(name), *arrays, threshold=THRESHOLD) for name in OURS}
    parts, classes = tiles(arrays), Classes(tuple(map(str, range(10))))
    for name in ("greedy", "nmm"):
        whole = partial(merge, parts, size=(SIDE, SIDE), classes=classes, iou=THRESHOLD, nms=suppressor(name))
        calls[f"finespot tiles, {name}"] = whole
    return calls


def tiles(arrays: Arrays) -> list[Part]:
    """The boxes dealt out to the tiles that hold their centers, cut to them."""
    boxes, scores, labels = arrays
    x, y = ((boxes[:, :2] + boxes[:, 2:]) / 2).T
    parts, left = [], np.ones(len(boxes), bool)
    for tile in windows((SIDE, SIDE), Tiling(640, 0.2)):
        x1, y1, x2, y2 = tile.window
        rows = np.flatnonzero(left & (x >= x1) & (x < x2) & (y >= y1) & (y < y2))
        # Half of what two tiles show is found in the first of them.
        rows = rows[::2] if len(parts) % 2 else rows
        left[rows] = False
        shown = np.concatenate([np.maximum(boxes[rows, :2], (x1, y1)), np.minimum(boxes[rows, 2:], (x2, y2))], 1)
        placement = Placement((1.0, 1.0), (0.0, 0.0), (SIDE, SIDE), (float(x1), float(y1)))
        parts.append(
            Part(placement, placement.to_input(shown.astype(np.float32)), scores[rows], labels[rows], tile.window)
        )
    return parts


def peers(arrays: Arrays) -> Calls:
    """The same of SAHI and supervision, on arrays of their kind."""
    boxes, scores, labels = arrays
    rows = np.column_stack([boxes, scores, labels]).astype(np.float64)
    calls: Calls = {}
    if find_spec("sahi") is not None:
        from sahi.postprocess import combine
        from sahi.postprocess.backends import set_postprocess_backend

        set_postprocess_backend("numpy")
        for metric in ("IOU", "IOS"):
            for name in ("batched_nms", "batched_greedy_nmm", "batched_nmm"):
                calls[f"sahi {name} {metric}"] = partial(getattr(combine, name), rows, metric, THRESHOLD)
    if find_spec("supervision") is not None:
        from supervision.detection.utils import iou_and_nms

        for name in ("box_non_max_suppression", "box_non_max_merge"):
            calls[f"supervision {name}"] = partial(getattr(iou_and_nms, name), rows, THRESHOLD)
    return calls


def left(result: Any) -> int:
    """How many boxes a result leaves: kept ones, groups, or a mask."""
    if hasattr(result, "boxes"):
        return len(result.boxes)
    if isinstance(result, np.ndarray) and result.dtype == bool:
        return int(result.sum())
    return len(result)


def verdicts(found: list[dict[str, Any]]) -> list[str]:
    """For each merge of tiles with very many boxes, whether it is as quick as is asked for."""
    asked = [row for row in found if row["boxes"] >= MANY and row["side"].startswith("finespot tiles")]
    return [
        f"{row['boxes']} boxes, {row['side']}: {row['cpu_s'].median:.2f} s, "
        f"{'' if row['cpu_s'].median <= LIMIT_S else 'not '}within the {LIMIT_S:g} s asked for"
        for row in asked
    ]


def main() -> None:
    parser = arguments(__doc__, rounds=3)
    parser.add_argument("--boxes", type=int, nargs="+", default=[20_000, 200_000])
    parser.add_argument(
        "--patience", type=float, default=10.0, help="CPU seconds after which larger numbers are left out"
    )
    options = parser.parse_args()
    found: list[dict[str, Any]] = []
    tired: set[str] = set()
    for count in sorted(options.boxes):
        arrays = scene(count, 10)
        calls = {name: call for name, call in (ours(arrays) | peers(arrays)).items() if name not in tired}
        for name, call in calls.items():
            kept = left(call())
            taken = take_turns({name: call}, options.rounds, warm_up=0)[name]
            tired |= {name} if min(taken) > options.patience else set()
            found.append({"boxes": count, "side": name, "cpu_s": spread(taken), "left": kept})
            print(f"{count} boxes, {name}: {spread(taken)} s", file=sys.stderr, flush=True)
    print(table(["boxes", "side", "CPU s", "left"], [[*row.values()] for row in found]))
    print("\n".join(verdicts(found)))
    publish({"benchmark": "merge", "threshold": THRESHOLD, "rows": found}, options.json)


if __name__ == "__main__":
    main()
