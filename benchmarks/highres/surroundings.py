"""How large must a window around an object be? What the network finds in all tiles, looked at again in windows.

    python -m benchmarks.highres.surroundings [--least 160 192 224 256 320] [--set 2560-10] [--json FILE]

The pictures are those of `benchmarks.highres.compose`. Of each picture, cells of 16 px that hold the center of what was
found in all tiles of 640 px are hot, so that nothing is missed for the choice's sake; windows around them are cut down
to so many pixels at the least (`finespot.tiling.axis`). AP as in `benchmarks.highres.adaptive`; "area" is that of the
windows by that of all tiles.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray

from benchmarks.highres import compose
from benchmarks.highres.scored import MOST, OVERLAP, TILE, WEIGHTS, as_rows, average_precision, told
from benchmarks.report import ROOT, arguments, publish, table
from finespot import inference
from finespot.data import Dataset, open_dataset
from finespot.structures import Detections, Tiling
from finespot.tiling import axis

CELL = 16


@dataclass
class Told:
    """A seeker that is told where to look."""

    map: NDArray[np.float32]
    threshold: float = 0.5
    recall: None = None
    lost: None = None

    def heat(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        return self.map

    def fingerprint(self) -> list[Any]:
        return []


def centers(found: Detections) -> NDArray[np.float32]:
    """1 in the cells that hold the center of a box."""
    rows, columns = (-(-side // CELL) for side in found.size)
    heat = np.zeros((rows, columns), np.float32)
    x, y = ((found.boxes[:, :2] + found.boxes[:, 2:]) / (2 * CELL)).astype(int).T
    heat[np.clip(y, 0, rows - 1), np.clip(x, 0, columns - 1)] = 1
    return heat


def detect(model: inference.Model, dataset: Dataset, number: int, seeker: Told | None, conf: float) -> Any:
    more: dict[str, Any] = {} if seeker is None else {"seeker": seeker, "windows": True}
    options = {"tiling": Tiling(TILE, OVERLAP), "imgsz": TILE, "conf": conf, "max_det": MOST, **more}
    return next(model.predict(dataset.path(number), **options).outcomes)


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--least", nargs="+", type=int, default=[160, 192, 224, 256, 320], help="sides in pixels")
    parser.add_argument("--set", default="2560-10", help="of benchmarks.highres.compose")
    parser.add_argument("--conf", type=float, default=0.25)
    parser.add_argument("--data", type=Path, default=ROOT / ".data" / "hit-uav")
    parser.add_argument("--folder", type=Path, default=ROOT / ".data" / "highres", help="where the pictures are made")
    options = parser.parse_args()
    compose.write(options.folder, open_dataset(f"hit-uav:{options.data}", "val"))
    dataset = open_dataset(f"coco:{options.folder}", options.set)
    model = inference.load(WEIGHTS, device="cpu")
    numbers = range(len(dataset))
    every = [detect(model, dataset, number, None, options.conf).detections for number in numbers]
    rows = [{"least": None, "area": 1.0, "ap": average_precision(dataset, [as_rows(one) for one in every], numbers)}]
    for least in options.least:
        with patch.object(axis, "_LEAST", least):
            outcomes = [detect(model, dataset, n, Told(centers(every[n])), options.conf) for n in numbers]
        worth, possible = (sum(getattr(one.view, name) for one in outcomes) for name in ("worth", "possible"))
        found = average_precision(dataset, [as_rows(one.detections) for one in outcomes], numbers)
        rows.append({"least": least, "area": worth / possible, "ap": found})
        print(f"{least} px: {found}", file=sys.stderr, flush=True)
    cells = [[row["least"] or "all tiles", f"{row['area']:.3f}", *map(told, row["ap"].values())] for row in rows]
    print(table(["windows of at least", "area", "AP", "AP common"], cells))
    publish({"benchmark": "surroundings", "set": options.set, "conf": options.conf, "rows": rows}, options.json)


if __name__ == "__main__":
    main()
