"""`train`: from a recipe to a run folder with weights.

The folder `runs/train/<name>N` holds `weights/best.safetensors` and `weights/last.safetensors` (averaged weights,
unfused), `weights/resume.pt`, `metrics.csv`, `recipe.yaml` (every key), `environment.json` and `plots/`.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import torch
from lightning_fabric import Fabric
from torch import nn

import finespot
from finespot import weights
from finespot.data import Dataset, TrainLoader, open_dataset
from finespot.errors import FineSpotError
from finespot.metrics import Report
from finespot.registry import build
from finespot.runtimes import Session
from finespot.structures import Architecture, Classes
from finespot.training import devices
from finespot.training.checkpoint import load_checkpoint, save_checkpoint, seed_all
from finespot.training.environment import environment, resume_environment, write_environment
from finespot.training.keeper import RunFiles
from finespot.training.log import Log
from finespot.training.loop import Loop, Validate
from finespot.training.pictures import draw_predictions
from finespot.training.plots import draw_report
from finespot.training.recipe import Recipe, apply, differences, load_recipe, read_recipe, write_recipe
from finespot.training.validator import Validator
from finespot.weights import Card
from finespot.writers import new_run, write_atomic

PROJECT = "runs/train"
# What may change when a run goes on: where and how it computes, not what.
_FREE = ("device", "devices", "strategy", "workers", "cache", "save_every", "patience")


@dataclass(frozen=True)
class RunResult:
    """A finished run: its folder, its best weights, and their scores (None where nothing was validated)."""

    folder: Path
    best: Path
    report: Report | None


def train(
    model: str | None = None,
    data: str | None = None,
    *,
    recipe: str | Path | Recipe = "default",
    resume: str | Path | None = None,
    project: str | Path = PROJECT,
    quiet: bool = False,
    **overrides: Any,
) -> RunResult:
    """Train a detector.

    Parameters
    ----------
    model:
        A name of the zoo (`yolo11n-p2`), or a weight file or bundled name to start from.
    data:
        A data set (`x.yaml`, `coco:DIR`, ...).
    recipe:
        A recipe's name, file or object.
    resume:
        A run folder: go on after its last finished epoch, with its own recipe.
    project, quiet:
        The folder of run folders; print nothing.
    overrides:
        Recipe keys with Python values, for example `epochs=3`, `lr=0.02`, `optimizer={"name": "adamw"}`.

    Raises
    ------
    FineSpotError
        The recipe, the data set or the checkpoint is not as expected, or a loss is not finite.
    """
    given = {**({"model": model} if model else {}), **({"data": str(data)} if data else {}), **overrides}
    log = Log(quiet=quiet or _process_number() != 0)
    folder = None
    if resume is not None:
        folder = Path(resume)
        chosen = _resumed_recipe(folder, given)
    else:
        chosen = _with(recipe, given) if isinstance(recipe, Recipe) else load_recipe(recipe, values=given)
    if not chosen.data:
        raise FineSpotError("no data set is named", where="data", hint="for example data=dataset.yaml")
    accelerator, _ = devices.choose_device(chosen.device, log.note)
    chosen = msgspec.structs.replace(
        chosen, precision=devices.choose_precision(chosen.precision, accelerator, log.note)
    )
    fabric = devices.make_fabric(chosen, log.note)
    with TemporaryDirectory() as scratch:
        # By file, because what spawned processes return must fit into a pipe.
        result = Path(scratch) / "result"
        fabric.launch(_run, chosen, folder, Path(project), quiet, result)
        made: RunResult = pickle.loads(result.read_bytes())
    return made


def _run(fabric: Fabric, recipe: Recipe, resumed: Path | None, project: Path, quiet: bool, out: Path) -> None:
    """What each process does; every one writes the result to `out`."""
    log = Log(quiet=quiet or not fabric.is_global_zero)
    with _determinism(recipe):
        result = _train(fabric, recipe, resumed, project, log)
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()
    write_atomic(out, pickle.dumps(result), sync=False)


def _train(fabric: Fabric, recipe: Recipe, resumed: Path | None, project: Path, log: Log) -> RunResult:
    seed_all(recipe.seed)
    dataset = open_dataset(recipe.data, recipe.splits.train)
    if len(dataset) == 0:
        raise FineSpotError(f"the split '{recipe.splits.train}' has no pictures", where=recipe.data)
    task = build("task", "detect", recipe=recipe, classes=dataset.classes, note=log.note)
    recipe = msgspec.structs.replace(recipe, imgsz=devices.round_up(recipe.imgsz, int(task.model.stride), log.note))
    seed_all(recipe.seed + fabric.global_rank)
    card = make_card(recipe, task.model.architecture, dataset, task.source)
    validator = _make_validator(recipe, card, dataset.classes, log) if fabric.is_global_zero else None
    folder = Path(fabric.broadcast(str(_make_folder(recipe, resumed, project, fabric))))
    files = RunFiles(folder, card, dataset.classes, recipe.save_every)
    loop = Loop(
        recipe,
        task,
        _make_loader(recipe, dataset, int(task.model.stride), fabric, log),
        fabric,
        keeper=files,
        validate=_validate_and_record(validator, files) if validator is not None else lambda model: {},
        names=lambda batch: [dataset.path(index) for index in batch.indices],
        log=log,
    )
    if resumed is not None:
        _load(loop, files, log)
    elif fabric.is_global_zero:
        write_recipe(recipe, folder / "recipe.yaml")
        # A run killed in its first epoch can go on too.
        save_checkpoint(loop.state([]), files.checkpoint)
    _keep_environment(loop, folder, resumed is not None, log)
    log.note(f"{len(dataset)} pictures, {len(loop.loader)} batches an epoch, {recipe.epochs} epochs into {folder}")
    for note in dataset.notes:
        log.note(f"{recipe.splits.train}: {note}")
    try:
        loop.fit()
    except KeyboardInterrupt:
        _interrupted(loop, files, log)
        raise
    report = _finish(recipe, files, validator, log) if fabric.is_global_zero else None
    return RunResult(folder, files.best, fabric.broadcast(report))


def make_card(recipe: Recipe, architecture: Architecture, dataset: Dataset, source: str | None) -> Card:
    """The card of the weights that a run makes."""
    provenance: dict[str, Any] = {
        "made_by": f"finespot {finespot.__version__} train",
        "data": dataset.name,
        "split": recipe.splits.train,
        "epochs": recipe.epochs,
        "seed": recipe.seed,
    }
    if source:
        provenance["started_from"] = source
    return Card(architecture=architecture, classes=dataset.classes, imgsz=recipe.imgsz, provenance=provenance)


def _with(recipe: Recipe, values: Mapping[str, Any]) -> Recipe:
    return apply(msgspec.to_builtins(recipe), values)


def _resumed_recipe(folder: Path, given: Mapping[str, Any]) -> Recipe:
    """The recipe of a run folder; where and how it computes may be given anew.

    Raises
    ------
    FineSpotError
        There is no such run, or something is given that would make it another run.
    """
    path = folder / "recipe.yaml"
    if not path.is_file():
        raise FineSpotError("no run to resume (it holds no recipe.yaml)", where=folder)
    recipe = read_recipe(path)
    changed = _with(recipe, given)
    fixed = [key for key in differences(recipe, changed) if key not in _FREE]
    if fixed:
        raise FineSpotError(
            f"a resumed run keeps its recipe, but {', '.join(fixed)} would change",
            where="resume",
            hint=f"start a new run with weights={folder / 'weights' / 'last.safetensors'}",
        )
    return changed


def _process_number() -> int:
    """This process's number where a launcher (or Fabric) started it, before Fabric knows."""
    return next((int(os.environ[name]) for name in ("RANK", "SLURM_PROCID", "LOCAL_RANK") if name in os.environ), 0)


