"""Large pictures in tiles, the same weights on both sides: what does FineSpot cost, and what do SAHI and ultralytics?

    .peers/run -m benchmarks.highres.sliced [--json FILE]          # CPU time, one thread each
    .peers/run -m benchmarks.highres.sliced --wall [--json FILE]   # wall time on two cores, which must be idle

The bundled network goes to the peer under its own names (`finespot weights dump`), so both compute the same. Both cut
tiles of 640 px with an overlap of 0.2, run them one by one, and join what they found by their own rules: SAHI by
GREEDYNMM at an IoS of 0.5, its default, without its further pass over the whole picture. The pictures are those of
`benchmarks.highres.compose`, made where they are missing, and the RGB pictures of aerial-cars, where the network,
which knows infrared only, finds little. A call takes a file and gives a result object.

Every side runs in a process of its own, picture by picture in turns: that process's user and system time counts, or
with `--wall` the time that passes while the other process waits, each with the threads that it takes by itself on two
cores. AP is that of COCO on all that came out at `--conf`, with as many detections of a picture as there are.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import torch

from benchmarks.highres import compose
from benchmarks.highres.scored import MOST, OVERLAP, TILE, WEIGHTS, Rows, as_rows, average_precision
from benchmarks.peers import peer
from benchmarks.report import ROOT, arguments, data_file, publish, ratio, spread, table
from finespot.data import Dataset, open_dataset
from finespot.structures import Tiling

SIDES = ("finespot", "sahi")
AERIAL = "aerial-cars"
SETS = ("2560-10", "2560-30", "2560-100", "5120-10", "5120-30", "5120-100", AERIAL)
# What FineSpot may take of the peer's time.
LIMITS = {"cpu": 0.85, "wall": 0.5}
Call = Callable[[str], Rows]


def finespot_call(conf: float, threads: int | None, precision: str) -> Call:
    """A call of the public interface."""
    from finespot import inference

    model = inference.load(WEIGHTS, threads=threads, device="cpu", precision=precision)
    tiling = Tiling(TILE, OVERLAP)

    def call(path: str) -> Rows:
        return as_rows(next(model.predict(path, tiling=tiling, imgsz=TILE, conf=conf, max_det=MOST)))

    return call


def sahi_call(conf: float, threads: int | None, precision: str) -> Call:
    """A call of the peer's interface, always in the precision that it takes on a CPU (fp32)."""
    from sahi import AutoDetectionModel
    from sahi.predict import get_sliced_prediction

    peer.quiet()
    model = AutoDetectionModel.from_pretrained(
        "ultralytics", model_path=str(peer_weights()), confidence_threshold=conf, image_size=TILE, device="cpu"
    )

    def call(path: str) -> Rows:
        if threads is not None:
            torch.set_num_threads(threads)
        found = get_sliced_prediction(
            path,
            model,
            slice_height=TILE,
            slice_width=TILE,
            overlap_height_ratio=OVERLAP,
            overlap_width_ratio=OVERLAP,
            perform_standard_pred=False,
            verbose=0,
        )
        return [[*one.bbox.to_xyxy(), one.score.value, one.category.id] for one in found.object_prediction_list]

    return call


def peer_weights() -> Path:
    """The bundled weights as a checkpoint of the peer, in the scratch folder."""
    from ultralytics import YOLO

    from finespot import weights
    from finespot.weights.foreign.convert import dump

    path = peer.SCRATCH / f"{WEIGHTS}.pt"
    _, card = weights.load(WEIGHTS)
    family = card.architecture.family + card.architecture.size
    outer = YOLO(f"{family}.yaml", task="detect", verbose=False)
    outer.model = peer.build(family, classes=len(card.classes))
    outer.model.load_state_dict(dump(WEIGHTS))
    outer.model.names = dict(enumerate(card.classes))
    outer.model.args = {"task": "detect", "imgsz": TILE}
    path.parent.mkdir(parents=True, exist_ok=True)
    outer.save(str(path))
    return path


def serve(options: argparse.Namespace) -> None:
    """One side: a path a line in, what was found and what it cost out, each as JSON."""
    answers, sys.stdout = sys.stdout, sys.stderr
    torch.set_num_threads(options.threads or torch.get_num_threads())
    make = finespot_call if options.serve == "finespot" else sahi_call
    call = make(options.conf, options.threads, options.precision)
    for line in sys.stdin:
        cpu, wall = time.process_time(), time.perf_counter()
        rows = call(line.strip())
        cost = {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall}
        answer = {**cost, "rows": [[float(value) for value in row] for row in rows]}
        print(json.dumps(answer), file=answers, flush=True)


