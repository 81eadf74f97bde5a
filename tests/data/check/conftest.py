"""The fixtures of this folder's tests."""

from __future__ import annotations

from pathlib import Path

import pytest
from check_factory import CocoSet, YoloSet


@pytest.fixture
def yolo(tmp_path: Path) -> YoloSet:
    return YoloSet(tmp_path / "yolo")


@pytest.fixture
def coco(tmp_path: Path) -> CocoSet:
    return CocoSet(tmp_path / "coco")
