"""State dicts of ESOD's files to ours and back: keys, what a file is of, whole pickled networks, errors."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from finespot import cli, weights, zoo
from finespot.errors import FineSpotError
from finespot.structures import Architecture
from finespot.weights.foreign.convert import dump, import_checkpoint
from finespot.weights.foreign.esod import constants, entries, recognize
from finespot.weights.foreign.layout import from_file, to_file

FORMS = {"usual": {}, "uavdt": {"relay": "seeker(form=pooled)"}, "vanilla": {"relay": None}}
QUICK = ["usual", *(pytest.param(form, marks=pytest.mark.slow) for form in ("uavdt", "vanilla"))]
OWN = [[[6.0, 8.0], [10.0, 22.0], [19.0, 15.0]], [[19.0, 32.0], [39.0, 22.0], [32.0, 47.0]], [[74.0, 38.0]] * 3]


def shapes(architecture: Architecture) -> dict[str, Tensor]:
    with torch.device("meta"):
        return zoo.build(architecture).state_dict()


def filled(architecture: Architecture) -> dict[str, Tensor]:
    draw = torch.Generator().manual_seed(0)
    return {key: torch.rand(value.shape, generator=draw).to(value.dtype) for key, value in shapes(architecture).items()}


def theirs_of(architecture: Architecture, ours: dict[str, Tensor] | None = None) -> dict[str, Tensor]:
    return {**to_file(ours or filled(architecture), entries(architecture)), **constants(architecture)}


def bare(architecture: Architecture) -> dict[str, Tensor]:
    """A file's shapes without values, its constants as they are."""
    return {**to_file(shapes(architecture), entries(architecture)), **constants(architecture)}


@pytest.mark.parametrize(
    ("form", "count", "some"),
    [
        (
            "usual",
            581,
            {
                "model.0.conv.conv.weight": (48, 12, 3, 3),
                "model.4.m.5.cv2.conv.weight": (96, 96, 3, 3),
                "model.5.conv.weight": (192, 1, 13, 13),
                "model.5.bn.running_var": (192,),
                "model.6.m.0.weight": (1, 192, 1, 1),
                "model.6.m.0.bias": (1,),
                "model.8.conv.weight": (384, 192, 3, 3),
                "model.9.m.5.cv1.conv.weight": (192, 192, 1, 1),
                "model.11.cv2.conv.weight": (768, 1536, 1, 1),
                "model.12.cv3.conv.weight": (768, 768, 1, 1),
                "model.13.conv.weight": (384, 768, 1, 1),
                "model.16.cv1.conv.weight": (192, 768, 1, 1),
                "model.17.conv.weight": (192, 384, 1, 1),
                "model.20.cv3.conv.weight": (192, 192, 1, 1),
                "model.21.conv.weight": (192, 192, 3, 3),
                "model.23.cv1.conv.weight": (192, 384, 1, 1),
                "model.24.conv.weight": (384, 384, 3, 3),
                "model.26.m.1.cv2.conv.weight": (384, 384, 3, 3),
                "model.27.anchors": (3, 3, 2),
                "model.27.anchor_grid": (3, 1, 3, 1, 1, 2),
                "model.27.m.0.stem.conv.weight": (192, 192, 1, 1),
                "model.27.m.1.cls_conv.conv.weight": (384, 384, 3, 3),
                "model.27.m.2.reg_conv.bn.bias": (768,),
                "model.27.m.0.cls_pred.weight": (30, 192, 1, 1),
                "model.27.m.1.reg_pred.weight": (12, 384, 1, 1),
                "model.27.m.2.obj_pred.bias": (3,),
            },
        ),
        (
            "uavdt",
            None,
            {
                "model.5.cv1.conv.weight": (96, 192, 1, 1),
                "model.5.cv2.conv.weight": (192, 384, 1, 1),
                "model.6.m.0.weight": (1, 192, 1, 1),
                "model.27.m.0.cls_pred.weight": (30, 192, 1, 1),
            },
        ),
        (
            "vanilla",
            573,
            {
                "model.5.conv.weight": (384, 192, 3, 3),
                "model.8.cv2.conv.weight": (768, 1536, 1, 1),
                "model.24.m.0.cls_pred.weight": (30, 192, 1, 1),
                "model.24.anchors": (3, 3, 2),
            },
        ),
    ],
)
def test_keys_and_shapes(form: str, count: int | None, some: dict[str, tuple[int, ...]]) -> None:
    theirs = bare(zoo.architecture("esod-yolov5m", 10, **FORMS[form]))
    assert {key: tuple(theirs[key].shape) for key in some} == some
    assert count is None or len(theirs) == count
    assert not any(key.startswith("model.7.") for key in theirs if form != "vanilla")


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
def test_the_map_names_every_tensor_once(form: str) -> None:
    architecture = zoo.architecture("esod-yolov5s", 2, **FORMS[form])
    found = list(entries(architecture))
    assert sorted(key for entry in found for key in entry.ours) == sorted(shapes(architecture))
    assert len({entry.key for entry in found}) == len(found)


