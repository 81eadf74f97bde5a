"""Prediction of one 640 x 512 JPEG end to end with the same weights on both sides, torch, in turns.

    .peers/run -m benchmarks.peers.predict [--rounds 12] [--json FILE]               # CPU time, one thread
    .peers/run -m benchmarks.peers.predict --threads 2                               # wall time

Weights are random, then made `idle` (nothing above the threshold) or `busy` (600 candidates above it): the class
biases are moved until so many anchors pass, and all boxes are two cells wide, so that neighbors overlap by less than
the threshold and the allowed 300 remain. A call reads the file, prepares, runs, decodes, suppresses and returns the
result object.
What FineSpot spends by stage comes from its own `Timing`: decode (the JPEG), prepare, model (the network alone),
postprocess (decoding of boxes and suppression).

With one thread the process is kept on one core. With `--threads N` each side gets what it takes by itself on N cores
(the peer sets torch to one thread fewer than the machine has), and the wall clock counts. Peak
memory is measured in a process of its own per side.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchmarks.peers import ours, peer
from benchmarks.report import (
    ROOT,
    arguments,
    peak_rss_mib,
    publish,
    ratio,
    run_alone,
    spread,
    table,
    take_turns,
)

SIDES = ("finespot", "ultralytics")
CONF = 0.25
CANDIDATES = {"idle": 0, "busy": 600}
MODULE = "benchmarks.peers.predict"
Call = Callable[[], int]


def picture() -> Path:
    """The first bundled validation picture, 640 x 512."""
    return sorted((ROOT / "samples" / "hit-uav" / "images" / "val").glob("*.jpg"))[0]


def craft(name: str, load: str, path: Path) -> torch.nn.Module:
    """A random peer model in which the wanted number of anchors of this picture passes the threshold."""
    import numpy as np
    from PIL import Image

    pixels = torch.from_numpy(np.array(Image.open(path).convert("RGB")))
    images = pixels.permute(2, 0, 1)[None].float() / 255
    model = peer.build(name, calibrate_on=images)
    head: Any = model.model[-1]
    for box in head.cv2:
        box[-1].weight.data.zero_()
        bins = box[-1].bias.data.view(4, -1)
        bins[:] = 0.0
        bins[:, 1] = 12.0
    best = peer.raw_outputs(model, images)[1][0].amax(0)
    count = CANDIDATES[load]
    threshold = torch.logit(torch.tensor(CONF))
    # Half way between the last that passes and the first that does not; far below for nothing.
    ranked = best.sort(descending=True).values
    level = (ranked[count - 1] + ranked[count]) / 2 if count else ranked[0] + 4
    for scores in head.cv3:
        scores[-1].bias.data += threshold - level
    return model


def our_call(name: str, model: torch.nn.Module, path: Path, threads: int | None) -> tuple[Call, Any]:
    """A call of FineSpot's public interface, and the model behind it."""
    from finespot import inference

    names = [str(i) for i in range(80)]
    file = ours.weight_file(peer.SCRATCH / "predict.safetensors", ours.detector(name, model.state_dict()), names)
    loaded = inference.load(file, runtime="torch", threads=threads, device="cpu")
    return lambda: sum(len(found) for found in loaded.predict(path, conf=CONF, iou=0.7, max_det=300)), loaded


def their_call(name: str, model: torch.nn.Module, path: Path) -> tuple[Call, int]:
    """A call of the peer's public interface, and the torch threads that it set for itself."""
    from ultralytics import YOLO

    peer.quiet()
    outer = YOLO(f"{name}.yaml", task="detect", verbose=False)
    outer.model.load_state_dict(model.state_dict())

    def call() -> int:
        found = outer.predict(str(path), conf=CONF, iou=0.7, max_det=300, imgsz=640, device="cpu", verbose=False)
        return sum(len(one.boxes) for one in found)

    call()
    return call, torch.get_num_threads()


def with_threads(call: Call, threads: int) -> Call:
    """The same call after torch was set to `threads`: the setting belongs to the process, the sides share it."""

    def wrapped() -> int:
        torch.set_num_threads(threads)
        return call()

    return wrapped


