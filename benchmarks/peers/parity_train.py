"""Does FineSpot's training compute what the peer's does? Same start, same batches: losses and averaged weights.

    .peers/run -m benchmarks.peers.parity_train [--model yolo11n] [--imgsz 160] [--iterations 6] [--lr 1e-3]

Both sides start from the peer's initial weights and see the batches of the peer's loader. Each goes through its own
network in training mode, loss, assignment, SGD step with clipping and moving average, at a constant learning rate,
which is small because a network at its start amplifies rounding. Compared are the loss terms of every iteration and
how far the weights and their average lie apart after the first and the last step, as a share of the way that they
have moved. A difference in the rules (assignment, batch normalization's momentum, decay groups) shows at once: with
equal rules the first losses agree to 1e-5 and the weights after the first step to 1e-3.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.peers import peer
from benchmarks.report import arguments, publish, table
from finespot.structures import Batch, Placement, Targets
from finespot.training.devices import make_fabric
from finespot.training.log import Log
from finespot.training.loop import Loop
from finespot.training.recipe import load_recipe
from finespot.training.tasks import Detect
from finespot.weights.foreign.yolo import from_yolo, to_yolo

TERMS = ("box", "cls", "dfl")


def our_loop(options: argparse.Namespace, classes: tuple[str, ...], state: dict[str, Tensor], length: int) -> Loop:
    """FineSpot's loop with the peer's initial weights; `length` batches an epoch."""
    from finespot.structures import Classes

    values = {"model": options.model, "imgsz": options.imgsz, "batch": options.batch, "device": "cpu"}
    values["optimizer"] = {"name": "sgd", "lr": options.lr}
    # In channels-last memory torch sums up batch statistics on a CPU with a hundred times the rounding error (the
    # variance of 50,000 values is off by 1e-5, of 1,600,000 by 1e-3): small for training, large for this comparison.
    recipe = load_recipe(values={**values, "channels_last": False})
    log = Log(quiet=True)
    fabric = make_fabric(recipe, log.note)
    fabric.launch()
    task = Detect(recipe, Classes(classes), log.note)
    task.model.load_state_dict(from_yolo(state, task.model.architecture))
    task.model.to(memory_format=torch.contiguous_format)
    nobody: Any = None
    loader: Any = range(length)
    loop = Loop(recipe, task, loader, fabric, keeper=nobody, validate=nobody, names=lambda batch: [], log=log)
    task.trainable.train()
    return loop


def our_batch(batch: dict[str, Any]) -> Batch:
    """The peer's batch (before its preprocessing) as FineSpot's: corners in pixels, rows by picture."""
    count, _, height, width = batch["img"].shape
    center, size = batch["bboxes"][:, :2], batch["bboxes"][:, 2:]
    corners = torch.cat([center - size / 2, center + size / 2], 1) * torch.tensor([width, height, width, height])
    targets = Targets(
        corners,
        batch["cls"].flatten().long(),
        batch["batch_idx"].long(),
        torch.zeros(len(corners), dtype=torch.bool),
        count,
    )
    placement = Placement((1.0, 1.0), (0.0, 0.0), (height, width))
    return Batch(batch["img"].clone(), targets, (placement,) * count, tuple(range(count)))


def their_losses(trainer: Any, batch: dict[str, Any]) -> list[float]:
    """One iteration of the peer; its loss terms."""
    loss, items = trainer.model(trainer.preprocess_batch(batch))
    loss.sum().backward()
    trainer.optimizer_step()
    return [float(items[f"{name}_loss"]) for name in TERMS]


def our_losses(loop: Loop, batch: Batch) -> list[float]:
    terms = loop.backward(batch, sync=True).terms
    loop.optimizer_step(batch)
    return [float(terms[name].detach()) for name in TERMS]


def apart(ours: dict[str, Tensor], theirs: dict[str, Tensor], start: dict[str, Tensor]) -> dict[str, float]:
    """How far two states lie apart, as a share of how far the peer's lies from its start, by kind of entry.

    By kind and not by entry: some entries (a shift that the next batch normalization takes out again) have a gradient
    of zero and move by rounding alone.
    """
    squares: dict[str, list[float]] = {}
    for name, value in theirs.items():
        if value.is_floating_point():
            kind = next(word for word in ("running_mean", "running_var", "bias", "bn.weight", "weight") if word in name)
            sums = squares.setdefault(kind, [0.0, 0.0])
            sums[0] += float((ours[name] - value).double().square().sum())
            sums[1] += float((value - start[name]).double().square().sum())
    return {kind: (above / below) ** 0.5 for kind, (above, below) in squares.items()}


def compare(options: argparse.Namespace) -> dict[str, Any]:
    settings = {"imgsz": options.imgsz, "batch": options.batch, "epochs": 100, "optimizer": "SGD", "lr0": options.lr}
    trainer = peer.trainer(
        options.model, options.data, "parity_train", **settings, device="cpu", amp=False, deterministic=False, val=False
    )
    trainer._setup_train()
    trainer._model_train()
    start = {name: value.clone() for name, value in trainer.model.state_dict().items()}
    names = tuple(trainer.data["names"].values())
    loop = our_loop(options, names, start, len(trainer.train_loader))
    rows = []
    for _, batch in zip(range(options.iterations), trainer.train_loader):
        own = our_losses(loop, our_batch(batch))
        row = {"targets": len(batch["cls"]), "finespot": own, "ultralytics": their_losses(trainer, batch)}
        rows.append({**row, "apart": distances(loop, trainer, start)})
    return {"iterations": rows}


def distances(loop: Loop, trainer: Any, start: dict[str, Tensor]) -> dict[str, dict[str, float]]:
    """How far the weights and their moving averages lie apart."""
    assert loop.ema is not None
    architecture = loop.task.model.architecture
    return {
        "weights": apart(to_yolo(loop.task.model.state_dict(), architecture), trainer.model.state_dict(), start),
        "average": apart(to_yolo(loop.ema.model.state_dict(), architecture), trainer.ema.ema.state_dict(), start),
    }


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--data", type=Path, default=Path(".data/hit-uav"), help="YOLO data set folder")
    parser.add_argument("--model", default="yolo11n")
    parser.add_argument("--imgsz", type=int, default=160)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--iterations", type=int, default=6)
    parser.add_argument("--lr", type=float, default=1e-3)
    options = parser.parse_args()
    peer.require_environment()
    with peer.pinned():
        result = compare(options)
    cells = []
    for number, row in enumerate(result["iterations"], start=1):
        pairs = list(zip(row["finespot"], row["ultralytics"]))
        worst = max(abs(a - b) / max(abs(b), 1e-9) for a, b in pairs)
        shares = (f"{max(row['apart'][kind].values()):.1e}" for kind in ("weights", "average"))
        terms = (f"{a:.5f} / {b:.5f}" for a, b in pairs)
        cells.append([number, row["targets"], *terms, f"{worst:.1e}", *shares])
    terms = [f"{name}, both" for name in TERMS]
    print(table(["iteration", "targets", *terms, "relative", "weights apart", "average apart"], cells))
    for number in (1, len(result["iterations"])):
        shares = result["iterations"][number - 1]["apart"]["weights"]
        print(f"weights apart after {number}:", ", ".join(f"{kind} {share:.1e}" for kind, share in shares.items()))
    settings = {name: getattr(options, name) for name in ("model", "imgsz", "batch", "lr")}
    publish({"benchmark": "parity_train", "settings": settings, **result}, options.json, "ultralytics")


if __name__ == "__main__":
    main()
