"""Checkpoints of other toolkits to weight files and back, by Python and by the command line."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from finespot import cli, weights, zoo
from finespot.errors import FineSpotError
from finespot.weights.foreign.convert import dump, import_checkpoint
from finespot.weights.foreign.layout import to_file
from finespot.weights.foreign.layouts import LAYOUTS

# One small network of each naming.
SMALL = {
    "ultralytics": "yolo11n",
    "yolov5": "yolov5n",
    "esod": "esod-yolov5s",
    "yolox": "yolox-nano",
    "mmdetection-rtmdet": "rtmdet-tiny",
    "mmyolo-rtmdet": "rtmdet-tiny",
    "rtdetr": "rtdetr-r18",
    "transformers-rtdetr": "rtdetr-r18",
    "transformers4-rtdetr": "rtdetr-r18",
    "torchvision-retinanet": "retinanet-r50",
    "mmdetection-retinanet": "retinanet-r50",
    "gpvit": "gpvit-l1",
}
OPTIONS = {"mmdetection-retinanet": {"form": "mmdetection"}}
HEAVY = ("retinanet", "gpvit", "rtdetr", "esod")
# Families of whose networks nobody has published weights.
WITHOUT_FILES = {"lrs-detr", "yolo-sod", "yolo11-ass"} | {
    family.name for family in zoo.families() if "esod-" in family.name
}


@pytest.fixture
def toolkit(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """A package that exists while files are written and is gone when they are read."""
    module = ModuleType("ultralytics")
    module.Part = type("Part", (nn.Module,), {"__module__": "ultralytics", "__qualname__": "Part"})
    monkeypatch.setitem(sys.modules, "ultralytics", module)
    return module


def network(name: str, classes: int = 3, seed: int = 0, **options: Any) -> zoo.Detector:
    torch.manual_seed(seed)
    detector = zoo.build(zoo.architecture(name, classes, **options))
    for buffer in detector.buffers():
        if buffer.is_floating_point():
            buffer.data += 0.1 * torch.rand_like(buffer)
    return detector.eval()


def foreign_state(detector: zoo.Detector, layout: str) -> dict[str, Tensor]:
    chosen = next(one for one in LAYOUTS if one.name == layout)
    entries = chosen.entries(detector.architecture)
    return {**to_file(detector.network_state(), entries), **chosen.constants(detector.architecture)}


def tree(toolkit: ModuleType, state: dict[str, Tensor]) -> nn.Module:
    """Modules nested as the names of a state dict say."""
    root = toolkit.Part()
    for key, tensor in state.items():
        *path, last = key.split(".")
        part = root
        for name in path:
            if name not in part._modules:
                part.add_module(name, toolkit.Part())
            part = part._modules[name]
        part.register_buffer(last, tensor)
    return root


def same_outputs(a: Any, b: Any, tolerance: float = 0.0) -> bool:
    images = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        one, two = a(images), b(images)
    return all(torch.allclose(one[key], two[key], rtol=0, atol=tolerance) for key in one)


def run(*words: str | Path) -> int:
    with pytest.raises(SystemExit) as ended:
        cli.main([str(word) for word in words])
    return int(ended.value.code or 0)


def test_every_layout_is_tested() -> None:
    assert list(SMALL) == [one.name for one in LAYOUTS]
    readable = {family for one in LAYOUTS for family in one.families}
    assert readable == {family.name for family in zoo.families()} - WITHOUT_FILES


def test_the_page_lists_all_layouts() -> None:
    page = (Path(__file__).parents[2] / "docs" / "import.md").read_text(encoding="utf-8")
    table = page[page.index("| naming") :].split("\n\n")[0].splitlines()[2:]
    named = [name for row in table for name in re.findall(r"`([\w-]+)`", row.split("|")[1])]
    assert named == [one.name for one in LAYOUTS]


@pytest.mark.slow
@pytest.mark.parametrize(
    "layout",
    [pytest.param(name, marks=pytest.mark.slow) if any(word in name for word in HEAVY) else name for name in SMALL],
)
def test_there_and_back(layout: str, tmp_path: Path) -> None:
    detector = network(SMALL[layout], **OPTIONS.get(layout, {}))
    state = foreign_state(detector, layout)
    torch.save({"state_dict": state, "epoch": 3}, tmp_path / "theirs.pth")
    found = import_checkpoint(tmp_path / "theirs.pth")
    assert found.card.architecture.family == detector.architecture.family
    assert found.layout == layout
    chosen = next(one for one in LAYOUTS if one.name == layout)
    assert (found.card.fit, found.card.normalization) == (chosen.fit, chosen.normalization)
    assert same_outputs(detector, found.detector)
    assert found.card.classes.names == ("0", "1", "2")
    assert len(found.mapped) + len(found.unused) == len(state)
    weights.save(tmp_path / "ours.safetensors", found.detector, found.card, half=False)
    back = dump(tmp_path / "ours.safetensors", layout)
    assert list(back) == list(state)
    assert all(torch.equal(back[key], state[key].to(back[key].dtype)) for key in state)


@pytest.mark.slow
def test_a_pickled_network_in_halves(toolkit: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    detector = network("yolov8n")
    module = tree(toolkit, foreign_state(detector, "ultralytics")).half()
    module.names, module.stride = {0: "ant", 1: "bee", 2: "cow"}, torch.tensor([8.0, 16.0, 32.0])
    module.args = {"imgsz": 320, "data": "x.yaml"}
    torch.save({"ema": None, "model": module, "date": "today", "train_args": SimpleNamespace(a=1)}, tmp_path / "a.pt")
    monkeypatch.delitem(sys.modules, "ultralytics")
    found = import_checkpoint(tmp_path / "a.pt")
    assert found.card.classes.names == ("ant", "bee", "cow")
    assert found.card.imgsz == 320
    assert found.card.provenance["layout"] == "ultralytics"
    assert same_outputs(detector, found.detector, 0.05)
    assert {p.dtype for p in found.detector.parameters()} == {torch.float32}
    assert import_checkpoint(tmp_path / "a.pt", names=["x", "y", "z"], imgsz=64).card.imgsz == 64


@pytest.mark.slow
def test_what_does_not_fit_is_said(toolkit: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "a.pt"
    state = foreign_state(network("yolov8n"), "ultralytics")
    torch.save({**state, "model.99.more": torch.zeros(1)}, file)
    assert import_checkpoint(file).unused == ("model.99.more",)
    for options, message in (
        ({"names": ["a"]}, "expected 3 class names but got 1"),
        ({"layout": "yolo"}, "unknown layout 'yolo'"),
        ({"options": {"nek": 1}}, "unknown yolov8 option 'nek'"),
    ):
        with pytest.raises(FineSpotError, match=message) as caught:
            import_checkpoint(file, **options)
        assert str(file) in str(caught.value)
    torch.save({key: value for key, value in state.items() if "model.12" not in key}, file)
    with pytest.raises(FineSpotError, match="those of no network that is known"):
        import_checkpoint(file)
    torch.save({"a": torch.zeros(2), "b": torch.zeros(2)}, file)
    with pytest.raises(FineSpotError, match=r"its 2 tensors \(a, b ...\) are those of no network"):
        import_checkpoint(file)
    module = tree(toolkit, state)
    module.stride = torch.tensor([4.0, 8.0, 16.0])
    torch.save({"model": module}, file)
    monkeypatch.delitem(sys.modules, "ultralytics")
    with pytest.raises(FineSpotError, match=r"stride: expected strides \[8, 16, 32\] but the file says"):
        import_checkpoint(file)


@pytest.mark.slow
def test_names_of_80_classes_are_cocos(tmp_path: Path) -> None:
    torch.save(foreign_state(network("yolov8n", 80), "ultralytics"), tmp_path / "a.pt")
    found = import_checkpoint(tmp_path / "a.pt")
    assert found.card.classes.names[:2] + found.card.classes.names[-1:] == ("person", "bicycle", "toothbrush")


@pytest.mark.slow
def test_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    theirs, ours, back = tmp_path / "a.pt", tmp_path / "a.safetensors", tmp_path / "b.pt"
    detector = network("yolov8n")
    torch.save({"model": foreign_state(detector, "ultralytics")}, theirs)
    words = ["--names", "ant,bee,cow", "--imgsz", "96", "--data-licence", "CC0", "--json", tmp_path / "r.json"]
    assert run("weights", "import", theirs, ours, *words) == 0
    said = capsys.readouterr().out
    assert "ultralytics naming: yolov8n, 3 classes" in said
    assert "355 tensors taken over" in said
    report = json.loads((tmp_path / "r.json").read_text())
    assert (len(report["mapped"]), report["unused"], report["layout"]) == (355, [], "ultralytics")
    loaded, card = weights.load(ours)
    assert (card.classes.names, card.imgsz, card.data_licence) == (("ant", "bee", "cow"), 96, "CC0")
    assert same_outputs(detector, loaded)
    assert run("weights", "import", theirs, ours) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert run("weights", "import", theirs, ours, "--half", "--overwrite") == 0
    assert ours.stat().st_size < 0.6 * theirs.stat().st_size
    assert run("weights", "dump", ours, back) == 0
    again = torch.load(back, weights_only=True)
    assert list(again) == list(foreign_state(detector, "ultralytics"))
    assert run("weights", "dump", ours, tmp_path / "b.safetensors", "--layout", "ultralytics") == 0
    capsys.readouterr()
    for words, message in (
        (["dump", ours, tmp_path / "b.bin"], "ends in .pt, .pth or .safetensors"),
        (["dump", ours, tmp_path / "c.pt", "--layout", "yolox"], "unknown layout 'yolox'"),
        (["import", tmp_path / "none.pt", tmp_path / "d.safetensors"], "none.pt"),
        (["import", ours, tmp_path / "d.safetensors"], "those of no network"),
        (["import", theirs, tmp_path / "d.pt"], "d.pt: expected a name that ends in .safetensors"),
    ):
        assert run("weights", *words) == 2
        assert message in capsys.readouterr().err
    names = tmp_path / "names.txt"
    names.write_text("x\ny\nz\n")
    assert run("weights", "import", theirs, tmp_path / "e.safetensors", "--names", names) == 0
    assert weights.read_card(tmp_path / "e.safetensors").classes.names == ("x", "y", "z")


@pytest.mark.slow
def test_anchors_of_a_file_come_along(tmp_path: Path) -> None:
    anchors = [[[3.0, 4.0]] * 3, [[12.0, 14.0]] * 3, [[40.0, 32.0]] * 3]
    torch.save(foreign_state(network("yolov5n", anchors=anchors), "yolov5"), tmp_path / "a.pt")
    found = import_checkpoint(tmp_path / "a.pt")
    assert found.card.architecture.options["anchors"] == anchors
    assert "model.24.anchors" in found.mapped
    assert found.unused == ()


@pytest.mark.slow
def test_of_91_ids_those_with_a_name_are_kept(tmp_path: Path) -> None:
    whole = network("retinanet-r50", 91)
    torch.save(foreign_state(whole, "torchvision-retinanet"), tmp_path / "a.pth")
    found = import_checkpoint(tmp_path / "a.pth")
    assert (found.card.classes.names[0], len(found.card.classes)) == ("person", 80)
    images = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        want, got = whole(images), found.detector(images)
    assert torch.equal(got["boxes"], want["boxes"])
    # Ids 1 (person), 13 (stop sign: 12 is nobody's) and 90 (toothbrush).
    for label, original in ((0, 1), (11, 13), (79, 90)):
        assert torch.equal(got["scores"][:, label], want["scores"][:, original])
    assert len(import_checkpoint(tmp_path / "a.pth", names=[str(i) for i in range(91)]).card.classes) == 91


@pytest.mark.slow
def test_the_second_release_of_rtdetr_has_other_names(tmp_path: Path) -> None:
    detector = network("rtdetr-r18")
    state = {}
    for key, value in foreign_state(detector, "rtdetr").items():
        for place in ("encoder.input_proj.0", "encoder.input_proj.1", "encoder.input_proj.2"):
            key = key.replace(f"{place}.0.", f"{place}.conv.").replace(f"{place}.1.", f"{place}.norm.")
        key = key.replace("decoder.enc_output.0.", "decoder.enc_output.proj.")
        state[key.replace("decoder.enc_output.1.", "decoder.enc_output.norm.")] = value
    state["decoder.anchors"] = torch.zeros(1, 5, 4)
    torch.save({"ema": {"module": state}}, tmp_path / "a.pth")
    found = import_checkpoint(tmp_path / "a.pth")
    assert found.unused == ("decoder.anchors",)
    assert same_outputs(detector, found.detector)