@pytest.mark.slow
@pytest.mark.parametrize("form", QUICK)
def test_there_and_back_is_exact(form: str) -> None:
    architecture = zoo.architecture("esod-yolov5s", 3, **FORMS[form])
    ours = filled(architecture)
    theirs = theirs_of(architecture, ours)
    again = from_file(theirs, entries(architecture), architecture, spare=constants(architecture))
    assert set(again) == set(ours)
    assert all(torch.equal(again[key], ours[key]) for key in ours)


@pytest.mark.slow
def test_layers_of_the_head_and_the_seeker_are_where_they_belong() -> None:
    architecture = zoo.architecture("esod-yolov5s", 2)
    theirs = theirs_of(architecture)
    ours = from_file(theirs, entries(architecture), architecture, spare=constants(architecture))
    for mine, other in (
        ("relay.context.conv.weight", "model.5.conv.weight"),
        ("relay.predict.bias", "model.6.m.0.bias"),
        ("backbone.stage4.down.conv.weight", "model.8.conv.weight"),
        ("head.stems.p3.conv.weight", "model.27.m.0.stem.conv.weight"),
        ("head.class_branches.p4.first.conv.weight", "model.27.m.1.cls_conv.conv.weight"),
        ("head.box_branches.p4.conv.weight", "model.27.m.1.reg_conv.conv.weight"),
        ("head.class_branches.p5.predict.weight", "model.27.m.2.cls_pred.weight"),
        ("head.box_predictions.p5.bias", "model.27.m.2.reg_pred.bias"),
        ("head.objectness.p3.weight", "model.27.m.0.obj_pred.weight"),
    ):
        assert torch.equal(ours[mine], theirs[other])


@pytest.mark.parametrize("size", ["s", *(pytest.param(size, marks=pytest.mark.slow) for size in "mlx")])
@pytest.mark.parametrize("form", FORMS)
def test_a_file_says_what_it_is_of(size: str, form: str) -> None:
    architecture = zoo.architecture(f"esod-yolov5{size}", 7, **FORMS[form])
    # Shapes are all it reads, but for the anchors; files hold halves.
    state = {key: value.half() for key, value in bare(architecture).items()}
    assert recognize(state) == architecture


def test_anchors_of_a_file_become_an_option() -> None:
    architecture = zoo.architecture("esod-yolov5s", 4, anchors=OWN)
    theirs = bare(architecture)
    assert recognize(theirs) == architecture
    assert theirs["model.27.anchors"][0].tolist() == [[0.75, 1.0], [1.25, 2.75], [2.375, 1.875]]
    assert theirs["model.27.anchor_grid"][2, 0, :, 0, 0].tolist() == [[74, 38]] * 3


def test_other_namings_are_not_recognized() -> None:
    theirs = bare(zoo.architecture("esod-yolov5s", 4))

    def without(*keys: str) -> dict[str, Tensor]:
        return {key: value for key, value in theirs.items() if key not in keys}

    assert recognize(theirs) is not None
    assert recognize({}) is None
    assert recognize(shapes(zoo.architecture("esod-yolov5s", 4))) is None
    for key in (
        "model.0.conv.conv.weight",
        "model.5.conv.weight",
        "model.6.m.0.weight",
        "model.27.anchors",
        "model.27.m.0.cls_pred.weight",
    ):
        assert recognize(without(key)) is None
    assert recognize({**theirs, "model.5.cv1.conv.weight": torch.zeros(1)}) is None
    assert recognize({**theirs, "model.0.conv.conv.weight": torch.zeros(24, 12, 3, 3)}) is None
    assert recognize({**theirs, "model.27.anchors": torch.zeros(9, 2)}) is None
    assert recognize({**theirs, "model.27.m.0.cls_pred.weight": torch.zeros(2, 128, 1, 1)}) is None
    # Their networks on other hosts have the head at other numbers.
    assert recognize({key.replace("model.27", "model.25"): value for key, value in theirs.items()}) is None


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {"head": "anchor_based"},
        {"relay": "seeker(stride=16)", "windows": "none"},
        {"neck": "pafpn"},
        {"backbone": "resnet_vd"},
    ],
)
def test_what_no_such_file_holds_is_refused(options: dict[str, object]) -> None:
    with pytest.raises(FineSpotError, match=r"esod-yolov5s \(.*\) is not a released ESOD, so no such file holds it"):
        list(entries(zoo.architecture("esod-yolov5s", 2, **options)))


# A whole pickled network, of classes that are gone when the file is read.


@pytest.fixture
def packages(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, type[nn.Module]]]:
    """The classes that a released file names, in modules that only exist while it is written."""
    made: dict[str, type[nn.Module]] = {}
    monkeypatch.setitem(sys.modules, "models", ModuleType("models"))
    for place, names in (
        ("models.yolo", ("Model", "Detect", "Segmenter")),
        ("models.common", ("Focus", "Conv", "DWConv", "C3", "SPP", "HeatMapParser", "Concat")),
    ):
        module = ModuleType(place)
        monkeypatch.setitem(sys.modules, place, module)
        for name in names:
            made[name] = type(name, (nn.Module,), {"__module__": place, "__qualname__": name})
            setattr(module, name, made[name])
    yield made
    assert not {name for name in sys.modules if name.split(".")[0] == "models"}


