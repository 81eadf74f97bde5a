"""The record of what a run was made with."""

from __future__ import annotations

from pathlib import Path

import pytest

from finespot.errors import FineSpotError
from finespot.training.environment import resume_environment, write_environment

NOW = {"threads": 1, "device": "cpu", "processes": 1, "precision": "32-true", "versions": {"torch": "2"}}


def test_what_differs_is_said(tmp_path: Path) -> None:
    path = tmp_path / "environment.json"
    write_environment(path, NOW)
    assert resume_environment(path, NOW) == []
    assert resume_environment(path, {**NOW, "threads": 2, "versions": {"torch": "3"}}) == [
        "threads was 1, is 2",
        "torch was 2, is 3",
    ]


@pytest.mark.parametrize("content", [b"{", b"[]", b"\xff", b'{"versions": 3}', b'{"resumed": 3}'])
def test_a_damaged_file_is_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "environment.json"
    path.write_bytes(content)
    with pytest.raises(FineSpotError, match=r"environment.json.*remove it to go on without it") as caught:
        resume_environment(path, NOW)
    assert "\n" not in str(caught.value)
