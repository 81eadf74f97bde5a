"""Trains a recipe on HIT-UAV, or goes on with the run it finds: a job of the GPU queue (see run.py).

    python -m benchmarks.gpu.train --recipe hit-uav-n --data .data/hit-uav --work .data/gpu/hit-uav-n --json FILE
        [--device auto] [--set epochs=2 imgsz=64]

The result says what the best weights scored (from their own card), how long an epoch took and where the weights are.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path
from typing import Any

import finespot
from benchmarks.report import arguments, publish, spread
from finespot import weights
from finespot.training import load_recipe
from finespot.training.recipe import read_recipe


def find_run(project: Path) -> Path | None:
    """The run to go on with: the last one that has a checkpoint."""
    started = sorted(project.glob("*/weights/resume.pt"), key=lambda path: path.stat().st_mtime)
    return started[-1].parent.parent if started else None


def is_finished(folder: Path) -> bool:
    """Whether the last epoch's weights are there (scoring them may be what was cut short)."""
    last = folder / "weights" / "last.safetensors"
    return last.exists() and weights.read_card(last).provenance["epoch"] >= read_recipe(folder / "recipe.yaml").epochs


def train(options: argparse.Namespace) -> Path:
    folder = find_run(options.work)
    if folder is None:
        recipe = load_recipe(options.recipe, options.set)
        data = f"hit-uav:{options.data}"
        return finespot.train(data=data, recipe=recipe, project=options.work, device=options.device).folder
    return folder if is_finished(folder) else finespot.train(resume=folder, device=options.device).folder


def summarize(folder: Path) -> dict[str, Any]:
    card = weights.read_card(folder / "weights" / "best.safetensors")
    with (folder / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    return {
        "weights": str(folder / "weights" / "best.safetensors"),
        "epoch": card.provenance["epoch"],
        "epochs": len(rows),
        "metrics": [
            {"protocol": m.protocol, "split": m.split, "imgsz": m.imgsz, "values": m.values} for m in card.metrics
        ],
        "seconds_per_epoch": spread(float(row["seconds"]) for row in rows),
        "memory_mb": max(float(row["memory_mb"]) for row in rows),
    }


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--recipe", default="hit-uav-n")
    parser.add_argument("--data", type=Path, default=Path(".data/hit-uav"))
    parser.add_argument("--work", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="recipe keys")
    options = parser.parse_args()
    folder = train(options)
    result = summarize(folder)
    for record in result["metrics"]:
        print(f"{record['protocol']} on {record['split']} at {record['imgsz']}: AP {record['values'].get('AP')}")
    publish({"benchmark": "gpu_train", "recipe": options.recipe, **result}, options.json, "lightning-fabric")


if __name__ == "__main__":
    main()
