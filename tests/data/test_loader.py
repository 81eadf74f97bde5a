"""Batches: the same whatever workers and cache, sharded, shuffled, and failing in one line."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

import numpy as np
import pytest
import torch
from data_factory import MakeYolo
from loader_factory import EVERYTHING, ROOT, assert_equal, loader

from finespot.data import Augment, Dataset, open_dataset
from finespot.data import pictures as pictures_module
from finespot.data.pictures import Pictures, free_memory
from finespot.data.tiles.epochs import TileSettings
from finespot.errors import FineSpotError
from finespot.structures import Batch


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return open_dataset(f"hit-uav:{ROOT}", "train")


def test_form_of_a_batch(dataset: Dataset) -> None:
    batches = list(loader(dataset).epoch(0, Augment()))
    assert [len(batch) for batch in batches] == [3, 3, 2], "the incomplete last batch stays"
    assert len(loader(dataset)) == 3
    first = batches[0]
    assert first.images.dtype == torch.uint8
    assert first.images.shape == (3, 3, 128, 128)
    assert first.images.is_contiguous(memory_format=torch.channels_last)
    assert first.targets is not None
    assert first.targets.batch == len(first.placements) == 3
    assert (first.targets.image.diff() >= 0).all()
    assert sorted(index for batch in batches for index in batch.indices) == list(range(8))


@pytest.mark.slow
def test_same_batches_with_workers_and_cache(dataset: Dataset, tmp_path: Path) -> None:
    options = {"imgsz": 64, "multi_scale": 0.5}  # so small that pictures are reduced before
    plain = loader(dataset, **options)
    with_workers = loader(dataset, workers=2, **options)
    with_cache = loader(dataset, cache="ram", **options)
    on_disk = loader(dataset, cache="disk", cache_folder=tmp_path, **options)
    for epoch, augment in ((0, EVERYTHING), (1, EVERYTHING.closed())):
        expected = list(plain.epoch(epoch, augment))
        assert_equal(expected, list(with_workers.epoch(epoch, augment)))
        assert_equal(expected, list(with_cache.epoch(epoch, augment)))
        assert_equal(expected, list(on_disk.epoch(epoch, augment)))


def test_cache_is_shared_with_workers(dataset: Dataset) -> None:
    expected = list(loader(dataset).epoch(0, EVERYTHING))
    assert_equal(expected, list(loader(dataset, cache="ram", workers=1).epoch(0, EVERYTHING)))


def test_an_epoch_left_early_does_not_leak_into_the_next(dataset: Dataset) -> None:
    workers = loader(dataset, workers=1, batch=1)
    iterator = workers.epoch(0, Augment())
    next(iterator)
    del iterator
    assert_equal(list(loader(dataset, batch=1).epoch(3, Augment.off())), list(workers.epoch(3, Augment.off())))


def test_epoch_and_seed_change_order_and_pixels(dataset: Dataset) -> None:
    def run(seed: int, epoch: int) -> list[Batch]:
        return list(loader(dataset, seed=seed, batch=8).epoch(epoch, Augment()))

    first, again, later, other = run(0, 0), run(0, 0), run(0, 1), run(1, 0)
    assert_equal(first, again)
    for changed in (later, other):
        assert changed[0].indices != first[0].indices
        assert not torch.equal(changed[0].images, first[0].images)


def test_a_picture_does_not_depend_on_its_batch(dataset: Dataset) -> None:
    single = {batch.indices[0]: batch.images[0] for batch in loader(dataset, batch=1).epoch(2, Augment())}
    for batch in loader(dataset, batch=8).epoch(2, Augment()):
        for row, index in enumerate(batch.indices):
            assert torch.equal(batch.images[row], single[index])


@pytest.mark.parametrize("world", [2, 3, 5, 16])
def test_ranks_share_equally(dataset: Dataset, world: int) -> None:
    loaders = [loader(dataset, rank=rank, world=world, batch=2) for rank in range(world)]
    shares = [[index for request in one.requests(4, Augment()) for index in request.indices] for one in loaders]
    assert {len(share) for share in shares} == {-(-8 // world)}
    assert {index for share in shares for index in share} == set(range(8))
    assert all(len(one) == len(one.requests(4, Augment())) for one in loaders)


def test_multi_scale_draws_a_side_a_batch(dataset: Dataset) -> None:
    def sides(rank: int, epoch: int) -> list[int]:
        one = loader(dataset, imgsz=320, batch=1, multi_scale=0.5, rank=rank, world=2)
        return [request.imgsz for request in one.requests(epoch, Augment())]

    assert sides(0, 0) == sides(1, 0), "processes agree"
    assert sides(0, 0) != sides(0, 1)
    drawn = {side for epoch in range(20) for side in sides(0, epoch)}
    assert drawn <= set(range(160, 481, 32))
    assert len(drawn) > 6
    batch = next(loader(dataset, imgsz=320, multi_scale=0.5).epoch(0, Augment()))
    assert (
        batch.images.shape[2]
        == batch.images.shape[3]
        == loader(dataset, imgsz=320, multi_scale=0.5).requests(0, Augment())[0].imgsz
    )


def test_drop_small_turns_objects_into_ignore_regions(dataset: Dataset) -> None:
    all_kept = next(loader(dataset, batch=8).epoch(0, Augment.off()))
    fewer = next(loader(dataset, batch=8, drop_small=12.0).epoch(0, Augment.off()))
    assert all_kept.targets is not None
    assert fewer.targets is not None
    assert fewer.dropped["small"] > 0
    assert int(fewer.targets.ignore.sum() - all_kept.targets.ignore.sum()) == fewer.dropped["small"]


def test_ignore_regions_arrive(dataset: Dataset) -> None:
    batch = next(loader(dataset, batch=8).epoch(0, Augment.off()))
    assert batch.targets is not None
    assert (batch.targets.labels[batch.targets.ignore] == -1).any()


@pytest.mark.parametrize("workers", [0, 1])
def test_a_picture_that_breaks_during_training(make_yolo: MakeYolo, tmp_path: Path, workers: int) -> None:
    dataset = open_dataset(make_yolo({"a": "", "b": ""}), "train")
    whole = (tmp_path / "images/train/b.png").read_bytes()
    (tmp_path / "images/train/b.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(FineSpotError, match=r"images/train/b\.png: the picture cannot be read") as caught:
        list(loader(dataset, workers=workers).epoch(0, Augment()))
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_closed_loaders_end_their_workers_and_start_again(dataset: Dataset) -> None:
    workers = loader(dataset, workers=1)
    before = set(multiprocessing.active_children())
    first = list(workers.epoch(0, Augment()))
    started = set(multiprocessing.active_children()) - before
    assert len(started) == 1
    workers.close()
    assert not started & set(multiprocessing.active_children())
    assert_equal(first, list(workers.epoch(0, Augment())))


def test_a_picture_that_changes_its_size(make_yolo: MakeYolo, tmp_path: Path) -> None:
    dataset = open_dataset(make_yolo({"a": ""}), "train")
    make_yolo({"a": ""}, size=(50, 60))
    with pytest.raises(FineSpotError, match=r"a\.png: the picture's size has changed"):
        list(loader(dataset).epoch(0, Augment()))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"imgsz": 100}, "imgsz: expected a multiple of the stride 32 but got 100; try 96"),
        ({"imgsz": 16}, "try 32"),
        ({"batch": 0}, "batch: expected 1 or more"),
        ({"workers": -1}, "workers: expected 0 or more"),
        ({"seed": -1}, "seed: expected 0 or more"),
        ({"rank": 2, "world": 2}, "rank: expected 0 to 1 but got 2"),
        ({"cache": "rom"}, "cache: unknown cache 'rom'; did you mean ram"),
        ({"cache": "disc"}, "cache: unknown cache 'disc'; did you mean disk"),
        ({"multi_scale": 1.0}, "multi_scale: expected 0 to below 1"),
        ({"drop_small": -1.0}, "drop_small: expected 0 or more pixels"),
        ({"repeat_rare": 1.5}, "repeat_rare: expected 0 to 1 but got 1.5"),
        ({"repeat_rare": 0.5, "tile": TileSettings(size=64)}, "repeat_rare: whole pictures can be repeated"),
    ],
)
def test_settings_out_of_range(dataset: Dataset, options: dict[str, object], message: str) -> None:
    with pytest.raises(FineSpotError, match=message):
        loader(dataset, **options)


def test_cache_that_does_not_fit_is_refused(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    needed = Pictures(dataset, 640).nbytes()
    assert needed == 8 * 640 * 512
    monkeypatch.setattr(pictures_module, "free_memory", lambda: int(needed / 0.69))
    Pictures(dataset, 640, "ram")
    monkeypatch.setattr(pictures_module, "free_memory", lambda: int(needed / 0.71))
    with pytest.raises(FineSpotError, match="cache: the decoded pictures take"):
        Pictures(dataset, 640, "ram")
    monkeypatch.setattr(pictures_module, "free_memory", lambda: int(needed / 0.5))
    Pictures(dataset, 640, "ram")
    with pytest.raises(FineSpotError, match="GiB in 2 processes, but"):
        loader(dataset, imgsz=640, cache="ram", world=2)


def test_large_pictures_are_reduced_by_whole_factors(make_yolo: MakeYolo) -> None:
    dataset = open_dataset(make_yolo({"a": ""}, size=(130, 403)), "train")
    for imgsz, factor in ((201, 1), (101, 1), (100, 2), (64, 3)):
        pictures = Pictures(dataset, imgsz)
        assert pictures[0].factor == factor
        assert pictures[0].pixels.shape == (-(-130 // factor), -(-403 // factor), 1)
        assert pictures.nbytes() == pictures[0].pixels.nbytes


def test_sixteen_bits_train_as_eight(make_yolo: MakeYolo, tmp_path: Path) -> None:
    import PIL.Image

    file = make_yolo({"a": "0 0.5 0.5 0.1 0.1"})
    PIL.Image.fromarray(np.full((100, 200), 65535, np.uint16)).save(tmp_path / "images/train/a.png")
    batch = next(loader(open_dataset(file, "train")).epoch(0, Augment.off()))
    assert batch.images[0, :, 64, 64].tolist() == [255] * 3


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_free_memory_respects_control_groups(tmp_path: Path) -> None:
    proc, groups = tmp_path / "proc", tmp_path / "groups"
    assert free_memory(proc, groups) is None
    write(proc / "meminfo", "MemTotal: 100 kB\nMemAvailable: 50 kB\n")
    assert free_memory(proc, groups) == 50 * 1024
    write(proc / "self/cgroup", "0::/a/b\n")
    write(groups / "a/b/memory.max", "max\n")
    write(groups / "a/b/memory.current", "1000\n")
    assert free_memory(proc, groups) == 50 * 1024
    write(groups / "a/memory.max", "20000\n")
    write(groups / "a/memory.current", "5000\n")
    assert free_memory(proc, groups) == 15000
    write(proc / "self/cgroup", "5:cpu:/x\n4:memory:/c\n")
    write(groups / "memory/c/memory.limit_in_bytes", "3000\n")
    write(groups / "memory/c/memory.usage_in_bytes", "4000\n")
    assert free_memory(proc, groups) == 0
