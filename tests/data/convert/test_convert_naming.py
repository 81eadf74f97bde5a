"""Names of pictures that come from several folders into one."""

from __future__ import annotations

import os
import unicodedata

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_format import Bare, Plain

from finespot.data import Dataset
from finespot.data.convert.naming import file_names
from finespot.data.dataset import Rows
from finespot.structures import Classes, Window


def dataset(split: str, paths: list[str], windows: list[Window | None] | None = None) -> Dataset:
    none = np.zeros(0, np.int64)
    rows = Rows(np.zeros(len(paths) + 1, np.int64), np.zeros((0, 4), np.float32), none, none > 0, none * 1.0, none)
    return Dataset(
        name="set", split=split, classes=Classes(("a",)), paths=paths, sizes=[(9, 9)] * len(paths),
        image_ids=list(range(len(paths))), rows=rows, windows=windows,
    )  # fmt: skip


def named(paths: list[str], windows: list[Window | None] | None = None, anew: bool = False) -> list[str]:
    names, _ = file_names(Plain(), [dataset("train", paths, windows)], [[anew] * len(paths)])
    return list(names[0])


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["/d/a.jpg", "/d/b.JPG"], ["a.jpg", "b.JPG"]),
        (["/d/x/a.jpg", "/d/y/b.jpg"], ["a.jpg", "b.jpg"]),
        (["/d/x/a.jpg", "/d/y/a.jpg", "/d/y/b.jpg"], ["x_a.jpg", "y_a.jpg", "y_b.jpg"]),
        (["/d/s1/img1/0001.jpg", "/d/s2/img1/0001.jpg"], ["s1_img1_0001.jpg", "s2_img1_0001.jpg"]),
        (["/d/a.jpg", "/d/x/a.jpg"], ["a.jpg", "x_a.jpg"]),
        (["/d/a.jpg", "/d/a.png"], ["a.jpg", "a_2.png"]),
        (["/d/a.jpg", "/d/A.jpg"], ["a_2.jpg", "A.jpg"]),
        (["/d/x/y_a.jpg", "/d/x_y/a.jpg", "/d/x/a.jpg"], ["x_y_a.jpg", "x_y_a_2.jpg", "x_a.jpg"]),
        (["/d/a.jpg", "/d/a.png", "/d/a_2.png"], ["a.jpg", "a_2.png", "a_2_2.png"]),
        (["/d/é.jpg", f"/d/{unicodedata.normalize('NFD', 'é')}.png"], ["é_2.jpg", "é.png"]),
    ],
)
def test_names(paths: list[str], names: list[str]) -> None:
    assert list(map(unicode, named(paths))) == list(map(unicode, names))


def unicode(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def test_what_is_encoded_anew_is_jpeg_or_png() -> None:
    assert named(["/d/a.JPG", "/d/b.tif", "/d/c.png"], anew=True) == ["a.JPG", "b.png", "c.png"]
    windows: list[Window | None] = [(0, 0, 5, 5), (4, 0, 9, 5), None]
    assert named(["/d/a.bmp", "/d/a.bmp", "/d/b.bmp"], windows, True) == ["a_0_0.png", "a_4_0.png", "b.png"]


def test_splits_that_share_a_folder() -> None:
    parts = [dataset("train", ["/d/train/a.jpg", "/d/train/b.jpg"]), dataset("val", ["/d/val/a.jpg"])]
    names, renamed = file_names(Bare(), parts, [[False] * 2, [False]])
    assert names == [("train_a.jpg", "train_b.jpg"), ("val_a.jpg",)]
    assert renamed["pictures/val_a.jpg"] == "/d/val/a.jpg"
    names, renamed = file_names(Plain(), parts, [[False] * 2, [False]])
    assert names == [("a.jpg", "b.jpg"), ("a.jpg",)]
    assert renamed == {}


PARTS = st.sampled_from(["a", "A", "b", "a_b", "a_2", "_", "1"])


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(PARTS, PARTS, PARTS, st.sampled_from([".jpg", ".png"])), min_size=1, max_size=20, unique=True)
)
def test_no_two_names_share_a_label_file(parts: list[tuple[str, str, str, str]]) -> None:
    names = named([f"/d/{one}/{two}/{stem}{extension}" for one, two, stem, extension in parts])
    stems = [os.path.splitext(name)[0].casefold() for name in names]
    assert len(set(stems)) == len(stems)
    assert not any("/" in name for name in names)
