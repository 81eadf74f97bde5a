"""The commands of docs/systems/*.md are understood, and do what the pages say."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from cli_factory import Run

PAGES = {page.stem: page.read_text() for page in (Path(__file__).parents[2] / "docs" / "systems").glob("*.md")}
BLOCKS = {name: "".join(re.findall(r"^```\n(.*?)^```$", text, re.M | re.S)) for name, text in PAGES.items()}
# One line each, also where a page breaks it.
COMMANDS = [
    pytest.param(name, command, id=f"{name}: {command}")
    for name, text in BLOCKS.items()
    for command in re.findall(r"^finespot (.*?)(?:\s+#.*)?$", text.replace("\\\n", " "), re.M)
]
TRAINING = [one for one in COMMANDS if one.values[1].startswith("train ")]


def test_every_page_has_commands() -> None:
    assert (
        {one.values[0] for one in TRAINING}
        == PAGES.keys()
        == {
            "esod",
            "lrs-detr",
            "sarl-sal",
            "yolo-sod",
            "yolo11-ass",
        }
    )


@pytest.mark.parametrize(("page", "command"), TRAINING)
def test_training(page: str, command: str, run: Run) -> None:
    words = shlex.split(command)
    code, said, wrong = run(*words, "--show-recipe")
    assert (code, wrong) == (0, "")
    if words[1] != "--recipe":
        assert re.search(rf"^model: '?{words[1]}'? ", said, re.M)
    if "swin=false" in command:
        assert "{swin: false}" in said
    if "--curriculum" in words:
        assert re.search(r"^curriculum:.*\n +name: hcp-400$", said, re.M)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "parameters"),
    [
        ("info yolo-sod-published --classes 10", "13,570,780, fused 13,558,588"),
        ("info yolo11n-ass --classes 3", "1,942,204, fused 2,123,684"),
        ("info lrs-detr-b --classes 10", "15,814,498, fused 15,602,082"),
    ],
)
def test_cost(command: str, parameters: str, run: Run) -> None:
    assert command in [one.values[1] for one in COMMANDS]
    code, said, _ = run(*shlex.split(command))
    assert code == 0
    assert f"parameters: {parameters}" in said
