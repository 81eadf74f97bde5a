"""Repeat factors: the formula, epochs of equal length that lose no picture, and a loader that follows them."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from data_factory import MakeYolo
from hypothesis import given
from hypothesis import strategies as st
from loader_factory import loader
from memory_factory import made

from finespot.data import Augment, Dataset, open_dataset
from finespot.data.augment.compose import Composer
from finespot.data.repeats import Repeats

BOX = (10.0, 10.0, 30.0, 30.0)
COMMON, RARE = (BOX, 0, False), (BOX, 1, False)
# Ten pictures, one of which shows a second class; the last shows an ignore region of it, which does not count.
TEN = [((50, 50), [COMMON])] * 3 + [((50, 50), [COMMON, RARE])] + [((50, 50), [COMMON])] * 5
PICTURES = made([*TEN, ((50, 50), [(BOX, 1, True)])])


def test_factors_of_the_paper() -> None:
    repeats = Repeats(PICTURES, 0.9, 0)
    assert repeats.factors == pytest.approx([1, 1, 1, 3, 1, 1, 1, 1, 1, 1])  # sqrt(0.9 / 0.1)
    assert len(repeats) == 12
    assert repeats.notes() == ["repeat_rare: 12 pictures an epoch from 10 (car 3.0x)"]
    everywhere = Repeats(PICTURES, 0.05, 0)
    assert everywhere.factors.tolist() == [1] * 10
    assert "no class is in less than the share 0.05 of them" in everywhere.notes()[0]


@given(st.floats(0.1, 1), st.integers(0, 50), st.integers(0, 3))
def test_each_picture_comes_as_often_as_its_factor(threshold: float, epoch: int, seed: int) -> None:
    repeats = Repeats(PICTURES, threshold, seed)
    drawn = [repeats.picture(epoch, number) for number in range(len(repeats))]
    assert drawn == sorted(drawn)
    # An epoch has a whole number of pictures, which the factors are stretched or shrunk to.
    expected = repeats.factors * len(repeats) / repeats.factors.sum()
    counts = np.bincount(drawn, minlength=10)
    assert (counts >= np.floor(expected - 1e-9)).all()
    assert (counts <= np.ceil(expected + 1e-9)).all()


def test_partners_are_drawn_by_the_factors() -> None:
    drawn = Counter(Repeats(PICTURES, 0.9, 0).partners(np.random.default_rng(0), 12_000))
    assert drawn[3] == pytest.approx(3000, abs=150)
    assert all(drawn[other] == pytest.approx(1000, abs=100) for other in range(10) if other != 3)


@pytest.fixture
def dataset(make_yolo: MakeYolo) -> Dataset:
    """Six pictures, the last one of a rare class."""
    return open_dataset(
        make_yolo({**dict.fromkeys("abcde", "0 0.5 0.5 0.2 0.2\n"), "f": "1 0.3 0.3 0.2 0.2\n"}), "train"
    )


def test_the_loader_repeats(dataset: Dataset) -> None:
    plain, rare = loader(dataset, batch=4), loader(dataset, batch=4, repeat_rare=2 / 3, workers=1)
    assert (len(plain), len(rare)) == (2, 2)
    orders = []
    for epoch in range(2):
        batches = list(rare.epoch(epoch, Augment(mosaic=0, translate=0.4)))
        orders.append([index for batch in batches for index in batch.indices])
        assert Counter(orders[-1]) == Counter({0: 1, 1: 1, 2: 1, 3: 1, 4: 1, 5: 2})
        again = [image for batch in batches for index, image in zip(batch.indices, batch.images) if index == 5]
        assert not again[0].equal(again[1]), "a picture that comes again is augmented anew"
    assert orders[0] != orders[1]


@pytest.mark.parametrize("augment", [Augment(), Augment(mosaic=0, mixup=1), Augment(mosaic=0, copy_paste=1)])
def test_what_is_joined_comes_from_the_partners(
    dataset: Dataset, augment: Augment, monkeypatch: pytest.MonkeyPatch
) -> None:
    used: list[int] = []
    part = Composer._part

    def watched(self: Composer, index: int, matrix: np.ndarray) -> object:
        used.append(index)
        return part(self, index, matrix)

    monkeypatch.setattr(Composer, "_part", watched)
    monkeypatch.setattr(Repeats, "partners", lambda self, rng, count: [5] * count)
    list(loader(dataset, batch=8, repeat_rare=0.5).epoch(0, augment))
    assert set(used) == set(range(6))
    assert Counter(used)[5] >= 6
    assert max(count for index, count in Counter(used).items() if index != 5) == 1
