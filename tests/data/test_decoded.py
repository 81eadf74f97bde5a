"""The cache on the disk: the same batches, changed files noticed, whole whatever happens; files decoded together."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from data_factory import MakeYolo, save_picture
from loader_factory import EVERYTHING, ROOT, assert_equal, loader

from finespot.data import Augment, Dataset, open_dataset
from finespot.data.decoded import default_folder
from finespot.data.pictures import Pictures
from finespot.errors import FineSpotError


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return open_dataset(f"hit-uav:{ROOT}", "train")


def entries(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.pixels"))


def test_disk_cache_decodes_each_file_once(dataset: Dataset, tmp_path: Path, decoded: list[str]) -> None:
    first = loader(dataset, cache="disk", cache_folder=tmp_path)
    expected = list(first.epoch(0, EVERYTHING))
    assert sorted(decoded) == sorted({Path(dataset.path(i)).name for i in range(len(dataset))})
    assert len(entries(tmp_path)) == len(dataset)
    again = loader(dataset, cache="disk", cache_folder=tmp_path)
    assert_equal(expected, list(again.epoch(0, EVERYTHING)))
    assert len(decoded) == len(dataset)
    assert first.notes == [
        f"cache: 0.0 GiB of decoded pictures in {tmp_path}, 0.0 GiB of it there already; the folder can be deleted at "
        "any time"
    ]


@pytest.mark.slow
def test_disk_cache_is_shared_by_processes(dataset: Dataset, tmp_path: Path) -> None:
    expected = list(loader(dataset).epoch(0, EVERYTHING))
    for _ in range(2):
        workers = loader(dataset, cache="disk", cache_folder=tmp_path, workers=2, batch=1)
        single = loader(dataset, batch=1).epoch(0, EVERYTHING)
        assert_equal(list(single), list(workers.epoch(0, EVERYTHING)))
    assert_equal(expected, list(loader(dataset, cache="disk", cache_folder=tmp_path).epoch(0, EVERYTHING)))
    assert len(entries(tmp_path)) == len(dataset)
    assert not list(tmp_path.rglob("*.part"))


def test_disk_cache_notices_a_changed_picture(make_yolo: MakeYolo, tmp_path: Path) -> None:
    file = make_yolo({"a": "0 0.5 0.5 0.1 0.1"})
    folder = tmp_path / "cache"
    cached = loader(open_dataset(file, "train"), cache="disk", cache_folder=folder)
    before = next(cached.epoch(0, Augment.off())).images
    old = entries(folder)
    save_picture(tmp_path / "images/train/a.png", seed=99)
    for changed in (cached, loader(open_dataset(file, "train"), cache="disk", cache_folder=folder)):
        images = next(changed.epoch(0, Augment.off())).images
        assert not torch.equal(images, before)
        assert torch.equal(images, next(loader(open_dataset(file, "train")).epoch(0, Augment.off())).images)
    assert len(entries(folder)) == 1
    assert entries(folder) != old


def test_disk_cache_refuses_a_picture_of_another_size(make_yolo: MakeYolo, tmp_path: Path) -> None:
    """Also where another process has decoded the new one in between."""
    dataset = open_dataset(make_yolo({"a": ""}), "train")
    make_yolo({"a": ""}, size=(50, 60))
    for _ in range(2):
        with pytest.raises(FineSpotError, match=r"a\.png: the picture's size has changed"):
            list(loader(dataset, cache="disk", cache_folder=tmp_path / "cache").epoch(0, Augment()))
        now = open_dataset(tmp_path / "data.yaml", "train")
        list(loader(now, cache="disk", cache_folder=tmp_path / "cache").epoch(0, Augment()))


@pytest.mark.parametrize("damage", [lambda whole: whole[:-1], lambda whole: b"", lambda whole: b"x" * len(whole)])
def test_disk_cache_makes_a_damaged_entry_again(
    dataset: Dataset, tmp_path: Path, damage: Callable[[bytes], bytes]
) -> None:
    expected = list(loader(dataset, cache="disk", cache_folder=tmp_path).epoch(0, EVERYTHING))
    whole = entries(tmp_path)[0].read_bytes()
    entries(tmp_path)[0].write_bytes(damage(whole))
    assert_equal(expected, list(loader(dataset, cache="disk", cache_folder=tmp_path).epoch(0, EVERYTHING)))
    assert entries(tmp_path)[0].read_bytes() == whole


KILLED = """
import os, sys, time
from pathlib import Path
from finespot.data import Augment, TrainLoader, open_dataset
replace, count = os.replace, 0
def stuck(source, target):
    global count
    count += 1
    if count == 4:
        print("writing", flush=True)
        time.sleep(600)
    replace(source, target)
