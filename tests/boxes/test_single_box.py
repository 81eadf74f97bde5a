"""Every suppression on as few boxes as there can be."""

from __future__ import annotations

import pytest

from finespot import registry
from finespot.boxes import suppressor


@pytest.mark.parametrize("name", registry.names("nms"))
def test_a_box_without_others_stays(name: str) -> None:
    for boxes in ([[3.0, 4, 9, 8]], [[3.0, 4, 9, 8], [5000, 5000, 5009, 5008]]):
        kept = suppressor(name)(boxes, [0.9, 0.2][: len(boxes)], [0, 1][: len(boxes)], threshold=0.5)
        assert kept.boxes.tolist() == boxes
        assert kept.labels.tolist() == [0, 1][: len(boxes)]
    assert len(suppressor(name)([], [], [], threshold=0.5).boxes) == 0
