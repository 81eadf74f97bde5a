"""Does ESOD on windows learn and find as much as its dense host, from the same pictures in as many steps?

    python -m benchmarks.esod.accuracy --data FOLDER_OF_HIT_UAV [--rows dense windows] [--steps 150] [--start all]
                                       [--learn all] [--seeds 0] [--options share=0.33 ...] [--side 1024] [--frames]
                                       [--score-on FOLDER --split 2560-10] [--recalls 0.99 0.9] [--json FILE]
                                       [--seconds 4000] [--hold-out 10]

The host is YOLO11n, which the bundled weights are of. Both sides begin with the same weights (`--start all`: those of
HIT-UAV, or of a file, `--weights`; `backbone`: of these only the backbone), and see the same pictures in the same order
(of `--side` px, two of its cells of a quarter of that with objects, the rest background; with `--frames` HIT-UAV's own)
for as many steps, with the same settings: AdamW, warm-up, cosine to zero, flips. The seeker, which the dense host does
not have, is new where the rest is not, and learns at a rate of its own (`--seeker-lr`). With `--learn seeker` it alone
learns, behind the stem as it is: both sides are one host, with and without windows; with `then-seeker` it does so in
the last third of the time, after all of the network learned densely, as the host does. What was learned is saved
(`--out`) and scored, on pictures made of val, or on those of `benchmarks.highres.compose` in a folder: dense, and with
the windows that all cores, the truth and the seeker choose (`--choices`), the seeker with a threshold of 0.5 and with
those that reach so many of the objects there (`--recalls`). `--steps 0` scores the weights as they begin; with
`--seconds`, a side learns for so many CPU seconds, however many steps these are (`benchmarks.esod.budget` compares two
such). One process, CPU seconds; GFLOPs of a picture are of the windows that ran. "AP common" is the mean over classes
with 20 objects or more there: of one with two objects, AP is anything.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.esod.sparse_set import Sparse
from benchmarks.highres.compose import as_dataset
from benchmarks.highres.scored import common_precision
from benchmarks.report import arguments, publish, table
from finespot import inference, weights, zoo
from finespot.data import Augment, Dataset, TrainLoader, open_dataset
from finespot.runtimes import Session
from finespot.structures import Batch, LossTerms
from finespot.training.ema import Ema
from finespot.training.recipe import Recipe, load_recipe, parse_words
from finespot.training.tasks.detect import Detect, normalized
from finespot.weights import Card

HOST, BUSY, WARM_UP = "yolo11n", 2, 20
MODELS = {"dense": HOST, "windows": f"esod-{HOST}"}
CHOICES = ("none", "all", "oracle", "seeker")
LEARN = ("all", "seeker", "then-seeker")

Found = dict[str, dict[str, float | None]]


def pictures_of(options: Any) -> dict[str, Dataset]:
    """What is learned from and scored on: frames, or pictures made of them."""
    source = f"hit-uav:{options.data}"
    if options.frames:
        train = open_dataset(source, "train")
        learned = parted(train, options.hold_out)[0] if options.hold_out else train
        return {"train": learned, "val": open_dataset(source, "val")}
    counts = {"train": options.pictures, "val": options.pictures // 4}
    folder = options.out / f"{options.side}-{options.pictures}"
    return Sparse(options.side, options.side // 4, BUSY, seed=0).open(source, folder, counts)


def parted(dataset: Dataset, every: int) -> tuple[Dataset, Dataset]:
    """What is learned from, and every so manieth picture, which is not."""
    held = range(0, len(dataset), every)

    def part(numbers: Sequence[int]) -> Dataset:
        paths = [Path(dataset.path(number)) for number in numbers]
        return as_dataset(dataset.split, dataset, paths, [dataset.annotations(number) for number in numbers])

    return part([number for number in range(len(dataset)) if number not in held]), part(held)


def learn(row: str, options: Any, seed: int, dataset: Dataset) -> tuple[Detect, int, float]:
    """The task with its averaged weights, the steps that it took, and the CPU seconds of one."""
    torch.manual_seed(seed)
    recipe = recipe_of(row, options)
    task = Detect(recipe, dataset.classes, lambda text: None)
    if options.start == "backbone":
        fresh = zoo.build(task.model.architecture)
        with torch.no_grad():
            for part in ("neck", "head"):
                getattr(task.model, part).load_state_dict(getattr(fresh, part).state_dict())
    model = task.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    # When the seeker begins to learn alone, as a share of the time.
    border = {"all": 1.0, "seeker": 0.0, "then-seeker": 2 / 3}[options.learn if model.relay is not None else "all"]
    if options.steps == 0 or (options.learn == "seeker" and model.relay is None):
        return task, 0, math.nan
    average = Ema(model, decay=0.99, tau=20)
    loader = TrainLoader(dataset, imgsz=options.side, batch=options.batch, workers=0, seed=seed, stride=model.stride)
    new = set() if model.relay is None else set(model.relay.parameters())
    old = [one for one in model.parameters() if border > 0 and one not in new]
    groups = [{"params": old, "rate": options.lr}, {"params": list(new), "rate": options.seeker_lr}]
    optimizer = torch.optim.AdamW([group for group in groups if group["params"]], weight_decay=1e-4)
    model.train()
    spent, step, alone = 0.0, 0, False
    model.whole = options.learn == "then-seeker"
    for step, batch in enumerate(batches(loader)):
        done = spent / options.seconds if options.seconds else step / options.steps
        if done >= 1:
            break
        if done >= border and not alone:
            alone = True
            model.load_state_dict(average.model.state_dict())
            model.eval().relay.train()
        done = (done - border) / (1 - border) if alone else done / border
        for group in optimizer.param_groups:
            group["lr"] = group["rate"] * min((step + 1) / WARM_UP, (1 + math.cos(math.pi * done)) / 2)
        start = time.process_time()
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=options.bf16):
            losses = seeker_step(task, batch) if alone else task.step(batch)
        losses.total.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 10.0)
        optimizer.step()
        average.update(model)
        spent += time.process_time() - start
        if (step + 1) % 25 == 0:
            told = ", ".join(f"{name} {float(value.detach()):.3f}" for name, value in losses.terms.items())
            print(f"  {row}, step {step + 1}: {told}; {spent / (step + 1):.2f} s a step", flush=True)
    task.model.load_state_dict(average.model.state_dict())
    model.whole = False
    return task, step, spent / step


def seeker_step(task: Detect, batch: Batch) -> LossTerms:
    """The seeker's losses; the stem before it does not learn, and nothing behind it runs."""
    network: Any = task.model
    with torch.no_grad():
        features = network.split().stem(normalized(batch.images, task.normalization))
    losses: LossTerms = network.relay.loss(network.relay(features).auxiliary, batch.targets)
    return losses


