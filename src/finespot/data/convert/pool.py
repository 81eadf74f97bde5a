"""Pictures with their truth in columns: what data sets are joined to and cut from."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from finespot.data.builder import counted
from finespot.data.dataset import Dataset, Rows
from finespot.structures import ANY_CLASS, Classes, Size, Window

T = TypeVar("T")
Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Pool:
    """The pictures of a data set, or of several, in their order; entry i of each column is picture i's."""

    classes: Classes
    paths: Sequence[str]
    sizes: Sequence[Size]
    image_ids: Sequence[int | str]
    groups: Sequence[str]
    windows: Sequence[Window | None]
    rows: Rows

    @classmethod
    def of(cls, dataset: Dataset) -> Pool:
        """All of a data set."""
        every = range(len(dataset))
        return cls(
            dataset.classes,
            [dataset.path(i) for i in every],
            [dataset.size(i) for i in every],
            [dataset.image_id(i) for i in every],
            [dataset.group(i) for i in every],
            [dataset.window(i) for i in every],
            dataset.rows,
        )

    def __len__(self) -> int:
        return len(self.paths)

    def dataset(self, name: str, split: str) -> Dataset:
        """The same as a split of a data set."""
        return Dataset(
            name=name,
            split=split,
            classes=self.classes,
            paths=self.paths,
            sizes=self.sizes,
            image_ids=self.image_ids,
            rows=self.rows,
            groups=self.groups,
            windows=self.windows if any(self.windows) else None,
        )

    def picture_of_rows(self) -> Indices:
        """For each annotation the picture it belongs to."""
        return np.repeat(np.arange(len(self)), np.diff(self.rows.starts))

    def select(self, pictures: Sequence[int]) -> Pool:
        """Only these pictures, in this order."""
        starts = self.rows.starts
        chosen = np.concatenate([np.zeros(0, np.int64), *(np.arange(starts[p], starts[p + 1]) for p in pictures)])
        counts = [int(starts[p + 1] - starts[p]) for p in pictures]

        def pick(column: Sequence[T]) -> list[T]:
            return [column[p] for p in pictures]

        return Pool(
            self.classes,
            pick(self.paths),
            pick(self.sizes),
            pick(self.image_ids),
            pick(self.groups),
            pick(self.windows),
            _rows(np.cumsum([0, *counts], dtype=np.int64), self.rows, lambda column: column[chosen]),
        )

    def keep(self, rows: NDArray[np.bool_]) -> Pool:
        """Only the annotations that the mask names; all pictures stay."""
        counts = np.bincount(self.picture_of_rows()[rows], minlength=len(self))
        starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        return replace(self, rows=_rows(starts, self.rows, lambda column: column[rows]))

    def relabel(self, table: Sequence[int], classes: Classes) -> Pool:
        """Label k becomes `table[k]`; -1 makes the annotation an ignore region without a class."""
        labels = np.concatenate([np.asarray(table, np.int64), [ANY_CLASS]])[self.rows.labels]
        rows = replace(self.rows, labels=labels, ignore=self.rows.ignore | (labels == ANY_CLASS))
        return replace(self, classes=classes, rows=rows)


def join(pools: Sequence[Pool]) -> Pool:
    """The pictures of several pools of the same classes, one pool after the other.

    Ids stay where they are unique; else pictures, or annotations, are numbered anew from 1.
    """
    if len(pools) == 1:
        return pools[0]
    names = sorted({name for pool in pools for name in pool.rows.attributes})
    sizes = [len(pool.rows.labels) for pool in pools]
    attributes = {
        name: np.concatenate(
            [pool.rows.attributes.get(name, np.zeros(size, np.int64)) for pool, size in zip(pools, sizes)]
        )
        for name in names
    }
    counts = np.concatenate([np.diff(pool.rows.starts) for pool in pools])
    ids = np.concatenate([pool.rows.ids for pool in pools])
    rows = Rows(
        starts=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        boxes=np.concatenate([pool.rows.boxes for pool in pools]),
        labels=np.concatenate([pool.rows.labels for pool in pools]),
        ignore=np.concatenate([pool.rows.ignore for pool in pools]),
        area=np.concatenate([pool.rows.area for pool in pools]),
        ids=ids if len(np.unique(ids)) == len(ids) else np.arange(1, len(ids) + 1),
        attributes=attributes,
    )
    image_ids = [one for pool in pools for one in pool.image_ids]
    unique = len(set(image_ids)) == len(image_ids) and len({type(one) for one in image_ids}) <= 1
    return Pool(
        pools[0].classes,
        [one for pool in pools for one in pool.paths],
        [one for pool in pools for one in pool.sizes],
        image_ids if unique else list(range(1, len(image_ids) + 1)),
        [one for pool in pools for one in pool.groups],
        [one for pool in pools for one in pool.windows],
        rows,
    )


def _rows(starts: Indices, rows: Rows, pick: Callable[[NDArray[Any]], NDArray[Any]]) -> Rows:
    return Rows(
        starts=starts,
        boxes=pick(rows.boxes),
        labels=pick(rows.labels),
        ignore=pick(rows.ignore),
        area=pick(rows.area),
        ids=pick(rows.ids),
        attributes={name: pick(column) for name, column in rows.attributes.items()},
    )


def distinct(pool: Pool) -> tuple[Pool, list[str]]:
    """Each picture once, as it came first; and what to say of the others.

    The same file counts as one picture wherever links lead to it.
    """
    first: dict[tuple[str, Window | None], int] = {}
    twice = other = 0
    for index, (path, window) in enumerate(zip(pool.paths, pool.windows)):
        earlier = first.setdefault((os.path.realpath(path), window), index)
        twice += earlier != index
        other += earlier != index and not _same_truth(pool, earlier, index)
    if not twice:
        return pool, []
    notes = [f"{counted(twice, '1 picture was', 'pictures were')} there more than once and taken once"]
    if other:
        notes.append(f"{counted(other, '1 of them has', 'of them have')} other labels there; those met first count")
    return pool.select(sorted(first.values())), notes


def _same_truth(pool: Pool, first: int, second: int) -> bool:
    one, two = (slice(int(pool.rows.starts[index]), int(pool.rows.starts[index + 1])) for index in (first, second))
    return all(
        np.array_equal(column[one], column[two]) for column in (pool.rows.boxes, pool.rows.labels, pool.rows.ignore)
    )
