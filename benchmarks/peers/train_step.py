"""One training iteration of yolo11n at 640 px, batch 8, mosaic: CPU time per picture by stage, in turns with the peer.

    .peers/run -m benchmarks.peers.train_step [--rounds 16] [--data .data/hit-uav] [--json FILE]

Both sides read the same pictures with their own loader (no workers, one thread) and go through their own training
loop's parts: network, loss, backward, and a step with SGD (lr 0.01, momentum 0.937, decay 5e-4), gradient clipping and
moving average. FineSpot runs in channels-last memory, the peer as it does on a CPU by default. Both accumulate 64
pictures per optimizer step by default; here each turn makes a step so that each turn measures one, and the total
counts the share of it that a batch pays. Peak memory is measured in a process of its own per side.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import torch

from benchmarks.peers import peer
from benchmarks.report import arguments, data_file, peak_rss_mib, publish, ratio, run_alone, spread, table

STAGES = ("load", "forward", "loss", "backward", "step")
NOMINAL = 64
MODULE = "benchmarks.peers.train_step"


class Stopwatch:
    """CPU seconds by stage of one iteration: `lap` gives a stage what passed since the last lap."""

    def __init__(self) -> None:
        self.taken = dict.fromkeys(STAGES, 0.0)
        self._last = time.process_time()

    def lap(self, stage: str) -> None:
        now = time.process_time()
        self.taken[stage] += now - self._last
        self._last = now


class Side(Protocol):
    """One toolkit's training iteration."""

    def iterate(self, watch: Stopwatch) -> None: ...


class Ours:
    """FineSpot's own loop: loader, task, Fabric and optimizer step; laps are taken where its parts meet."""

    def __init__(self, options: argparse.Namespace) -> None:
        from finespot.data import TrainLoader, open_dataset
        from finespot.training.devices import make_fabric
        from finespot.training.log import Log
        from finespot.training.loop import Loop
        from finespot.training.recipe import load_recipe
        from finespot.training.tasks import Detect

        values = {"model": options.model, "imgsz": options.imgsz, "batch": options.batch, "device": "cpu"}
        self.recipe = load_recipe(values=values)
        log = Log(quiet=True)
        dataset = open_dataset(str(data_file(options.data)), "train")
        loader = TrainLoader(dataset, imgsz=options.imgsz, batch=options.batch, workers=0, seed=0)
        fabric = make_fabric(self.recipe, log.note)
        fabric.launch()
        torch.manual_seed(0)
        task = Detect(self.recipe, dataset.classes, log.note)
        nobody: Any = None
        self.loop = Loop(
            self.recipe, task, loader, fabric, keeper=nobody, validate=nobody, names=lambda batch: [], log=log
        )
        task.trainable.train()
        self.batches = self._endless()

    def _endless(self) -> Iterator[Any]:
        epoch = 0
        while True:
            yield from self.loop.loader.epoch(epoch, self.recipe.augment)
            epoch += 1

    def iterate(self, watch: Stopwatch) -> None:
        batch = next(self.batches)
        watch.lap("load")
        model = self.loop.task.model
        loss = model.loss

        def timed_loss(*given: Any) -> Any:
            watch.lap("forward")
            terms = loss(*given)
            watch.lap("loss")
            return terms

        model.loss = timed_loss
        self.loop.backward(batch, sync=True)
        del model.loss
        watch.lap("backward")
        self.loop.optimizer_step(batch)
        watch.lap("step")


