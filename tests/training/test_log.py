"""What a person sees while a run goes on."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from finespot.training.log import Log


def log(terminal: bool) -> Log:
    return Log(console=Console(file=io.StringIO(), force_terminal=terminal, width=100, _environ={"TERM": "xterm"}))


def written(one: Log) -> str:
    return str(one.console.file.getvalue())  # type: ignore[attr-defined]


@pytest.mark.parametrize("terminal", [True, False])
def test_validation_has_a_bar_in_a_terminal(terminal: bool) -> None:
    one = log(terminal)
    with one.validation(7) as progress:
        progress(7, 7)
    assert ("validation" in written(one), "7/7" in written(one)) == (terminal, terminal)


@pytest.mark.parametrize("terminal", [True, False])
def test_an_epoch_has_a_bar_in_a_terminal(terminal: bool) -> None:
    one = log(terminal)
    with one.epoch(1, 5, 3) as bar:
        bar.step("box 1.5" if bar.due else None)
        bar.step()
    assert ("epoch 2/5" in written(one), "box 1.5" in written(one)) == (terminal, terminal)


def test_a_note_is_said_once() -> None:
    one = log(False)
    one.note("[so]")
    one.note("[so]")
    assert written(one) == "[so]\n"
