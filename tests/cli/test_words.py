from __future__ import annotations

import subprocess
import sys
from typing import Annotated

import pytest
import typer
from typer.main import get_command

import finespot.cli
from finespot.cli.words import expand, run
from finespot.errors import FineSpotError


def toy(
    source: Annotated[str, typer.Argument(help="where")],
    max_det: Annotated[int, typer.Option("--max-det", help="most")] = 3,
    save_txt: Annotated[bool, typer.Option("--save-txt", help="write")] = False,
    draw: Annotated[bool, typer.Option("--draw/--no-draw", help="draw")] = True,
) -> int:
    """Do nothing."""
    return max_det + 10 * save_txt + 100 * (not draw)


def params(function: object) -> list[object]:
    app = typer.Typer()
    app.command()(function)  # type: ignore[type-var]
    return list(get_command(app).params)


@pytest.mark.parametrize(
    ("words", "expanded"),
    [
        (["a.jpg", "max_det=5"], ["a.jpg", "--max-det", "5"]),
        (["max-det=5"], ["--max-det", "5"]),
        (["--max-det", "a=5"], ["--max-det", "a=5"]),
        (["--save-txt", "max_det=5"], ["--save-txt", "--max-det", "5"]),
        (["save_txt=true"], ["--save-txt"]),
        (["save_txt=False"], []),
        (["draw=false"], ["--no-draw"]),
        (["draw=yes"], ["--draw"]),
        (["x/y=z.jpg"], ["x/y=z.jpg"]),
    ],
)
def test_expand(words: list[str], expanded: list[str]) -> None:
    assert expand(words, params(toy), "toy") == expanded


def test_expand_offers_the_nearest_option() -> None:
    with pytest.raises(FineSpotError, match="unknown option of 'toy' 'maxdet'; did you mean max-det"):
        expand(["maxdet=4"], params(toy), "toy")


def test_expand_takes_only_true_or_false_for_a_flag() -> None:
    with pytest.raises(FineSpotError, match="save_txt: expected true or false but got 'maybe'"):
        expand(["save_txt=maybe"], params(toy), "toy")


def test_run_returns_the_code() -> None:
    assert run("toy", toy, ["a", "--max-det", "4"], "toy a") == 4
    assert run("toy", toy, ["a", "save_txt=yes"], "toy a") == 13
    assert run("toy", toy, ["a", "draw=no"], "toy a") == 103
    assert run("toy", toy, ["a", "--nothing"], "toy a") == 2
    assert run("toy", toy, ["--help"], "toy a") == 0


def test_overview_names_every_verb() -> None:
    for verb in finespot.cli.VERBS:
        assert f"\n  {verb} " in finespot.cli.overview()


@pytest.mark.parametrize(("words", "code"), [([], 0), (["--help"], 0), (["--version"], 0), (["trian"], 2)])
def test_exit_codes(words: list[str], code: int, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        finespot.cli.main(words)
    assert stop.value.code == code
    if code == 2:
        assert "did you mean train" in capsys.readouterr().err


@pytest.mark.slow
def test_every_verb_has_help_that_loads_no_torch() -> None:
    code = (
        "import sys, finespot.cli\n"
        "for verb in finespot.cli.VERBS:\n"
        "    try: finespot.cli.main([*verb.split(), '--help'])\n"
        "    except SystemExit as stop: assert stop.code == 0\n"
        "    assert not {'torch', 'numpy'} & set(sys.modules), verb\n"
        "    print('end of', verb)"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    for verb, made in finespot.cli.VERBS.items():
        told, printed = printed.split(f"end of {verb}\n")
        assert made.example.split()[1] in told


def test_interrupt_and_debug(monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(words: list[str]) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(finespot.cli, "_dispatch", stop)
    with pytest.raises(SystemExit) as left:
        finespot.cli.main(["train"])
    assert left.value.code == 130
    monkeypatch.undo()
    with pytest.raises(FineSpotError):
        finespot.cli.main(["trian", "--debug"])


def test_train_says_loss_assigner_and_suppression_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["train", "yolo11n", "--box-loss", "ciou*0.5+nwd*0.5", "--assigner", "atss(topk=5)", "--nms", "soft"]
    with pytest.raises(SystemExit) as stop:
        finespot.cli.main([*words, "--show-recipe"])
    assert stop.value.code == 0
    shown = capsys.readouterr().out
    for line in ("box_loss: ciou*0.5+nwd*0.5", "assigner: atss(topk=5)", "nms: soft"):
        assert line in shown


def test_train_exchanges_parts_by_name(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["train", "yolov5s", "--relay", "sarl(reduction=8)", "--neck", "fpn", "backbone=timm(name=resnet18)"]
    with pytest.raises(SystemExit) as stop:
        finespot.cli.main([*words, "--head", "anchor_free", "--show-recipe"])
    assert not stop.value.code
    shown = capsys.readouterr().out
    options = next(line for line in shown.splitlines() if line.startswith("options:"))
    for chosen in ("backbone: timm(name=resnet18)", "head: anchor_free", "neck: fpn", "relay: sarl(reduction=8)"):
        assert chosen in options
    with pytest.raises(SystemExit):
        finespot.cli.main(["train", "yolov5s", "--relay", "sarl", "options.relay=other", "--show-recipe"])
    assert "options.relay: is given twice: sarl and other" in capsys.readouterr().err
