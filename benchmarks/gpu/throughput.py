"""Pictures per second of training steps and of prediction by batch size and precision: a job of the GPU queue.

    python -m benchmarks.gpu.throughput [--device auto] [--model yolo11n] [--imgsz 640] [--batches 1 8 32 64]

Pictures and boxes are made up and lie in the process's memory, so that network, loss, optimizer step and transfer are
measured and reading is not. Prediction is Session plus decoding and selecting at a threshold that lets little pass.
Wall time with the device synchronized; each figure is the median over slices of `--seconds`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch

from benchmarks.report import arguments, publish, spread, table
from finespot import zoo
from finespot.runtimes import Session
from finespot.structures import Batch, Classes, Placement, Targets
from finespot.training.devices import choose_device, choose_precision, make_fabric
from finespot.training.log import Log
from finespot.training.loop import Loop
from finespot.training.recipe import load_recipe
from finespot.training.tasks import Detect

CLASSES = 10
OBJECTS = 40
SLICES = 5


class Repeat:
    """A loader that always gives the same batch; the loop asks only for its length here."""

    def __init__(self, batch: Batch) -> None:
        self.batch = batch

    def __len__(self) -> int:
        return 1000

    def epoch(self, epoch: int, augment: Any) -> list[Batch]:
        return [self.batch]


def make_batch(count: int, imgsz: int) -> Batch:
    """Random pictures with `OBJECTS` boxes of 8 to 40 px each."""
    random = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (count, 3, imgsz, imgsz), dtype=torch.uint8, generator=random)
    corners = torch.rand(count * OBJECTS, 2, generator=random) * (imgsz - 40)
    sides = torch.rand(count * OBJECTS, 2, generator=random) * 32 + 8
    targets = Targets(
        torch.cat([corners, corners + sides], 1),
        torch.randint(0, CLASSES, (count * OBJECTS,), generator=random),
        torch.arange(count).repeat_interleave(OBJECTS),
        torch.zeros(count * OBJECTS, dtype=torch.bool),
        count,
    )
    placement = Placement((1.0, 1.0), (0.0, 0.0), (imgsz, imgsz))
    layout = images.contiguous(memory_format=torch.channels_last)
    return Batch(layout, targets, (placement,) * count, tuple(range(count)))


def rate(step: Callable[[], None], wait: Callable[[], None], count: int, seconds: float) -> list[float]:
    """Pictures per second of each slice, after two calls that are not counted."""
    step()
    step()
    wait()
    rates = []
    for _ in range(SLICES):
        start, done = time.perf_counter(), 0
        while time.perf_counter() - start < seconds / SLICES:
            step()
            done += count
            wait()
        rates.append(done / (time.perf_counter() - start))
    return rates


def training(model: str, batch: Batch, imgsz: int, device: str, precision: str, seconds: float) -> list[float]:
    values = {"model": model, "imgsz": imgsz, "batch": len(batch), "device": device, "precision": precision}
    recipe = load_recipe(values=values)
    log = Log(quiet=True)
    fabric = make_fabric(recipe, log.note)
    fabric.launch()
    task = Detect(recipe, Classes(tuple(map(str, range(CLASSES)))), log.note)
    nobody: Any = None
    loop = Loop(recipe, task, Repeat(batch), fabric, keeper=nobody, validate=nobody, names=lambda batch: [], log=log)
    task.trainable.train()

    def step() -> None:
        loop.backward(batch, sync=True)
        loop.optimizer_step(batch)

    return rate(step, lambda: wait_for(fabric.device), len(batch), seconds)


def prediction(model: str, batch: Batch, device: str, precision: str, seconds: float) -> list[float]:
    session = Session(zoo.build(zoo.architecture(model, classes=CLASSES)), device=device, precision=precision)

    def step() -> None:
        session.head.select(session(batch.images), 0.25)

    return rate(step, session.wait, len(batch), seconds)


def wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def measure(options: Any, count: int, kind: str, precision: str) -> dict[str, Any]:
    on_gpu = kind_of(options.device) == "cuda"
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    batch = make_batch(count, options.imgsz)
    if kind == "train":
        rates = training(options.model, batch, options.imgsz, options.device, precision, options.seconds)
    else:
        rates = prediction(options.model, batch, options.device, precision, options.seconds)
    memory = torch.cuda.max_memory_allocated() / 2**20 if on_gpu else None
    return {"kind": kind, "batch": count, "precision": precision, "per_s": spread(rates), "device_mib": memory}


def kind_of(device: str) -> str:
    return choose_device(device, lambda text: None)[0]


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--model", default="yolo11n")
    parser.add_argument("--imgsz", type=int, default=640)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8, 32, 64])
    parser.add_argument("--seconds", type=float, default=5.0, help="time per figure")
    options = parser.parse_args()
    on_gpu = kind_of(options.device) == "cuda"
    best = choose_precision("auto", kind_of(options.device), lambda text: None)
    precisions = {"train": sorted({"fp32", best}), "predict": ["fp32", "fp16"] if on_gpu else ["fp32"]}
    rows = [
        measure(options, count, kind, precision)
        for kind, chosen in precisions.items()
        for precision in chosen
        for count in options.batches
    ]
    cells = [[row["kind"], row["precision"], row["batch"], row["per_s"], row["device_mib"] or "-"] for row in rows]
    print(table(["kind", "precision", "batch", "pictures per s", "device MiB"], cells))
    settings = {name: getattr(options, name) for name in ("model", "imgsz", "seconds")}
    publish({"benchmark": "gpu_throughput", "settings": settings, "rows": rows}, options.json, "lightning-fabric")


if __name__ == "__main__":
    main()
