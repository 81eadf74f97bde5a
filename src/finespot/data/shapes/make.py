"""Make the shape files of a data set's split: first what there is to do, then picture by picture.

Files that fit the data set as it is now are kept, so a run that was stopped goes on, and a second run does nothing.
Others are an error, unless they may be replaced.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from finespot.data.dataset import Dataset
from finespot.data.decoded import size_changed
from finespot.data.shapes.file import Header, encode, read_header
from finespot.data.shapes.folder import check, place, truth_digest
from finespot.data.shapes.mask import join
from finespot.data.shapes.segmenter import Segmenter
from finespot.errors import FineSpotError
from finespot.images import to_rgb8
from finespot.writers import check_folder, write_atomic


@dataclass(frozen=True)
class Plan:
    """What there is to do for a data set: `kept` are the headers of files that fit, `missing` the other pictures."""

    dataset: Dataset
    folder: Path
    model: str
    kept: Sequence[Header]
    missing: Sequence[int]


def plan_shapes(dataset: Dataset, folder: Path, model: str, *, overwrite: bool = False) -> Plan:
    """Look at what is in the folder already; `model` is the segmenter's name.

    Raises
    ------
    FineSpotError
        The folder cannot be written, holds pictures of the data set or lies among them; or a file there is broken, or
        was made from other truth or by another segmenter, and `overwrite` does not allow to replace it.
    """
    check_folder(folder)
    _refuse_among_pictures(dataset, folder)
    kept: list[Header] = []
    missing: list[int] = []
    places: dict[Path, int] = {}
    for index in range(len(dataset)):
        path = place(folder, dataset, index)
        other = places.setdefault(path, index)
        if other != index:
            raise FineSpotError(
                f"expected pictures of different ids but {dataset.path(other)} and {dataset.path(index)} have the same",
                where=dataset.image_id(index),
            )
        try:
            header = _fitting(path, dataset, index, model)
        except FineSpotError:
            if not overwrite:
                raise
            header = None
        if header is None:
            missing.append(index)
        else:
            kept.append(header)
    return Plan(dataset, folder, model, kept, missing)


def make_shapes(plan: Plan, segment: Segmenter, advance: Callable[[], None] = lambda: None) -> list[Header]:
    """Make the missing files and return their headers; `advance` is called after each.

    Raises
    ------
    FineSpotError
        A picture cannot be read or has another size by now, or a file cannot be written.
    """
    made = []
    for index in plan.missing:
        header, content = _shapes_of(plan.dataset, index, segment)
        write_atomic(place(plan.folder, plan.dataset, index), content, sync=False)
        made.append(header)
        advance()
    return made


def _shapes_of(dataset: Dataset, index: int, segment: Segmenter) -> tuple[Header, bytes]:
    boxes, _, ignore = dataset.columns(index)
    objects, size = boxes[~ignore], dataset.size(index)
    masks: list[NDArray[np.bool_]] = []
    image = dataset.image(index)
    if image.size != size:
        raise size_changed(dataset.path(index))
    if len(objects):
        masks = segment(to_rgb8(image.read(None), image.bit_depth), objects)
    mask, whole = join(size, objects, masks)
    return encode(mask, model=segment.name, truth=truth_digest(dataset, index), objects=len(objects), whole=whole)


def _fitting(path: Path, dataset: Dataset, index: int, model: str) -> Header | None:
    """The header of a picture's file, None where there is none."""
    if not path.exists():
        return None
    header = read_header(path)
    check(header, path, dataset, index)
    if header.model != model:
        raise FineSpotError(
            f"there are shapes already that {header.model} made, not {model}",
            where=path,
            hint="--overwrite replaces such, another --out keeps them",
        )
    return header


def _refuse_among_pictures(dataset: Dataset, folder: Path) -> None:
    """Files among the pictures would be read as part of the data set, and their previews as its pictures."""
    own = Path(os.path.realpath(folder))
    for pictures in {os.path.dirname(dataset.path(index)) for index in range(len(dataset))}:
        there = Path(os.path.realpath(pictures))
        if own == there or own in there.parents or there in own.parents:
            raise FineSpotError(
                f"expected a folder of its own but pictures lie in {pictures}", where=folder, hint="choose another"
            )
