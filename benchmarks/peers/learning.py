"""Learning from scratch: mean AP of yolo11n on HIT-UAV after the same epochs, batch, size and SGD settings, both sides.

    .peers/run -m benchmarks.peers.learning --epochs 60 --seeds 0 1 2 [--minutes 9] [--json FILE]

Both train with their own loop and their own augmentation at the same settings (mosaic closed in the last 10 epochs,
SGD lr 0.01 to 0.0001, momentum 0.937, decay 5e-4, 3 epochs of warm-up, `--nominal-batch` pictures per step, moving
average), then
the averaged weights of the last epoch of either side are loaded into FineSpot and scored on val with the same
prediction and the COCO protocol, so that only the training differs. Ignore regions: FineSpot's loader reads them from
the COCO files and leaves points in them out of the class loss; `--ours-from yolo` reads the label files that the peer
reads, which know none.

Each (side, seed) runs in a process of its own, goes on from its last epoch when it was cut short (`--minutes`), and is
skipped when the results file holds it already. Prints the mean of the AP of Person, Car and Bicycle (OtherVehicle has
12 objects in val and says nothing). Exit code 3: cut short, run the same command again.
"""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from statistics import mean
from typing import Any

from benchmarks.report import ROOT, arguments, data_file, machine, peak_rss_mib, spread, table, versions

SIDES = ("finespot", "ultralytics")
CLASSES = ("Person", "Car", "Bicycle")
UNFINISHED = 3
SGD = {"lr0": 0.01, "lrf": 0.01, "momentum": 0.937, "weight_decay": 5e-4, "warmup_epochs": 3.0}


def run_name(options: argparse.Namespace, side: str, seed: int) -> str:
    source = f"-{options.ours_from}" if side == "finespot" else ""
    size = f"{options.imgsz}-{options.epochs}-{options.batch}-{options.nominal_batch}"
    return f"learning-{options.model}-{size}-{side}{source}-{seed}"


def train_ours(options: argparse.Namespace, seed: int) -> tuple[Any, float]:
    """FineSpot's averaged weights after training, and the seconds spent on it in this process."""
    import finespot
    from finespot import weights

    project = options.work / run_name(options, "finespot", seed)
    started = sorted(project.glob("*/weights/resume.pt"))
    folder = started[-1].parent.parent if started else None
    last = folder / "weights" / "last.safetensors" if folder else None
    start = time.perf_counter()
    if last is None or not last.exists() or weights.read_card(last).provenance["epoch"] < options.epochs:
        settings = {
            "epochs": options.epochs,
            "imgsz": options.imgsz,
            "batch": options.batch,
            "nominal_batch": options.nominal_batch,
            "seed": seed,
            "val": {"every": 0},
            "patience": 0,
            "device": options.device,
            "workers": options.workers,
        }
        if folder:
            folder = finespot.train(resume=folder, device=options.device, workers=options.workers).folder
        else:
            spec = f"hit-uav:{options.data}" if options.ours_from == "coco" else str(data_file(options.data))
            folder = finespot.train(options.model, spec, project=project, **settings).folder
    assert folder is not None
    return weights.load(folder / "weights" / "last.safetensors")[0], time.perf_counter() - start


def train_theirs(options: argparse.Namespace, seed: int) -> tuple[Any, float]:
    """The peer's averaged weights after training, as a FineSpot detector, and the seconds spent in this process."""
    from benchmarks.peers import ours, peer

    name = run_name(options, "ultralytics", seed)
    last = options.work / name / "weights" / "last.pt"
    settings = {
        "imgsz": options.imgsz,
        "batch": options.batch,
        "epochs": options.epochs,
        "optimizer": "SGD",
        **SGD,
        "nbs": options.nominal_batch,
        "close_mosaic": 10,
        "seed": seed,
        "device": "cpu" if options.device == "cpu" else "0",
        "workers": options.workers,
        "deterministic": False,
        "val": False,
        "patience": 0,
        "project": str(options.work.resolve()),
    }
    start = time.perf_counter()
    averaged = peer.finished_model(last)
    if averaged is None:
        if last.exists():
            settings["resume"] = str(last)
        trainer = peer.trainer(options.model, options.data, name, **settings)
        trainer.train()
        averaged = trainer.ema.ema
    state = {key: value.detach().cpu() for key, value in averaged.float().state_dict().items()}
    return ours.detector(options.model, state, classes=len(averaged.names)), time.perf_counter() - start


