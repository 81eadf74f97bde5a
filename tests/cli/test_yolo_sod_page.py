"""The commands of docs/systems/yolo-sod.md do what the page says."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from cli_factory import Run

PAGE = Path(__file__).parent.parent.parent / "docs" / "systems" / "yolo-sod.md"
COMMANDS = re.findall(r"^finespot (.*?)(?:\s+#.*)?$", PAGE.read_text(), re.MULTILINE)


def test_the_page_has_commands() -> None:
    assert len(COMMANDS) == 5


@pytest.mark.parametrize("command", [one for one in COMMANDS if one.startswith("train ")])
def test_training(command: str, run: Run) -> None:
    code, said, wrong = run(*shlex.split(command), "--show-recipe")
    assert (code, wrong) == (0, "")
    assert f"model: yolo-sod{'-published' if 'published' in command else ''} " in said
    assert ("{swin: false}" in said) == ("swin=false" in command)


@pytest.mark.slow
def test_cost(run: Run) -> None:
    (command,) = (one for one in COMMANDS if one.startswith("info "))
    code, said, _ = run(*shlex.split(command))
    assert code == 0
    assert "parameters: 13,570,780, fused 13,558,588" in said
    assert "GFLOPs: 42.258, fused 42.258" in said