os.replace = stuck
data = open_dataset(sys.argv[1], "train")
list(TrainLoader(data, imgsz=128, batch=3, cache="disk", cache_folder=Path(sys.argv[2])).epoch(0, Augment()))
"""


@pytest.mark.slow
def test_disk_cache_survives_a_kill(dataset: Dataset, tmp_path: Path, decoded: list[str]) -> None:
    """Killed before its fourth entry has its name: three are whole and used, the rest is decoded."""
    words = [sys.executable, "-c", KILLED, f"hit-uav:{ROOT}", str(tmp_path)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "writing\n"
        process.kill()
    assert len(entries(tmp_path)) == 3
    (left,) = tmp_path.rglob("*.part")
    expected = list(loader(dataset).epoch(0, EVERYTHING))
    decoded.clear()
    assert_equal(expected, list(loader(dataset, cache="disk", cache_folder=tmp_path).epoch(0, EVERYTHING)))
    assert len(decoded) == len(dataset) - 3
    assert left.exists(), "another process may be writing it"
    os.utime(left, (1, 1))
    loader(dataset, cache="disk", cache_folder=tmp_path)
    assert not left.exists()


def test_disk_without_space_is_refused_before_the_start(
    dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needed = Pictures(dataset, 128).nbytes()
    usage = shutil.disk_usage(tmp_path)

    def free(count: float) -> None:
        monkeypatch.setattr(shutil, "disk_usage", lambda place: usage._replace(free=int(count)))

    free(needed / 0.91)
    with pytest.raises(FineSpotError, match=r"cache: the decoded pictures need 0\.0 GiB more, but .* set cache_folder"):
        loader(dataset, cache="disk", cache_folder=tmp_path)
    free(needed / 0.89)
    list(loader(dataset, cache="disk", cache_folder=tmp_path).epoch(0, Augment()))
    free(0)
    loader(dataset, cache="disk", cache_folder=tmp_path)  # all is there


def test_disk_that_fills_up_while_training(dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(number: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    cached = loader(dataset, cache="disk", cache_folder=tmp_path)
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(
        FineSpotError, match=r"cannot be written \(No space left on device\); make space, or go on with"
    ):
        list(cached.epoch(0, Augment()))
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_where_the_disk_cache_lies(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    paths = [str(tmp_path / "set/a/1.png"), str(tmp_path / "set/b/2.png")]
    (tmp_path / "set").mkdir()
    assert default_folder(paths) == tmp_path / "set" / ".finespot-cache"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    assert default_folder(["/1.png", "/b/2.png"]) == tmp_path / "home/finespot/pictures", "not in the root folder"
    monkeypatch.setattr(os, "access", lambda *args: False)
    assert default_folder(paths) == tmp_path / "home/finespot/pictures"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_folder(paths) == tmp_path / ".cache/finespot/pictures"


def test_the_disk_cache_is_no_part_of_the_data_set(make_yolo: MakeYolo, tmp_path: Path) -> None:
    file = make_yolo({"a": "0 0.5 0.5 0.1 0.1"})
    list(loader(open_dataset(file, "train"), cache="disk").epoch(0, Augment()))
    assert len(entries(tmp_path / "images/train/.finespot-cache")) == 1
    assert len(open_dataset(file, "train")) == 1