def score(detector: Any, options: argparse.Namespace) -> dict[str, Any]:
    """AP and AP by class on val, COCO protocol, whole pictures."""
    from finespot import inference
    from finespot.data import open_dataset
    from finespot.runtimes import Session
    from finespot.structures import Classes
    from finespot.weights import Card

    dataset = open_dataset(f"hit-uav:{options.data}", "val")
    card = Card(architecture=detector.architecture, classes=Classes(tuple(dataset.classes)), imgsz=options.imgsz)
    session = Session(detector, card=card, device=options.device)
    report = inference.validate(session, dataset, protocol="coco", imgsz=options.imgsz).report
    return {"values": report.values, "per_class": report.per_class}


def run_one(options: argparse.Namespace, side: str, seed: int) -> dict[str, Any]:
    """Train (or go on), score, and give the row for the results file."""
    train = train_ours if side == "finespot" else train_theirs
    detector, seconds = train(options, seed)
    return {
        "side": side,
        "seed": seed,
        "seconds_in_last_process": round(seconds, 1),
        "peak_mib": round(peak_rss_mib()),
        **score(detector, options),
    }


def key_of(options: argparse.Namespace) -> dict[str, Any]:
    names = ("model", "imgsz", "epochs", "batch", "nominal_batch", "ours_from")
    return {name: getattr(options, name) for name in names}


def read_rows(path: Path) -> list[dict[str, Any]]:
    return json.loads(path.read_text())["rows"] if path.exists() else []


def append(path: Path, row: dict[str, Any]) -> None:
    """Add a row to the results file, in one step."""
    rows = [*read_rows(path), row]
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps({"benchmark": "learning", "rows": rows}, indent=1, default=str) + "\n")
    partial.replace(path)


def run_child(options: argparse.Namespace, side: str, seed: int, deadline: float) -> bool:
    """Run one (side, seed) in a process of its own; False where it was cut short."""
    command = [sys.executable, "-m", "benchmarks.peers.learning", *sys.argv[1:], "--only", side, str(seed)]
    child = subprocess.Popen(command, cwd=ROOT)
    try:
        code = child.wait(timeout=max(deadline - time.monotonic(), 1) if deadline else None)
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        child.send_signal(signal.SIGINT)
        try:
            child.wait(timeout=30)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        return False
    if code:
        raise SystemExit(f"{side}, seed {seed}: exit code {code}")
    return True


def ap_of(row: dict[str, Any]) -> float:
    """The mean AP of the three classes that have enough objects."""
    return mean(row["per_class"][name]["AP"] for name in CLASSES)


def show(rows: list[dict[str, Any]]) -> None:
    cells = [
        [row["side"], row["seed"], f"{100 * ap_of(row):.2f}", f"{100 * row['values']['AP']:.2f}", row["peak_mib"]]
        for row in rows
    ]
    print(table(["side", "seed", "mean AP of 3 classes", "AP of all", "peak MiB"], cells))
    for side in SIDES:
        values = [100 * ap_of(row) for row in rows if row["side"] == side]
        if values:
            print(f"{side}: {spread(values)} over {len(values)} seeds")


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--data", type=Path, default=Path(".data/hit-uav"))
    parser.add_argument("--model", default="yolo11n")
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--imgsz", type=int, default=320)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--nominal-batch", type=int, default=64, help="pictures of an optimizer step, both sides")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=list(SIDES))
    parser.add_argument("--ours-from", choices=("coco", "yolo"), default="coco", help="files that FineSpot reads")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--minutes", type=float, help="stop after so long; the same command goes on")
    parser.add_argument("--work", type=Path, default=Path(".peers/learning"), help="folder of the runs")
    parser.add_argument("--only", nargs=2, metavar=("SIDE", "SEED"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    path = options.json or options.work / "results.json"
    key = key_of(options)
    if options.only:
        side, seed = options.only[0], int(options.only[1])
        packages = ("finespot", "torch", *(("ultralytics",) if side == "ultralytics" else ()))
        row = run_one(options, side, seed)
        append(path, {**key, **row, "versions": versions(*packages), "machine": machine()})
        return
    if "ultralytics" in options.sides and versions("ultralytics")["ultralytics"] == "absent":
        raise SystemExit("the peer is not installed here: run as `.peers/run -m ...`, or with --sides finespot")
    deadline = time.monotonic() + 60 * options.minutes if options.minutes else 0.0
    for seed in options.seeds:
        for side in options.sides:
            done = [row for row in read_rows(path) if matches(row, {**key, "side": side, "seed": seed})]
            if not done and not run_child(options, side, seed, deadline):
                print("cut short: the same command goes on from the last epoch")
                sys.exit(UNFINISHED)
    show([row for row in read_rows(path) if matches(row, key) and row["seed"] in options.seeds])


def matches(row: dict[str, Any], wanted: dict[str, Any]) -> bool:
    return all(row[name] == value for name, value in wanted.items())


if __name__ == "__main__":
    main()