@contextmanager
def _determinism(recipe: Recipe) -> Iterator[None]:
    """Torch's global switches as the recipe wants them, and afterwards as they were."""
    before = torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.benchmark
    torch.use_deterministic_algorithms(recipe.deterministic, warn_only=True)
    # Trying out convolution algorithms pays only where all batches have one size.
    torch.backends.cudnn.benchmark = not recipe.deterministic and recipe.multi_scale == 0
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0])
        torch.backends.cudnn.benchmark = before[1]


def _make_folder(recipe: Recipe, resumed: Path | None, project: Path, fabric: Fabric) -> Path | None:
    if resumed is not None or not fabric.is_global_zero:
        return resumed
    return new_run(project, recipe.name)


def _make_validator(recipe: Recipe, card: Card, classes: Classes, log: Log) -> Validator | None:
    if recipe.val.every == 0:
        log.note("validation: never (val.every is 0); best is the last epoch")
        return None
    dataset = open_dataset(recipe.data, recipe.splits.val)
    if dataset.classes.names != classes.names:
        raise FineSpotError(
            f"expected the classes of '{recipe.splits.train}' but got {', '.join(dataset.classes.names)}",
            where=f"{recipe.data}, split '{recipe.splits.val}'",
        )
    for note in dataset.notes:
        log.note(f"{recipe.splits.val}: {note}")
    batch = recipe.val.batch
    if batch is None:
        batch = 2 * recipe.batch
        log.note(f"val.batch: {batch} (twice the training batch, as there are no gradients to hold)")
    return Validator(recipe, dataset, card, batch)


