"""Does every family learn? Each smallest network is trained on eight pictures until it finds what is in them.

    python -m benchmarks.overfit [--models yolox-nano rtdetr-r18 ...] [--steps 300] [--imgsz 320] [--zoom 1]

Of eight pictures of HIT-UAV (samples/hit-uav) each the window of --imgsz pixels that holds most objects, at its own
pixels (with --zoom 2 a window of half the side, shown at twice its size); one batch, no augmentation; AdamW with a
short warm-up and a cosine to zero, gradients clipped at 10; the AP50 is that of the weights on the same eight pictures.
A network that cannot reach 0.9 has a fault in its loss, its assignment or its decoding; how well it learns from
thousands of pictures is another question. Training stops early where a look at every hundredth step finds as much.
"""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np
import torch

from benchmarks.report import ROOT, arguments, publish, table
from finespot import inference, zoo
from finespot.data import Augment, Dataset, TrainLoader, open_dataset
from finespot.data.tiles.cut import Border, Windows, cut_dataset, pieces
from finespot.data.tiles.grid import regular_windows
from finespot.runtimes import Session
from finespot.structures import Tiling
from finespot.training.plan import Facts
from finespot.training.recipe import load_recipe
from finespot.training.tasks.detect import Detect
from finespot.weights import Card

DATA = f"hit-uav:{ROOT / 'samples' / 'hit-uav'}"
PICTURES, WARM_UP, LOOK, ENOUGH = 8, 20, 100, 0.9
# Rates at which each family learns quickly from scratch; transformers want smaller ones.
RATE, RATES = 1e-3, {"rtdetr": 2e-4, "lrs-detr": 2e-4, "gpvit": 4e-4, "retinanet": 2e-4}
MODELS = [
    "yolov5n",
    "yolov8n",
    "yolo11n",
    "yolo11n-ass",
    "yolo12n",
    "yolox-nano",
    "rtmdet-tiny",
    "rtdetr-r18",
    "lrs-detr-b",
    "retinanet-r50",
    "gpvit-l1",
    "yolo-sod",
]


def overfit(model: str, steps: int, imgsz: int, zoom: int, lr: float, assigner: str | None) -> dict[str, Any]:
    """Train on the batch and validate on its pictures."""
    torch.manual_seed(0)
    dataset = fullest_windows(imgsz // zoom)
    recipe = load_recipe("default", values={"model": model, "imgsz": imgsz, "loss.assigner": assigner})
    task = Detect(recipe, dataset.classes, print, Facts.of(dataset, recipe))
    loader = TrainLoader(dataset, imgsz=imgsz, batch=PICTURES, workers=0, seed=0, stride=task.model.stride)
    (batch,) = loader.epoch(0, Augment(**dict.fromkeys(Augment.__struct_fields__, 0.0)))
    optimizer = torch.optim.AdamW(task.trainable.parameters(), lr=lr, weight_decay=0.0)
    start, done = time.perf_counter(), 0
    values: dict[str, float | None] = {}
    while done < steps:
        for _ in range(min(LOOK, steps - done)):
            for group in optimizer.param_groups:
                group["lr"] = lr * min((done + 1) / WARM_UP, (1 + math.cos(math.pi * done / steps)) / 2)
            task.model.train()
            optimizer.zero_grad()
            (task.step(batch).total * PICTURES).backward()
            torch.nn.utils.clip_grad_norm_(task.trainable.parameters(), 10.0)
            optimizer.step()
            done += 1
        values = dict(found(task, dataset, imgsz))
        print(f"  {model}, step {done}: AP50 {values['AP50']:.3f}, {time.perf_counter() - start:.0f} s", flush=True)
        if values["AP50"] is not None and values["AP50"] >= ENOUGH:
            break
    named = model if assigner is None else f"{model}, {assigner}"
    return {"model": named, "lr": lr, "steps": done, **values, "seconds": time.perf_counter() - start}


def fullest_windows(side: int) -> Dataset:
    """Of each picture the window that holds most objects."""
    whole = open_dataset(DATA, "train")
    chosen = []
    for index in range(PICTURES):
        windows = np.array(regular_windows(whole.size(index), Tiling(side, 0.5)), np.int64)
        rows = Windows(np.full(len(windows), index), windows, np.ones(len(windows), bool))
        chosen.append(max(pieces(whole, rows, Border()), key=lambda piece: int((~piece.ignore).sum())))
    return cut_dataset(whole, chosen, range(PICTURES))


def found(task: Detect, dataset: Any, imgsz: int) -> dict[str, float | None]:
    """The scores of the weights as they are."""
    rule = task.normalization
    architecture = task.model.architecture
    card = Card(architecture=architecture, classes=dataset.classes, imgsz=imgsz, mean=rule.mean, std=rule.std)
    return dict(inference.validate(Session(task.model, card=card), dataset, imgsz=imgsz).report.values)


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--imgsz", type=int, default=320)
    parser.add_argument("--zoom", type=int, default=1, help="how many times larger than life")
    parser.add_argument("--lr", type=float, default=None)
    parser.add_argument("--assigner", default=None, help="in place of the model's own")
    options = parser.parse_args()
    rows = []
    for model in options.models:
        family = zoo.architecture(model).family
        lr = options.lr or RATES.get(family, RATE)
        rows.append(overfit(model, options.steps, options.imgsz, options.zoom, lr, options.assigner))
        row = rows[-1]
        print(f"{model}: AP50 {row['AP50']:.3f}, AP {row['AP']:.3f}, {row['seconds']:.0f} s", flush=True)
    cells = [
        [r["model"], str(r["steps"]), f"{r['lr']:g}", f"{r['AP50']:.3f}", f"{r['AP']:.3f}", f"{r['seconds']:.0f}"]
        for r in rows
    ]
    print(table(["model", "steps", "lr", "AP50", "AP", "seconds"], cells))
    publish(
        {
            "benchmark": "overfit",
            "imgsz": options.imgsz,
            "zoom": options.zoom,
            "threads": torch.get_num_threads(),
            "rows": rows,
        },
        options.json,
    )


if __name__ == "__main__":
    main()
