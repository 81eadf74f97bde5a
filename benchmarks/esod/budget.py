"""Does ESOD on windows find as much as its dense host after the same training budget, and how much cheaper is it?

    python -m benchmarks.esod.budget FOLDER [--data FOLDER_OF_HIT_UAV] [--seconds 3600] [--pictures 45]
                                     [--recalls 0.97 ... 0.86] [--rounds 3] [--json FILE] [--brief]
                                     [--learn then-seeker|seeker|all] [--lr 1e-4] [--options core=24 ...]

Both sides begin with the bundled weights of HIT-UAV and learn from its train split for as many CPU seconds, one process
of one thread each, side by side (`benchmarks.esod.accuracy`, `LEARNING`): the host as it is, the other with a seeker
that knows nothing at first. The other learns as the host does, the seeker beside, and the last third of the time the
seeker alone, behind weights that stay as they are; with `--learn seeker` it does so all of the time, with `all` windows
run from the first step on, and everything learns by them.
Every tenth picture of train is learned from by neither; thresholds are those that reach so many of the objects there.
Scored are pictures of 2560 x 2048 px made of val, whole and at their own scale, objects in a tenth of their frames
(`benchmarks.highres.compose`), and nothing is chosen by them. "AP common" is the mean of the classes with 20 objects or
more there. CPU seconds are from picture to boxes, one thread, in turns with the dense host on every fifth picture; so
this part wants an idle machine. Bars, for rows that keep 0.2 or less of the map, halos counted: at least twice as fast,
at most 45 % of the operations, AP at most 0.5 points lower.

FOLDER keeps what was learned; what lies there is not learned again. A little over the seconds asked for on two cores.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from torch import Tensor

from benchmarks.esod.accuracy import LEARN, figures, parted
from benchmarks.highres.compose import write
from benchmarks.report import ROOT, Spread, arguments, publish, ratio, spread, table
from finespot import inference, weights
from finespot.data import Dataset, open_dataset
from finespot.inference.prepare import read_rgb
from finespot.runtimes import Session
from finespot.zoo import WindowedDetector, window_costs
from finespot.zoo.windowed import Windows

SIDE, WIDTH, DENSITY, HOLD_OUT, EVERY = 640, 2560, 10, 10, 5
LEARNING = ["--frames", "--side", str(SIDE), "--batch", "4", "--seeker-lr", "3e-3", "--hold-out", str(HOLD_OUT)]
WINDOWS = ['relay="seeker(form=coarse,loss=peak)"', "core=24", "halo=8"]
SPARSE, FASTER, LIGHTER, NEAR = 0.2, 2.0, 0.45, 0.005


def learn(folder: Path, data: Path, options: Any) -> None:
    """Both sides at once, each in a process of its own; what was learned before stays."""
    common = ["--data", str(data), "--out", str(folder), "--seconds", str(options.seconds), "--no-score", *LEARNING]
    common += ["--lr", str(options.lr)]
    running = []
    for row in ("dense", "windows"):
        if (folder / f"{row}-0.safetensors").exists() and (folder / f"{row}.json").exists():
            continue
        words = [*common, "--rows", row, "--json", str(folder / f"{row}.json"), "--options", *options.options]
        if row == "windows":
            words += ["--learn", options.learn]
        command = [sys.executable, "-m", "benchmarks.esod.accuracy", *words]
        running.append(subprocess.Popen(command, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}))
    codes = [one.wait() for one in running]
    if any(codes):
        raise SystemExit("a training did not end well")


def opened(path: Path) -> Session:
    """A session on whole pictures at their own scale."""
    network, card = weights.load(path)
    return Session(network, card=msgspec.structs.replace(card, imgsz=WIDTH), threads=1, device="cpu")


def rules_of(session: Session, held: Dataset, recalls: list[float]) -> dict[str, Windows]:
    """What chooses windows in each row: thresholds by pictures that nobody learned from."""
    network: WindowedDetector = session.network
    first = replace(network.windows, dense_above=None)
    rules = {}
    for recall in recalls:
        network.windows = first
        found = inference.calibrate_threshold(session, held, recall, imgsz=SIDE)
        rules[f"{100 * recall:g} %"] = replace(first, threshold=found.threshold)
    return rules


def timed(
    sides: dict[str, tuple[Session, Windows | None]], dataset: Dataset, rounds: int
) -> dict[str, tuple[Spread, Spread]]:
    """CPU seconds of a picture, and how many times as fast as "dense": medians over pictures, in turns."""
    taken: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(0, len(dataset), EVERY):
        pixels = torch.from_numpy(read_rgb(dataset.image(number))[None]).permute(0, 3, 1, 2)
        times: dict[str, list[float]] = {name: [] for name in sides}
        for turn in range(rounds + 1):
            for name, (session, rule) in sides.items():
                seconds = picture_seconds(session, rule, pixels)
                if turn:
                    times[name].append(seconds)
        for name, own in times.items():
            taken[name].append(float(np.median(own)))
    return {name: (spread(own), ratio(taken["dense"], own)) for name, own in taken.items()}


def picture_seconds(session: Session, rule: Windows | None, pixels: Tensor) -> float:
    if rule is not None:
        session.network.windows = rule
    start = time.process_time()
    session.select(session.look(pixels), 0.25)
    return time.process_time() - start


def verdicts(rows: list[dict[str, Any]]) -> list[str]:
    """For each row that keeps little: where it misses a bar, or that it meets all."""
    dense, told = rows[0], []
    for row in rows[1:]:
        if row["occupancy"] is None or row["occupancy"] > SPARSE or row["faster"] is None:
            continue
        missed = []
        if row["faster"].median < FASTER:
            missed.append(f"{row['faster'].median:.1f} times as fast, not {FASTER:g}")
        if row["gflops"] > LIGHTER * dense["gflops"]:
            missed.append(f"{row['gflops'] / dense['gflops']:.0%} of the operations, not {LIGHTER:.0%}")
        gains = {name: row[name] - dense[name] for name in ("AP", "AP common") if dense[name] is not None}
        missed += [f"{name} {100 * gain:+.1f}" for name, gain in gains.items() if gain < -NEAR]
        kept = f"{row['chosen']}, kept {row['occupancy']:.2f}"
        told.append(f"{kept}: {', '.join(missed) if missed else 'all bars met'}")
    return told or [f"no row keeps {SPARSE:g} or less"]


def main() -> None:
    parser = arguments(__doc__, rounds=3)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--data", type=Path, default=ROOT / ".data" / "hit-uav", help="folder of HIT-UAV")
    parser.add_argument("--seconds", type=float, default=3600)
    parser.add_argument("--pictures", type=int, default=45)
    parser.add_argument("--learn", choices=LEARN, default="then-seeker", help="on the side with windows")
    parser.add_argument("--lr", type=float, default=1e-4, help="of all but the seeker")
    parser.add_argument("--options", nargs="*", default=WINDOWS, metavar="KEY=VALUE", help="of the windows")
    parser.add_argument("--brief", action="store_true", help="leave out the rows in which no seeker chooses")
    parser.add_argument("--recalls", nargs="+", type=float, default=[0.97, 0.95, 0.93, 0.92, 0.91, 0.9, 0.88, 0.86])
    options = parser.parse_args()
    folder, data = options.folder.resolve(), options.data.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    learn(folder, data, options)
    told = {row: json.loads((folder / f"{row}.json").read_text()) for row in ("dense", "windows")}
    for side, made in told.items():
        keys = ("seconds", "lr", *(("learn", "options") if side == "windows" else ()))
        own = {key: made["settings"][key] for key in keys}
        if own != {key: getattr(options, key) for key in keys}:
            raise SystemExit(f"{folder / side}: learned with {own}; give these, or another folder")
    torch.set_num_threads(1)
    (split,) = write(folder / "set", open_dataset(f"hit-uav:{data}", "val"), asked={WIDTH: {DENSITY: options.pictures}})
    pictures = open_dataset(f"coco:{folder / 'set'}", split)
    held = parted(open_dataset(f"hit-uav:{data}", "train"), HOLD_OUT)[1]
    dense, windows = (opened(folder / f"{row}-0.safetensors") for row in ("dense", "windows"))
    network: WindowedDetector = windows.network
    costs = window_costs(network, pictures.size(0))
    rows: list[dict[str, Any]] = []
    rows.append({"chosen": "dense host", **figures(dense, pictures), "gflops": costs.dense, "occupancy": None})
    rules = rules_of(windows, held, options.recalls)
    if not options.brief:
        network.whole = True
        rows.append({"chosen": "dense form of the other", **figures(windows, pictures), "occupancy": None})
        network.whole = False
        first = replace(network.windows, dense_above=None)
        every, truth = (replace(first, select=select) for select in ("all", "oracle"))
        rules = {"all windows": every, "windows of the truth": truth, **rules}
    for name, rule in rules.items():
        network.windows = rule
        rows.append({"chosen": name, "threshold": rule.threshold, **figures(windows, pictures)})
        print("  ", rows[-1], flush=True)
    asked = {name: (windows, rule) for name, rule in rules.items() if rule.select == "seeker"}
    times = timed({"dense": (dense, None), **asked}, pictures, options.rounds)
    for row in rows:
        name = "dense" if row["chosen"] == "dense host" else row["chosen"]
        row["cpu_s"], row["faster"] = times.get(name, (None, None))
    head = ["chosen", "kept", "GFLOPs", "CPU s", "times as fast", "AP", "AP50", "AP common"]
    columns = ["chosen", "occupancy", "gflops", "cpu_s", "faster", "AP", "AP50", "AP common"]
    print(table(head, [[cell(row.get(key)) for key in columns] for row in rows]))
    print("\n".join(verdicts(rows)))
    learned = {side: made["rows"][0] for side, made in told.items()}
    print(", ".join(f"{side}: {one['steps']} steps of {one['step_cpu_s']:.2f} s" for side, one in learned.items()))
    chosen = ("seconds", "learn", "lr", "options", "pictures")
    settings = {"learning": LEARNING, **{key: getattr(options, key) for key in chosen}}
    publish({"benchmark": "esod_budget", "settings": settings, "learned": learned, "rows": rows}, options.json)


def cell(value: Any) -> str:
    return "-" if value is None else f"{value:.3f}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    main()
