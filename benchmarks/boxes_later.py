"""Boxes only where something is found: what does that save on a CPU?

    python -m benchmarks.boxes_later [--weights hit-uav-n] [--data .data/hit-uav] [--json FILE]

Network and selection of one picture after the other on one thread, in turns: boxes of all points, and boxes of those
that pass the threshold (see `finespot.nn.heads.later`). CPU time; "points" is how many pass, of how many.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.report import ROOT, arguments, publish, ratio, spread, table
from finespot.data import open_dataset
from finespot.inference.prepare import read_rgb
from finespot.runtimes import Session

SIDES = ("all points", "points that pass")


def pictures(dataset: Any, count: int, side: int) -> list[Tensor]:
    """The first pictures as inputs (1, 3, side, side): their top left corner, on gray where they are smaller."""
    found = []
    for number in range(count):
        canvas = np.full((side, side, 3), 114, np.uint8)
        pixels = read_rgb(dataset.image(number))[:side, :side]
        canvas[: pixels.shape[0], : pixels.shape[1]] = pixels
        found.append(torch.from_numpy(canvas[None]).permute(0, 3, 1, 2))
    return found


def compare(session: Session, images: list[Tensor], conf: float, rounds: int) -> dict[str, Any]:
    """Both ways in turns; they find the same."""
    ways = dict(zip(SIDES, (session.__call__, session.look)))
    taken: dict[str, list[float]] = {side: [] for side in SIDES}
    passed = points = 0
    for turn in range(rounds + 1):  # the first one sets the network up
        for image in images:
            found = []
            for side, way in ways.items():
                start = time.process_time()
                found.append(session.select(way(image), conf))
                if turn:
                    taken[side].append(1000 * (time.process_time() - start))
            ((boxes, *_),), ((other, *_),) = found
            np.testing.assert_allclose(other, boxes, rtol=1e-4, atol=1e-3)
            if not turn:
                passed, points = passed + len(boxes), points + session(image)["scores"].shape[2]
    return {
        "conf": conf,
        "points": f"{passed / len(images):.0f} of {points / len(images):.0f}",
        "milliseconds": {side: spread(values) for side, values in taken.items()},
        "ratio": ratio(taken["points that pass"], taken["all points"]),
    }


def main() -> None:
    parser = arguments(__doc__, rounds=3)
    parser.add_argument("--weights", default="hit-uav-n", help="bundled name or weight file")
    parser.add_argument("--data", type=Path, default=ROOT / ".data" / "hit-uav")
    parser.add_argument("--pictures", type=int, default=12)
    parser.add_argument("--side", type=int, default=640)
    options = parser.parse_args()
    images = pictures(open_dataset(f"hit-uav:{options.data}", "val"), options.pictures, options.side)
    session = Session(options.weights, threads=1, device="cpu")
    rows = [compare(session, images, conf, options.rounds) for conf in (0.25, 0.01, 0.001)]
    cells = [[row["conf"], row["points"], *row["milliseconds"].values(), row["ratio"]] for row in rows]
    print(table(["conf", "points", *(f"{side}, ms" for side in SIDES), "ratio"], cells))
    publish({"benchmark": "boxes_later", "weights": options.weights, "rows": rows}, options.json)


if __name__ == "__main__":
    main()