def _make_loader(recipe: Recipe, dataset: Dataset, stride: int, fabric: Fabric, log: Log) -> TrainLoader:
    local = getattr(fabric.strategy, "num_processes", 1)  # of this node
    return TrainLoader(
        dataset,
        imgsz=recipe.imgsz,
        batch=recipe.batch // fabric.world_size,
        workers=devices.choose_workers(recipe.workers, fabric.device.type, local, log.note),
        seed=recipe.seed,
        cache=recipe.cache,
        stride=stride,
        multi_scale=recipe.multi_scale,
        rank=fabric.global_rank,
        world=fabric.world_size,
        drop_small=recipe.drop_small,
    )


def _validate_and_record(validator: Validator, files: RunFiles) -> Validate:
    def validate(model: nn.Module) -> dict[str, float | None]:
        scores = validator(model)
        files.records = validator.records
        return scores

    return validate


def _load(loop: Loop, files: RunFiles, log: Log) -> None:
    """Go on where the checkpoint stands."""
    loop.load_state(load_checkpoint(files.checkpoint))
    done, epochs = loop.progress.epoch, loop.recipe.epochs
    if loop.finished():
        raise FineSpotError(f"the run is finished ({done} of {epochs} epochs)", where=files.folder)
    if loop.fabric.is_global_zero:
        files.csv.keep_until(done)
    log.note(f"resume: epoch {done + 1} of {epochs} is next, iteration {loop.progress.iteration}")


def _keep_environment(loop: Loop, folder: Path, resumed: bool, log: Log) -> None:
    if not loop.fabric.is_global_zero:
        return
    now = environment(loop.fabric, loop.recipe.seed)
    path = folder / "environment.json"
    if not resumed:
        write_environment(path, now)
        return
    for change in resume_environment(path, now):
        log.note(f"resume: {change}, so the numbers may differ from an uninterrupted run's")


def _interrupted(loop: Loop, files: RunFiles, log: Log) -> None:
    """Keep what an unfinished epoch learnt; the checkpoint of the last finished one stays as it is."""
    if loop.ema is None:
        return
    # The checkpoint knows better than the loop, which may have been validating.
    done = load_checkpoint(files.checkpoint)["progress"]["epoch"]
    files.save(files.last, loop.ema.model, done, [])
    if files.csv.rows:
        files.draw()
    log.note(
        f"interrupted in epoch {done + 1}: the averaged weights are in {files.last}; "
        f"--resume {files.folder} goes on after epoch {done}"
    )


def _finish(recipe: Recipe, files: RunFiles, validator: Validator | None, log: Log) -> Report | None:
    """Validate the best file as it stands on the disk, write its scores into it, and draw."""
    files.draw()
    if validator is None:
        log.note(f"done: {files.best}")
        return None
    session = Session(files.best, threads=torch.get_num_threads())
    validation = validator.run(session)
    report = validation.report
    detector, card = weights.load(files.best)
    card.metrics = [validator.record(dict(report.values))]
    weights.save(files.best, detector, card)
    draw_predictions(validator.dataset, validation.detections, files.plots / "predictions", card.conf)
    draw_report(validation, validator.dataset.classes, files.plots, card.conf)
    log.console.print(report.table())
    log.note(f"done: {files.best} (scores of the file as saved, averaged weights in fp16)")
    return report