def kind_of(number: int, layers: int, keys: list[str]) -> str:
    """What class a layer of a released file is."""
    if number == 0:
        return "Focus"
    if number == layers - 1:
        return "Detect"
    if any(key.startswith("m.0.weight") for key in keys):
        return "Segmenter"
    if any(key.startswith("cv3") for key in keys):
        return "C3"
    if any(key.startswith("cv1") for key in keys):
        return "SPP"
    if keys:
        return "DWConv" if number == 5 else "Conv"
    return "HeatMapParser" if number == 7 else "Concat"


def released(classes: dict[str, type[nn.Module]], state: dict[str, Tensor]) -> nn.Module:
    """A network as the released code pickles it: a row of layers, those without weights too."""
    layers = 1 + max(int(key.split(".")[1]) for key in state)
    root, row = classes["Model"](), nn.Sequential()
    for number in range(layers):
        own = {key.split(".", 2)[2]: value for key, value in state.items() if key.startswith(f"model.{number}.")}
        layer = classes[kind_of(number, layers, list(own))]()
        for key, tensor in own.items():
            *path, last = key.split(".")
            part: nn.Module = layer
            for name in path:
                if name not in part._modules:
                    inside = nn.ModuleList() if name == "m" else classes["Conv"]()
                    part.add_module(name, inside)
                part = part._modules[name]
            if "running" in last or "num_batches" in last or last in ("anchors", "anchor_grid", "sparse_gird"):
                part.register_buffer(last, tensor)
            else:
                part.register_parameter(last, nn.Parameter(tensor))
        layer.i, layer.f, layer.np = number, -1, sum(p.numel() for p in layer.parameters())
        row.add_module(str(number), layer)
    root.add_module("model", row)
    return root


@pytest.mark.slow
@pytest.mark.parametrize("form", QUICK)
def test_a_whole_pickled_network(
    form: str, packages: dict[str, type[nn.Module]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    detector = zoo.build(zoo.architecture("esod-yolov5s", 3, anchors=OWN, **FORMS[form])).eval()
    for buffer in detector.buffers():
        if buffer.is_floating_point():
            buffer += 0.1 * torch.rand_like(buffer)
    model = released(packages, theirs_of(detector.architecture, detector.network_state()))
    model.names, model.stride = ["ant", "bee", "cow"], torch.tensor([8.0, 16.0, 32.0])
    model.yaml = {"nc": 3, "depth_multiple": 0.33, "backbone": [[-1, 1, "Focus", [64, 3]]]}
    file = tmp_path / "esod.pt"
    torch.save({"epoch": -1, "model": model, "ema": None, "opt": SimpleNamespace(imgsz=[1536, 1536])}, file)
    for name in [name for name in sys.modules if name.split(".")[0] == "models"]:
        monkeypatch.delitem(sys.modules, name)
    found = import_checkpoint(file)
    assert found.layout == "esod"
    assert found.card.architecture == detector.architecture
    assert (found.card.classes.names, found.card.imgsz, found.card.fit) == (("ant", "bee", "cow"), 1536, "center")
    assert found.unused == ()
    assert len(found.mapped) == len(theirs_of(detector.architecture, detector.network_state()))
    images = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        want, got = detector(images), found.detector(images)
    assert set(got) == set(want)
    assert ("heat" in got) == (form != "vanilla")
    assert all(torch.equal(got[key], want[key]) for key in want)


@pytest.mark.slow
def test_command_line(
    packages: dict[str, type[nn.Module]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    architecture = zoo.architecture("esod-yolov5s", 3)
    theirs, ours = theirs_of(architecture), tmp_path / "esod.safetensors"
    torch.save({"model": released(packages, theirs).half(), "ema": None}, tmp_path / "esod.pt")
    for name in [name for name in sys.modules if name.split(".")[0] == "models"]:
        monkeypatch.delitem(sys.modules, name)
    words = ["weights", "import", str(tmp_path / "esod.pt"), str(ours), "--json", str(tmp_path / "r.json")]
    with pytest.raises(SystemExit) as ended:
        cli.main(words)
    assert not ended.value.code
    assert "esod naming: esod-yolov5s, 3 classes" in capsys.readouterr().out
    report = json.loads((tmp_path / "r.json").read_text())
    assert (len(report["mapped"]), report["unused"]) == (len(theirs), [])
    detector, card = weights.load(ours)
    assert card.architecture == architecture
    assert detector.relay is not None
    back = dump(ours)
    assert set(back) == set(theirs)
    assert all(torch.allclose(back[key].float(), theirs[key].float(), atol=1e-3) for key in back)
