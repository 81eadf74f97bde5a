"""Tiles that a seeker chooses, beside all tiles: what do they save, what do they lose?

    python -m benchmarks.highres.adaptive [--seeker hit-uav-seeker] [--recall 0.98] [--json FILE]

The pictures are those of `benchmarks.highres.compose`, made where they are missing, with objects in 10, 30 and 100 % of
their frames. Both sides are one model with tiles of 640 px and an overlap of 0.2, picture by picture in turns; decoding
and the seeker count. The seeker's threshold is chosen by what tiles show of the objects of one set, whose row says so
(`--chosen-on`, `--recall`; a recall of 0 leaves the stored one). CPU time of one thread, or with `--wall` wall time on
`--threads` threads. AP is that of COCO on all that came out at `--conf`; of the objects that the network finds in all
tiles it is said how many it loses in chosen ones. Tiles are those that the network ran on, what they are worth by area,
and all.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.highres import compose
from benchmarks.highres.scored import MOST, OVERLAP, TILE, WEIGHTS, Rows, as_rows, average_precision, detected
from benchmarks.report import CLOCKS, ROOT, arguments, publish, ratio, spread, table
from finespot import inference
from finespot.data import open_dataset
from finespot.structures import Flags, Tiling

SIDES = ("uniform", "adaptive")
SETS = tuple(f"{width}-{density}" for width in compose.SIDES for density in compose.DENSITIES)


def calibrated(options: Any) -> inference.Seeker:
    """The seeker, with a threshold for the pictures of a set."""
    seeker = inference.load_seeker(options.seeker, threads=options.threads)
    if options.recall:
        dataset = open_dataset(f"coco:{options.folder}", options.chosen_on)
        found = inference.calibrate_seeker(seeker, dataset, options.recall, tiling=Tiling(TILE, OVERLAP))
        seeker.threshold = found.threshold
        print("\n".join(inference.reach_lines(found)), file=sys.stderr, flush=True)
    return seeker


def compare(name: str, model: inference.Model, seeker: inference.Seeker, options: Any) -> dict[str, Any]:
    """All tiles and chosen ones on the first pictures of a set, in turns."""
    dataset = open_dataset(f"coco:{options.folder}", name)
    numbers = range(min(len(dataset), options.pictures))
    clock, tiling = CLOCKS["wall" if options.wall else "cpu"], Tiling(TILE, OVERLAP)
    taken: dict[str, list[float]] = {side: [] for side in SIDES}
    found: dict[str, list[Rows]] = {side: [] for side in SIDES}
    seen: dict[str, list[Flags]] = {side: [] for side in SIDES}
    tiles, worth = dict.fromkeys(SIDES, 0), 0.0
    for turn in range(options.rounds):
        for number in numbers:
            for side, more in zip(SIDES, ({}, {"seeker": seeker})):
                start = clock()
                outcome = next(
                    model.predict(
                        dataset.path(number),
                        tiling=tiling,
                        imgsz=TILE,
                        conf=options.conf,
                        max_det=MOST,
                        windows=bool(more),
                        **more,
                    ).outcomes
                )
                taken[side].append(clock() - start)
                if turn == 0:
                    found[side].append(as_rows(outcome.detections))
                    seen[side].append(detected(dataset.annotations(number), outcome.detections))
                    tiles[side] += model.timing.windows
                    worth += 0 if outcome.view is None else outcome.view.worth
    all_tiles, chosen = (np.concatenate(seen[side]) for side in SIDES)
    precision = {side: average_precision(dataset, rows, numbers) for side, rows in found.items()}
    row = {
        "set": name,
        "pictures": len(numbers),
        "seconds": {side: spread(values) for side, values in taken.items()},
        "speed_up": ratio(taken["uniform"], taken["adaptive"]),
        "tiles": {**tiles, "worth": round(worth, 1)},
        "ap": precision,
        "objects": {"found": int(all_tiles.sum()), "lost": int((all_tiles & ~chosen).sum())},
    }
    print(f"{name}: {row['speed_up']} times as fast", file=sys.stderr, flush=True)
    return row


def main() -> None:
    parser = arguments(__doc__, rounds=1)
    parser.add_argument("--seeker", default="hit-uav-seeker", help="bundled name or weight file")
    parser.add_argument("--recall", type=float, default=0.98, help="share of the objects that tiles are to show")
    parser.add_argument("--chosen-on", default=SETS[0], help="set that the threshold is chosen on")
    parser.add_argument("--sets", nargs="+", default=list(SETS), help=f"of {', '.join(SETS)}")
    parser.add_argument("--pictures", type=int, default=45, help="of each set at most")
    parser.add_argument("--wall", action="store_true", help="time that passes")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--conf", type=float, default=0.25)
    parser.add_argument("--data", type=Path, default=ROOT / ".data" / "hit-uav")
    parser.add_argument("--folder", type=Path, default=ROOT / ".data" / "highres", help="where the pictures are made")
    options = parser.parse_args()
    compose.write(options.folder, open_dataset(f"hit-uav:{options.data}", "val"))
    model = inference.load(WEIGHTS, threads=options.threads, device="cpu")
    warm = open_dataset(f"coco:{options.folder}", SETS[0])
    seeker = calibrated(options)
    for more in ({}, {"seeker": seeker}):  # the first picture pays for what is loaded late
        next(model.predict(warm.path(0), tiling=Tiling(TILE, OVERLAP), imgsz=TILE, **more))
    rows = [compare(name, model, seeker, options) for name in options.sets]
    chosen_on = options.chosen_on if options.recall else None
    cells = [
        [
            f"{row['set']} (threshold)" if row["set"] == chosen_on else row["set"],
            row["pictures"],
            *row["seconds"].values(),
            row["speed_up"],
            "{adaptive}, as much as {worth} of {uniform}".format(**row["tiles"]),
            *(f"{value:.4f}" for value in row["ap"].values()),
            "{lost} of {found}".format(**row["objects"]),
        ]
        for row in rows
    ]
    clock = "wall" if options.wall else "cpu"
    head = [f"{side}, {clock} s a picture" for side in SIDES]
    columns = ["uniform / adaptive", "tiles", *(f"AP {side}" for side in SIDES), "lost"]
    print(table(["set", "pictures", *head, *columns], cells))
    settings = {"clock": clock, "threads": options.threads, "conf": options.conf, "seeker": options.seeker}
    settings |= {"threshold": seeker.threshold, "recall": options.recall, "chosen_on": chosen_on}
    publish({"benchmark": "adaptive", "settings": settings, "rows": rows}, options.json)


if __name__ == "__main__":
    main()
