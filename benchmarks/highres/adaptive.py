"""Tiles that a seeker chooses, beside all tiles: what do they save, what do they lose?

    python -m benchmarks.highres.adaptive [--seeker hit-uav-seeker] [--recalls 0.98 0.9] [--json FILE]

The pictures are those of `benchmarks.highres.compose`, made where they are missing, with objects in 10, 30 and 100 % of
their frames. Both sides are one model with tiles of 640 px and an overlap of 0.2, in turns, each time on so many
pictures of a set (`--at-once`), as windows of one shape share a batch across pictures too; seconds are those of such a
run by its pictures. Decoding and the seeker count. The seeker's thresholds are chosen by what tiles show of the objects
of one set, whose rows say so (`--chosen-on`, `--recalls`; a recall of 0 takes the stored one). CPU time of one thread,
or with `--wall` wall time on `--threads` threads. AP is that of COCO on all that came out at `--conf`, "common" that of
the classes with 20 objects or more; of the objects that the network finds in all tiles it is said how many it loses in
chosen ones. Tiles are those that the network ran on, what they are worth by area, and all.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.highres import compose
from benchmarks.highres.scored import MOST, OVERLAP, TILE, WEIGHTS, Rows, as_rows, average_precision, detected, told
from benchmarks.report import CLOCKS, ROOT, arguments, publish, ratio, spread, table
from finespot import inference
from finespot.data import open_dataset
from finespot.structures import Flags, Tiling

SETS = tuple(f"{width}-{density}" for width in compose.SIDES for density in compose.DENSITIES)


def thresholds(seeker: inference.Seeker, options: Any) -> dict[str, float]:
    """The seeker's thresholds for the pictures of a set, by what they were chosen for."""
    dataset, found = open_dataset(f"coco:{options.folder}", options.chosen_on), {}
    for recall in options.recalls:
        if not recall:
            found["stored"] = seeker.threshold
            continue
        reached = inference.calibrate_seeker(seeker, dataset, recall, tiling=Tiling(TILE, OVERLAP))
        found[f"{100 * recall:g} %"] = reached.threshold
        print("\n".join(inference.reach_lines(reached)), file=sys.stderr, flush=True)
    return found


def compare(
    name: str, model: inference.Model, seeker: inference.Seeker, chosen: dict[str, float], options: Any
) -> list[dict[str, Any]]:
    """All tiles and chosen ones on the first pictures of a set, in turns; a row for each threshold."""
    dataset = open_dataset(f"coco:{options.folder}", name)
    numbers = range(min(len(dataset), options.pictures))
    clock, tiling = CLOCKS["wall" if options.wall else "cpu"], Tiling(TILE, OVERLAP)
    sides = ("all tiles", *chosen)
    taken: dict[str, list[float]] = {side: [] for side in sides}
    found: dict[str, list[Rows]] = {side: [] for side in sides}
    seen: dict[str, list[Flags]] = {side: [] for side in sides}
    tiles, worth = dict.fromkeys(sides, 0), dict.fromkeys(sides, 0.0)
    for turn in range(options.rounds):
        for first in range(0, len(numbers), options.at_once):
            group = numbers[first : first + options.at_once]
            for side in sides:
                more = {}
                if side in chosen:
                    seeker.threshold, more = chosen[side], {"seeker": seeker}
                start = clock()
                run = model.predict(
                    [dataset.path(number) for number in group],
                    tiling=tiling,
                    imgsz=TILE,
                    conf=options.conf,
                    max_det=MOST,
                    windows=bool(more),
                    **more,
                )
                outcomes = [(one.detections, one.view) for one in run.outcomes]
                taken[side].append((clock() - start) / len(group))
                if turn == 0:
                    tiles[side] += model.timing.windows
                    for number, (detections, view) in zip(group, outcomes, strict=True):
                        found[side].append(as_rows(detections))
                        seen[side].append(detected(dataset.annotations(number), detections))
                        worth[side] += 0 if view is None else view.worth
    precision = {side: average_precision(dataset, rows, numbers) for side, rows in found.items()}
    every = np.concatenate(seen["all tiles"])
    rows = []
    for side in chosen:
        missed = every & ~np.concatenate(seen[side])
        row = {
            "set": name,
            "pictures": len(numbers),
            "chosen_for": side,
            "threshold": chosen[side],
            "seconds": {"all": spread(taken["all tiles"]), "chosen": spread(taken[side])},
            "speed_up": ratio(taken["all tiles"], taken[side]),
            "quick": float(np.median(np.divide(taken["all tiles"], taken[side]))),
            "tiles": {"all": tiles["all tiles"], "chosen": tiles[side], "worth": round(worth[side], 1)},
            "ap": {"all": precision["all tiles"], "chosen": precision[side]},
            "objects": {"found": int(every.sum()), "lost": int(missed.sum())},
        }
        print(f"{name}, {side}: {row['speed_up']} times as fast", file=sys.stderr, flush=True)
        rows.append(row)
    return rows


