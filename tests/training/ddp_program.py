"""A program for two processes, started as a person would: by torchrun, or alone with devices=2. Prints JSON lines.

`ddp_program.py toy FOLDER` trains the toy task and prints its weights; `ddp_program.py run FOLDER DATA` trains a
detector and prints what each process saw and holds; `spawn` lets Python start the processes.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import torch

from finespot.errors import FineSpotError

sys.path.insert(0, str(Path(__file__).parent))


def say(folder: str, rank: int, **facts: Any) -> None:
    with (Path(folder) / f"rank{rank}.jsonl").open("a") as file:
        file.write(json.dumps(facts) + "\n")


def digest(module: torch.nn.Module) -> str:
    flat = torch.cat([p.detach().flatten() for p in module.parameters()])
    return hashlib.sha256(flat.numpy().tobytes()).hexdigest()


def toy(folder: str) -> None:
    from conftest import PLAIN, Toy, ToyKeeper, ToyLoader
    from finespot.training.devices import leave_group, make_fabric
    from finespot.training.log import Log
    from finespot.training.loop import Loop
    from finespot.training.recipe import Recipe

    class Share(ToyLoader):
        """Every other picture of each batch of two."""

        rank = 0

        def epoch(self, epoch: int, augment: Any) -> Any:
            for batch in super().epoch(epoch, augment):
                rows = slice(self.rank, None, 2)
                yield type(batch)(
                    batch.images[rows], batch.targets, batch.placements[rows], batch.indices[rows], batch.dropped
                )

    recipe = Recipe(**{**PLAIN, "nominal_batch": 4, "device": "cpu", "devices": 2})
    fabric = make_fabric(recipe, lambda text: None)
    fabric.launch()
    loader, task = Share(), Toy()
    loader.rank = fabric.global_rank
    log = Log(quiet=True)
    loop = Loop(recipe, task, loader, fabric, keeper=ToyKeeper(), validate=lambda m: {}, names=lambda b: [], log=log)
    loop.fit()
    values = torch.cat([p.detach().flatten() for p in task.model.parameters()]).tolist()
    say(folder, fabric.global_rank, weights=values, steps=loop.progress.steps)
    leave_group()


def run(folder: str, data: str) -> None:
    from finespot.training import train
    from finespot.training.loop import Loop
    from finespot.training.validator import Validator

    backward, close, validate = Loop.backward, Loop.close_epoch, Validator.__call__

    def watched_backward(self: Loop, batch: Any, sync: bool) -> Any:
        say(folder, self.fabric.global_rank, indices=batch.indices, size=len(batch))
        return backward(self, batch, sync)

    def watched_close(self: Loop, figures: Any) -> None:
        close(self, figures)
        say(folder, self.fabric.global_rank, digest=digest(self.task.model), progress=self.progress.epoch)

    def watched_validate(self: Validator, model: Any) -> Any:
        rank = torch.distributed.get_rank() if torch.distributed.is_initialized() else 0
        say(folder, rank, validated=True)
        return validate(self, model)

    Loop.backward, Loop.close_epoch, Validator.__call__ = watched_backward, watched_close, watched_validate
    result = train(
        "yolo11n", data, project=folder, imgsz=64, batch=4, epochs=2, nominal_batch=8, device="cpu", devices=2
    )
    say(folder, 9, made=str(result.folder), best=str(result.best), scores=result.report.values)


def stages(folder: str, data: str) -> None:
    """P2 off in the first of three epochs; AdamW and a frozen backbone in the second; SGD for all in the third."""
    from finespot.training import train
    from finespot.training.loop import Loop

    close = Loop.close_epoch

    def watched_close(self: Loop, figures: Any) -> None:
        close(self, figures)
        model = self.task.model
        parts = {"backbone": digest(model.backbone), "p2": digest(model.head.class_branches["p2"])}
        kind, off = type(self.optimizer.optimizer).__name__, model.levels_off
        say(folder, self.fabric.global_rank, all=digest(model), kind=kind, off=off, **parts)

    Loop.close_epoch = watched_close
    second = {"first": 2, "optimizer": {"name": "adamw"}, "freeze": ["backbone"]}
    curriculum = {"levels": {"p2": 2}, "stages": [{"first": 0}, second, {"first": 3}]}
    keys = {"imgsz": 64, "batch": 4, "epochs": 3, "nominal_batch": 8, "close_mosaic": 0, "val.every": 0}
    train("yolo11n-p2", data, project=folder, device="cpu", devices=2, curriculum=curriculum, **keys)


def spawn(folder: str, data: str) -> None:
    from finespot.training import train

    keys = {"imgsz": 64, "batch": 4, "epochs": 1, "device": "cpu", "devices": 2, "strategy": "ddp_spawn"}
    result = train("yolo11n", data, project=folder, quiet=True, **keys)
    say(folder, 9, made=str(result.folder), AP=result.report.values["AP"])


def no_split(folder: str, data: str) -> None:
    fail(folder, data, **{"splits.val": "nope"})


def full_disk(folder: str, data: str) -> None:
    from finespot.training.metrics_csv import MetricsCsv

    def full(self: MetricsCsv, row: Any) -> None:
        raise FineSpotError("cannot be written (No space left on device)", where=self.path)

    MetricsCsv.add = full
    fail(folder, data)


def fail(folder: str, data: str, **keys: Any) -> None:
    """As the command line does: the one line of what went wrong, and an exit status."""
    from finespot.training import train

    try:
        train("yolo11n", data, project=folder, imgsz=64, batch=4, epochs=1, device="cpu", devices=2, quiet=True, **keys)
    except FineSpotError as error:
        print(f"FineSpotError: {error}", flush=True)
        raise SystemExit(1) from None


if __name__ == "__main__":
    torch.set_num_threads(1)
    programs = {"toy": toy, "run": run, "stages": stages, "spawn": spawn, "no_split": no_split, "full_disk": full_disk}
    programs[sys.argv[1]](*sys.argv[2:])
