"""AP of the common classes in the comparisons of large pictures: a mean where there are any, else nothing."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from finespot.data import open_dataset
from finespot.structures import Classes

ROOT = Path(__file__).parents[2]


@pytest.fixture
def scored(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))
    from benchmarks.highres import scored as module

    return module


@pytest.mark.parametrize(
    ("counts", "mean"), [((20, 30, 19), 0.3), ((20, 0, 0), 0.6), ((0, 50, 50), 0.0), ((19, 19, 19), None)]
)
def test_common_classes(scored, counts: tuple[int, ...], mean: float | None) -> None:
    report = SimpleNamespace(per_class={"a": {"AP": 0.6}, "b": {"AP": 0.0}, "c": {"AP": None}})
    assert scored.common_precision(report, Classes(("a", "b", "c")), counts) == mean


@pytest.mark.slow
def test_few_pictures_have_no_common_class(scored) -> None:
    dataset = open_dataset(f"hit-uav:{ROOT / 'samples' / 'hit-uav'}", "val")
    own = dataset.annotations(0)
    rows = [[*box, 0.9, label] for box, label in zip(own.boxes[~own.ignore], own.labels[~own.ignore])]
    found = scored.average_precision(dataset, [rows], [0])
    assert found["AP"] == pytest.approx(1)
    assert found["AP common"] is None
    assert [*map(scored.told, found.values())] == ["1.0000", "-"]