def recipe_of(row: str, options: Any) -> Recipe:
    values: dict[str, Any] = {"model": MODELS[row], "weights": options.weights, "imgsz": options.side}
    if row == "windows":
        values.update(parse_words([f"options.{word}" for word in options.options]))
    return load_recipe(values=values)


def batches(loader: TrainLoader) -> Iterator[Any]:
    """Epoch after epoch, only flipped."""
    flips = Augment(**{**dict.fromkeys(Augment.__struct_fields__, 0.0), "flip_lr": 0.5, "flip_ud": 0.5})
    for epoch in count():
        yield from loader.epoch(epoch, flips)


def card_of(task: Detect, dataset: Dataset, side: int) -> Card:
    """What the network wants, for pictures of `side`."""
    rule = task.normalization
    return Card(architecture=task.model.architecture, classes=dataset.classes, imgsz=side, mean=rule.mean, std=rule.std)


def score(task: Detect, dataset: Dataset, choices: Sequence[str], recalls: Sequence[float]) -> Found:
    """AP, AP50, GFLOPs and windows of a picture by how windows are chosen."""
    session = Session(task.model.eval(), card=card_of(task, dataset, max(dataset.size(0))), threads=1)
    if not isinstance(session.network, zoo.WindowedDetector):
        return {"dense": figures(session, dataset)}
    first = session.network.windows
    found: Found = {}
    if "none" in choices:
        session.network.whole = True
        found["windows=none"] = figures(session, dataset)
        session.network.whole = False
    for select in (one for one in choices if one != "none"):
        session.network.windows = replace(first, select=select, dense_above=None)
        found[f"select={select}"] = figures(session, dataset)
    session.network.windows = replace(first, select="seeker", dense_above=None)
    for recall in recalls:
        fitting = inference.calibrate_threshold(session, dataset, recall)
        found[f"seeker, {recall:.0%}: {fitting.threshold:.2f}"] = figures(session, dataset)
    return found


