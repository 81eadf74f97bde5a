"""What is printed: class names and help texts as they are, numbers whole; interrupts, closed pipes, ASCII."""

from __future__ import annotations

import inspect
import os
import re
import signal
import subprocess
from importlib import import_module
from pathlib import Path
from typing import get_type_hints

import pytest
from cli_factory import STRANGE, Run, process
from rich.console import Console

import finespot.cli
from finespot import weights
from finespot.cli.predict import Tally
from finespot.structures import Classes


@pytest.mark.slow
def test_class_names_are_no_markup(
    run: Run, tiny: Path, dataset: Path, files: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    truth, found = files
    for words in (
        ["predict", tiny, dataset / "images", "--project", tmp_path],
        ["val", tiny, "--data", f"coco:{dataset}", "--project", tmp_path, "--no-plots"],
        ["score", "--gt", truth, "--dt", found],
    ):
        code, out, _ = run(*words)
        assert code == 0
        for name in STRANGE:
            assert re.search(rf"^{re.escape(name)} +\d", out, re.MULTILINE)
    monkeypatch.setattr(weights, "bundled", lambda: ["tiny"])
    monkeypatch.setattr(weights, "resolve", lambda name: tiny)
    assert ", ".join(STRANGE) in run("models")[1]


@pytest.mark.slow
def test_help_texts_lose_nothing_to_markup(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """What stands in square brackets would be taken for a style and vanish."""
    monkeypatch.setenv("COLUMNS", "200")
    for verb in finespot.cli.VERBS:
        code, out, _ = run(*verb.split(), "--help")
        assert code == 0
        written = " ".join(out.split())
        for text in help_texts(verb):
            assert " ".join(text.split()) in written
            assert "[" not in text
    assert "(default: the weights' own)" in " ".join(help_texts("predict"))


def help_texts(verb: str) -> list[str]:
    function = import_module(finespot.cli.module_of(verb)).command
    hints = get_type_hints(function, include_extras=True)
    return [hints[name].__metadata__[0].help for name in inspect.signature(function).parameters if name in hints]


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="needs POSIX signals")
@pytest.mark.parametrize("verb", ["predict", "val"])
def test_an_interrupt_is_said(verb: str, tiny: Path, dataset: Path, tmp_path: Path) -> None:
    """The command interrupts itself, as Ctrl-C does, while it works."""
    code = (
        "import os, signal, sys, finespot.cli\n"
        "from finespot.runtimes import Session\n"
        "Session.__call__ = lambda *args: os.kill(os.getpid(), signal.SIGINT)\n"
        "finespot.cli.main(sys.argv[1:])"
    )
    rest = [dataset / "images"] if verb == "predict" else ["--data", f"coco:{dataset}"]
    done = process(verb, tiny, *rest, "--project", tmp_path / "runs", code=code, capture_output=True, text=True)
    assert done.returncode == 128 + signal.SIGINT
    assert done.stderr == "interrupted\n"


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="needs POSIX pipes")
@pytest.mark.parametrize("words", [["--help"], ["models"], ["score", "--help"]])
def test_a_closed_pipe_gives_no_traceback(words: list[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as out:
        done = process(*words, stdout=out, stderr=subprocess.PIPE)
    assert done.stderr == b""
    assert done.returncode == 1


@pytest.mark.slow
@pytest.mark.parametrize("change", [{"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "POSIX", "PYTHONUTF8": "0"}])
def test_ascii_output_gives_no_traceback(files: tuple[Path, Path], change: dict[str, str]) -> None:
    truth, found = files
    truth.write_text(truth.read_text().replace(STRANGE[1], "\u8eca"), encoding="utf-8")
    environment = {**os.environ, "PYTHONCOERCECLOCALE": "0", **change}
    done = process("score", "--gt", truth, "--dt", found, capture_output=True, env=environment)
    assert done.returncode == 0
    assert done.stderr == b""
    assert rb"\u8eca" in done.stdout


def test_the_tally_keeps_its_numbers_in_a_narrow_terminal() -> None:
    tally = Tally(Classes(("x" * 100,)))
    console = Console(width=40, force_terminal=True, color_system=None)
    with console.capture() as said:
        console.print(tally.table())
    assert "x" * 8 in said.get()
    assert "…" not in said.get()