class Side:
    """A side's process, which waits for pictures."""

    def __init__(self, name: str, conf: float, precision: str, threads: int | None) -> None:
        words = ["--serve", name, "--conf", str(conf), "--precision", precision]
        words += ["--threads", str(threads)] if threads else []
        command = [sys.executable, "-m", "benchmarks.highres.sliced", *words]
        # By itself each side may take all cores; the script that starts this one says otherwise.
        environment = {key: value for key, value in os.environ.items() if threads or key != "OMP_NUM_THREADS"}
        self._process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __call__(self, path: str) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{path}\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit("a side has ended early; what it said stands above")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


def pictures(name: str, options: argparse.Namespace) -> Dataset:
    if name == AERIAL:
        return open_dataset(data_file(options.aerial), "val")
    return open_dataset(f"coco:{options.folder}", name)


def compare(name: str, sides: dict[str, Side], clock: str, options: argparse.Namespace) -> dict[str, Any]:
    """Both sides on the first pictures of a set, in turns."""
    dataset = pictures(name, options)
    count = 1 if name.startswith("5120") else options.pictures
    numbers = list(range(min(len(dataset), count)))
    taken: dict[str, list[float]] = {side: [] for side in sides}
    found: dict[str, list[Rows]] = {side: [] for side in sides}
    for turn in range(options.rounds):
        for number in numbers:
            for side, run in sides.items():
                answer = run(dataset.path(number))
                taken[side].append(answer[clock])
                if turn == 0:
                    found[side].append(answer["rows"])
    row = {
        "set": name,
        "pictures": len(numbers),
        "seconds": {side: spread(values) for side, values in taken.items()},
        "ratio": ratio(taken["finespot"], taken["sahi"]),
        "median": median(mine / theirs for mine, theirs in zip(taken["finespot"], taken["sahi"])),
        "ap": {side: average_precision(dataset, rows, numbers) for side, rows in found.items()},
        "found": {side: sum(map(len, rows)) for side, rows in found.items()},
    }
    print(f"{name}: finespot / sahi {row['ratio']}", file=sys.stderr, flush=True)
    return row


def parser() -> argparse.ArgumentParser:
    made = arguments(__doc__, rounds=1)
    made.add_argument("--sets", nargs="+", default=list(SETS), help=f"of {', '.join(SETS)}")
    made.add_argument("--pictures", type=int, default=3, help="of each set at most; of the largest one")
    made.add_argument("--wall", action="store_true", help="time that passes, on two cores")
    made.add_argument("--conf", type=float, default=0.25)
    made.add_argument("--precision", default="fp32", help="FineSpot's, fp32 or bf16; the peer keeps fp32")
    made.add_argument("--data", type=Path, default=ROOT / ".data" / "hit-uav")
    made.add_argument("--aerial", type=Path, default=ROOT / ".data" / AERIAL)
    made.add_argument("--folder", type=Path, default=ROOT / ".data" / "highres", help="where the pictures are made")
    made.add_argument("--serve", choices=SIDES, help=argparse.SUPPRESS)
    made.add_argument("--threads", type=int, help=argparse.SUPPRESS)
    return made


def main() -> None:
    options = parser().parse_args()
    peer.require_environment()
    if options.serve:
        serve(options)
        return
    compose.write(options.folder, open_dataset(f"hit-uav:{options.data}", "val"))
    cores = sorted(os.sched_getaffinity(0))[: 2 if options.wall else 1]
    os.sched_setaffinity(0, cores)
    sides = {name: Side(name, options.conf, options.precision, None if options.wall else 1) for name in SIDES}
    clock = "wall" if options.wall else "cpu"
    for run in sides.values():  # the first picture pays for what is loaded late
        run(pictures("2560-10", options).path(0))
    rows = [compare(name, sides, clock, options) for name in options.sets]
    for run in sides.values():
        run.close()
    cells = [
        [
            row["set"],
            row["pictures"],
            *row["seconds"].values(),
            row["ratio"],
            *_words(row["ap"]),
            *row["found"].values(),
        ]
        for row in rows
    ]
    head = [f"{side}, {clock} s a picture" for side in SIDES]
    columns = ["set", "pictures", *head, "finespot / sahi", *(f"AP {side}" for side in SIDES)]
    print(table([*columns, *(f"found by {side}" for side in SIDES)], cells))
    missed = [row["set"] for row in rows if row["median"] > LIMITS[clock]]
    missed += [row["set"] for row in rows if (ap := row["ap"])["sahi"] and ap["finespot"]["AP"] < ap["sahi"]["AP"]]
    print(
        f"at most {LIMITS[clock]:g} of the time, AP not lower: {'missed on ' + ', '.join(missed) if missed else 'met'}"
    )
    settings = {
        "clock": clock,
        "cores": len(cores),
        "conf": options.conf,
        "precision": options.precision,
        "tile": TILE,
        "overlap": OVERLAP,
    }
    publish({"benchmark": "sliced", "settings": settings, "rows": rows}, options.json, "sahi", "ultralytics")


def _words(values: dict[str, dict[str, float | None] | None]) -> list[str]:
    return ["" if value is None else f"{value['AP']:.3f}" for value in values.values()]


if __name__ == "__main__":
    main()
