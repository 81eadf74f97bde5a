"""`train`: from a recipe to a run folder with weights.

The folder `runs/train/<name>N` holds `weights/best.safetensors` and `weights/last.safetensors` (averaged weights,
unfused), `weights/resume.pt`, `metrics.csv`, `recipe.yaml` (every key), `environment.json` and `plots/`.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import torch
from lightning_fabric import Fabric
from lightning_fabric.strategies import ParallelStrategy
from torch import nn

from finespot import weights
from finespot.data import Dataset, TrainLoader, open_dataset
from finespot.errors import FineSpotError
from finespot.inference import draw_predictions, draw_report
from finespot.inference.reach import refuse_empty
from finespot.metrics import Report
from finespot.nn.seeker import STRIDES
from finespot.registry import build
from finespot.runtimes import Session
from finespot.training import devices
from finespot.training.cards import make_card
from finespot.training.checkpoint import load_checkpoint, save_checkpoint, seed_all
from finespot.training.choice import choose_recipe, own_recipe, refuse_changes, stored_recipe
from finespot.training.claim import tell_claim
from finespot.training.environment import environment, resume_environment, write_environment
from finespot.training.freeze import freeze
from finespot.training.keeper import RunFiles
from finespot.training.log import Log
from finespot.training.loop import Loop, Validate, all_or_none
from finespot.training.plan import Facts, plan_max_det
from finespot.training.recipe import Recipe, write_recipe
from finespot.training.seeker_validator import SeekerValidator
from finespot.training.stage_table import tell_stages
from finespot.training.stages import Stages
from finespot.training.tasks.seeker import seeks, settled_for_seeker
from finespot.training.validator import Validator, open_val, val_batch, warn_of_shared
from finespot.weights import Card, ObjectScale, SeekerCalibration, SeekerCard
from finespot.writers import new_run, write_atomic

PROJECT = "runs/train"


@dataclass(frozen=True)
class RunResult:
    """A finished run: its folder, its best weights, and their scores: of a detector a report, of a seeker a
    calibration (None where nothing was validated).
    """

    folder: Path
    best: Path
    report: Report | None
    calibration: SeekerCalibration | None = None


def train(
    model: str | None = None,
    data: str | None = None,
    *,
    recipe: str | Path | Recipe | None = None,
    resume: str | Path | None = None,
    project: str | Path | None = None,
    quiet: bool = False,
    **overrides: Any,
) -> RunResult:
    """Train a detector, or a seeker.

    Parameters
    ----------
    model:
        A name of the zoo (`yolo11n-p2`), or `seeker`, or a weight file or bundled name to start from.
    data:
        A data set (`x.yaml`, `coco:DIR`, ...).
    recipe:
        A recipe's name, file or object; None is that of the model's family, or "default".
    resume:
        A run folder: go on after its last finished epoch, with its own recipe and in its folder.
    project, quiet:
        The folder of run folders (None is `runs/train`); print nothing.
    overrides:
        Recipe keys with Python values, for example `epochs=3`, `lr=0.02`, `optimizer={"name": "adamw"}`.

    Raises
    ------
    FineSpotError
        The recipe, the data set or the checkpoint is not as expected, or a loss is not finite.
    """
    log = Log(quiet=quiet or _process_number() != 0)
    if resume is not None and project is not None:
        raise FineSpotError(f"a resumed run has its own project, but {project} was given", where="resume")
    chosen = choose_recipe(model, data, recipe=recipe, resume=resume, overrides=overrides)
    if recipe is None and resume is None and (own := own_recipe(model)) != "default":
        log.note(f"recipe: {own} (the model's own; --recipe default takes the plain one)")
    if not chosen.data:
        raise FineSpotError("no data set is named", where="data", hint="for example data=dataset.yaml")
    fabric = devices.make_fabric(chosen, log.note)
    first = _process_number() == 0 or not isinstance(fabric.strategy, ParallelStrategy)
    # All that a person can get wrong fails here, before there are other processes.
    start = _prepare(chosen, first, log)
    devices.check_kernels(start.task.trainable, chosen.precision, fabric.device.type)
    if resume is not None:
        refuse_changes(stored_recipe(Path(resume)), start.recipe, Path(resume))
        folder: Path | None = Path(resume)
    else:
        folder = new_run(project or PROJECT, chosen.name) if first else None
    with TemporaryDirectory() as scratch:
        # By file, because what spawned processes return must fit into a pipe.
        result = Path(scratch) / "result"
        # Spawned processes would get one model in shared memory: each prepares its own.
        ready = None if chosen.strategy == "ddp_spawn" else start
        fabric.launch(_run, chosen, ready, folder, resume is not None, quiet, result)
        made: RunResult = pickle.loads(result.read_bytes())
    return made


@dataclass
class _Start:
    """What a process trains with: the recipe with its sizes settled, the data sets, the task.

    `val` is None where nothing is validated, or in a process other than the first; `max_det` is the cap on detections
    that the weights will have, `objects` how large the network sees them: both for detectors only.
    """

    recipe: Recipe
    dataset: Dataset
    val: Dataset | None
    task: Any
    max_det: int
    objects: ObjectScale | None


def _prepare(recipe: Recipe, first: bool, log: Log) -> _Start:
    """Open the data sets and build the task, in each process; the same seed gives each the same weights."""
    seed_all(recipe.seed)
    dataset = open_dataset(recipe.data, recipe.splits.train)
    if len(dataset) == 0:
        raise FineSpotError(f"the split '{recipe.splits.train}' has no pictures", where=recipe.data)
    val = open_val(recipe, dataset.classes, log) if first else None
    if val is not None:
        warn_of_shared(recipe, dataset, val, log)
    if seeks(recipe.model):
        return _prepare_seeker(recipe, dataset, val, log)
    facts = Facts.of(dataset, recipe)
    task = build("task", "detect", recipe=recipe, classes=dataset.classes, note=log.note, facts=facts)
    max_det = plan_max_det(facts.crowds, recipe.val.max_det, log.note)
    _check_trainable(recipe, task)
    recipe = _rounded(recipe, int(task.model.stride), log)
    return _Start(recipe, dataset, val, task, max_det, facts.object_scale())


def _prepare_seeker(recipe: Recipe, dataset: Dataset, val: Dataset | None, log: Log) -> _Start:
    if val is not None:
        refuse_empty(val)
    elif recipe.val.every == 0:
        log.note("threshold: none, as nothing is validated; finespot weights calibrate chooses one")
    recipe = settled_for_seeker(_rounded(recipe, max(STRIDES), log), dataset, log.note)
    task = build("task", "seeker", recipe=recipe, note=log.note)
    _check_trainable(recipe, task)
    return _Start(recipe, dataset, val, task, max_det=0, objects=None)


def _check_trainable(recipe: Recipe, task: Any) -> None:
    freeze(task.model, recipe.freeze)
    if not any(parameter.requires_grad for parameter in task.trainable.parameters()):
        raise FineSpotError(f"nothing is left to train where {', '.join(recipe.freeze)} are frozen", where="freeze")
    Stages.of(recipe).check(task.model, recipe.freeze)


def _rounded(recipe: Recipe, stride: int, log: Log) -> Recipe:
    return msgspec.structs.replace(recipe, imgsz=devices.round_up(recipe.imgsz, stride, log.note))


def _run(
    fabric: Fabric, recipe: Recipe, start: _Start | None, folder: Path | None, resumed: bool, quiet: bool, out: Path
) -> None:
    """What each process does; every one writes the result to `out`."""
    log = Log(quiet=quiet or not fabric.is_global_zero)
    try:
        with _determinism(recipe):
            result = _train(fabric, start or _prepare(recipe, fabric.is_global_zero, log), folder, resumed, log)
    finally:
        devices.leave_group()
    write_atomic(out, pickle.dumps(result), sync=False)


def _train(fabric: Fabric, start: _Start, made: Path | None, resumed: bool, log: Log) -> RunResult:
    recipe, dataset, task = start.recipe, start.dataset, start.task
    seed_all(recipe.seed + fabric.global_rank)
    card = make_card(recipe, task, dataset, start.max_det, start.objects)
    card.check()
    if card.data_licence != recipe.data_licence:
        log.note(f"data_licence: {card.data_licence} (with that of the pictures that {task.source} learned from)")
    validator = _make_validator(recipe, start.val, card, log) if start.val is not None else None
    folder = Path(fabric.broadcast(str(made)))
    with all_or_none(fabric):
        files = RunFiles(folder, card, dataset.classes, recipe.save_every)
        loader = _make_loader(recipe, dataset, int(task.model.stride), fabric, log)
    loop = Loop(
        recipe,
        task,
        loader,
        fabric,
        keeper=files,
        validate=_validate_and_record(validator, files) if validator is not None else lambda model: {},
        names=lambda batch: [dataset.path(index) for index in batch.indices],
        log=log,
    )
    with all_or_none(fabric):
        if resumed:
            _load(loop, files, log)
        elif fabric.is_global_zero:
            write_recipe(recipe, folder / "recipe.yaml")
            # A run killed in its first epoch can go on too.
            save_checkpoint(loop.state([]), files.checkpoint)
        _keep_environment(loop, folder, resumed, log)
    tell_stages(loop.schedule, recipe, task.source is None, log)
    epochs = loop.stages.end - loop.stages.first
    log.note(f"{len(dataset)} pictures, {len(loop.loader)} batches an epoch, {epochs} epochs into {folder}")
    for note in dataset.notes:
        log.note(f"{recipe.splits.train}: {note}")
    try:
        loop.fit()
    except KeyboardInterrupt:
        _interrupted(loop, files, log)
        raise
    report, calibration = None, None
    with all_or_none(fabric):
        if fabric.is_global_zero:
            report, calibration = _finish(recipe, files, validator, log)
    return RunResult(folder, files.best, fabric.broadcast(report), fabric.broadcast(calibration))


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


def _make_loader(recipe: Recipe, dataset: Dataset, stride: int, fabric: Fabric, log: Log) -> TrainLoader:
    local = getattr(fabric.strategy, "num_processes", 1)  # of this node
    loader = TrainLoader(
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
        cache_folder=None if recipe.cache_folder is None else Path(recipe.cache_folder),
        tile=recipe.tile,
        repeat_rare=recipe.repeat_rare,
        shapes=None if recipe.shapes is None else Path(recipe.shapes),
    )
    for note in loader.notes:
        log.note(note)
    return loader


def _make_validator(recipe: Recipe, val: Dataset, card: Card | SeekerCard, log: Log) -> Validator | SeekerValidator:
    if isinstance(card, SeekerCard):
        return SeekerValidator(val, card, log)
    return Validator(recipe, val, card, val_batch(recipe, log), log)


def _validate_and_record(validator: Validator | SeekerValidator, files: RunFiles) -> Validate:
    def validate(model: nn.Module) -> dict[str, float | None]:
        scores = validator(model)
        files.records = validator.records
        return scores

    return validate


def _load(loop: Loop, files: RunFiles, log: Log) -> None:
    """Go on where the checkpoint stands."""
    loop.load_state(load_checkpoint(files.checkpoint))
    done, epochs = loop.progress.epoch, loop.stages.end
    if loop.finished():
        raise FineSpotError(f"the run is finished ({done} of {epochs} epochs)", where=files.folder)
    if loop.fabric.is_global_zero:
        _check_kept(loop, files, log)
    log.note(f"resume: epoch {done + 1} of {epochs} is next, iteration {loop.progress.iteration}")


def _check_kept(loop: Loop, files: RunFiles, log: Log) -> None:
    """Look at what the finished epochs left in the folder, which the next ones build upon."""
    progress = loop.progress
    if progress.best is not None:
        if not files.best.is_file():
            raise FineSpotError(
                f"the best weights so far (epoch {progress.best_epoch}) are gone, and without them the run cannot end",
                where=files.best,
                hint=f"put them back, or go on without them: copy {files.last.name} to this name",
            )
        files.read_best()
    lacking = files.csv.keep_until(progress.epoch, loop.stages.first + 1)
    if lacking:
        log.note(f"resume: {files.csv.path} lacks {len(lacking)} of {progress.epoch} rows, which stay lost")


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
    loop.read_checks()
    # The checkpoint knows better than the loop, which may have been validating.
    done = load_checkpoint(files.checkpoint)["progress"]["epoch"]
    files.save(files.last, loop.ema.model, done, [])
    if files.csv.rows:
        files.draw()
    log.note(
        f"interrupted in epoch {done + 1}: the averaged weights are in {files.last}; "
        f"--resume {files.folder} goes on after epoch {done}"
    )


def _finish(
    recipe: Recipe, files: RunFiles, validator: Validator | SeekerValidator | None, log: Log
) -> tuple[Report | None, SeekerCalibration | None]:
    """Validate the best file as it stands on the disk, write its scores into it, and draw."""
    files.draw()
    if validator is None:
        tell_claim(recipe, {}, log.console)
        log.note(f"done: {files.best}")
        return None, None
    if isinstance(validator, SeekerValidator):
        calibration = validator.finish(files.best)
        log.note(f"done: {files.best} (threshold of the file as saved, averaged weights in fp16)")
        return None, calibration
    # The recipe named the parts, and they have run in this process all along.
    session = Session(files.best, own_parts=True, threads=torch.get_num_threads())
    validation = validator.run(session)
    report = validation.report
    detector, card = weights.load(files.best, own_parts=True)
    card.metrics = [validator.record(dict(report.values))]
    if detector.levels_off:
        log.note(f"the best weights are of an epoch with level {', '.join(detector.levels_off)} off")
    weights.save(files.best, detector, card)
    draw_predictions(validator.dataset, validation.detections, files.plots / "predictions", card.conf)
    draw_report(validation, validator.dataset.classes, files.plots, card.conf)
    log.console.print(report.table())
    tell_claim(recipe, report.values, log.console)
    log.note(f"done: {files.best} (scores of the file as saved, averaged weights in fp16)")
    return report, None