class Theirs:
    """The peer's own trainer: data set, loader, network, criterion and optimizer step."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.trainer = peer.trainer(
            options.model,
            options.data,
            "train_step",
            imgsz=options.imgsz,
            batch=options.batch,
            epochs=100,
            optimizer="SGD",
            device="cpu",
            amp=False,
            deterministic=False,
            val=False,
        )
        self.trainer._setup_train()
        self.trainer._model_train()
        self.batches = self._endless()

    def _endless(self) -> Iterator[Any]:
        while True:
            yield from self.trainer.train_loader

    def iterate(self, watch: Stopwatch) -> None:
        trainer = self.trainer
        batch = next(self.batches)
        watch.lap("load")
        batch = trainer.preprocess_batch(batch)
        raw = trainer.model(batch["img"])
        watch.lap("forward")
        loss = trainer.model.loss(batch, raw)[0].sum()
        watch.lap("loss")
        loss.backward()
        watch.lap("backward")
        trainer.optimizer_step()
        watch.lap("step")


SIDES = {"finespot": Ours, "ultralytics": Theirs}


def per_picture(taken: dict[str, float], batch: int) -> dict[str, float]:
    """Milliseconds per picture by stage, and their total with the step's share."""
    ms = {stage: 1000 * seconds / batch for stage, seconds in taken.items()}
    ms["step"] *= min(batch / NOMINAL, 1)
    return {**ms, "total": sum(ms.values())}


def memory(name: str, options: argparse.Namespace) -> dict[str, float]:
    """Peak memory of a process that trains one side for three iterations."""
    side = SIDES[name](options)
    for _ in range(3):
        side.iterate(Stopwatch())
    return {"mib": peak_rss_mib()}


def child_arguments(options: argparse.Namespace) -> list[str]:
    names = ("data", "model", "imgsz", "batch")
    return [word for name in names for word in (f"--{name}", str(getattr(options, name)))]


def compare(options: argparse.Namespace) -> dict[str, Any]:
    sides: dict[str, Side] = {name: make(options) for name, make in SIDES.items()}
    taken: dict[str, list[dict[str, float]]] = {name: [] for name in sides}
    for turn in range(options.warm_up + options.rounds):
        for name, side in sides.items():
            watch = Stopwatch()
            side.iterate(watch)
            once = per_picture(watch.taken, options.batch)
            if turn >= options.warm_up:
                taken[name].append(once)
    totals = {name: [once["total"] for once in runs] for name, runs in taken.items()}
    return {
        "ms_per_picture": {
            name: {stage: spread(once[stage] for once in runs) for stage in (*STAGES, "total")}
            for name, runs in taken.items()
        },
        "pictures_per_cpu_second": {name: spread(1000 / total for total in runs) for name, runs in totals.items()},
        "ratio": ratio(totals["ultralytics"], totals["finespot"]),
        "peak_mib": {
            name: round(run_alone(MODULE, "--memory", name, *child_arguments(options))["mib"]) for name in sides
        },
    }


def main() -> None:
    parser = arguments(__doc__, rounds=16)
    parser.add_argument("--data", type=Path, default=Path(".data/hit-uav"), help="YOLO data set folder")
    parser.add_argument("--model", default="yolo11n")
    parser.add_argument("--imgsz", type=int, default=640)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--warm-up", type=int, default=2, help="turns that are not counted")
    parser.add_argument("--memory", choices=list(SIDES), help="only print the peak memory of one side")
    options = parser.parse_args()
    peer.require_environment()
    peer.quiet()
    with peer.pinned():
        if options.memory:
            print(json.dumps(memory(options.memory, options)))
            return
        result = compare(options)
    times = result["ms_per_picture"]
    rows = [[stage, *(times[name][stage] for name in SIDES)] for stage in (*STAGES, "total")]
    rows.append(["pictures per CPU s", *(result["pictures_per_cpu_second"][name] for name in SIDES)])
    rows.append(["peak MiB", *(result["peak_mib"][name] for name in SIDES)])
    print(table(["CPU ms per picture", *SIDES], rows))
    print(f"ultralytics / finespot: {result['ratio']}")
    settings = {name: getattr(options, name) for name in ("model", "imgsz", "batch", "rounds", "warm_up")}
    publish({"benchmark": "train_step", "settings": settings, **result}, options.json, "ultralytics", "opencv-python")


if __name__ == "__main__":
    main()