def verdict(row: dict[str, Any]) -> str:
    """Whether a row is as quick as is asked of its density: 5 times, or no slower than 5 %; and what that costs.

    AP is asked to be within 0.5 of that of all tiles; AP common is told beside it.
    """
    least = {"10": 5.0, "100": 0.95}.get(row["set"].partition("-")[2])
    quick = "" if least is None else f", {'' if row['quick'] >= least else 'not '}the {least:g} that are asked for"
    gain, common = (
        None if row["ap"]["all"][name] is None else 100 * (row["ap"]["chosen"][name] - row["ap"]["all"][name])
        for name in ("AP", "AP common")
    )
    near = "-" if gain is None else f"{gain:+.1f}, {'' if gain >= -0.5 else 'not '}within 0.5"
    share = row["objects"]["lost"] / max(1, row["objects"]["found"])
    return (
        f"{row['set']}, {row['chosen_for']}: {row['quick']:.1f} times as fast{quick}; AP {near}, AP common "
        f"{'-' if common is None else f'{common:+.1f}'}, {100 * share:.1f} % lost"
    )


def main() -> None:
    parser = arguments(__doc__, rounds=1)
    parser.add_argument("--seeker", default="hit-uav-seeker", help="bundled name or weight file")
    parser.add_argument("--recalls", nargs="+", type=float, default=[0.98, 0.9], help="shares of the objects")
    parser.add_argument("--chosen-on", default=SETS[0], help="set that the thresholds are chosen on")
    parser.add_argument("--sets", nargs="+", default=list(SETS), help=f"of {', '.join(SETS)}")
    parser.add_argument("--pictures", type=int, default=45, help="of each set at most")
    parser.add_argument("--at-once", type=int, default=5, help="pictures of a run")
    parser.add_argument("--wall", action="store_true", help="time that passes")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--conf", type=float, default=0.25)
    parser.add_argument("--data", type=Path, default=ROOT / ".data" / "hit-uav")
    parser.add_argument("--folder", type=Path, default=ROOT / ".data" / "highres", help="where the pictures are made")
    options = parser.parse_args()
    compose.write(options.folder, open_dataset(f"hit-uav:{options.data}", "val"))
    model = inference.load(WEIGHTS, threads=options.threads, device="cpu")
    warm = open_dataset(f"coco:{options.folder}", SETS[0])
    seeker = inference.load_seeker(options.seeker, threads=options.threads)
    chosen = thresholds(seeker, options)
    for more in ({}, {"seeker": seeker}):  # the first picture pays for what is loaded late
        next(model.predict(warm.path(0), tiling=Tiling(TILE, OVERLAP), imgsz=TILE, **more))
    rows = [row for name in options.sets for row in compare(name, model, seeker, chosen, options)]
    picked = {(options.chosen_on, threshold) for name, threshold in chosen.items() if name != "stored"}
    cells = [
        [
            f"{row['set']} (threshold)" if (row["set"], row["threshold"]) in picked else row["set"],
            row["pictures"],
            row["chosen_for"],
            *row["seconds"].values(),
            row["speed_up"],
            "{chosen}, as much as {worth} of {all}".format(**row["tiles"]),
            *(told(side[name]) for name in ("AP", "AP common") for side in row["ap"].values()),
            "{lost} of {found}".format(**row["objects"]),
        ]
        for row in rows
    ]
    clock = "wall" if options.wall else "cpu"
    head = ["set", "pictures", "recall", f"all tiles, {clock} s", f"chosen, {clock} s", "all / chosen", "tiles"]
    print(table([*head, "AP all", "AP chosen", "AP common all", "AP common chosen", "lost"], cells))
    print("\n".join(map(verdict, rows)))
    settings = {"clock": clock, "threads": options.threads, "conf": options.conf, "seeker": options.seeker}
    settings |= {"thresholds": chosen, "chosen_on": options.chosen_on, "at_once": options.at_once}
    publish({"benchmark": "adaptive", "settings": settings, "rows": rows}, options.json)


if __name__ == "__main__":
    main()
