"""The weights are found where other toolkits put them, under the names that their networks gave."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from checkpoint_files import Detect, DetectionModel, classes_of, network, save
from torch import nn

from finespot.errors import FineSpotError
from finespot.weights.foreign import Context, find_state, read_checkpoint

STATE = {"a.weight": torch.ones(2), "a.bias": torch.zeros(2)}
OTHER = {"a.weight": torch.full((2,), 5.0), "a.bias": torch.full((2,), 5.0)}


def found(value: object, folder: Path) -> tuple[dict[str, torch.Tensor], Context]:
    return find_state(read_checkpoint(save(value, folder / "a.pt")))


@pytest.mark.parametrize(
    ("value", "place"),
    [
        (STATE, ""),
        ({"epoch": 1, "state_dict": STATE}, "state_dict"),
        ({"model_state_dict": STATE}, "model_state_dict"),
        ({"model_state": STATE, "optimizer_state": {}}, "model_state"),
        ({"net": STATE}, "net"),
        # YOLOX
        ({"start_epoch": 1, "model": STATE, "optimizer": {}, "best_ap": 0.3, "curr_ap": 0.2}, "model"),
        # The authors of RT-DETR
        ({"model": OTHER, "ema": {"module": STATE, "updates": 7}, "last_epoch": 3}, "ema.module"),
        ({"model": STATE, "ema": None}, "model"),
        ({"model": STATE, "ema": {"updates": 7}}, "model"),
        ({"model": OTHER, "ema": STATE}, "ema"),
        # OpenMMLab: state_dict is the average, the two are exchanged when saved
        ({"meta": {"epoch": 1}, "state_dict": STATE, "ema_state_dict": OTHER, "message_hub": {}}, "state_dict"),
    ],
)
def test_places(value: Any, place: str, tmp_path: Path) -> None:
    state, context = found(value, tmp_path)
    assert (context.place, context.kind, context.attributes) == (place, None, {})
    assert list(state) == list(STATE)
    assert all(torch.equal(state[name], STATE[name]) for name in STATE)
    assert list(context.rest) == [key for key in (value if place else {}) if key != place.split(".")[0]]


@pytest.mark.parametrize("prefixes", ["module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module."])
def test_wrappers(prefixes: str, tmp_path: Path) -> None:
    state, _ = found({"model": {prefixes + name: one for name, one in STATE.items()}}, tmp_path)
    assert list(state) == list(STATE)


def test_a_part_named_module_stays(tmp_path: Path) -> None:
    value = {"module.a": torch.ones(1), "b": torch.ones(1)}
    assert list(found(value, tmp_path)[0]) == list(value)


def test_a_network_in_data_parallel(tmp_path: Path) -> None:
    state, context = found({"model": nn.DataParallel(nn.Linear(2, 3))}, tmp_path)
    assert {name: tuple(one.shape) for name, one in state.items()} == {"weight": (3, 2), "bias": (3,)}
    assert context.kind == "torch.nn.parallel.data_parallel.DataParallel"


def test_a_whole_network(tmp_path: Path) -> None:
    file, wanted = network(tmp_path / "a.pt", opt={"project": Path("runs")}, best_fitness=0.5, train=nn.Linear)
    state, context = find_state(read_checkpoint(file))
    assert list(state) == list(wanted)
    assert (context.place, context.kind) == ("model", "models.yolo.DetectionModel")
    attributes = context.attributes
    assert attributes["names"] == {0: "person", 1: "car"}
    assert attributes["hyp"] == {"lr0": 0.01, "box": 0.05}
    assert attributes["yaml"]["backbone"] == [[-1, 1, "Conv", [64, 6, 2, 2]]]
    assert torch.equal(attributes["stride"], torch.tensor([8.0, 16.0]))
    assert not [name for name in attributes if name.startswith("_")]
    train = "torch.nn.modules.linear.Linear"
    assert context.rest == {"epoch": 3, "ema": None, "opt": {"project": "runs"}, "best_fitness": 0.5, "train": train}


def test_the_average_of_a_network(tmp_path: Path) -> None:
    with classes_of("models.yolo", DetectionModel, Detect):
        first, average = DetectionModel(1), DetectionModel(2)
        average.criterion = first  # no plain data: left out of the attributes
        file = save({"model": first, "ema": average, "updates": 9}, tmp_path / "a.pt")
    state, context = find_state(read_checkpoint(file))
    assert context.place == "ema"
    assert torch.equal(state["scale"], average.scale)
    assert "criterion" not in context.attributes
    assert context.rest == {"updates": 9}
    assert list(state) == [name for name in average.state_dict() if not name.startswith("criterion.")] + [
        name for name in average.state_dict() if name.startswith("criterion.")
    ]


def test_a_network_alone(tmp_path: Path) -> None:
    state, context = found(nn.Linear(2, 3), tmp_path)
    assert (context.place, context.kind) == ("", "torch.nn.modules.linear.Linear")
    assert context.attributes == {"in_features": 2, "out_features": 3, "training": True}
    assert list(state) == ["weight", "bias"]


def test_safetensors(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file(STATE, tmp_path / "a.safetensors", {"note": "kept"})
    state, context = find_state(read_checkpoint(tmp_path / "a.safetensors"))
    assert set(state) == set(STATE)
    assert context.rest == {"note": "kept"}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({}, "no weights found: it is empty"),
        ({"epoch": 3, "optimizer": {}}, "its entries are epoch, optimizer"),
        ([torch.ones(2)], "it holds list"),
        ({"model": None, "ema": None}, "its entries are model, ema"),
        ({"state_dict": {**STATE, "version": 3}}, "state_dict: expected tensors only but 'version' holds int"),
        ({**STATE, "note": "x"}, "expected tensors only but 'note' holds str"),
        (nn.SiLU(), "expected weights but got none"),
        (torch.ones(3), "it holds Tensor"),
    ],
)
def test_no_weights(value: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(FineSpotError, match=message) as caught:
        found(value, tmp_path)
    assert str(caught.value).startswith(f"{tmp_path / 'a.pt'}: ")


@pytest.mark.parametrize(
    ("group", "value", "message"),
    [
        ("_parameters", {"weight": "gone"}, "model: expected a tensor as 'weight' but got str"),
        ("_parameters", [], "model: expected '_parameters' to hold parts by name"),
        ("_buffers", {3: torch.ones(1)}, "model: expected '_buffers' to hold parts by name"),
        ("_buffers", {"x" * 2000: torch.ones(1)}, "model: expected '_buffers' to hold parts by name"),
        ("_modules", {"a": torch.ones(1)}, "model.a: expected a module of a network but got Tensor"),
        ("_modules", {"a": {}}, "model.a: expected a module of a network but got dict"),
        ("_non_persistent_buffers_set", 3, "expected '_non_persistent_buffers_set' to hold names"),
    ],
)
def test_parts_that_are_none(group: str, value: Any, message: str, tmp_path: Path) -> None:
    layer = nn.Linear(2, 3)
    layer.__dict__[group] = value
    with pytest.raises(FineSpotError, match=message):
        found({"model": nn.ModuleDict({"model": layer})}, tmp_path)


def test_long_names(tmp_path: Path) -> None:
    model: nn.Module = nn.Linear(1, 1)
    for _ in range(5):
        model = nn.ModuleDict({"x" * 300: model})
    with pytest.raises(FineSpotError, match="names without end"):
        found(model, tmp_path)


def test_objects_as_keys_are_no_plain_data(tmp_path: Path) -> None:
    _, context = found({"model": STATE, "odd": {nn.SiLU(): 1}, "even": {(1, nn.SiLU): 2}}, tmp_path)
    assert context.rest == {"even": {(1, "torch.nn.modules.activation.SiLU"): 2}}
