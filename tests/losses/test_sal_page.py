"""The page on SARL and SAL: its weights are those of the loss, its commands are understood."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import torch

import finespot.cli
from finespot import zoo
from finespot.losses import ScaleAdaptive
from finespot.studies import study_names

PAGE = (Path(__file__).parents[2] / "docs" / "systems" / "sarl-sal.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^finespot train .*$", PAGE, re.MULTILINE)


def row(start: str) -> list[float]:
    line = next(line for line in PAGE.splitlines() if line.startswith(start))
    return [float(cell) for cell in line.split("|")[2:-1]]


@pytest.mark.parametrize("scale", ["area", "sqrt", "log"])
def test_weights_by_size(scale: str) -> None:
    boxes = torch.tensor([[0.0, 0, side, side] for side in row("| side in px")])
    loss = ScaleAdaptive(beta=1, scale=scale, range="fixed", low=4, high=4096)  # type: ignore[arg-type]
    assert row(f"| `scale={scale}`") == [round(weight, 4) for weight in loss.weights(boxes).tolist()]


@pytest.mark.slow
def test_parameters_of_the_hosts() -> None:
    lines = re.findall(r"^\| ((?:yolo[\w-]+(?:, )?)+) \| [\d, ]+ \| ([\d,]+) \|$", PAGE, re.MULTILINE)
    assert len(lines) == 5
    for names, parameters in lines:
        for name in names.split(", "):
            with torch.device("meta"):
                relay = zoo.build(zoo.architecture(name, 2, relay="sarl")).relay
            assert sum(p.numel() for p in relay.parameters()) == int(parameters.replace(",", "")), name


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_are_understood(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = shlex.split(command, comments=True)[1:]
    with pytest.raises(SystemExit) as stop:
        finespot.cli.main([*words, "--show-recipe"])
    assert not stop.value.code
    shown = capsys.readouterr().out
    assert re.search(r"relay: '?sarl|box_loss: '?sal", shown)


def test_the_page_names_its_studies() -> None:
    assert len(COMMANDS) > 3
    assert {"sarl-yolox", "sarl-yolov5"} <= set(study_names())
    assert "`sarl-yolox` and `sarl-yolov5`" in PAGE
