"""Shapes go where the pixels go: in these pictures an object's shape is white and all else is black."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from loader_factory import EVERYTHING, assert_equal, loader
from shapes_factory import White, many, white_set

from finespot.data import Augment, Dataset, TileSettings
from finespot.data.shapes import make_shapes, plan_shapes
from finespot.data.shapes.folder import place
from finespot.errors import FineSpotError
from finespot.structures import Batch

OFF = Augment.off()
UNCOLORED = {"hsv_h": 0.0, "hsv_s": 0.0, "hsv_v": 0.0}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("shaped")


@pytest.fixture(scope="module")
def dataset(folder: Path) -> Dataset:
    pictures = many(4) + many(2, (700, 500), seed=1)  # the large ones are reduced
    dataset = white_set(folder / "pictures", pictures)
    segment = White()
    make_shapes(plan_shapes(dataset, folder / "out", segment.name), segment)
    return dataset


def white(batch: Batch) -> torch.Tensor:
    return batch.images[:, :1] >= 128


@pytest.mark.slow
@pytest.mark.parametrize(
    "change",
    [
        {},
        {"translate": 0.2, "scale": 0.5},
        {"degrees": 40.0, "shear": 10.0},
        {"perspective": 0.001},
        {"flip_lr": 1.0},
        {"flip_ud": 1.0},
        {"flip_lr": 0.5, "flip_ud": 0.5, "scale": 0.3},
        {"mosaic": 1.0},
        {"mosaic": 1.0, "degrees": 30.0, "scale": 0.5, "translate": 0.1},
        {"copy_paste": 1.0},
        {"copy_paste": 1.0, "mosaic": 0.5, "flip_lr": 0.5, "scale": 0.2},
    ],
    ids=lambda change: "+".join(change) or "letterbox",
)
@pytest.mark.parametrize(
    "tile", [None, TileSettings(size=96, keep_empty=0.2), TileSettings(size=256)], ids=["whole", "tiles", "large tiles"]
)
def test_shapes_follow_the_pixels(
    dataset: Dataset, folder: Path, change: dict[str, float], tile: TileSettings | None
) -> None:
    augment = msgspec.structs.replace(OFF, **change)
    batches = list(loader(dataset, shapes=folder / "out", tile=tile, batch=4).epoch(1, augment))
    assert sum(int(batch.shapes.sum()) for batch in batches) > 100
    for batch in batches:
        assert batch.shapes.dtype == torch.bool
        assert batch.shapes.shape == (len(batch), 1, 128, 128)
        assert torch.equal(batch.shapes, white(batch))


def test_pasted_objects_bring_their_shapes(dataset: Dataset, folder: Path) -> None:
    plain, pasted = (
        sum(
            int(batch.shapes.sum())
            for batch in loader(dataset, shapes=folder / "out").epoch(0, msgspec.structs.replace(OFF, copy_paste=share))
        )
        for share in (0.0, 1.0)
    )
    assert pasted > plain


def test_mixed_pictures_keep_the_shapes_of_both(dataset: Dataset, folder: Path) -> None:
    batch = next(loader(dataset, shapes=folder / "out", batch=6).epoch(0, OFF))
    alone = dict(zip(batch.indices, batch.shapes))
    mixed = next(loader(dataset, shapes=folder / "out", batch=6).epoch(0, msgspec.structs.replace(OFF, mixup=1.0)))
    others = set()
    for index, shape in zip(mixed.indices, mixed.shapes):
        found = [other for other in alone if torch.equal(shape, alone[index] | alone[other])]
        assert len(found) == 1
        others.add(found[0] != index)
    assert True in others


@pytest.mark.slow
@pytest.mark.parametrize("tile", [None, TileSettings(size=96)], ids=["whole", "tiles"])
def test_all_else_is_the_same_with_and_without(dataset: Dataset, folder: Path, tile: TileSettings | None) -> None:
    without = list(loader(dataset, tile=tile).epoch(3, EVERYTHING))
    shaped = list(loader(dataset, tile=tile, shapes=folder / "out").epoch(3, EVERYTHING))
    assert_equal(without, shaped)
    assert all(batch.shapes is None for batch in without)


@pytest.mark.slow
@pytest.mark.parametrize("options", [{"workers": 1}, {"cache": "ram"}, {"cache": "disk"}, {"batch": 1}], ids=str)
def test_shapes_do_not_depend_on_how_they_are_loaded(
    dataset: Dataset, folder: Path, tmp_path: Path, options: dict[str, object]
) -> None:
    plain = loader(dataset, shapes=folder / "out")
    other = loader(dataset, shapes=folder / "out", cache_folder=tmp_path, **options)
    one, two = (torch.cat([batch.shapes for batch in each.epoch(2, EVERYTHING)]) for each in (plain, other))
    assert torch.equal(one, two)


def test_sides_of_other_scales(dataset: Dataset, folder: Path) -> None:
    for batch in loader(dataset, shapes=folder / "out", multi_scale=0.5, batch=1).epoch(0, OFF):
        assert batch.shapes.shape[2:] == batch.images.shape[2:]
        assert torch.equal(batch.shapes, white(batch))


def test_what_is_half_covered_belongs_to_a_shape(tmp_path: Path) -> None:
    """Bands of one and of three pixels, shrunk by four: a quarter of a pixel is none, three quarters are one."""
    size = (512, 512)
    dataset = white_set(tmp_path / "pictures", [(size, [((0.0, 0.0, 512.0, 512.0), 0, False)])])

    def bands(pixels: np.ndarray, boxes: np.ndarray) -> list[np.ndarray]:
        mask = np.zeros(size, bool)
        mask[:, 100:101] = mask[:, 201:204] = mask[:, 255:257] = mask[:, 308:311] = mask[:, 411:412] = True
        return [mask]

    segment = type("Bands", (), {"name": "bands", "__call__": staticmethod(bands)})()
    from finespot.data.shapes import mask as rule

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rule, "is_plausible", lambda *_: True)
        make_shapes(plan_shapes(dataset, tmp_path / "out", "bands"), segment)
    shape = next(loader(dataset, shapes=tmp_path / "out", batch=1).epoch(0, OFF)).shapes[0, 0]
    assert shape.any(dim=0).nonzero().flatten().tolist() == [50, 77]


def test_missing_shapes_stop_a_loader_before_its_first_batch(dataset: Dataset, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(FineSpotError, match=r"the shapes of .*0\.png are missing; finespot data shapes DATA"):
        loader(dataset, shapes=tmp_path)
    other = Dataset.__new__(Dataset)
    other.__dict__.update(dataset.__dict__)
    other._rows = replace(dataset.rows, boxes=dataset.rows.boxes * np.float32(0.5))
    with pytest.raises(FineSpotError, match="other boxes or classes"):
        loader(other, shapes=folder / "out")


@pytest.mark.parametrize("workers", [0, 1])
def test_shapes_that_break_during_training(tmp_path: Path, workers: int) -> None:
    dataset = white_set(tmp_path / "pictures", many(2))
    segment = White()
    make_shapes(plan_shapes(dataset, tmp_path / "out", segment.name), segment)
    shaped = loader(dataset, shapes=tmp_path / "out", workers=workers)
    place(tmp_path / "out", dataset, 1).write_bytes(b"")
    with pytest.raises(FineSpotError, match="the shape file is broken"):
        list(shaped.epoch(0, OFF))


def test_the_loader_says_what_the_shapes_are(dataset: Dataset, folder: Path) -> None:
    notes = loader(dataset, shapes=folder / "out").notes
    assert notes == [f"shapes: 18 objects in {folder / 'out'} (made by white)"]
