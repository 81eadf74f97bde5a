"""Pictures in columns: chosen, joined and relabelled as one picture at a time would be."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_format import make_plain, row

from finespot.data import Dataset, open_dataset
from finespot.data.convert.pool import Pool, join
from finespot.structures import Annotations, Classes

ROWS = st.lists(
    st.tuples(st.integers(0, 49), st.integers(0, 29), st.integers(1, 9), st.integers(-1, 1), st.booleans()), max_size=5
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_plain(tmp_path_factory.mktemp("pool"), {"a": {f"{number}.png": [] for number in range(4)}})


def write(folder: Path, pictures: list[list[tuple[int, int, int, int, bool]]]) -> Dataset:
    content = json.loads((folder / "a.json").read_text())
    content["pictures"] = [
        {
            "name": f"{number}.png",
            "rows": [
                row(x, y, x + side, y + side, label, ignore=ignore or label < 0, attributes={"occlusion": side})
                for x, y, side, label, ignore in rows
            ],
        }
        for number, rows in enumerate(pictures)
    ]
    (folder / "a.json").write_text(json.dumps(content))
    return open_dataset(f"plain_format:Plain:{folder}", "a")


def same(one: Annotations, other: Annotations) -> None:
    for column in ("boxes", "labels", "ignore", "area"):
        np.testing.assert_array_equal(getattr(one, column), getattr(other, column))
    np.testing.assert_array_equal(one.attributes.get("occlusion", []), other.attributes.get("occlusion", []))


@pytest.mark.slow
@settings(max_examples=50, deadline=None)
@given(
    pictures=st.lists(ROWS, min_size=4, max_size=4),
    order=st.lists(st.integers(0, 3), max_size=6),
    table=st.lists(st.integers(-1, 2), min_size=2, max_size=2),
    data=st.data(),
)
def test_columns_are_pictures(
    folder: Path, pictures: list, order: list[int], table: list[int], data: st.DataObject
) -> None:
    source = write(folder, pictures)
    pool = Pool.of(source)
    keep = np.array(
        data.draw(st.lists(st.booleans(), min_size=len(pool.rows.labels), max_size=len(pool.rows.labels))), bool
    )
    starts = pool.rows.starts
    kept = pool.keep(keep).dataset("x", "y")
    for index in range(4):
        same(kept.annotations(index), source.annotations(index).select(keep[starts[index] : starts[index + 1]]))
    chosen = pool.select(order).dataset("x", "y")
    assert [chosen.path(i) for i in range(len(chosen))] == [source.path(i) for i in order]
    for place, index in enumerate(order):
        same(chosen.annotations(place), source.annotations(index))
    classes = Classes(("p", "q", "r"))
    relabelled = pool.relabel(table, classes).dataset("x", "y")
    for index in range(4):
        had, has = source.annotations(index), relabelled.annotations(index)
        assert has.labels.tolist() == [table[label] if label >= 0 else -1 for label in had.labels.tolist()]
        assert has.ignore.tolist() == [
            flag or label < 0 for flag, label in zip(had.ignore.tolist(), has.labels.tolist())
        ]
    both = join([pool.select(order), pool]).dataset("x", "y")
    for place, index in enumerate([*order, 0, 1, 2, 3]):
        same(both.annotations(place), source.annotations(index))


def test_ids_stay_where_they_are_unique(folder: Path) -> None:
    source = Pool.of(write(folder, [[(1, 1, 5, 0, False)]] * 4))
    first, second = source.select([0, 1]), source.select([2, 3])
    assert list(join([first, second]).image_ids) == [0, 1, 2, 3]
    assert join([second, first]).rows.ids.tolist() == [3, 4, 1, 2]
    assert list(join([first, first]).image_ids) == [1, 2, 3, 4]
    assert join([first, first]).rows.ids.tolist() == [1, 2, 3, 4]
    renamed = Pool(**{**vars(second), "image_ids": ["a", "b"]})
    assert list(join([first, renamed]).image_ids) == [1, 2, 3, 4], "numbers and texts are not mixed"


def test_attributes_that_only_one_has_are_zero_in_the_other(tmp_path: Path) -> None:
    source = make_plain(
        tmp_path, {"a": {"a.png": [row(1, 1, 5, 5, attributes={"crowd": 1})]}, "b": {"b.png": [row(1, 1, 6, 6)]}}
    )
    one, two = (Pool.of(open_dataset(f"plain_format:Plain:{source}", split)) for split in "ab")
    assert join([two, one]).rows.attributes["crowd"].tolist() == [0, 1]