def split(model: Any, call: Call, rounds: int) -> dict[str, Any]:
    """CPU milliseconds of FineSpot's call by stage; `rest` is what stands outside all stages (source, results)."""
    rows = []
    for _ in range(rounds):
        start = time.process_time()
        call()
        whole = 1000 * (time.process_time() - start)
        stages = model.timing.per_picture(cpu=True)
        rows.append({**stages, "rest": whole - sum(stages.values()), "outside model": whole - stages["model"]})
    return {name: spread(row[name] for row in rows) for name in rows[0]}


def memory(options: argparse.Namespace) -> dict[str, float]:
    """Peak memory of a process that only predicts with one side (the weights are crafted elsewhere)."""
    path = picture()
    state = peer.SCRATCH / "predict_state.pt"
    if options.memory == "finespot":
        from finespot import inference

        loaded = inference.load(peer.SCRATCH / "predict.safetensors", runtime="torch", threads=1, device="cpu")
        for _ in range(3):
            list(loaded.predict(path, conf=CONF))
    else:
        from ultralytics import YOLO

        outer = YOLO(f"{options.model}.yaml", task="detect", verbose=False)
        outer.model.load_state_dict(torch.load(state, weights_only=True))
        for _ in range(3):
            outer.predict(str(path), conf=CONF, imgsz=640, device="cpu", verbose=False)
    return {"mib": peak_rss_mib()}


def compare(load: str, options: argparse.Namespace) -> dict[str, Any]:
    path = picture()
    model = craft(options.model, load, path)
    torch.save(model.state_dict(), peer.SCRATCH / "predict_state.pt")
    theirs, their_threads = their_call(options.model, model, path)
    own, loaded = our_call(options.model, model, path, options.threads)
    one = options.threads == 1
    calls = {
        "finespot": with_threads(own, options.threads),
        "ultralytics": with_threads(theirs, 1 if one else their_threads),
    }
    found = {name: call() for name, call in calls.items()}
    taken = take_turns(calls, options.rounds, warm_up=2, clock="cpu" if one else "wall")
    row: dict[str, Any] = {
        "load": load,
        "detections": found,
        "ms": {name: spread(values, 1000) for name, values in taken.items()},
        "ratio": ratio(taken["ultralytics"], taken["finespot"]),
        "threads": {"finespot": options.threads, "ultralytics": 1 if one else their_threads},
    }
    if one:
        row["split_ms"] = split(loaded, calls["finespot"], options.rounds)
        row["peak_mib"] = {
            name: round(run_alone(MODULE, "--memory", name, "--model", options.model)["mib"]) for name in SIDES
        }
    return row


def main() -> None:
    parser = arguments(__doc__, rounds=12)
    parser.add_argument("--model", default="yolo11n")
    parser.add_argument("--threads", type=int, default=1, help="cores to use; 1 counts CPU time, more count wall time")
    parser.add_argument("--loads", nargs="+", choices=list(CANDIDATES), default=list(CANDIDATES))
    parser.add_argument("--memory", choices=SIDES, help="only print the peak memory of one side")
    options = parser.parse_args()
    peer.require_environment()
    with peer.pinned(options.threads):
        if options.memory:
            print(json.dumps(memory(options)))
            return
        rows = [compare(load, options) for load in options.loads]
    unit = "CPU ms" if options.threads == 1 else "wall ms"
    head = ["load", f"finespot {unit}", f"ultralytics {unit}", "ultralytics / finespot", "detections", "threads"]
    cells = [
        [row["load"], *(row["ms"][s] for s in SIDES), row["ratio"], *(_pair(row[k]) for k in ("detections", "threads"))]
        for row in rows
    ]
    print(table(head, cells))
    for row in rows:
        if "split_ms" in row:
            parts = ", ".join(f"{name} {value}" for name, value in row["split_ms"].items())
            print(f"finespot {row['load']}, CPU ms: {parts}; peak MiB {_pair(row['peak_mib'])}")
    settings = {"model": options.model, "threads": options.threads, "picture": picture().name}
    publish({"benchmark": "predict", "settings": settings, "rows": rows}, options.json, "ultralytics")


def _pair(values: dict[str, Any]) -> str:
    return " / ".join(str(values[name]) for name in SIDES)


if __name__ == "__main__":
    main()
