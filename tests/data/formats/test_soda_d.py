"""SODA-D: its tenth category, its two forms, its ignore flag."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from coco_sets import SODA_D, make_soda_d

from finespot.data import dataset_splits, open_dataset
from finespot.errors import FineSpotError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_soda_d(tmp_path)


def test_ignore_is_a_region_and_no_class(folder: Path) -> None:
    dataset = open_dataset(f"soda-d:{folder}", "train")
    assert dataset.classes.names == SODA_D[:9]
    assert dataset.classes.original_ids == tuple(range(1, 10))
    truth = dataset.annotations(0)
    assert truth.labels.tolist() == [8, -1, 0]
    assert truth.ignore.tolist() == [False, True, True], "the category ignore, and the flag"
    assert truth.boxes[1].tolist() == [50, 50, 90, 80]
    assert dataset.notes == ["both rawData and divData are there; read rawData"]


def test_splits_of_both_forms(folder: Path) -> None:
    assert dataset_splits(f"soda-d:{folder}") == ["train", "val", "val_wo_ignore"]
    assert dataset_splits(f"soda-d:{folder / 'rawData'}") == ["train", "val", "val_wo_ignore"]
    for spec in (f"soda-d,form=tiles:{folder}", f"soda-d:{folder / 'divData'}"):
        assert dataset_splits(spec) == ["train"]
        dataset = open_dataset(spec, "train")
        assert dataset.notes == []
        assert [Path(dataset.path(i)).name for i in range(2)] == ["00001_0.jpg", "00001_1.jpg"]
        assert [dataset.group(i) for i in range(2)] == ["picture 41", "picture 41"]
        assert dataset.annotations(0).ignore.tolist() == [True]
        assert dataset.annotations(0).labels.tolist() == [8]


def test_all_splits_share_a_folder_of_pictures(folder: Path) -> None:
    for split in ("val", "val_wo_ignore"):
        dataset = open_dataset(f"soda-d:{folder}", split)
        assert [Path(dataset.path(i)).name for i in range(len(dataset))] == ["00002.jpg"]
    assert dataset.annotations(0).labels.tolist() == [8]
    assert dataset.group(0) == dataset.path(0)


def test_a_form_must_be_one_and_be_there(folder: Path) -> None:
    with pytest.raises(FineSpotError, match="unknown value of the option form 'div'"):
        dataset_splits(f"soda-d,form=div:{folder}")
    with pytest.raises(FineSpotError, match="no split 'test'; it has train, val, val_wo_ignore"):
        open_dataset(f"soda-d:{folder}", "test")
    shutil.rmtree(folder / "divData")
    assert open_dataset(f"soda-d:{folder}", "train").notes == []
    with pytest.raises(FineSpotError, match="expected a folder divData with Annotations and Images"):
        dataset_splits(f"soda-d,form=tiles:{folder}")
    with pytest.raises(FineSpotError, match="expected a folder rawData or divData with Annotations and Images"):
        dataset_splits(f"soda-d:{folder / 'gone'}")
