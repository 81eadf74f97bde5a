"""What the networks of a study's rows cost: counted before anything is trained, timed when everything is.

Counting builds every row's network without data, so that a row which cannot be built, or asks for a loss that there is
not, is refused before the first epoch of the first row. Time is taken of all rows in turns (A B C A B C ...) in one
process, so that a change of the machine's load or clock meets all of them.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import quantiles

import torch

from finespot import weights, zoo
from finespot.data import Dataset
from finespot.errors import FineSpotError
from finespot.registry import build
from finespot.runtimes.settings import choose_device, choose_threads
from finespot.structures import Classes
from finespot.studies.study import Row
from finespot.training.devices import round_up
from finespot.training.freeze import freeze
from finespot.training.plan import Facts
from finespot.training.recipe import Recipe

# What the classes of a network are counted for where no data set says it.
CLASSES = 80
_WARM_UP = 3


@dataclass(frozen=True)
class RowCost:
    """What a row's network costs on a square picture of side `imgsz`: parameters and 1e9 operations, as trained and
    with batch norm folded in.
    """

    imgsz: int
    classes: int
    parameters: int
    parameters_fused: int
    gflops: float
    gflops_fused: float


@dataclass(frozen=True)
class Latency:
    """Milliseconds of one picture from input to boxes (batch 1): the median, and the middle half of all turns."""

    median: float
    low: float
    high: float


@dataclass(frozen=True)
class Timing:
    """Latencies of rows by name, and what they were measured on, in words."""

    rows: Mapping[str, Latency]
    setting: str


def count(rows: Iterable[Row], dataset: Dataset | None) -> dict[str, RowCost]:
    """Parameters and operations of every row's network, for the classes of the training data (80 without any).

    Raises
    ------
    FineSpotError
        A row's network, loss or frozen part does not exist.
    """
    facts: dict[tuple[object, int], Facts] = {}
    return {row.name: _count(row, dataset, facts) for row in rows}


def _count(row: Row, dataset: Dataset | None, known: dict[tuple[object, int], Facts]) -> RowCost:
    recipe = row.recipe
    classes = Classes(tuple(str(number) for number in range(CLASSES))) if dataset is None else dataset.classes
    facts = None if dataset is None else _facts(dataset, recipe, known)
    try:
        with torch.device("meta"):
            task = build("task", "detect", recipe=recipe, classes=classes, note=_unheard, facts=facts)
        detector: zoo.Detector = task.model
        freeze(detector, recipe.freeze)
    except FineSpotError as error:
        where = f"row '{row.name}'" if error.where is None else f"row '{row.name}', {error.where}"
        raise FineSpotError(error.what, where=where, hint=error.hint) from error
    side = round_up(recipe.imgsz, detector.stride, _unheard)
    fused = detector.fused()
    return RowCost(
        imgsz=side,
        classes=len(classes),
        parameters=zoo.count_parameters(detector),
        parameters_fused=zoo.count_parameters(fused),
        gflops=zoo.count_gflops(detector, (side, side)),
        gflops_fused=zoo.count_gflops(fused, (side, side)),
    )


def _unheard(text: str) -> None:
    """What is planned from the data is said when the row is trained."""


def _facts(dataset: Dataset, recipe: Recipe, known: dict[tuple[object, int], Facts]) -> Facts:
    key = (recipe.tile, recipe.imgsz)
    if key not in known:
        known[key] = Facts.of(dataset, recipe)
    return known[key]


def clock(files: Mapping[str, Path], device: str, rounds: int, threads: int | None) -> Timing:
    """Time the networks of weight files by row, in turns; float32, batch norm folded in, a square picture of each
    network's own input size. The first turns do not count.

    Raises
    ------
    FineSpotError
        A file cannot be read, or there is no such device or number of threads.
    """
    where = torch.device(choose_device(device).value)
    cores = choose_threads(threads)
    before = torch.get_num_threads()
    torch.set_num_threads(cores)
    try:
        taken = _take_turns(files, where, rounds)
    finally:
        torch.set_num_threads(before)
    rows = {name: _latency(times) for name, times in taken.items()}
    name = torch.cuda.get_device_name(where) if where.type == "cuda" else where.type
    setting = f"{name}, float32, batch 1, {cores} torch threads, {rounds} turns, median and middle half"
    return Timing(rows, setting)


def _take_turns(files: Mapping[str, Path], device: torch.device, rounds: int) -> dict[str, list[float]]:
    """Seconds of each row's counted turns."""
    sides, networks = {}, {}
    for name, file in files.items():
        detector, card = weights.load(file, own_parts=True)
        networks[name] = detector.fused().to(device)
        side = round_up(card.imgsz, detector.stride, _unheard)
        sides[name] = torch.zeros(1, 3, side, side, device=device).contiguous(memory_format=torch.channels_last)
    taken: dict[str, list[float]] = {name: [] for name in networks}
    gc.collect()
    with torch.inference_mode():
        for turn in range(_WARM_UP + rounds):
            for name, network in networks.items():
                start = _now(device)
                network.head.decode_boxes(network(sides[name]))
                if turn >= _WARM_UP:
                    taken[name].append(_now(device) - start)
    return taken


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def _latency(seconds: list[float]) -> Latency:
    values = [1000 * one for one in seconds]
    low, median, high = quantiles(values, n=4, method="inclusive") if len(values) > 1 else values * 3
    return Latency(median, low, high)
