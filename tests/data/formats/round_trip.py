"""Data sets made up by hypothesis, written in a layout and read back."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from data_factory import save_picture
from hypothesis import strategies as st

from finespot.data import Dataset, dataset_splits, open_dataset
from finespot.data.builder import Builder
from finespot.data.dataset import find_format
from finespot.data.formats.layout import Keeps, Part
from finespot.structures import Classes

SIZES = ((100, 200), (37, 53), (640, 64))
Row = tuple[tuple[float, float, float, float], int, bool, dict[str, int]]


@st.composite
def rows(draw: st.DrawFn, size: tuple[int, int], classes: int, attributes: Sequence[str] = ()) -> list[Row]:
    """Boxes of a picture; every third or so is ignored, some without a class."""
    height, width = size
    found: list[Row] = []
    for _ in range(draw(st.integers(0, 4))):
        x1, y1 = (draw(st.floats(0, side - 0.5, width=32)) for side in (width, height))
        x2, y2 = (draw(st.floats(low + 0.25, side)) for low, side in ((x1, width), (y1, height)))
        label = draw(st.integers(-1, classes - 1))
        ignore = label < 0 or draw(st.integers(0, 2)) == 0
        found.append(((x1, y1, x2, y2), label, ignore, {name: draw(st.integers(0, 1)) for name in attributes}))
    return found


@st.composite
def splits(draw: st.DrawFn, classes: int, attributes: Sequence[str] = ()) -> dict[str, list[list[Row]]]:
    """The rows of the pictures of one to three splits."""
    names = draw(st.sampled_from((("train",), ("train", "val"), ("train", "val", "test-dev"))))
    return {
        name: [draw(rows(size, classes, attributes)) for size in SIZES[: draw(st.integers(1, len(SIZES)))]]
        for name in names
    }


def dataset_of(folder: Path, split: str, pictures: Sequence[Sequence[Row]], classes: Sequence[str]) -> Dataset:
    builder = Builder("set", split, Classes(tuple(classes)))
    for number, found in enumerate(pictures):
        builder.picture(str(save_picture(folder / f"{split}{number}.png", SIZES[number])), number)
        for corners, label, ignore, attributes in found:
            builder.box(corners, label, where="row", ignore=ignore, attributes=attributes)
    return builder.build()


def written(spec: str, datasets: Sequence[Dataset], root: Path) -> str:
    """The data sets written below a root in a layout (`name,option=value`); what opens them again."""
    layout, _ = find_format(f"{spec}:{root}")
    parts = []
    for dataset in datasets:
        names = tuple(Path(dataset.path(i)).name for i in range(len(dataset)))
        parts.append(Part(dataset.split, dataset, names))
    layout.write(root, parts)
    for part in parts:
        for index, name in enumerate(part.names):
            target = root / layout.picture(part.split, name)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(part.dataset.path(index), target)
    return f"{spec}:{root}"


def come_back(spec: str, made: dict[str, list[list[Row]]], classes: Sequence[str], classes_stay: bool = True) -> None:
    """Write, read, and compare all that the layout promises to keep.

    `classes_stay` is false for layouts without a class list, which know the names that occur.
    """
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        before = [dataset_of(here / "from", split, pictures, classes) for split, pictures in made.items()]
        place = written(spec, before, here / "to")
        keeps = find_format(place)[0].keeps
        assert dataset_splits(place) == list(made)
        for dataset in before:
            after = open_dataset(place, dataset.split)
            assert not [note for note in after.notes if "repeat" not in note]
            assert len(after) == len(dataset)
            if classes_stay:
                assert after.classes.names == dataset.classes.names
            for index in range(len(dataset)):
                _compare(dataset, after, index, keeps)


def _compare(before: Dataset, after: Dataset, index: int, keeps: Keeps) -> None:
    truth, found = before.annotations(index), after.annotations(index)
    truth = truth.select(
        ~truth.ignore | (keeps.regions & (truth.labels < 0)) | (keeps.ignored & truth.ignore & (truth.labels >= 0))
    )
    order, same = _order(before, truth), _order(after, found)
    truth, found = truth.select(order), found.select(same)
    assert found.size == truth.size
    np.testing.assert_allclose(found.boxes, truth.boxes, atol=0.01)
    assert _names(after, found) == _names(before, truth)
    np.testing.assert_array_equal(found.ignore, truth.ignore)
    for name in keeps.attributes:
        nothing = np.zeros(len(truth), np.int64)
        np.testing.assert_array_equal(found.attributes.get(name, nothing), truth.attributes.get(name, nothing))


def _names(dataset: Dataset, truth: Any) -> list[str]:
    return ["" if label < 0 else dataset.classes[label] for label in truth.labels.tolist()]


def _order(dataset: Dataset, truth: Any) -> Any:
    """Layouts that keep ignored objects in a file of their own bring the rows in another order."""
    keys = list(zip(truth.ignore.tolist(), _names(dataset, truth)))
    return np.array(sorted(range(len(keys)), key=lambda index: (keys[index], index)), np.int64)