def figures(session: Session, dataset: Dataset) -> dict[str, float | None]:
    """Of one way to choose windows."""
    watch = isinstance(session.network, zoo.WindowedDetector) and not session.network.whole
    start = time.process_time()
    made = inference.validate(session, dataset, batch=1, watch=watch)
    seconds = (time.process_time() - start) / len(dataset)
    values: dict[str, float | None] = {name: float(made.report.values[name] or 0.0) for name in ("AP", "AP50")}
    counts = np.bincount(dataset.rows.labels[~dataset.rows.ignore], minlength=len(dataset.classes))
    values["AP common"] = common_precision(made.report, dataset.classes, counts)
    if made.views:
        values["gflops"] = float(np.mean([one.savings.gflops for one in made.views]))
        values["occupancy"] = float(np.mean([one.savings.occupancy for one in made.views]))
    return {**values, "cpu_s": seconds}


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--data", type=Path, default=Path(".data/hit-uav"))
    parser.add_argument("--out", type=Path, default=Path("runs/esod/accuracy"))
    parser.add_argument("--rows", nargs="+", choices=tuple(MODELS), default=list(MODELS))
    parser.add_argument("--start", choices=("all", "backbone"), default="all")
    parser.add_argument("--weights", default="hit-uav-n", help="to begin with, a bundled name or a file")
    parser.add_argument("--learn", choices=LEARN, default="all")
    parser.add_argument("--options", nargs="*", default=[], metavar="KEY=VALUE", help="of the windows")
    parser.add_argument("--side", type=int, default=1024, help="of the pictures")
    parser.add_argument("--pictures", type=int, default=320, help="of train; of val a quarter of it")
    parser.add_argument("--frames", action="store_true", help="learn from the pictures of train as they are")
    parser.add_argument(
        "--hold-out", type=int, metavar="N", help="with --frames: every Nth of train is not learned from"
    )
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--seconds", type=float, help="of learning, in place of --steps")
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--lr", type=float, default=5e-4)
    parser.add_argument("--seeker-lr", type=float, default=5e-3)
    parser.add_argument("--bf16", action="store_true")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--no-score", dest="score", action="store_false", help="save what was learned, and stop")
    parser.add_argument("--score-on", type=Path, help="folder of other pictures to score on")
    parser.add_argument("--split", default="2560-10", help="of that folder")
    parser.add_argument("--choices", nargs="*", choices=CHOICES, default=list(CHOICES))
    parser.add_argument("--recalls", nargs="+", type=float, default=[0.99], help="to choose thresholds for")
    options = parser.parse_args()
    if options.hold_out is not None and (options.hold_out < 2 or not options.frames):
        parser.error("--hold-out wants 2 or more, and --frames")
    if options.seconds:
        options.steps = None
    torch.set_num_threads(1)
    sets = pictures_of(options)
    scored = sets["val"] if options.score_on is None else open_dataset(f"coco:{options.score_on}", options.split)
    rows: list[dict[str, Any]] = []
    for seed in options.seeds:
        for row in options.rows:
            task, steps, seconds = learn(row, options, seed, sets["train"])
            options.out.mkdir(parents=True, exist_ok=True)
            card = card_of(task, sets["train"], options.side)
            weights.save(options.out / f"{row}-{seed}.safetensors", task.model, card, half=False)
            spent = {"row": row, "seed": seed, "steps": steps, "step_cpu_s": seconds}
            found = score(task, scored, options.choices, options.recalls) if options.score else {"-": {}}
            for chosen, values in found.items():
                rows.append({**spent, "chosen": chosen, **values})
                print("  ", rows[-1], flush=True)
    head = ["row", "seed", "chosen", "AP", "AP50", "AP common", "gflops", "occupancy", "cpu_s", "steps", "step_cpu_s"]
    cells = [[one.get(key) for key in head] for one in rows]
    words = [["-" if x is None else f"{x:.3f}" if isinstance(x, float) else x for x in line] for line in cells]
    print(table(head, words))
    keys = "start weights learn options side pictures frames hold_out steps seconds batch lr seeker_lr bf16"
    settings = {key: getattr(options, key) for key in keys.split()}
    settings |= {"scored": f"{scored.name} {scored.split}", "recalls": options.recalls}
    publish({"benchmark": "esod_accuracy", "settings": settings, "rows": rows}, options.json)


if __name__ == "__main__":
    main()
